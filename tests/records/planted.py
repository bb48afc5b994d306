"""A run with secrets in every place that somebody else's text can come from, and all that anyone outside sees of it."""

from __future__ import annotations

import logging
import time
import traceback
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from tests.records.recording import rows
from tests.records.tracing import Traced
from toolrail import Agent, Allow, Ask, Deny, PolicyRequest, Principal, Rail, ToolError, tool
from toolrail.decisions import Approval, ApprovalRequest
from toolrail.effects import once
from toolrail.events import Event
from toolrail.records.json_logging import JsonFormatter
from toolrail.records.logging import LogSink
from toolrail.records.recorder import ContentMode, Recorder
from toolrail.testing import Calls, FixedClock, Say, ScriptedModel, run_virtual

WORD = "marmalade-in-the-attic"
"""Looks like nothing: only leaving content out keeps it secret."""

FORMS: Mapping[str, tuple[str, str]] = {
    "bearer": ("Authorization: Bearer BRRplum9471abcd", "BRRplum9471"),
    "basic": ("{'authorization': 'Basic QlNDplum9471==', 'accept': '*/*'}", "QlNDplum9471"),
    "header": ("{'x-api-key': 'APIplum9471', 'host': 'bank.example'}", "APIplum9471"),
    "cookie": ("Cookie: session=CKIplum9471; theme=dark", "CKIplum9471"),
    "openai": ("Incorrect API key provided: sk-proj-OAIplum9471abcdefgh", "OAIplum9471"),
    "aws": ("AKIAPLUM9471PLUM9471", "PLUM9471PLUM9471"),
    "github": ("ghp_GITplum9471abcdefghij", "GITplum9471"),
    "slack": ("xoxb-123456789012-SLKplum9471", "SLKplum9471"),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJwbHVtIjo5NDcxfQ.JWTplum9471abcdef", "eyJwbHVtIjo5NDcxfQ"),
    "userinfo": ("no route to https://ann:URLplum9471@bank.example/pay", "URLplum9471"),
    "query": ("GET https://bank.example/pay?page=2&access_token=QRYplum9471&x=1", "QRYplum9471"),
    "dsn": ("host=db user=ann password=DSNplum9471 dbname=app", "DSNplum9471"),
    "database": ("postgresql://ann:PGSplum9471@db.example:5432/app", "PGSplum9471"),
    "pem": ("-----BEGIN PRIVATE KEY-----\nPEMplum9471MIIE\n-----END PRIVATE KEY-----", "PEMplum9471"),
    "field": ('{"user": "ann", "client_secret": "FLDplum9471"}', "FLDplum9471"),
    "card": ("card 4111 1111 1111 1111 was refused", "4111 1111 1111"),
}
"""A text as it stands in real errors and results, and the part of it that nobody may see."""
ALL = "\n".join(text for text, _ in FORMS.values())


def found(*places: str | bytes) -> set[str]:
    """The names of the secrets that stand somewhere in there."""
    inside = [place.encode() if isinstance(place, str) else place for place in places]
    secrets = {name: secret for name, (_, secret) in FORMS.items()} | {"word": WORD}
    return {name for name, secret in secrets.items() if any(secret.encode() in place for place in inside)}


class Unshown:
    """A result that fails as it is written."""

    def __str__(self) -> str:
        raise ValueError(ALL)

    __repr__ = __str__


@tool(effect="read")
async def find(query: str, headers: dict[str, str]) -> dict[str, Any]:
    """Finds."""
    return {"text": f"{WORD} {ALL}", "password": WORD, "query": query}


@tool(effect="read")
async def long(query: str) -> list[str]:
    """Answers with much text."""
    return [f"{number} {WORD} {ALL}" for number in range(20)]


@tool(effect="read")
async def stated(query: str) -> str:
    """Says why not; a driver's error is the cause."""
    try:
        raise OSError(ALL)
    except OSError as error:
        raise ToolError("The shop is closed.") from error


@tool(effect="read")
async def told(query: str) -> str:
    """Tells the model what it should not."""
    raise ToolError(f"{WORD} {ALL}")


@tool(effect="read")
async def broken(query: str) -> str:
    """Has a bug."""
    raise RuntimeError(ALL)


@tool(effect="read", dependency="bank")
async def down(query: str) -> str:
    """Cannot be reached."""
    raise ConnectionError(ALL)


@tool(effect=once(by="query"))
async def pay(query: str) -> str:
    """Pays, perhaps."""
    raise ConnectionResetError(ALL)


@tool(effect="read")
async def unshown(query: str) -> Any:
    """Answers with what cannot be written."""
    return Unshown()


@tool(effect="read")
async def plain(query: str) -> str:
    """Is asked about: a policy is in the way."""
    return WORD


