"""Cancelling: every call is settled first, finished siblings are kept, and nothing is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, BrokenStore, call, codes, leftover_tasks, rail_of, settled
from toolrail.codes import Code
from toolrail.decisions import Allow
from toolrail.definition import Order, tool
from toolrail.effects import once
from toolrail.errors import ToolError
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.run import Run, ToolEnded
from toolrail.store import Claim, Settle
from toolrail.testing import fault_tool, run_virtual


@tool(effect="once")
async def work(seconds: float) -> float:
    """Works so long."""
    await asyncio.sleep(seconds)
    return seconds


@tool(effect="read", timeout=100.0)
async def stubborn() -> str:
    """Ends well even when it is cancelled, and only then."""
    try:
        await asyncio.sleep(50)
    except asyncio.CancelledError:
        await asyncio.sleep(0.01)
    return "tidy"


def _answers(run: Run[Any]) -> list[ToolResult]:
    """What the calls of a run are answered with, even when its batch raises."""
    found: list[ToolResult] = []

    def observe(event: object) -> None:
        if isinstance(event, ToolEnded):
            found.append(event.result)

    run.observer = observe
    return found


async def _cancelled_at(rail: Rail[Any], calls: list[Any], seconds: float) -> list[ToolResult]:
    """Cancels a batch after so many seconds; all answers, whether it raised or had ended."""
    async with rail.run([], principal=ALICE) as run:
        found = _answers(run)
        task = asyncio.ensure_future(rail.batch(calls, run))
        await asyncio.sleep(seconds)
        done = task.done()
        task.cancel()
        if done:
            await task
        else:
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
    return found


STEPS = [0.0, 0.4999, 0.5, 0.75, 1.0, 1.5, 2.0, 2.99, 3.0, 3.5]


@promise("call:cancel", "call:total")
@pytest.mark.parametrize("at", STEPS)
@pytest.mark.parametrize("size", [1, 3])
def test_cancelled_at_any_time_every_call_has_one_result_and_finished_ones_keep_theirs(at: float, size: int) -> None:
    rail, recorder = rail_of(work)
    calls = [call("work", {"seconds": float(n + 1)}, id=f"id-{n}") for n in range(size)]

    async def main() -> tuple[list[ToolResult], set[str]]:
        return await _cancelled_at(rail, calls, at), await leftover_tasks()

    results, left = run_virtual(main())
    by_id = {r.call_id: r for r in results}
    assert len(results) == len(by_id) == len(settled(recorder)) == size
    for n in range(size):
        assert by_id[f"id-{n}"].status == ("ok" if n + 1 <= at else "unknown")
    assert not left


@promise("call:cancel")
def test_cancelled_before_it_began_a_call_did_nothing() -> None:
    ran: list[int] = []

    @tool(effect="once")
    async def act() -> None:
        """Notes that it ran."""
        ran.append(1)

    rail, _ = rail_of(act)

    async def main() -> None:
        task = asyncio.ensure_future(rail.batch([call("act")] * 3))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())
    assert not ran


@promise("call:cancel", "call:total")
@pytest.mark.parametrize("fault", ["hang", "swallow", "slow_cleanup"])
@pytest.mark.parametrize("size", [1, 3])
def test_a_tool_that_resists_is_answered_and_gone(fault: Any, size: int) -> None:
    rail, recorder = rail_of(fault_tool(fault, timeout=100.0))

    async def main() -> tuple[list[ToolResult], set[str], float]:
        results = await _cancelled_at(rail, [call(fault)] * size, 1.0)
        return results, await leftover_tasks(), asyncio.get_running_loop().time() - 1_000

    results, left, seconds = run_virtual(main())
    assert codes(results) == ["CANCELLED"] * size
    assert len(settled(recorder)) == size
    assert not left
    assert seconds <= 1.05 + 1e-6


@promise("call:cancel")
def test_cancelled_twice_is_settled_once() -> None:
    rail, recorder = rail_of(stubborn, work)

    async def main() -> None:
        task = asyncio.ensure_future(rail.batch([call("stubborn"), call("work", {"seconds": 60})]))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await leftover_tasks()

    run_virtual(main())
    assert sorted(event.status for event in settled(recorder)) == ["cancelled", "unknown"]


@promise("call:cancel")
@pytest.mark.parametrize("stage", ["policy", "approver", "order", "place", "retry", "claim", "settle"])
@pytest.mark.parametrize("size", [1, 2])
def test_cancelled_in_any_stage_the_call_is_settled(stage: str, size: int) -> None:
    async def slow_policy(_: Any) -> Allow:
        await asyncio.sleep(10 if stage == "policy" else 0)
        return Allow()

    @tool(effect=once(by="n"), order=Order(barrier=stage == "order"), timeout=100.0)
    async def act(n: int) -> str:
        """Acts."""
        if stage == "retry":
            raise ToolError("busy", retryable=True, nothing_happened=True, retry_after=10)
        if stage in ("order", "place"):
            await asyncio.sleep(10)
        return "acted"

    stores = {"claim": BrokenStore(Claim, "hangs"), "settle": BrokenStore(Settle, "hangs")}
    rail, recorder = rail_of(act, policies=[slow_policy], store=stores.get(stage))

    async def main() -> set[str]:
        await _cancelled_at(rail, [call("act", {"n": n}) for n in range(size)], 1.0)
        return await leftover_tasks()

    left = run_virtual(main())
    assert len(settled(recorder)) == size
    if stage not in stores:  # a store that never answers keeps its own task waiting
        assert not left
    if stage == "settle":
        assert {(e.status, e.flags) for e in settled(recorder)} == {("ok", ("not_recorded",))}
    elif stage in ("policy", "retry", "claim"):
        assert {e.code for e in settled(recorder)} == {Code.CANCELLED}


@promise("call:cancel")
def test_a_cancellation_inside_an_outer_timeout_is_the_timeouts() -> None:
    rail, _ = rail_of(work)

    async def main() -> str:
        try:
            async with asyncio.timeout(1):
                await rail.batch([call("work", {"seconds": 60}), call("work", {"seconds": 60})])
        except TimeoutError:
            return "timed out"
        return "ended"

    assert run_virtual(main()) == "timed out"


@promise("call:cancel", "call:total")
@pytest.mark.parametrize("size", [1, 3])
def test_a_cancelled_error_that_a_policy_raises_by_itself_cancels_nobody(size: int) -> None:
    async def confused(_: Any) -> Allow:
        raise asyncio.CancelledError

    rail, _ = rail_of(work, policies=[confused])
    results = run_virtual(rail.batch([call("work", {"seconds": 1})] * size))
    assert len(results) == size
    assert not [r for r in results if r.started or r.ok]


@promise("call:cancel")
def test_the_next_batch_of_the_run_goes_on() -> None:
    rail, _ = rail_of(work)

    async def main() -> list[str]:
        async with rail.run([]) as run:
            task = asyncio.ensure_future(rail.batch([call("work", {"seconds": 9})] * 40, run))
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return codes(await rail.batch([call("work", {"seconds": 1})] * 40, run))

    assert run_virtual(main()) == ["ok"] * 40
