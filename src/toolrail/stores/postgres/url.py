"""The URL of a PostgreSQL store: what the driver needs, the schema for the tables, and what may be shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from toolrail.errors import DefinitionError

SCHEMA = "toolrail"
"""Where the tables stand, unless the URL or the caller says something else."""

_MEND = 'Use "postgresql://user:password@host:5432/database", with "?schema=name" for tables of its own.'
_ESCAPE = "Write / @ : ? # % in a user name or password as %2F %40 %3A %3F %23 %25."
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SECRET = frozenset({"password", "sslpassword"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store's rows are."""

    dsn: str = field(repr=False)
    """For the driver, with the password."""
    shown: str
    """For people, without it."""
    schema: str


def place_of(url: str, *, schema: str | None = None) -> Place:
    """Reads a URL.

    Raises:
        DefinitionError: TR303, it is none, or the schema has no plain name. The text shows no password.
    """
    parts = _split(url)
    options = parts.query.split("&") if parts.query else []
    if parts.fragment or any("=" not in option for option in options):
        raise _unreadable()
    named = [unquote(value) for name, _, value in (option.partition("=") for option in options) if name == "schema"]
    shown = _joined(parts, [option for option in options if option.partition("=")[0] not in _SECRET], secret=True)
    chosen = schema or (named[-1] if named else SCHEMA)
    if not _NAME.fullmatch(chosen):
        raise DefinitionError("TR303", f"store={shown!r}", "a schema has a plain lower-case name.", _MEND)
    kept = [option for option in options if option.partition("=")[0] != "schema"]
    return Place(_joined(parts, kept), shown, chosen)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text would show part of a password
        raise _unreadable() from None
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # what stands before it is a password with a slash
        raise _unreadable()
    return parts


def _unreadable() -> DefinitionError:
    return DefinitionError("TR303", "store='postgresql://...'", "this URL cannot be read.", _ESCAPE)


def _joined(parts: SplitResult, options: Sequence[str], *, secret: bool = False) -> str:
    """The URL again. Not by `urlunsplit`, which drops the slashes where there is no host."""
    place = parts.netloc
    if secret and parts.password is not None:
        credentials, _, host = place.rpartition("@")
        place = f"{credentials.partition(':')[0]}@{host}"
    query = f"?{'&'.join(options)}" if options else ""
    return f"{parts.scheme}://{place}{parts.path}{query}"
