"""The retry budget: second attempts are a share of a dependency's calls, so that they never keep it down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.spine.helpers import call, codes, in_run, rail_of, settled
from toolrail.definition import Tool, tool
from toolrail.errors import DefinitionError, ToolError
from toolrail.events import AttemptEnded
from toolrail.gates.board import Dependency
from toolrail.limits import CallLimits, Circuit, RailLimits, RetryBudget
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.testing import run_virtual

PATIENT = CallLimits(attempts=5, timeout=20.0)


class Service:
    """Counts what reaches it; fails until it is mended."""

    def __init__(self, kind: str = "reset", seconds: float = 0.0) -> None:
        self.kind: str | None = kind
        self.seconds = seconds
        self.load = 0

    def tool(self, name: str = "ask", **options: Any) -> Tool[object]:
        chosen: dict[str, Any] = {"name": name, "effect": "read", "limits": PATIENT, **options}

        @tool(**chosen)
        async def ask() -> str:
            """Asks."""
            self.load += 1
            await asyncio.sleep(self.seconds)
            if self.kind == "reset":
                raise ConnectionResetError
            if self.kind == "busy":
                raise ToolError("busy", retryable=True)
            return "fine"

        return ask


async def steadily(rail: Rail[Any], calls: int, *, every: float) -> list[ToolResult]:
    """One call after another, at a rate, each in a run of its own."""
    tasks: list[asyncio.Task[list[ToolResult]]] = []
    for _ in range(calls):
        tasks.append(asyncio.create_task(in_run(rail, [call("ask")])))
        await asyncio.sleep(every)
    return [result for task in tasks for result in await task]


@promise("call:retry/budget")
@pytest.mark.parametrize("kind", ["reset", "busy"])
@pytest.mark.parametrize("every", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_the_load_on_a_dead_dependency_is_held_under_one_and_a_fifth(kind: str, every: float, seconds: float) -> None:
    service = Service(kind, seconds)
    rail, recorder = rail_of(service.tool(), limits=RailLimits(circuit=None))
    results = run_virtual(steadily(rail, 600, every=every))
    assert set(codes(results)) == {"MAX_RETRIES"}
    assert 600 < service.load < 1.2 * 600
    assert sum(event.attempts for event in settled(recorder)) == service.load


@promise("call:retry/budget")
def test_without_the_budget_the_load_is_as_many_times_as_there_are_attempts() -> None:
    service = Service()
    rail, _ = rail_of(service.tool(), limits=RailLimits(circuit=None, retries=None))
    run_virtual(steadily(rail, 200, every=0.05))
    assert service.load == 5 * 200


@promise("call:retry/budget")
def test_a_spent_budget_makes_the_failure_final_at_once_and_the_record_says_so() -> None:
    service = Service()
    limits = RailLimits(circuit=None, retries=RetryBudget(share=0.0, floor=4))
    rail, recorder = rail_of(service.tool(), limits=limits)
    results = run_virtual(steadily(rail, 3, every=5.0))
    assert codes(results) == ["MAX_RETRIES"] * 3
    assert [event.attempts for event in settled(recorder)] == [5, 1, 1]
    waits = [event.wait for event in recorder.of(AttemptEnded)]
    assert [wait is None for wait in waits] == [False] * 4 + [True] * 3
    assert settled(recorder)[1].seconds == 0.0


@promise("call:retry/budget")
def test_few_calls_may_retry_and_what_was_spent_comes_back_with_the_window() -> None:
    service = Service()
    limits = RailLimits(circuit=None, retries=RetryBudget(share=0.0, floor=4, window=30.0))
    rail, recorder = rail_of(service.tool(), limits=limits)
    run_virtual(steadily(rail, 4, every=40.0))
    assert [event.attempts for event in settled(recorder)] == [5] * 4


@promise("call:retry/budget")
def test_the_tools_of_one_dependency_share_its_budget_and_others_have_their_own() -> None:
    bank, post = Service(), Service()
    tools = [bank.tool("ask", dependency="bank"), bank.tool("pay", dependency="bank"), post.tool("send")]
    limits = RailLimits(circuit=None, retries=RetryBudget(share=0.0, floor=4))
    rail, recorder = rail_of(*tools, limits=limits)

    async def main() -> None:
        for name in ("ask", "pay", "send"):
            await in_run(rail, [call(name)])

    run_virtual(main())
    assert [event.attempts for event in settled(recorder)] == [5, 1, 5]


@promise("call:retry/budget")
def test_a_retry_that_does_not_fit_into_the_deadline_costs_nothing() -> None:
    service = Service()
    rail, _ = rail_of(
        service.tool(limits=CallLimits(attempts=9, timeout=0.001)), limits=RailLimits(backoff=100.0, backoff_max=100.0)
    )
    run_virtual(steadily(rail, 5, every=1.0))
    assert rail.ports.board.dependencies["ask"].spent.totals(1_005.0)[2] == 0


@promise("call:retry/budget")
@pytest.mark.parametrize("window", [30.0, 7.0])
@pytest.mark.parametrize("circuit", [None, Circuit(), Circuit(window=60.0)])
@given(steps=st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=150))
def test_retries_never_exceed_the_share_and_the_floor(window: float, circuit: Circuit | None, steps: Any) -> None:
    budget = RetryBudget(share=0.2, floor=3, window=window)
    dependency, now = Dependency("d", RailLimits(circuit=circuit, retries=budget)), 0.0
    calls: list[float] = []
    retries: list[float] = []
    for retry, seconds in steps:
        now += seconds
        if not retry:
            calls.append(now)
            dependency.leave(dependency.breaker.era, True, now)
        elif dependency.may_retry(now):
            retries.append(now)
            # Slots make the window up to a tenth shorter for what is counted, never longer for calls.
            lately = [at for at in retries if at > now - 0.9 * window]
            assert len(lately) <= 3 + 0.2 * len([at for at in calls if at > now - window]) + 1


@pytest.mark.parametrize("budget", [RetryBudget(share=-0.1), RetryBudget(floor=-1), RetryBudget(window=0)])
def test_a_budget_that_makes_no_sense_is_refused_at_the_start(budget: RetryBudget) -> None:
    with pytest.raises(DefinitionError, match="TR301"):
        RailLimits(retries=budget)
