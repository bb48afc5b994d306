"""A run as typed events: in order, void where an attempt broke, cancelled when left, equal to `run` at its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes.model_server import Call, Fault, FaultKind, Say
from tests.loop.helpers import NO_TOOLS, PROVIDERS, TOOLS, WIRES, Provider, Unhurried, agent_of, leftover, served
from tests.promises import promise
from toolrail import Agent, Rail, RunBusy, RunContext, ToolCall, tool
from toolrail.asking import Discard
from toolrail.history.check import check
from toolrail.model import ArgumentsDelta, Model, ModelSettings, TextDelta
from toolrail.run import ToolEnded, ToolProgress, ToolStarted
from toolrail.testing import Calls, ScriptedModel, assert_history_valid, run_virtual

FIND = Calls(("find", {"query": "lamp"}), text="Let me look.")


@tool(effect="read")
async def tells(ctx: RunContext[object]) -> str:
    """Says how far it is."""
    for step in range(2):
        ctx.progress(f"step {step}")
        await asyncio.sleep(1)
    return "done"


def seen(events: list[Any]) -> list[str]:
    """The kinds of the events in order, deltas of one kind in a row as one."""
    kinds = [type(event).__name__ for event in events]
    return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


def text_of(events: list[Any]) -> str:
    """What a consumer shows who heeds `Discard`: the text of the response that is shown now."""
    text = ""
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, Discard | ToolEnded):
            text = ""
    return text


@dataclass
class Watched:
    events: list[Any] = field(default_factory=list[Any])
    result: Any = None
    left: set[str] = field(default_factory=set[str])


async def watch(agent: Agent[Any], **options: Any) -> Watched:
    found = Watched()
    async with agent.stream("Go.", **options) as stream:
        async for event in stream:
            found.events.append(event)
        found.result = stream.result
    found.left = await leftover()
    return found


@promise("loop:stream")
def test_events_come_in_order_and_the_result_afterwards() -> None:
    agent, _, _ = agent_of([Calls(("tells", {}), text="Let me look."), "It is  done.\n"], tools=[tells])
    found = run_virtual(watch(agent))
    assert seen(found.events) == [
        "TextDelta",
        "ArgumentsDelta",
        "ToolStarted",
        "ToolProgress",
        "ToolEnded",
        "TextDelta",
    ]
    call = ToolCall("call_1_0", "tells", "{}")
    assert [event for event in found.events if isinstance(event, ToolStarted)] == [ToolStarted(call)]
    progress = [event for event in found.events if isinstance(event, ToolProgress)]
    assert progress == [ToolProgress(call, "step 0"), ToolProgress(call, "step 1")]
    (ended,) = (event for event in found.events if isinstance(event, ToolEnded))
    assert ended.result.content == "done"
    assert (text_of(found.events), found.result.text) == ("It is  done.\n", "It is  done.\n")
    assert found.left == set()


@promise("loop:stream")
@pytest.mark.parametrize("script", [["Hello."], [FIND, "A lamp."], [FIND, FIND, Calls(("nobody", "{")), "Done.?"]])
def test_a_streamed_run_and_a_plain_one_end_alike(script: list[Any]) -> None:
    plain = run_virtual(agent_of(script)[0].run("Go."))
    streamed = run_virtual(watch(agent_of(script)[0])).result
    assert streamed == plain


@promise("loop:stream", "loop:providers")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_provider_streams_the_same_events(provider: Provider) -> None:
    script = [[Say("Let me look."), Call("find", '{"query": "lamp"}')], Say("A red lamp, 12 euros.")]

    async def use(model: Model) -> Watched:
        return await watch(Agent(model, Rail(TOOLS, sinks=[])))

    found, requests = served(provider, script, use)
    assert seen(found.events) == ["TextDelta", "ArgumentsDelta", "ToolStarted", "ToolEnded", "TextDelta"]
    arguments = "".join(event.text for event in found.events if isinstance(event, ArgumentsDelta))
    assert (arguments, text_of(found.events)) == ('{"query": "lamp"}', "A red lamp, 12 euros.")
    assert (found.result.stop_reason, found.result.text, found.left) == ("answer", "A red lamp, 12 euros.", set())
    assert check(found.result.messages, WIRES[provider]) == []  # pyright: ignore[reportArgumentType]
    assert len(requests) == 2


@promise("loop:stream", "loop:model-errors")
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("kind", ["midstream", "drop", "unfinished"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_broken_attempt_is_discarded_and_made_again_or_is_a_reason(
    provider: Provider, kind: FaultKind, times: int
) -> None:
    half = Fault(kind, parts=(Say("It is seven, I believe, or perhaps eight."),))

    async def use(model: Model) -> Watched:
        return await watch(
            Agent(model, Rail(NO_TOOLS, sinks=[], clock=Unhurried()), settings=ModelSettings(attempts=2))
        )

    found, requests = served(provider, [*[half] * times, Say("It is nine.")][:2], use)
    passed = times == 1
    assert seen(found.events) == ["TextDelta", "Discard"] * times + ["TextDelta"] * passed
    assert (found.result.stop_reason, text_of(found.events)) == (
        ("answer", "It is nine.") if passed else ("model_unavailable", "")
    )
    assert len(requests) == 2
    assert "seven" not in repr(found.result)


@promise("loop:stream", "call:json")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_call_whose_stream_broke_off_does_not_run(provider: Provider) -> None:
    half = Fault("drop", parts=(Call("find", '{"query": "a long text, so that it is cut"}'),))

    async def use(model: Model) -> Watched:
        return await watch(Agent(model, Rail(TOOLS, sinks=[], clock=Unhurried())))

    found, _ = served(provider, [half, Say("Done.")], use)
    assert found.result.calls == ()
    assert not any(isinstance(event, ToolStarted | ToolEnded) for event in found.events)


LEAVING: list[tuple[str, type[Any]]] = [
    ("in the model's text", TextDelta),
    ("in the arguments", ArgumentsDelta),
    ("while a tool runs", ToolStarted),
    ("after a result", ToolEnded),
]


@promise("loop:stream", "call:cancel", "loop:session")
@pytest.mark.parametrize(("name", "at"), LEAVING, ids=[row[0] for row in LEAVING])
def test_leaving_early_cancels_the_tools_and_leaves_a_session_that_goes_on(name: str, at: type[Any]) -> None:
    ended: list[str] = []

    @tool(effect="read")
    async def waits() -> str:
        """Waits."""
        try:
            await asyncio.sleep(100)
        finally:
            ended.append("cancelled")
        return "never"

    two = Calls(("find", {"query": "a"}), ("waits", {}), text="Let me look.")
    agent, model, _ = agent_of([two, "Here."], tools=[*TOOLS, waits])

    async def main() -> tuple[float, set[str]]:
        began = asyncio.get_running_loop().time()
        async with agent.stream("Go.", session="s") as stream:
            async for event in stream:
                if isinstance(event, at):
                    break
        left = await leftover()
        with pytest.raises(RuntimeError, match="not read to its end"):
            _ = stream.result
        took = asyncio.get_running_loop().time() - began
        model.script = ["Here."] * 2
        result = await agent.run("Again.", session="s")
        assert_history_valid(result.messages)
        return took, left

    took, left = run_virtual(main())
    assert (took < 1.0, left) == (True, set()), name
    if at in (ToolStarted, ToolEnded):
        assert ended == ["cancelled"]


@promise("loop:stream")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_leaving_early_closes_the_request(provider: Provider) -> None:
    half = Fault("stall", parts=(Say("A long text that never comes to its end."),))

    async def use(model: Model) -> set[str]:
        async with Agent(model, Rail(NO_TOOLS, sinks=[])).stream("Go.") as stream:
            async for _ in stream:
                break
        return await leftover()

    left, (request,) = served(provider, [half], use)
    assert left == set()
    assert request.left.wait(5)


@promise("loop:stream")
def test_what_the_run_raises_its_consumer_hears() -> None:
    agent, _, _ = agent_of(ScriptedModel([Calls(("slow", {"seconds": 5})), "Done."]))

    async def main() -> None:
        first = asyncio.create_task(agent.run("Go.", session="s"))
        await asyncio.sleep(1)
        with pytest.raises(RunBusy):
            await watch(agent, session="s")
        async with agent.stream("Go.", session="s"):
            await asyncio.sleep(1)  # left without reading: nobody is told, and nothing complains
        await first

    run_virtual(main())


@promise("loop:stream")
def test_a_stream_that_was_read_to_its_end_is_over_and_one_that_was_not_opened_says_so() -> None:
    agent, _, _ = agent_of(["Hello."])

    async def main() -> None:
        async with agent.stream("Go.") as stream:
            first = [event async for event in stream]
            assert [event async for event in stream] == []
            assert (stream.result.text, len(first)) == ("Hello.", 1)
        with pytest.raises(RuntimeError, match="Open the stream first"):
            _ = [event async for event in agent.stream("Go.")]

    run_virtual(main())


@promise("loop:stream")
def test_reading_may_pause_and_go_on() -> None:
    agent, _, _ = agent_of([FIND, "A lamp."])

    async def main() -> list[Any]:
        events: list[Any] = []
        async with agent.stream("Go.") as stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, ToolEnded):
                    break
            events += [event async for event in stream]
            assert stream.result.ok
        return events

    assert text_of(run_virtual(main())) == "A lamp."


@promise("loop:stream", "call:cancel")
def test_cancelling_whoever_reads_cancels_the_run() -> None:
    agent, _, _ = agent_of([Calls(("slow", {"seconds": 100})), "Done."])

    async def main() -> tuple[bool, set[str], float]:
        task = asyncio.create_task(watch(agent, session="s"))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), await leftover(), asyncio.get_running_loop().time()

    assert run_virtual(main()) == (True, set(), 1_001.0)
