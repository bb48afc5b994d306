"""The record: one settled event per call, no gaps, no content; sinks and wording that fail break nothing."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.spine.helpers import call, codes, rail_of, said, settled, virtually
from toolrail.codes import CODES, Code
from toolrail.definition import tool
from toolrail.errors import ModelRetry, NotAuthorised, ToolError
from toolrail.events import AttemptEnded, CallRequested, CallSettled, Event, RunEnded, RunStarted, RunSuspended
from toolrail.messages import ToolCall
from toolrail.rail import Rail
from toolrail.testing import Recorder, fault_tool, run_virtual
from toolrail.testing.faults import ASYNC_FAULTS
from toolrail.wording import WORDING, refusal, text_for

NAMES = [*ASYNC_FAULTS, "nowhere", "ok"]


@promise("call:total")
@given(names=st.lists(st.sampled_from([n for n in NAMES if n not in ("huge", "stuck_children")]), max_size=8))
def test_every_call_has_one_request_and_one_settled_event_and_numbers_have_no_gaps(names: list[Any]) -> None:
    rail, recorder = rail_of(*(fault_tool(name, timeout=0.5) for name in dict.fromkeys(names) if name != "nowhere"))
    results = virtually(rail, [call(name) for name in names])
    keys = [event.call.key for event in settled(recorder)]
    assert len(keys) == len(set(keys)) == len(names)
    assert sorted(event.call.index for event in settled(recorder)) == list(range(len(names)))
    assert {e.call.key for e in recorder.of(CallRequested)} == set(keys)
    assert [event.head.seq for event in recorder.events] == list(range(1, len(recorder.events) + 1))
    assert isinstance(recorder.events[0], RunStarted)
    assert isinstance(recorder.events[-1], (RunEnded, RunSuspended))
    by_index = {event.call.index: event for event in settled(recorder)}
    for index, result in enumerate(results):
        event = by_index[index]
        assert (event.status, event.code) == (result.status, result.recorded_code or result.code)
        assert event.result_bytes == len(result.content.encode())


@promise("call:total")
def test_events_carry_no_content() -> None:
    @tool(effect="read")
    async def echo(text: str) -> str:
        """Gives it back."""
        if text == "argument-s3cr3t":
            raise ToolError("text-s3cr3t")
        return "result-s3cr3t"

    rail, recorder = rail_of(echo)
    virtually(
        rail, [call("echo", {"text": "argument-s3cr3t"}), call("echo", {"text": "x"}), call("echo", '{"s3cr3t": 1}')]
    )
    assert len(settled(recorder)) == 3
    assert "s3cr3t" not in repr(recorder.events)


@promise("call:total")
def test_times_and_sizes_of_a_call_are_exact() -> None:
    @tool(effect="read")
    async def slow(text: str) -> str:
        """Takes two attempts of a second."""
        await asyncio.sleep(1)
        if len(recorder.of(AttemptEnded)) == 0:
            raise ToolError("again", retryable=True, retry_after=3)
        return "é"

    rail, recorder = rail_of(slow)
    virtually(rail, [ToolCall("1", "slow", '{"text": "ü"}')])
    (event,) = settled(recorder)
    assert (event.argument_bytes, event.result_bytes, event.attempts) == (14, 2, 2)
    assert (event.seconds, event.handler_seconds) == (pytest.approx(5), pytest.approx(5))
    first, second = recorder.of(AttemptEnded)
    assert (first.failure, first.error_type, first.wait) == ("statement", "ToolError", 3)
    assert (second.failure, second.wait) == (None, None)


class Failing:
    """A sink that fails each time."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error
        self.asked = 0

    def emit(self, event: Event) -> None:
        self.asked += 1
        raise self.error("s3cr3t-value")


