"""Hard limits: turns, calls, calls per tool, tokens, wall time; each is a reason to end, with a valid history."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.model_server import Call, Endless, Reply, Say, Tokens
from tests.loop.helpers import PROVIDERS, Provider, agent_of, leftover, run, served_run, went
from tests.promises import promise
from toolrail import DefinitionError, RunLimits, RunStopped, tool
from toolrail.events import ModelStarted
from toolrail.messages import Usage
from toolrail.model import Named
from toolrail.testing import Calls, ScriptedModel, assert_history_valid, run_virtual

FIND = Calls(("find", {"query": "lamp"}))


def endless() -> ScriptedModel:
    """A model that calls whatever it is told, each time something else: the same again would be refused as a loop."""
    return ScriptedModel([lambda messages: Calls(("find", {"query": f"lamp {len(messages)}"}))], endless=True)


@promise("loop:limits/turns")
@pytest.mark.parametrize(("options", "turns"), [({}, 10), ({"max_turns": 1}, 1), ({"limits": RunLimits(turns=3)}, 3)])
def test_a_model_that_calls_for_ever_is_stopped_after_its_turns(options: dict[str, Any], turns: int) -> None:
    agent, model, recorder = agent_of(endless(), **options)
    result = run(agent)
    assert (result.stop_reason, result.turns, len(model.requests)) == ("limit:turns", turns, turns)
    assert went(result) == ["ok"] * (turns - 1) + ["LIMIT_REACHED"]
    assert result.notes == ("tool_choice_ignored",)
    assert len(recorder.of(ModelStarted)) == turns


@promise("loop:limits/turns", "loop:choice")
def test_the_last_turn_alone_is_sent_with_no_choice() -> None:
    agent, model, _ = agent_of([FIND, FIND, "Done."], max_turns=3)
    assert run(agent).stop_reason == "answer"
    assert [request.tool_choice for _, request in model.requests] == ["auto", "auto", "none"]


@promise("loop:limits/turns")
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("heeds", [True, False])
def test_the_closing_answer_is_inside_the_limit_and_a_server_that_ignores_it_is_refused(
    provider: Provider, *, heeds: bool
) -> None:
    turn = Endless(Call("find", '{"query": "lamp"}'), heeds=heeds)
    result, requests = served_run(provider, [turn], max_turns=4)
    assert len(requests) == 4
    assert [request.calls_closed for request in requests] == [False, False, False, True]
    assert requests[-1].body["tools"] == requests[0].body["tools"]
    if heeds:
        assert (result.stop_reason, result.text, went(result)) == ("answer", turn.closing, ["ok"] * 3)
    else:
        assert (result.stop_reason, went(result)) == ("limit:turns", ["ok"] * 3 + ["LIMIT_REACHED"])
        assert "tool_choice_ignored" in result.notes


@promise("loop:limits/turns", "loop:history")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_run_that_was_stopped_can_be_continued_with_its_messages(provider: Provider) -> None:
    stopped, _ = served_run(provider, [Endless(Call("find", '{"query": "lamp"}'), heeds=False)], max_turns=2)
    went_on, _ = served_run(provider, [Say("Done.")], messages=stopped.messages, prompt="And now?")
    assert (went_on.stop_reason, went_on.notes) == ("answer", ())


COUNTED: list[tuple[RunLimits, int]] = [
    (RunLimits(calls=1), 1),
    (RunLimits(calls=30), 30),
    (RunLimits(calls=99), 99),
    (RunLimits(calls=100), 100),
    (RunLimits(calls_per_tool=30), 30),
    (RunLimits(calls=40, calls_per_tool=30), 30),
]


@promise("loop:limits/calls", "loop:limits/per-tool", "call:total")
@pytest.mark.parametrize(("limits", "allowed"), COUNTED)
@pytest.mark.parametrize("name", ["find", "blocking"])
def test_in_a_batch_of_100_exactly_so_many_calls_run(limits: RunLimits, allowed: int, name: str) -> None:
    agent, model, _ = agent_of([Calls(*[(name, {"query": str(n)}) for n in range(100)]), "Done."], limits=limits)
    result = run(agent)
    assert went(result) == ["ok"] * allowed + ["LIMIT_REACHED"] * (100 - allowed)
    found = [one.content.removesuffix("\n\n0 of 100 calls are left in this run.") for one in result.calls[:allowed]]
    assert found == [f"found {n}" for n in range(allowed)]
    assert (result.stop_reason, len(model.requests)) == ("answer", 2)


@promise("loop:limits/calls", "loop:limits/per-tool")
def test_calls_are_counted_over_the_turns_of_a_run_and_afresh_in_the_next() -> None:
    agent, _, _ = agent_of([FIND, FIND, FIND, "Done.", FIND, "Done."], limits=RunLimits(calls=2))
    assert went(run(agent, session="s")) == ["ok", "ok", "LIMIT_REACHED"]
    assert went(run(agent, session="s")) == ["ok"]


@promise("loop:limits/per-tool")
def test_one_tools_limit_leaves_the_others_alone() -> None:
    pairs = [("find", {"query": "a"}), ("blocking", {"query": "b"})] * 3
    agent, _, _ = agent_of([Calls(*pairs), "Done."], limits=RunLimits(calls_per_tool=2))
    assert went(run(agent)) == ["ok"] * 4 + ["LIMIT_REACHED"] * 2


@promise("loop:limits/calls", "loop:limits/per-tool")
@pytest.mark.parametrize("limits", [RunLimits(turns=None, calls=2), RunLimits(turns=None, calls_per_tool=2)])
@pytest.mark.parametrize("heeds", [True, False])
def test_without_a_limit_of_turns_a_model_that_only_asks_for_more_calls_is_stopped_too(
    limits: RunLimits, *, heeds: bool
) -> None:
    model = endless()
    model.script = [FIND, FIND, FIND, FIND, "That is all." if heeds else FIND]
    agent, _, _ = agent_of(model, limits=limits)
    result = run(agent)
    assert [request.tool_choice for _, request in model.requests] == ["auto"] * 4 + ["none"]
    assert went(result) == ["ok"] * 2 + ["LIMIT_REACHED"] * (2 if heeds else 3)
    assert result.stop_reason == ("answer" if heeds else "limit:calls")


@promise("loop:limits/calls")
def test_a_model_that_uses_what_is_left_is_not_stopped() -> None:
    turn = Calls(("find", {"query": "a"}))
    other = Calls(("blocking", {"query": "a"}))
    agent, _, _ = agent_of(
        [turn, turn, turn, other, turn, turn, other, "Done."], limits=RunLimits(turns=None, calls_per_tool=2, calls=9)
    )
    assert (run(agent).stop_reason) == "answer"


@promise("loop:limits/tokens")
@pytest.mark.parametrize(("limit", "turns"), [(1, 1), (120, 1), (121, 2), (240, 2), (241, 3)])
def test_tokens_are_exact_to_one_response(limit: int, turns: int) -> None:
    agent, model, _ = agent_of(endless(), limits=RunLimits(tokens=limit))
    result = run(agent)
    assert (result.stop_reason, len(model.requests)) == ("limit:tokens", turns)
    assert result.usage == Usage(100 * turns, 20 * turns)
    assert went(result) == ["ok"] * turns


@promise("loop:limits/tokens")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_tokens_of_each_provider_count_the_same(provider: Provider) -> None:
    turn = Reply((Call("find", '{"query": "lamp"}'),), Tokens(input=100, output=50, cached=30, written=0))
    result, requests = served_run(provider, [turn, turn, Say("Done.")], limits=RunLimits(tokens=300))
    assert (result.stop_reason, len(requests)) == ("limit:tokens", 2)
    assert result.usage.total_tokens == 300


TIMED: list[tuple[str, list[Any], float, int]] = [
    ("the model is slow", ["Done."], 100.0, 0),
    ("a tool is slow", [Calls(("slow", {"seconds": 20})), "Done."], 0.0, 1),
    ("one of two tools is slow", [Calls(("find", {"query": "a"}), ("slow", {"seconds": 20})), "Done."], 0.0, 1),
    ("both in turn", [Calls(("slow", {"seconds": 1})), Calls(("slow", {"seconds": 1}))] * 10, 1.5, 3),
]


@promise("loop:limits/time")
@pytest.mark.parametrize(("name", "script", "seconds", "turns"), TIMED, ids=[row[0] for row in TIMED])
def test_wall_time_ends_a_run_in_the_middle_of_what_it_waits_for(
    name: str, script: list[Any], seconds: float, turns: int
) -> None:
    model = ScriptedModel(script, seconds=seconds)
    agent, _, _ = agent_of(model, limits=RunLimits(seconds=7.0))

    async def main() -> tuple[Any, float, set[str]]:
        began = asyncio.get_running_loop().time()
        result = await agent.run("Go.", session="s")
        return result, asyncio.get_running_loop().time() - began, await leftover()

    result, took, left = run_virtual(main())
    assert (result.stop_reason, result.turns, left) == ("limit:seconds", turns, set()), name
    assert 7.0 <= took <= 7.2
    assert len(result.calls) == sum(message["role"] == "tool" for message in result.messages)
    assert_history_valid(result.messages)


@promise("loop:limits/time", "loop:session")
def test_a_session_goes_on_after_its_time_was_over() -> None:
    agent, _, _ = agent_of(
        [Calls(("find", {"query": "a"}), ("slow", {"seconds": 20})), "Done."], limits=RunLimits(seconds=2.0)
    )
    first = run(agent, session="s")
    assert went(first) == ["ok", "CANCELLED"]
    assert run(agent, session="s").stop_reason == "answer"


@promise("loop:limits/time")
def test_a_run_cancelled_from_outside_is_cancelled_even_when_it_has_a_time_limit() -> None:
    agent, _, _ = agent_of([Calls(("slow", {"seconds": 20}))], limits=RunLimits(seconds=7.0))

    async def main() -> None:
        async with asyncio.timeout(1.0):
            await agent.run("Go.")

    with pytest.raises(TimeoutError):
        run_virtual(main())


@promise("loop:limits")
def test_a_limit_raises_only_when_it_is_asked_to() -> None:
    agent, _, _ = agent_of(endless(), max_turns=2)
    with pytest.raises(RunStopped, match="limit:turns") as caught:
        run(agent, raise_on_stop=True)
    assert caught.value.reason == "limit:turns"


@promise("loop:limits")
def test_a_last_answer_that_asks_for_tools_and_is_the_only_turn_allowed_runs_nothing() -> None:
    ran: list[int] = []

    @tool(effect="read")
    async def count() -> int:
        """Counts."""
        ran.append(1)
        return len(ran)

    agent, model, _ = agent_of([Calls(("count", {}))], tools=[count], max_turns=1, tool_choice=Named("count"))
    assert (run(agent).stop_reason, ran) == ("limit:turns", [])
    assert model.requests[0][1].tool_choice == "none"


@promise("loop:limits")
@pytest.mark.parametrize("name", ["turns", "calls", "calls_per_tool", "tokens", "seconds", "parallel"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_that_allows_nothing_is_an_error_at_start_up(name: str, value: int) -> None:
    with pytest.raises(DefinitionError, match=f"TR301 .*{name}"):
        RunLimits(**{name: value})  # pyright: ignore[reportArgumentType]  (a name out of a table)


@promise("loop:limits")
def test_a_text_beside_the_last_refused_calls_is_kept() -> None:
    agent, _, _ = agent_of([Calls(("find", {"query": "a"}), text="I found three lamps.")], max_turns=1)
    result = run(agent)
    assert (result.stop_reason, result.text) == ("limit:turns", "I found three lamps.")
