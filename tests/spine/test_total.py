"""The fault table: whatever a handler does, each call gets one result with its id, and its siblings keep theirs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Generator

import pytest

from tests.promises import promise
from tests.spine.helpers import call, codes, leftover_tasks, rail_of, said, settled
from toolrail.definition import tool
from toolrail.messages import ToolCall, ToolResult
from toolrail.testing import assert_one_result_each, fault_tool, run_virtual
from toolrail.testing.faults import ASYNC_FAULTS, SECRET, SYNC_FAULTS, Fault

EXPECTED: dict[Fault, str] = {
    "ok": "ok",
    "retryable": "MAX_RETRIES",
    "permanent": "TOOL_ERROR",
    "model_retry": "TOOL_ERROR",
    "not_authorised": "NOT_AUTHORISED",
    "unexpected": "INTERNAL_ERROR",
    "transient": "MAX_RETRIES",
    "system_exit": "INTERNAL_ERROR",
    "keyboard_interrupt": "INTERNAL_ERROR",
    "cancelled_error": "INTERNAL_ERROR",
    "recursion": "INTERNAL_ERROR",
    "hang": "TIMEOUT",
    "swallow": "TIMEOUT",
    "slow_cleanup": "TIMEOUT",
    "stuck_children": "TIMEOUT",
    "unencodable": "ok",
    "huge": "ok",
    "nan": "ok",
    "cyclic": "ok",
    "generator": "ok",
}
"""What each fault means for a tool that only reads."""

PLACES = [(1, 0), (3, 0), (3, 1), (100, 0), (100, 50)]


@pytest.fixture
def end_of_hang() -> Generator[threading.Event]:
    """Lets threads that hang end with the test."""
    event = threading.Event()
    yield event
    event.set()


def _calls(faulty: str, size: int, at: int) -> list[ToolCall]:
    return [call(faulty if n == at else "sibling", id=f"id-{n}") for n in range(size)]


@tool(name="sibling", effect="read")
async def _sibling() -> str:
    """Does what it should."""
    await asyncio.sleep(0.001)
    return "kept"


@tool(name="sibling", effect="read")
def _sync_sibling() -> str:
    """Does what it should, in a thread."""
    return "kept"


def _check(calls: list[ToolCall], results: list[ToolResult], *, fault: Fault, at: int) -> None:
    assert_one_result_each(calls, results)
    assert codes(results)[at] == EXPECTED[fault]
    assert results[at].started
    assert [r.content for n, r in enumerate(results) if n != at] == ["kept"] * (len(calls) - 1)
    assert not [r for r in results if SECRET in r.content]
    assert all(len(r.content.encode()) <= 32 * 1024 for r in results)


@promise("call:total", "call:deadline/async")
@pytest.mark.parametrize(("size", "at"), PLACES)
@pytest.mark.parametrize("fault", ASYNC_FAULTS)
def test_an_async_fault_is_one_result_and_its_siblings_keep_theirs(fault: Fault, size: int, at: int) -> None:
    rail, recorder = rail_of(fault_tool(fault), _sibling)
    calls = _calls(fault, size, at)

    async def main() -> tuple[list[ToolResult], set[str]]:
        return await rail.batch(calls), await leftover_tasks()

    results, left = run_virtual(main())
    _check(calls, results, fault=fault, at=at)
    if fault != "stuck_children":  # what a tool's own children do is the documented limit, see test_process
        assert not left
    assert len(recorder.events) >= 2 * size


@promise("call:total", "call:deadline/threads")
@pytest.mark.parametrize(("size", "at"), PLACES)
@pytest.mark.parametrize("fault", SYNC_FAULTS)
def test_a_sync_fault_is_one_result_and_its_siblings_keep_theirs(
    fault: Fault, size: int, at: int, end_of_hang: threading.Event
) -> None:
    seconds = 0.05 if fault == "hang" else 30.0
    rail, _ = rail_of(fault_tool(fault, sync=True, timeout=seconds, until=end_of_hang), _sync_sibling)
    calls = _calls(fault, size, at)

    async def main() -> tuple[list[ToolResult], set[str]]:
        return await rail.batch(calls), await leftover_tasks()

    results, left = asyncio.run(main()) if fault == "hang" else run_virtual(main())
    _check(calls, results, fault=fault, at=at)
    assert not left


@promise("call:total")
def test_all_faults_in_one_batch_are_answered_each_for_itself() -> None:
    rail, _ = rail_of(*(fault_tool(fault) for fault in ASYNC_FAULTS))
    calls = [call(fault) for fault in ASYNC_FAULTS]
    results = run_virtual(rail.batch(calls))
    assert_one_result_each(calls, results)
    assert codes(results) == [EXPECTED[fault] for fault in ASYNC_FAULTS]


@promise("call:total")
@pytest.mark.parametrize(
    "ids", [("", "", ""), ("a", "a", "a"), ("", "a", ""), ("\ud800", "a\x00b", "x" * 10_000)], ids=repr
)
def test_empty_and_duplicate_ids_are_answered_by_position(ids: tuple[str, ...]) -> None:
    @tool(effect="read")
    async def echo(n: int) -> int:
        """Gives the number back."""
        return n

    rail, _ = rail_of(echo)
    calls = [ToolCall(id, "echo", f'{{"n": {n}}}') for n, id in enumerate(ids)]
    results = run_virtual(rail.batch(calls))
    assert_one_result_each(calls, results)
    assert [r.content for r in results] == ["0", "1", "2"]


@promise("call:total")
def test_the_same_call_object_twice_is_two_calls() -> None:
    ran: list[int] = []

    @tool(effect="read")
    async def note() -> int:
        """Counts."""
        ran.append(1)
        return len(ran)

    rail, recorder = rail_of(note)
    one = call("note")
    results = run_virtual(rail.batch([one, one]))
    assert [r.content for r in results] == ["1", "2"]
    assert len({event.call.key for event in settled(recorder)}) == 2


@promise("call:total")
def test_an_empty_batch_has_no_results() -> None:
    rail, recorder = rail_of(_sibling)
    assert run_virtual(rail.batch([])) == []
    assert recorder.events == []


@promise("call:errors")
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@pytest.mark.parametrize("fault", ["unexpected", "system_exit", "keyboard_interrupt", "cancelled_error", "recursion"])
def test_an_unexpected_error_is_logged_in_full_and_told_as_a_reference(
    fault: Fault, sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rail, recorder = rail_of(fault_tool(fault, sync=sync))
    with caplog.at_level(logging.ERROR, "toolrail"):
        (result,) = run_virtual(rail.batch([call(fault)]))
    told = said(result)
    assert told.keys() == {"error", "code", "reference"}
    assert told["reference"] in told["error"]
    assert told["reference"] in caplog.text
    assert "Traceback" in caplog.text
    assert all(SECRET not in record.getMessage() for record in caplog.records)
    assert SECRET not in repr(recorder.events)


@promise("call:errors")
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("retryable", "The service is busy."),
        ("permanent", "There is no such order."),
        ("model_retry", "Give the order's number, not its date."),
        ("not_authorised", "The user may not do this."),
    ],
)
def test_a_statement_of_the_tool_reaches_the_model_word_for_word(
    fault: Fault, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    rail, _ = rail_of(fault_tool(fault))
    (result,) = run_virtual(rail.batch([call(fault)]))
    assert said(result)["error"] == text
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


@promise("call:errors")
def test_a_transient_failure_shows_neither_its_text_nor_its_class() -> None:
    rail, _ = rail_of(fault_tool("transient"))
    (result,) = run_virtual(rail.batch([call("transient")]))
    assert said(result) == {"error": "transient failed for now, after 3 attempts.", "code": "MAX_RETRIES"}
