"""The log: one line a call, denials and failed attempts too, and nothing that a model wrote can forge a line."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrail import Deny, PolicyRequest, Rail, ToolCall, ToolError, tool
from toolrail.codes import CODES, Code
from toolrail.events import AttemptEnded, CallDecided, CallRef, CallSettled, Event, Head
from toolrail.records.logging import WIDEST, LogSink, safe

HEAD = Head(1, 0.0, 0.0, "default", None, "run_1", 1, "ada")


def _call(name: str = "find") -> CallRef:
    return CallRef("run_1:1:0", 0, "1", name, "digest")


def _settled(name: str = "find") -> CallSettled:
    return CallSettled(HEAD, _call(name), "ok", None, 1, 20, 310, 0.0123, 0.01, (), False, True)


def _lines(caplog: pytest.LogCaptureFixture, *events: Event, level: int = logging.INFO) -> list[tuple[str, str]]:
    with caplog.at_level(level, "toolrail.calls"):
        for event in events:
            LogSink().emit(event)
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "toolrail.calls"]


def _failed(wait: float | None, failure: str | None = "transient") -> AttemptEnded:
    return AttemptEnded(HEAD, _call(), 1, failure, "ConnectError" if failure else None, 0.1, wait)


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (Code.APPROVAL_PENDING, "INFO"),
        (Code.WAITING, "INFO"),
        (Code.APPROVAL_REJECTED, "WARNING"),
        (Code.OUTCOME_UNKNOWN, "WARNING"),
        (Code.TOOL_ERROR, "WARNING"),
        (Code.CANCELLED, "WARNING"),
    ],
)
def test_a_call_that_waits_for_somebody_is_no_warning(caplog: pytest.LogCaptureFixture, code: Code, level: str) -> None:
    event = CallSettled(HEAD, _call(), CODES[code].status, code, 1, 20, 310, 0.0123, 0.01, (), False, True)
    assert [said for said, _ in _lines(caplog, event)] == [level]


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        (_settled(), "INFO", "tool=find latency_ms=12.3 args_bytes=20 result_bytes=310 attempts=1 ok run=run_1"),
        (
            CallDecided(HEAD, _call("pay"), "deny", "limits", "more than 500 EUR"),
            "WARNING",
            'tool=pay denied rule=limits reason="more than 500 EUR" run=run_1',
        ),
        (_failed(0.08), "INFO", "tool=find attempt=1 failure=transient error=ConnectError wait_ms=80.0 run=run_1"),
        (_failed(None), "WARNING", "tool=find attempt=1 failure=transient error=ConnectError last run=run_1"),
    ],
)
def test_an_event_is_one_line(caplog: pytest.LogCaptureFixture, event: Event, level: str, line: str) -> None:
    assert _lines(caplog, event) == [(level, line)]


@pytest.mark.parametrize(
    "event",
    [CallDecided(HEAD, _call(), "allow", "", ""), CallDecided(HEAD, _call(), "ask", "r", "why"), _failed(None, None)],
)
def test_what_is_as_it_should_be_is_no_line(caplog: pytest.LogCaptureFixture, event: Event) -> None:
    assert _lines(caplog, event) == []


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (_settled(), logging.WARNING),
        (_failed(0.1), logging.WARNING),
        (_failed(None), logging.ERROR),
        (CallDecided(HEAD, _call(), "deny", "r", "why"), logging.ERROR),
    ],
)
def test_nothing_is_written_below_the_level(caplog: pytest.LogCaptureFixture, event: Event, level: int) -> None:
    assert _lines(caplog, event, level=level) == []


FORGED = "a\nERROR root all your base"
LONG = "x" * 3_000


def _denied(request: PolicyRequest) -> Deny:
    return Deny(f"not {request.arguments['query']}", rule="house")


@tool(effect="read")
async def find(query: str) -> str:
    """Finds."""
    raise ToolError("no")


async def _answer(call: ToolCall, policies: list[Any]) -> None:
    async with Rail([find], policies=policies) as rail, rail.run([]) as run:
        await rail.batch([call], run)


@pytest.mark.parametrize(
    ("call", "policies", "line"),
    [
        (ToolCall("1", FORGED, "{}"), [], 'tool="a\\nERROR root all your base" latency_ms='),
        (ToolCall("1", LONG, "{}"), [], f'tool="{"x" * 59}..." latency_ms='),
        (ToolCall("1", "find attempts=9 ok", "{}"), [], 'tool="find attempts=9 ok" latency_ms='),
        (ToolCall("1", "\x1b[2J\u202e\ud800", "{}"), [], 'tool="\\u001b[2J\\u202e\\ud800" latency_ms='),
        (
            ToolCall("1", "find", '{"query": "\\nERROR root"}'),
            [_denied],
            'tool=find denied rule=house reason="not \\nERROR root" run=run_',
        ),
        (ToolCall("1", "find", '{"query": "lamp"}'), [], "tool=find attempt=1 failure=statement error=ToolError last"),
    ],
    ids=["a line of its own", "3,000 characters", "other fields", "a terminal", "a denial", "a failure"],
)
def test_a_rail_logs_by_default_and_what_a_model_wrote_stays_within_its_field(
    caplog: pytest.LogCaptureFixture, call: ToolCall, policies: list[Any], line: str
) -> None:
    with caplog.at_level(logging.INFO, "toolrail.calls"):
        asyncio.run(_answer(call, policies))
    lines = [record.getMessage() for record in caplog.records if record.name == "toolrail.calls"]
    assert [one for one in lines if one.startswith(line)]
    assert all(one.isprintable() and one.isascii() and len(one) < 300 for one in lines)


@given(st.text() | st.text(alphabet='\\"\n\u20acx', max_size=200))
def test_a_field_is_one_printable_word_of_at_most_64_characters_whose_quotes_close(text: str) -> None:
    shown = safe(text)
    assert len(shown) <= WIDEST
    assert shown.isascii()
    assert shown.isprintable()
    if shown.startswith('"'):
        inner = shown[1:-1].replace("\\\\", "").replace('\\"', "")
        assert shown.endswith('"')
        assert '"' not in inner
        assert not inner.endswith("\\")
    else:
        assert shown == text
        assert not {" ", "=", '"'} & set(shown)
