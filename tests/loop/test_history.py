"""Whatever happens in a run, its history is valid: random turns, faults and cancellations, at random moments."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.model_server import Call, Fault, Say, Think
from tests.loop.helpers import PROVIDERS, TOOLS, WIRES, Provider, agent_of, cancelled_at, leftover, run, served_run
from tests.promises import promise
from toolrail import RunLimits, Tool
from toolrail.events import CallRequested, CallSettled, RunEnded, RunRepaired
from toolrail.history.check import check
from toolrail.model import FailureLabel, ModelFailure
from toolrail.store import LoadSession, ask
from toolrail.testing import Calls, ScriptedModel, assert_history_valid, fault_tool, run_virtual
from toolrail.testing import Say as Said
from toolrail.testing.faults import ASYNC_FAULTS

LEFT_OUT = {"huge", "recursion", "stuck_children"}
"""Too slow for thousands of runs; and child tasks that a tool starts itself outlive it: a documented limit."""
HOSTILE: tuple[Tool[object], ...] = tuple(
    fault_tool(fault, timeout=2.0) for fault in ASYNC_FAULTS if fault not in LEFT_OUT
)
NAMES = [tool.name for tool in HOSTILE]
ARGUMENTS = ["{}", "", "null", "{", '{"x": 1}', "[]", '{"a": NaN}', "\ud800", '{"query": "a"}{"query": "b"}']
LABELS: list[FailureLabel] = ["rate_limited", "server_error", "connection", "garbage", "rejected", "context_length"]

one_call = st.one_of(
    st.tuples(st.sampled_from([*NAMES, "nobody", "", "find "]), st.sampled_from(ARGUMENTS)),
    st.tuples(st.just("find"), st.fixed_dictionaries({"query": st.text(max_size=4)})),
    st.tuples(st.just("slow"), st.fixed_dictionaries({"seconds": st.sampled_from([0, 0.5, 1.5])})),
)


@st.composite
def calls(draw: st.DrawFn) -> Calls:
    chosen = draw(st.lists(one_call, min_size=1, max_size=5))
    ids = draw(st.lists(st.sampled_from(["", "a", "a", "b"]), min_size=len(chosen), max_size=len(chosen)))
    stop: Any = draw(st.sampled_from(["calls", "calls", "calls", "length"]))
    return Calls(*chosen, ids=ids if draw(st.booleans()) else (), stop=stop, text=draw(st.sampled_from(["", "Hm."])))


turn = st.one_of(
    calls(),
    calls(),
    st.sampled_from(["Done.", "Which one?", ""]),
    st.builds(Said, st.just("No."), st.sampled_from(["length", "refusal", "content_filter"])),
    st.builds(ModelFailure, st.sampled_from(LABELS), st.just("s3cr3t")),
)
scripts = st.lists(turn, min_size=1, max_size=6)


def model_of(script: list[Any]) -> ScriptedModel:
    """Plays the script, then answers for ever."""
    return ScriptedModel([*script, "Goodbye."], endless=True, seconds=0.3)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Thousands of tracebacks of hostile tools would be kept for a report that nobody reads."""
    logger = logging.getLogger("toolrail")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


@promise("loop:history", "call:total")
@settings(max_examples=200, deadline=None)
@given(script=scripts, turns=st.integers(1, 6))
def test_after_any_run_the_history_is_valid_and_the_next_prompt_goes_on(script: list[Any], turns: int) -> None:
    agent, model, recorder = agent_of(model_of(script), tools=[*TOOLS, *HOSTILE], max_turns=turns)

    async def main() -> tuple[list[Any], set[str]]:
        results = [await agent.run("Go.", session="s") for _ in range(3)]
        return results, await leftover()

    results, left = run_virtual(main())
    assert left == set()
    for result in results:
        assert result.stop_reason
        assert result.turns <= turns
        assert "s3cr3t" not in json.dumps(result.messages)
        assert check(result.messages, "openai_chat") == []
    for messages, _ in model.requests:
        assert check(messages, "openai_chat") == []
    asked = Counter(event.call.key for event in recorder.of(CallRequested))
    assert asked == Counter(event.call.key for event in recorder.of(CallSettled))
    assert set(asked.values()) <= {1}
    assert len(recorder.of(RunEnded)) == 3
    assert recorder.of(RunRepaired) == []