@promise("call:total")
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, RecursionError, StopIteration])
def test_a_sink_that_raises_breaks_nothing_and_is_counted(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    failing, recorder = Failing(error), Recorder()
    rail: Rail[Any] = Rail([fault_tool("ok"), fault_tool("unexpected")], sinks=[failing, recorder])
    results = virtually(rail, [call("ok"), call("unexpected"), call("nowhere")])
    assert codes(results) == ["ok", "INTERNAL_ERROR", "UNKNOWN_TOOL"]
    assert failing.asked == len(recorder.events) == rail.ports.work.sink_errors
    assert len(settled(recorder)) == 3
    assert len([r for r in caplog.records if "sink" in r.getMessage()]) == 1


@promise("call:total")
def test_without_sinks_nothing_is_built_and_everything_is_answered() -> None:
    rail: Rail[Any] = Rail([fault_tool("ok"), fault_tool("transient")], sinks=[])
    assert codes(virtually(rail, [call("ok"), call("transient")])) == ["ok", "MAX_RETRIES"]


@promise("call:errors")
def test_wording_is_overridden_by_code() -> None:
    wording = {Code.TIMEOUT: "Zu langsam: {tool}, {seconds:g} s.", Code.UNKNOWN_TOOL: "Kein {tool}."}
    rail, _ = rail_of(fault_tool("hang", timeout=2.0), wording=wording)
    results = virtually(rail, [call("hang"), call("nowhere")])
    assert [said(r)["error"] for r in results] == ["Zu langsam: hang, 2 s.", "Kein nowhere."]
    assert [said(r)["code"] for r in results] == ["TIMEOUT", "UNKNOWN_TOOL"]


BROKEN: list[Any] = [
    "{nonsense}",
    "{",
    "{seconds[0]}",
    "{seconds.x}",
    "{seconds:q}",
    "{0}",
    5,
    "{tool!x}",
]


@promise("call:errors", "call:total")
@pytest.mark.parametrize("template", BROKEN)
def test_a_broken_wording_falls_back_to_ours(template: Any) -> None:
    wording = dict.fromkeys(Code, template)
    rail, _ = rail_of(fault_tool("hang", timeout=2.0), fault_tool("unexpected"), wording=wording)
    results = virtually(rail, [call("hang"), call("nowhere"), call("unexpected")])
    assert codes(results) == ["TIMEOUT", "UNKNOWN_TOOL", "INTERNAL_ERROR"]
    assert said(results[0])["error"] == "hang did not answer within 2 s."


@promise("call:errors")
@pytest.mark.parametrize("code", Code)
def test_every_code_has_its_wording_and_its_row(code: Code) -> None:
    values = {name: 1 for _, name, _, _ in string.Formatter().parse(WORDING[code]) if name}
    assert text_for(code, {}, values)
    assert CODES[code].status != "ok"
    assert json.loads(refusal("text", code)) == {"error": "text", "code": code.value}


@promise("call:errors", "call:total")
@pytest.mark.parametrize(
    "error",
    [
        ToolError("half \ud800 a character"),
        ModelRetry("half \udfff a character"),
        NotAuthorised("half \ud800 a character"),
        NotAuthorised(like="half \ud800 a character"),
    ],
    ids=ascii,
)
def test_half_a_character_in_a_tools_words_breaks_nothing(error: ToolError) -> None:
    @tool(effect="read")
    async def speak() -> None:
        """Says it."""
        raise error

    rail, recorder = rail_of(speak)
    (result,) = virtually(rail, [call("speak")])
    result.content.encode()
    assert said(result)["error"] == "half ? a character"
    assert len(settled(recorder)) == 1


@promise("call:errors", "call:total")
def test_a_tool_error_that_is_hostile_or_half_made_itself_breaks_nothing() -> None:
    class Hostile(ToolError):
        def __str__(self) -> str:
            raise RuntimeError("s3cr3t-value")

    class Unmade(ToolError):
        def __init__(self) -> None:  # never calls ToolError's
            pass

    made: list[Callable[[], ToolError]] = [lambda: Hostile("x"), Unmade]

    @tool(effect="read")
    async def speak(n: int) -> None:
        """Raises one of them."""
        raise made[n]()

    rail, recorder = rail_of(speak)
    results = virtually(rail, [call("speak", {"n": 0}), call("speak", {"n": 1})])
    assert codes(results) == ["INTERNAL_ERROR", "TOOL_ERROR"]
    assert "s3cr3t" not in "".join(r.content for r in results)
    assert len(settled(recorder)) == 2


@promise("call:errors")
def test_two_unexpected_errors_have_two_references() -> None:
    rail, recorder = rail_of(fault_tool("unexpected"))
    results = virtually(rail, [call("unexpected")] * 2)
    references = {said(r)["reference"] for r in results}
    assert len(references) == 2
    assert {event.reference for event in settled(recorder)} == references


@promise("call:total")
def test_a_batch_without_a_run_is_a_fresh_run_of_nobody() -> None:
    rail, recorder = rail_of(fault_tool("ok"))

    async def main() -> None:
        await rail.batch([call("ok")])
        await rail.batch([call("ok")])

    run_virtual(main())
    assert len({event.head.run for event in recorder.of(CallSettled)}) == 2
    assert {event.head.principal for event in settled(recorder)} == {"anonymous"}
