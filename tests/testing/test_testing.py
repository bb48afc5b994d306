"""What users test with: the scripted model, simulated time, assertions, and tools with faults on demand."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from toolrail import Agent, Rail, RailLimits, Tool, ToolCall, tool
from toolrail.events import CallSettled, RunEnded
from toolrail.history.check import check
from toolrail.messages import Message, ToolResult, Usage
from toolrail.model import ArgumentsDelta, ModelFailure, ModelResponse, Named, Setup, TextDelta, TurnRequest
from toolrail.testing import (
    Calls,
    FixedClock,
    Recorder,
    Say,
    ScriptedModel,
    VirtualTimeLoop,
    assert_history_valid,
    assert_one_result_each,
    fault_tool,
    fault_tools,
    run_virtual,
)
from toolrail.testing.faults import ASYNC_FAULTS, SECRET, SYNC_FAULTS, Fault

NOTHING: tuple[Tool[object], ...] = ()
USER: Message = {"role": "user", "content": "Hi."}


@tool(effect="read")
async def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


# -- the scripted model


def played(script: Sequence[Any], messages: Sequence[Message] = (USER,), **turn: Any) -> ModelResponse:
    conversation = ScriptedModel(script).open(Setup())
    return asyncio.run(conversation.request(messages, TurnRequest(**turn)))


@promise("prove:testing")
def test_the_example_of_the_documentation_runs() -> None:
    model = ScriptedModel([Calls(("add", {"a": 1, "b": 2})), "It is 3."])
    result = asyncio.run(Agent(model, Rail([add])).run("What is 1 + 2?"))
    assert (result.text, result.calls[0].content) == ("It is 3.", "3")


@promise("prove:testing")
def test_a_test_with_it_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refused)
    agent = Agent(ScriptedModel([Calls(("add", {"a": 1, "b": 2})), "It is 3."]), Rail([add]))
    assert run_virtual(agent.run("What is 1 + 2?")).ok


@promise("prove:testing")
@pytest.mark.parametrize(
    ("turn", "text", "stop", "usage"),
    [
        ("Hello.", "Hello.", "end", Usage(100, 20)),
        ("", "", "empty", Usage(100, 20)),
        (Say("No.", stop="refusal"), "No.", "refusal", Usage(100, 20)),
        (Say("Hello.", usage=Usage(1, 2, cached_tokens=1)), "Hello.", "end", Usage(1, 2, cached_tokens=1)),
        (Calls(("add", {}), text="Hm."), "Hm.", "calls", Usage(100, 20)),
        (Calls(("add", {}), stop="length", usage=Usage(5, 5)), "", "length", Usage(5, 5)),
    ],
)
def test_a_turn_becomes_a_response(turn: Any, text: str, stop: str, usage: Usage) -> None:
    response = played([turn])
    assert (response.text, response.stop, response.usage) == (text, stop, usage)
    assert len(response.messages) == (stop != "empty")


@promise("prove:testing")
def test_arguments_are_a_mapping_or_raw_text() -> None:
    response = played([Calls(("add", {"a": 1}), ("add", '{"a": '), ("nobody", ""))])
    assert [(call.name, call.arguments) for call in response.calls] == [
        ("add", '{"a": 1}'),
        ("add", '{"a": '),
        ("nobody", ""),
    ]
    wire = response.messages[0]["tool_calls"]
    assert [one["function"]["arguments"] for one in wire] == [call.arguments for call in response.calls]


@promise("prove:testing", "call:total")
@pytest.mark.parametrize("ids", [(), ("", ""), ("a", "a"), ("old", "old_2")])
def test_its_ids_are_whole_as_every_codecs_are(ids: tuple[str, ...]) -> None:
    before = played([Calls(("add", {}), ids=("old",))]).messages[0]
    messages = [USER, before, {"role": "tool", "tool_call_id": "old", "content": "1"}, USER]
    response = played([Calls(("add", {}), ("add", {}), ids=ids)], messages)
    answers = [{"role": "tool", "tool_call_id": call.id, "content": "1"} for call in response.calls]
    assert check([*messages, *response.messages, *answers], "openai_chat") == []


@promise("prove:testing")
def test_two_models_may_go_on_with_one_conversation() -> None:
    first = asyncio.run(Agent(ScriptedModel([Calls(("add", {"a": 1, "b": 2})), "3."]), Rail([add])).run("Add."))
    agent = Agent(ScriptedModel([Calls(("add", {"a": 3, "b": 4})), "7."]), Rail([add]))
    second = asyncio.run(agent.run("Add more.", messages=first.messages))
    assert second.notes == ()
    assert_history_valid(second.messages)


@promise("prove:testing")
def test_a_function_of_the_conversation_is_a_turn() -> None:
    def answer(messages: Sequence[Message]) -> str:
        return f"You said {messages[-1]['content']}"

    assert played([answer]).text == "You said Hi."


@promise("prove:testing")
def test_a_failure_is_a_turn() -> None:
    with pytest.raises(ModelFailure, match="rate_limited"):
        played([ModelFailure("rate_limited", "slow down")])


@promise("prove:testing")
def test_it_keeps_what_was_sent_as_it_was_then() -> None:
    model = ScriptedModel(["A.", "B."])
    messages = [dict(USER)]
    conversation = model.open(Setup(instructions="Be brief."))
    asyncio.run(conversation.request(messages, TurnRequest(Named("add"))))
    messages[0]["content"] = "changed"
    assert model.requests == [([USER], TurnRequest(Named("add")))]
    assert model.setups[0].instructions == "Be brief."


@promise("prove:testing")
def test_a_script_that_is_over_fails_the_test_unless_it_is_endless() -> None:
    with pytest.raises(AssertionError, match="1 turns, and the model was asked once more"):
        run_virtual(Agent(ScriptedModel([Calls(("add", {"a": 1, "b": 2}))]), Rail([add])).run("Go."))
    endless = ScriptedModel([Calls(("add", {"a": 1, "b": 2}))], endless=True)
    assert run_virtual(Agent(endless, Rail([add])).run("Go.")).stop_reason == "limit:turns"


@promise("prove:testing", "loop:stream")
@pytest.mark.parametrize("text", ["It is 3.", " two  spaces ", "line\nline\n", "word", "\n"])
def test_the_pieces_of_a_streamed_answer_are_its_text(text: str) -> None:
    async def main() -> list[Any]:
        conversation = ScriptedModel([Calls(("add", {"a": 1}), text=text)]).open(Setup())
        return [item async for item in conversation.stream([USER], TurnRequest())]

    *deltas, last = asyncio.run(main())
    assert "".join(item.text for item in deltas if isinstance(item, TextDelta)) == text
    assert [item for item in deltas if isinstance(item, ArgumentsDelta)] == [ArgumentsDelta(0, "add", '{"a": 1}')]
    assert isinstance(last, ModelResponse)
    assert last.text == text


@promise("prove:testing")
def test_a_slow_model_takes_simulated_time() -> None:
    async def main() -> float:
        began = asyncio.get_running_loop().time()
        await Agent(ScriptedModel(["Hi."], seconds=90.0), Rail(NOTHING)).run("Hi.")
        return asyncio.get_running_loop().time() - began

    assert run_virtual(main()) == 90.0


# -- simulated time


@promise("prove:testing")
def test_three_days_pass_at_once_and_timers_fire_in_order() -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        began, fired = loop.time(), list[Any]()
        for delay in (86_400.0, 0.5, 3_600.0):
            loop.call_later(delay, fired.append, delay)
        await asyncio.sleep(3 * 86_400)
        return [*fired, loop.time() - began]

    assert run_virtual(main()) == [0.5, 3_600.0, 86_400.0, 259_200.0]


@promise("prove:testing")
def test_waiting_for_what_can_never_happen_is_an_error_and_no_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="Deadlock"):
        run_virtual(main())


@promise("prove:testing")
def test_time_stands_still_while_a_thread_of_the_rail_is_at_work() -> None:
    @tool(effect="read", timeout=1.0)
    def works() -> int:
        """Works in a thread, for longer than an idle loop needs to jump to its next timer."""
        return sum(range(300_000))

    async def main() -> tuple[ToolResult, float, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        alarm = asyncio.ensure_future(asyncio.sleep(100))
        (result,) = await Rail([works], sinks=[]).batch([ToolCall("1", "works", "{}")])
        took = loop.time() - began
        await alarm
        return result, took, loop.time() - began

    result, took, all_of_it = run_virtual(main())
    assert (result.content, took, all_of_it) == ("44999850000", 0.0, 100.0)


@promise("prove:testing")
def test_time_stands_still_while_a_store_writes(tmp_path: Path) -> None:
    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with Rail([add], store=f"sqlite:///{tmp_path / 'rail.db'}", sinks=[]) as rail:
            agent = Agent(ScriptedModel([Calls(("add", {"a": 1, "b": 2})), "3."]), rail)
            result = await agent.run("Go.", session="s")
        return result.text, loop.time() - began

    text, took = run_virtual(main())
    assert (text, took < 0.1) == ("3.", True)


@promise("prove:testing")
def test_the_loop_may_begin_at_any_time() -> None:
    async def now() -> float:
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(5.0)) as runner:
        assert runner.run(now()) == 5.0


@promise("prove:testing")
def test_the_same_seed_gives_the_same_ids_and_waits_and_another_gives_others() -> None:
    def record(seed: int) -> list[Any]:
        recorder = Recorder()
        rail = Rail([fault_tool("retryable"), add], sinks=[recorder], clock=FixedClock(seed=seed))
        run_virtual(Agent(ScriptedModel([Calls(("retryable", {})), "Done."]), rail).run("Go."))
        return recorder.events

    assert record(1) == record(1)
    assert record(1) != record(2)


@promise("prove:testing")
def test_wall_time_follows_the_simulated_loop_and_stands_without_one() -> None:
    clock = FixedClock(wall=10_000.0)

    async def main() -> float:
        before = clock.wall()
        await asyncio.sleep(60)
        return clock.wall() - before

    assert run_virtual(main()) == 60.0
    assert clock.wall() == 10_000.0


# -- assertions


@promise("prove:testing")
def test_a_recorder_gives_the_events_of_one_class_in_order() -> None:
    recorder = Recorder()
    agent = Agent(
        ScriptedModel([Calls(*[("add", {"a": n, "b": 0}) for n in range(3)]), "Done."]), Rail([add], sinks=[recorder])
    )
    run_virtual(agent.run("Go."))
    assert [event.call.index for event in recorder.of(CallSettled)] == [0, 1, 2]
    assert recorder.events[-1] is recorder.of(RunEnded)[0]


CALLS = [ToolCall("1", "add", "{}"), ToolCall("2", "add", "{}")]


def result(call_id: str, name: str = "add") -> ToolResult:
    return ToolResult(call_id, name, "ok", "1")


@promise("prove:testing")
@pytest.mark.parametrize(
    "results",
    [[], [result("1")], [result("2"), result("1")], [result("1"), result("1")], [result("1"), result("2", "sub")]],
)
def test_a_missing_doubled_swapped_or_foreign_result_fails(results: list[ToolResult]) -> None:
    assert_one_result_each(CALLS, [result("1"), result("2")])
    with pytest.raises(AssertionError, match="were answered as"):
        assert_one_result_each(CALLS, results)


@promise("prove:testing")
def test_a_broken_history_fails_with_what_is_wrong() -> None:
    asked = played([Calls(("add", {}))]).messages[0]
    with pytest.raises(AssertionError, match="a call has no result"):
        assert_history_valid([USER, asked])
    mixed = [{"type": "text", "text": "x"}, {"type": "tool_result", "tool_use_id": "1"}]
    with pytest.raises(AssertionError, match="results do not come first"):
        assert_history_valid([{"role": "user", "content": mixed}], "anthropic")
    assert_history_valid([USER])


# -- tools with faults

CODES: dict[Fault, str] = {
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


def of(fault: Fault, *, sync: bool) -> ToolResult:
    """One call of it: in simulated time, but for a thread that hangs."""
    until = threading.Event()
    made = fault_tool(fault, sync=sync, timeout=0.05 if sync and fault == "hang" else 5.0, until=until)
    rail = Rail([made], sinks=[], limits=RailLimits(backoff=0.001))
    call = ToolCall("1", fault, "{}")
    if not (sync and fault == "hang"):
        (found,) = run_virtual(rail.batch([call]))
        return found
    (found,) = asyncio.run(rail.batch([call]))
    until.set()
    return found


@promise("prove:testing", "call:total")
@pytest.mark.parametrize("fault", ASYNC_FAULTS)
def test_an_async_fault_is_answered_as_it_should(fault: Fault) -> None:
    found = of(fault, sync=False)
    assert (found.code.value if found.code else found.status) == CODES[fault]
    assert SECRET not in found.content


@promise("prove:testing", "call:total")
@pytest.mark.parametrize("fault", SYNC_FAULTS)
def test_a_sync_fault_is_answered_as_it_should(fault: Fault) -> None:
    found = of(fault, sync=True)
    assert (found.code.value if found.code else found.status) == CODES[fault]
    assert SECRET not in found.content


@promise("prove:testing")
@pytest.mark.parametrize("sync", [False, True])
def test_there_is_one_tool_for_each_fault(*, sync: bool) -> None:
    tools = fault_tools(sync=sync, effect="idempotent", timeout=2.0)
    assert [made.name for made in tools] == list(SYNC_FAULTS if sync else ASYNC_FAULTS)
    assert {(made.effect.kind, made.limits.timeout, made.is_async) for made in tools} == {("idempotent", 2.0, not sync)}
    assert json.dumps([made.schema for made in tools])


@promise("prove:testing")
def test_a_fault_tool_may_have_any_name_and_effect() -> None:
    made = fault_tool("hang", name="pay", effect="once")
    assert (made.name, made.effect.kind) == ("pay", "once")


@promise("prove:testing")
def test_simulated_time_stands_still_while_a_thread_of_asyncio_works() -> None:
    async def main() -> tuple[str, float]:
        began = asyncio.get_running_loop().time()
        found = await asyncio.to_thread(str, 3)
        return found, asyncio.get_running_loop().time() - began

    assert run_virtual(main()) == ("3", 0.0)
