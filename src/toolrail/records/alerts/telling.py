"""Telling people that an alert changed: the log, a webhook, or a port of your own. The dashboard reads the tables."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
from http.client import HTTPException
from typing import Any, Literal, NamedTuple, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from toolrail.errors import DefinitionError
from toolrail.frozen import frozen
from toolrail.logs import logger
from toolrail.records.logging import safe
from toolrail.settings import positive

log = logger("toolrail.alerts")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}
_HEADER = re.compile(r"[!-~][ -~]*")


class Change(NamedTuple):
    """An alert begins or is over."""

    id: str
    """Unique: whoever hears of one twice knows it by this."""
    wall: float
    """When, in seconds since the epoch."""
    rule: str
    subject: str
    """What it is about: a tool, a dependency, a currency."""
    state: Literal["firing", "clear", "test"]
    severity: str
    value: float | None
    """A share, seconds or an amount, as the rule has it."""
    text: str
    """For people: one line, without content of any call."""
    since: float
    """When it began to fire."""


class Teller(Protocol):
    """Tells of a change, from a thread of its own. It returns None, or in a few words why nobody heard of it; then it
    is asked again at the next rounds, for a quarter of an hour.

    Example:

        class Pager:
            name = "pager"

            def tell(self, change: Change) -> str | None:
                return None if page(change.text) else "the pager is off"
    """

    @property
    def name(self) -> str:
        """Its own, by which the record says who was told."""
        ...

    def tell(self, change: Change, /) -> str | None:
        """Tells of one change. It may block, and it may raise: then only the error's class is logged."""
        ...


class LogTeller:
    """Writes to the logger `toolrail.alerts`: INFO, WARNING or ERROR by severity, INFO when it is over.

    Example line:

        alert=dependency-fails subject=pay state=firing severity=critical value=0.15 pay: 12 of its last 80 calls ...
    """

    name = "log"

    def tell(self, change: Change) -> str | None:
        """See `Teller`."""
        level = _LEVELS.get(change.severity, logging.WARNING) if change.state == "firing" else logging.INFO
        value = "-" if change.value is None else f"{change.value:.4g}"
        words = "alert=%s subject=%s state=%s severity=%s value=%s %s"
        log.log(
            level, words, safe(change.rule), safe(change.subject), change.state, change.severity, value, change.text
        )
        return None


@frozen
class Webhook:
    """Posts each change as a JSON object to a URL, which may be a secret: it stands in no log and no `repr`.

    Each try has `Idempotency-Key: ID`, and with `secret` the header
    `X-Toolrail-Signature: t=SECONDS,v1=HEX`, an HMAC-SHA256 of `SECONDS.BODY`.

    Raises:
        DefinitionError: the URL is none, or a header cannot be sent (TR310); the seconds are not over zero (TR301).

    Example: `Alerts(webhook=Webhook(os.environ["ALERTS_URL"], secret=os.environ["ALERTS_SECRET"]))`
    """

    url: str
    """`https://` or `http://`."""
    secret: str | None = None
    """Signs each try. None: it is not signed."""
    headers: tuple[tuple[str, str], ...] = ()
    """Such as `(("Authorization", "Bearer ..."),)`."""
    seconds: float = 5.0
    """That one try may take."""

    def __post_init__(self) -> None:
        if _place(self.url) is None:
            raise DefinitionError("TR310", "Webhook(url=...)", "it is no address.", "Write https://host/path.")
        for name, value in self.headers:
            if not _HEADER.fullmatch(name) or ":" in name or " " in name or not _HEADER.fullmatch(value):
                mend = "Give names and values in ASCII, on one line."
                raise DefinitionError("TR310", f"Webhook(headers={name!r})", "it cannot be sent.", mend)
        positive("Webhook", must=True, seconds=self.seconds)

    def __repr__(self) -> str:
        return f"Webhook({self.place}/...)"

    @property
    def name(self) -> str:
        """What the record calls it."""
        return "webhook"

    @property
    def place(self) -> str:
        """Scheme and host: the rest may be a secret."""
        return _place(self.url) or ""

    def tell(self, change: Change) -> str | None:
        """One try; it follows no redirect."""
        body = json.dumps({"source": "toolrail", **change._asdict()}, ensure_ascii=True).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "toolrail", "Idempotency-Key": change.id}
        headers |= dict(self.headers)
        if self.secret is not None:
            headers["X-Toolrail-Signature"] = signature(self.secret, body, int(time.time()))
        try:
            with _opener.open(Request(self.url, body, headers, method="POST"), timeout=self.seconds) as answer:
                answer.read(1)
                return None
        except HTTPError as error:
            with error:
                return f"{self.place} answers {error.code}"
        except (URLError, OSError, HTTPException, ValueError) as error:
            cause: Any = error.reason if isinstance(error, URLError) else error
            return f"{self.place} cannot be reached ({type(cause).__name__})"  # its text may have the URL


def signature(secret: str, body: bytes, seconds: int) -> str:
    """The signature's header of a body at a time, so that whoever gets it can compare.

    Args:
        seconds: the time in the header's `t=`, since the epoch. Refuse one that is long ago.

    Example: `hmac.compare_digest(signature(secret, body, t), header)`
    """
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def _place(url: object) -> str | None:
    try:
        parts = urlsplit(str(url))
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    plain = re.fullmatch(r"[!-~]+", str(url)) is not None
    return f"{parts.scheme}://{parts.hostname}{port}" if plain and parts.scheme in _SCHEMES and parts.hostname else None


_SCHEMES = ("http", "https")


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        """A POST that is sent elsewhere becomes a GET without its body: better to say so."""


_opener = build_opener(_Stay)
