"""Loop detection in a run of an agent: the history stays valid, and a run ends with a loop only where that is asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loop.helpers import agent_of, run, went
from tests.promises import promise
from toolrail import RunLimits, once, tool
from toolrail.testing import Calls, ScriptedModel

FIND = Calls(("find", {"query": "lamp"}))


@promise("loop:repeat")
def test_a_model_that_repeats_itself_is_told_and_refused_within_its_turns() -> None:
    agent, model, _ = agent_of([*[FIND] * 7, "I give up."])
    result = run(agent)
    assert (result.stop_reason, went(result)) == ("answer", ["ok"] * 5 + ["LOOP_DETECTED"] * 2)
    told = [message["content"] for message in model.requests[-1][0] if message["role"] == "tool"]
    assert ["You have made this call" in text for text in told] == [False] * 2 + [True] * 5


@promise("loop:repeat")
@pytest.mark.parametrize("turns", [10, None])
def test_ending_the_run_is_asked_for(turns: int | None) -> None:
    limits = RunLimits(turns=turns, end_on_loop=True)
    agent, model, _ = agent_of(ScriptedModel([FIND], endless=True), limits=limits)
    result = run(agent)
    assert (result.stop_reason, len(model.requests)) == ("limit:repeats", 6)
    assert went(result)[-1] == "LOOP_DETECTED"


@promise("loop:repeat")
def test_a_run_without_a_limit_of_turns_does_not_go_on_for_ever() -> None:
    agent, model, _ = agent_of(ScriptedModel([FIND], endless=True), limits=RunLimits(turns=None))
    result = run(agent)
    assert (result.stop_reason, len(model.requests)) == ("limit:repeats", 8)
    assert model.requests[-1][1].tool_choice == "none"


@promise("loop:repeat", "effect:once")
def test_a_replayed_effect_that_comes_again_and_again_ends_a_run_that_asked_for_it() -> None:
    paid: list[str] = []

    @tool(effect=once(by="invoice"))
    async def pay(invoice: str) -> str:
        """Pays."""
        paid.append(invoice)
        return "paid"

    model = ScriptedModel([Calls(("pay", {"invoice": "A1"}))], endless=True)
    agent, _, _ = agent_of(model, tools=[pay], limits=RunLimits(end_on_loop=True))
    result = run(agent)
    assert (result.stop_reason, went(result), paid) == ("limit:repeats", ["ok"] * 6, ["A1"])


@promise("loop:repeat")
def test_a_new_run_of_a_session_has_a_memory_of_its_own() -> None:
    agent, _, _ = agent_of([*[FIND] * 5, "One.", *[FIND] * 5, "Two."])
    results: list[Any] = [run(agent, session="s"), run(agent, session="s")]
    assert [went(one) for one in results] == [["ok"] * 5] * 2