@promise("loop:history", "call:cancel", "loop:session")
@settings(max_examples=300, deadline=None)
@given(script=scripts, moment=st.floats(0, 12), seconds=st.sampled_from([None, 2.0]))
def test_a_run_cancelled_at_any_moment_leaves_a_session_that_goes_on(
    script: list[Any], moment: float, seconds: float | None
) -> None:
    agent, model, recorder = agent_of(
        model_of(script), tools=[*TOOLS, *HOSTILE], limits=RunLimits(turns=4, seconds=seconds)
    )

    async def main() -> set[str]:
        await cancelled_at(moment, agent.run("Go.", session="s"))
        left = await leftover()
        row = await ask(agent.rail.ports.store, LoadSession("default", "s"))
        if row is not None:
            assert check(json.loads(row.messages), "openai_chat") == []
        for _ in range(2):
            assert check((await agent.run("Again.", session="s")).messages, "openai_chat") == []
        return left

    assert run_virtual(main()) == set()
    for messages, _ in model.requests:
        assert check(messages, "openai_chat") == []
    assert len(recorder.of(CallRequested)) == len(recorder.of(CallSettled))
    assert recorder.of(RunRepaired) == []


@promise("loop:history", "call:cancel")
@pytest.mark.parametrize("tick", range(60))
def test_a_run_cancelled_at_any_step_of_the_loop_itself_ends_in_order(tick: int) -> None:
    agent, _, recorder = agent_of(
        [Calls(("find", {"query": "a"}), ("find", {"query": "b"})), "Done.", "Here.", "Here."]
    )

    async def main() -> tuple[Any, set[str]]:
        task = asyncio.ensure_future(agent.run("Go.", session="s"))
        for _ in range(tick):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        left = await leftover()
        return await agent.run("Again.", session="s"), left

    result, left = run_virtual(main())
    assert (result.ok, left) == (True, set())
    assert_history_valid(result.messages)
    assert len(recorder.of(CallRequested)) == len(recorder.of(CallSettled))


BROKEN: list[tuple[Provider, list[dict[str, Any]]]] = [
    (
        "chat",
        [
            {"role": "user", "content": "Hi."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}],
            },
        ],
    ),
    (
        "responses",
        [
            {"role": "user", "content": "Hi."},
            {"type": "function_call", "call_id": "c1", "name": "find", "arguments": "{}"},
        ],
    ),
    (
        "anthropic",
        [
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "find", "input": {}}]},
        ],
    ),
]


@promise("loop:history")
@pytest.mark.parametrize(("provider", "messages"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_broken_history_is_repaired_said_and_taken_by_the_provider(
    provider: Provider, messages: list[dict[str, Any]]
) -> None:
    kept = json.loads(json.dumps(messages))
    result, _ = served_run(provider, [Say("Done.")], messages=messages)
    assert result.stop_reason == "answer"
    assert any("without a result" in note for note in result.notes)
    assert messages == kept


@promise("loop:history")
def test_a_repair_is_an_event() -> None:
    agent, _, recorder = agent_of(["Done."])
    result = run(agent, messages=BROKEN[0][1])
    (repaired,) = recorder.of(RunRepaired)
    assert repaired.notes == result.notes


OUTCOMES: list[tuple[str, list[Any], str]] = [
    ("empty", [Call("find", '{"query": "a"}'), Fault("empty")], "empty"),
    ("refusal", [Call("find", '{"query": "a"}'), Fault("refusal")], "refusal"),
    ("filter", [Call("find", '{"query": "a"}'), Fault("content_filter")], "content_filter"),  # Anthropic: a refusal
    ("truncated", [Fault("truncated", parts=(Say("So"),))], "truncated"),
    ("dead", [Call("find", '{"query": "a"}'), Fault("dead")], "model_unavailable"),
    ("thinking", [[Think("Hm."), Call("find", '{"query": "a"}')], Say("Done.")], "answer"),
    ("odd ids", [[Call("find", "{", "a"), Call("find", "", "a"), Call("nobody", "{}", "")], Say("Done.")], "answer"),
]


@promise("loop:history")
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("name", "script", "reason"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_after_each_outcome_every_provider_takes_the_next_prompt(
    provider: Provider, name: str, script: list[Any], reason: str
) -> None:
    first, _ = served_run(provider, script)
    assert first.stop_reason == ("refusal" if (name, provider) == ("filter", "anthropic") else reason)
    second, requests = served_run(provider, [Say("Here.")], messages=first.messages, prompt="Again.")
    assert (second.stop_reason, len(requests), second.notes) == ("answer", 1, ())
    assert check(second.messages, WIRES[provider]) == []  # pyright: ignore[reportArgumentType]
