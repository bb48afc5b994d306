"""Shutting down: no new calls, those under way end or expire, everything is written, within a bound."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import BrokenStore, CountingStore, call, codes, leftover_tasks, rail_of, settled
from toolrail.decisions import Allow
from toolrail.definition import Tool, tool
from toolrail.effects import once
from toolrail.errors import ToolError
from toolrail.limits import RunLimits
from toolrail.rail import Rail
from toolrail.store import Claim, Settle
from toolrail.testing import fault_tool, run_virtual


def _work(effect: Any = "read") -> Tool[object]:
    @tool(effect=effect, timeout=1_000.0)
    async def work(seconds: float) -> str:
        """Works so long."""
        await asyncio.sleep(seconds)
        return "done"

    return work


async def _drained(rail: Rail[Any], calls: list[Any], *, after: float, timeout: float) -> tuple[list[str], float]:
    """The codes of a batch that was under way when the rail was drained, and how long that took."""
    loop = asyncio.get_running_loop()
    batch = asyncio.ensure_future(rail.batch(calls))
    await asyncio.sleep(after)
    began = loop.time()
    await rail.drain(timeout=timeout)
    took = loop.time() - began
    return codes(await batch), took


@promise("steady:drain")
def test_after_a_drain_no_call_starts() -> None:
    ran: list[int] = []

    @tool(effect="once")
    async def act() -> None:
        """Notes that it ran."""
        ran.append(1)

    rail, _ = rail_of(act)

    async def main() -> list[str]:
        await rail.drain()
        return codes(await rail.batch([call("act"), call("nowhere"), call("act", "bad")]))

    assert run_virtual(main()) == ["SHUTTING_DOWN", "UNKNOWN_TOOL", "INVALID_ARGUMENTS"]
    assert not ran


@promise("steady:drain")
def test_calls_under_way_end_in_time() -> None:
    rail, _ = rail_of(_work())
    found, took = run_virtual(_drained(rail, [call("work", {"seconds": 5})] * 3, after=1, timeout=30))
    assert found == ["ok"] * 3
    assert took == pytest.approx(4, abs=0.02)


@promise("steady:drain")
@pytest.mark.parametrize(("effect", "code"), [("read", "TIMEOUT"), ("once", "OUTCOME_UNKNOWN")])
def test_what_does_not_end_in_time_expires_as_at_a_deadline(effect: Any, code: str) -> None:
    rail, _ = rail_of(_work(effect))
    found, took = run_virtual(_drained(rail, [call("work", {"seconds": 900})] * 2, after=1, timeout=5))
    assert found == [code] * 2
    assert took == pytest.approx(5, abs=0.1)


@promise("steady:drain")
@pytest.mark.parametrize("fault", ["swallow", "slow_cleanup", "hang"])
def test_a_tool_that_resists_does_not_hold_it_up(fault: Any) -> None:
    rail, _ = rail_of(fault_tool(fault, timeout=1_000.0))
    found, took = run_virtual(_drained(rail, [call(fault)], after=1, timeout=2))
    assert found == ["TIMEOUT"]
    assert took <= 2 + 0.05 + 0.05


@promise("steady:drain")
def test_calls_that_wait_for_a_place_are_answered_shutting_down() -> None:
    rail, _ = rail_of(_work())

    async def main() -> list[str]:
        async with rail.run([], limits=RunLimits(parallel=1)) as run:
            batch = asyncio.ensure_future(rail.batch([call("work", {"seconds": 3})] * 3, run))
            await asyncio.sleep(1)
            await rail.drain(timeout=30)
            return codes(await batch)

    assert run_virtual(main()) == ["ok", "SHUTTING_DOWN", "SHUTTING_DOWN"]


@promise("steady:drain")
def test_a_call_that_waits_before_its_next_attempt_makes_none() -> None:
    made: list[int] = []

    @tool(effect="read", timeout=100.0)
    async def busy() -> None:
        """Is busy."""
        made.append(1)
        raise ToolError("busy", retryable=True, retry_after=20)

    rail, _ = rail_of(busy)
    found, _ = run_virtual(_drained(rail, [call("busy")], after=1, timeout=2))
    assert found == ["CANCELLED"]
    assert made == [1]


@promise("steady:drain")
@pytest.mark.parametrize("stage", ["policy", "claim"])
def test_a_call_that_is_on_its_way_when_the_rail_closes_does_not_start_afterwards(stage: str) -> None:
    ran: list[int] = []

    async def slow_policy(_: Any) -> Allow:
        await asyncio.sleep(10 if stage == "policy" else 0)
        return Allow()

    class SlowStore(CountingStore):
        async def apply(self, *ops: Any) -> list[Any]:
            if stage == "claim" and any(isinstance(op, Claim) for op in ops):
                await asyncio.sleep(4)
            return await super().apply(*ops)

    @tool(effect=once(by="n"))
    async def pay(n: int) -> None:
        """Notes that it ran."""
        ran.append(n)

    store = SlowStore()
    rail, recorder = rail_of(pay, policies=[slow_policy], store=store)
    found, took = run_virtual(_drained(rail, [call("pay", {"n": 1})], after=1, timeout=1))
    assert found == ["SHUTTING_DOWN"]
    assert not ran
    assert took < 10
    assert [event.started for event in settled(recorder)] == [False]
    if stage == "claim":
        assert store.asked == ["FindEffect", "Claim", "Settle"]  # the key is given back


@promise("steady:drain")
def test_a_store_that_never_answers_is_waited_for_within_a_bound() -> None:
    @tool(effect=once(by="n"))
    async def pay(n: int) -> str:
        """Pays."""
        return "paid"

    rail, _ = rail_of(pay, store=BrokenStore(Settle, "hangs"))
    found, took = run_virtual(_drained(rail, [call("pay", {"n": 1})], after=1, timeout=1))
    assert found == ["ok"]
    assert took <= 1 + 1.1 + 5 + 0.1


@promise("steady:drain")
def test_leaving_the_rail_drains_it() -> None:
    rail, _ = rail_of(_work())

    async def main() -> tuple[list[str], list[str], set[str]]:
        async with rail:
            batch = asyncio.ensure_future(rail.batch([call("work", {"seconds": 2})]))
            await asyncio.sleep(1)
        return codes(await batch), codes(await rail.batch([call("work", {"seconds": 2})])), await leftover_tasks()

    assert run_virtual(main()) == (["ok"], ["SHUTTING_DOWN"], set())
