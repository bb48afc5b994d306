"""Hedged reads: a second attempt beside a slow first one; one answer, nothing left behind, never beyond the budget."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import call, codes, in_run, leftover_tasks, rail_of, settled
from toolrail.context import RunContext
from toolrail.definition import Tool, tool
from toolrail.errors import DefinitionError, ToolError
from toolrail.events import OutcomeSettled
from toolrail.limits import CallLimits, RailLimits, RetryBudget
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.testing import run_virtual

Step = float | tuple[float, Callable[[], BaseException]]


class Replicas:
    """The n-th attempt takes so long, and returns its number or raises."""

    def __init__(self, *steps: Step) -> None:
        self.steps: Sequence[Step] = steps
        self.begun: list[float] = []
        self.cancelled: list[int] = []

    def tool(self, **limits: Any) -> Tool[object]:
        chosen: dict[str, Any] = {"hedge": 0.2, **limits}

        @tool(name="read", effect="read", limits=CallLimits(**chosen))
        async def read(ctx: RunContext[Any]) -> str:
            """Reads."""
            number = len(self.begun)
            self.begun.append(asyncio.get_running_loop().time() - 1_000.0)
            step = self.steps[number]
            seconds, error = step if isinstance(step, tuple) else (step, None)
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.cancelled.append(number)
                raise
            if error is not None:
                raise error()
            assert not ctx.cancelled
            return f"from {number}"

        return read


async def _one(rail: Rail[Any]) -> tuple[ToolResult, float]:
    start = asyncio.get_running_loop().time()
    (result,) = await in_run(rail, [call("read")])
    spent = asyncio.get_running_loop().time() - start
    assert await leftover_tasks() == set()
    return result, spent


RACES: list[tuple[str, list[Step], str, float, list[float], list[int]]] = [
    ("a fast first one has no second", [0.1], "from 0", 0.1, [0.0], []),
    ("a slow first one loses", [9.0, 0.1], "from 1", 0.3, [0.0, 0.2], [0]),
    ("a first one that is only a little slow still wins", [0.3, 9.0], "from 0", 0.3, [0.0, 0.2], [1]),
    ("a second one that fails does not count", [0.5, (0.1, ConnectionResetError)], "from 0", 0.5, [0.0, 0.2], []),
    ("a first one that fails does not count", [(0.3, ConnectionResetError), 0.5], "from 1", 0.7, [0.0, 0.2], []),
]


@promise("call:retry/budget")
@pytest.mark.parametrize(
    ("steps", "said", "spent", "begun", "cancelled"), [r[1:] for r in RACES], ids=[r[0] for r in RACES]
)
def test_the_first_success_wins_and_the_other_is_cancelled(
    steps: list[Step], said: str, spent: float, begun: list[float], cancelled: list[int]
) -> None:
    replicas = Replicas(*steps)
    rail, recorder = rail_of(replicas.tool())
    result, seconds = run_virtual(_one(rail))
    assert (result.content, seconds) == (said, pytest.approx(spent))
    assert replicas.begun == pytest.approx(begun)
    assert replicas.cancelled == cancelled
    assert [event.attempts for event in settled(recorder)] == [len(begun)]


def test_if_both_fail_the_last_failure_counts_and_is_tried_again_like_any_other() -> None:
    replicas = Replicas((0.3, ConnectionResetError), (0.3, ConnectionResetError), 0.1)
    rail, recorder = rail_of(replicas.tool())
    result, _ = run_virtual(_one(rail))
    assert result.content == "from 2"
    assert settled(recorder)[0].attempts == 3


@pytest.mark.parametrize("attempts", [1, 2])
def test_hedges_are_counted_among_the_attempts(attempts: int) -> None:
    replicas = Replicas(*[(0.3, ConnectionResetError)] * 9)
    rail, recorder = rail_of(replicas.tool(attempts=attempts))
    result, _ = run_virtual(_one(rail))
    assert codes([result]) == ["MAX_RETRIES"]
    assert len(replicas.begun) == settled(recorder)[0].attempts == attempts


@promise("call:retry/budget")
def test_hedges_come_out_of_the_retry_budget() -> None:
    replicas = Replicas(*[0.5] * 200)
    rail, _ = rail_of(replicas.tool(), limits=RailLimits(retries=RetryBudget(share=0.1, floor=2)))

    async def main() -> None:
        for _ in range(100):
            await in_run(rail, [call("read")])

    run_virtual(main())
    assert 110 < len(replicas.begun) < 120


def test_the_deadline_holds_over_both() -> None:
    replicas = Replicas(60.0, 60.0)
    rail, _ = rail_of(replicas.tool(timeout=1.0))
    result, spent = run_virtual(_one(rail))
    assert codes([result]) == ["TIMEOUT"]
    assert spent == pytest.approx(1.0)
    assert sorted(replicas.cancelled) == [0, 1]


@promise("call:cancel")
@pytest.mark.parametrize("after", [0.1, 0.3], ids=["before the second", "with both under way"])
def test_cancelling_the_run_cancels_both(after: float) -> None:
    replicas = Replicas(60.0, 60.0)
    rail, recorder = rail_of(replicas.tool())

    async def main() -> None:
        running = asyncio.create_task(in_run(rail, [call("read")]))
        await asyncio.sleep(after)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await leftover_tasks() == set()

    run_virtual(main())
    assert len(replicas.cancelled) == len(replicas.begun)
    assert [event.code for event in settled(recorder)] == ["CANCELLED"]


def test_a_second_cancellation_changes_nothing() -> None:
    begun: list[int] = []

    @tool(effect="read", limits=CallLimits(hedge=0.2))
    async def read() -> str:
        """Reads, and is slow to end."""
        begun.append(1)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.03)
        return "done"

    rail, recorder = rail_of(read)

    async def main() -> None:
        running = asyncio.create_task(in_run(rail, [call("read")]))
        await asyncio.sleep(0.5)
        running.cancel()
        await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await leftover_tasks() == set()

    run_virtual(main())
    assert len(begun) == 2
    assert [event.code for event in settled(recorder)] == ["CANCELLED"]


def test_draining_ends_both() -> None:
    replicas = Replicas(600.0, 600.0)
    rail, recorder = rail_of(replicas.tool(timeout=1_000.0))

    async def main() -> None:
        running = asyncio.create_task(in_run(rail, [call("read")]))
        await asyncio.sleep(1)
        await rail.drain(1.0)
        await running
        assert asyncio.get_running_loop().time() < 1_005.0

    run_virtual(main())
    assert [event.code for event in settled(recorder)] == ["TIMEOUT"]


def test_a_sync_read_that_lost_gives_its_thread_back_and_is_no_news() -> None:
    first = threading.Event()
    made: list[int] = []

    @tool(effect="read", limits=CallLimits(hedge=0.01))
    def read() -> str:
        """Reads."""
        made.append(1)
        if len(made) == 1:
            first.wait()
            return "late"
        return "fast"

    rail, recorder = rail_of(read)

    async def main() -> str:
        (result,) = await in_run(rail, [call("read")])
        first.set()
        while rail.health().threads.abandoned:  # noqa: ASYNC110 - a real thread, on its way out
            await asyncio.sleep(0)
        return result.content

    assert asyncio.run(main()) == "fast"
    assert recorder.of(OutcomeSettled) == []
    assert rail.health().threads.busy == 0


@pytest.mark.parametrize("effect", ["idempotent", "keyed", "once", "undeclared"])
def test_only_a_read_may_be_hedged(effect: Any) -> None:
    with pytest.raises(DefinitionError, match="TR305"):

        @tool(effect=effect, limits=CallLimits(hedge=0.2))
        async def book(room: str) -> str:
            """Books."""
            return room


def test_a_permanent_error_of_the_first_waits_for_no_second() -> None:
    replicas = Replicas((0.1, lambda: ToolError("There is no such page.")))
    rail, _ = rail_of(replicas.tool())
    result, spent = run_virtual(_one(rail))
    assert codes([result]) == ["TOOL_ERROR"]
    assert spent == pytest.approx(0.1)