TOOLS = (find, long, stated, told, broken, down, pay, unshown, plain)


def policy(request: PolicyRequest) -> Allow | Ask | Deny:
    """Says no in the words of others, asks, and fails, by what `plain` is asked for."""
    assert request.principal.attributes["note"] == WORD
    match request.arguments["query"].partition(" ")[0]:
        case "deny":
            return Deny(f"they wrote: {ALL}", rule="house")
        case "ask":
            return Ask(f"they wrote: {ALL}", rule="house")
        case "fail":
            raise LookupError(ALL)
        case _:
            return Allow()


def approver(request: ApprovalRequest) -> Approval:
    """Is away."""
    raise ConnectionError(ALL)


class BrokenSink:
    """Somebody's sink."""

    def emit(self, event: Event) -> None:
        raise ConnectionError(ALL)


class _Bare(logging.Handler):
    """Takes all there is in a record, as handlers do that look at it themselves."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        raw = [] if error is None else [repr(error), *traceback.format_exception(error)]
        self._lines.extend([record.getMessage(), repr(record.__dict__), *raw])


class _Lines(logging.Handler):
    def __init__(self, lines: list[str], formatter: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@dataclass(slots=True)
class Logged:
    """What was logged, by who wrote it down."""

    by: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @property
    def text(self) -> str:
        return "\n".join(line for lines in self.by.values() for line in lines)


@contextmanager
def logged() -> Generator[Logged]:
    """All that is logged meanwhile, at every level."""
    kept, root = Logged(), logging.getLogger()
    renderers: Sequence[Callable[..., Any]] = (
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    )
    ways: dict[str, Callable[[list[str]], logging.Handler]] = {
        "bare": _Bare,
        "plain": lambda lines: _Lines(lines, logging.Formatter("%(name)s %(message)s")),
        "json": lambda lines: _Lines(lines, JsonFormatter()),
        "structlog": lambda lines: _Lines(lines, structlog.stdlib.ProcessorFormatter(processors=renderers)),
    }
    handlers: list[logging.Handler] = []
    for name, make in ways.items():
        handlers.append(make(kept.by.setdefault(name, [])))
    before = root.level
    root.setLevel(logging.DEBUG)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield kept
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


@dataclass(frozen=True, slots=True)
class Planted:
    """What is left of the run."""

    folder: Path
    run: str
    logged: Logged
    traced: Traced

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder / 'rail.db'}"

    @property
    def records(self) -> str:
        return f"sqlite:///{self.folder / 'rail.records.db'}"

    def record_bytes(self) -> list[bytes]:
        """The record's files as they lie there, and what is compressed in them."""
        files = [path.read_bytes() for path in self.folder.glob("rail.records.db*")]
        assert files
        blobs = [zlib.decompress(data) for (data,) in rows(self.records, "SELECT data FROM blobs")]
        return [*files, *blobs]

    def ledger_bytes(self) -> list[bytes]:
        return [path.read_bytes() for path in self.folder.glob("rail.db*")]


def planted(folder: Path, content: ContentMode) -> Planted:
    """One run in which everything goes wrong that can, with secrets in all of it."""
    traced = Traced()
    query = f"{WORD} {ALL}"
    names = (stated, told, broken, down, pay, unshown, long)
    first = Calls(
        ("find", {"query": query, "headers": {"Authorization": FORMS["bearer"][0], "x": WORD}}),
        *((one.name, {"query": query}) for one in names),
        text=f"{WORD} {ALL}",
    )
    asked = Calls(*(("plain", {"query": f"{what} {query}"}) for what in ("deny", "ask", "fail")))
    wrong = Calls(("plain", {"question": query}), ("plain", f'{{"query": "{WORD}'), ("plain", {"query": [WORD]}))
    who = Principal("ann", attributes={"note": WORD, "key": ALL})
    spans: Any = None if content == "off" else content

    async def main() -> str:
        rail = Rail(
            TOOLS,
            store=f"sqlite:///{folder / 'rail.db'}",
            records=Recorder(f"sqlite:///{folder / 'rail.records.db'}", content=content),
            sinks=[LogSink(), traced.sink(content=spans, principals=True), BrokenSink()],
            policies=[policy],
            approver=approver,
            clock=FixedClock(wall=time.time() - 1_060.0),  # whose loop begins at 1,000,
        )
        async with rail:
            agent = Agent(ScriptedModel([first, asked, wrong, Say(f"{WORD} {ALL}")]), rail, instructions=query)
            result = await agent.run(query, principal=who)
        return result.run_id

    with logged() as kept:
        run = run_virtual(main())
    return Planted(folder, run, kept, traced)
