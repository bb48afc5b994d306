"""Fairness: when places are short the tenants take turns, so that one of them alone has the wait for what it does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import pytest

from tests.promises import promise
from tests.spine.helpers import call, in_run, rail_of
from toolrail.decisions import Principal
from toolrail.definition import tool
from toolrail.gates.places import Need, Places, Waiter
from toolrail.limits import RailLimits
from toolrail.testing import run_virtual

SECONDS = 8.0
QUIET = 8
"""Tenants beside the loud one."""
RATE = 10.0
"""Calls a second of each quiet tenant."""
LOUD = 4.0
"""And of the loud one, before it calls a hundred times as often."""
SERVICE = 0.1
"""Seconds of a call, on average."""
PLACES = 32
"""Enough for 320 calls a second: more than all of 1x, much less than one tenant's 100x."""

Duration = Callable[[random.Random], float]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call."""

    at: float
    tenant: str
    seconds: float


def exponential(chance: random.Random) -> float:
    return chance.expovariate(1 / SERVICE)


def constant(_: random.Random) -> float:
    return SERVICE


def arrivals(seed: int, times: float, duration: Duration) -> list[Arrival]:
    """The quiet tenants' calls are the same whatever the loud one does."""
    made: list[Arrival] = []
    for tenant, rate in [*((f"quiet-{n}", RATE) for n in range(QUIET)), ("loud", LOUD * times)]:
        chance, at = random.Random(f"{seed} {tenant}"), 0.0
        while (at := at + chance.expovariate(rate)) < SECONDS:
            made.append(Arrival(at, tenant, duration(chance)))
    return sorted(made, key=lambda one: one.at)


class FirstComeFirstServed(Places):
    """The control: one queue for all."""

    def queue(self, tenant: str, kind: Hashable, needs: Sequence[Need]) -> Waiter:
        return super().queue("all", kind, needs)


def p99_of_the_quiet(calls: list[Arrival], limits: RailLimits, *, fifo: bool = False) -> float:
    """Seconds from asking to the answer, through a whole rail, in simulated time. A refusal counts as for ever."""

    @tool(effect="read")
    async def work(seconds: float) -> str:
        """Works."""
        await asyncio.sleep(seconds)
        return "done"

    rail, _ = rail_of(work, limits=limits)
    if fifo:
        rail.ports.board.places = FirstComeFirstServed(limits.calls)
    spent: list[float] = []

    async def one(arrival: Arrival) -> None:
        principal = Principal("someone", tenant=arrival.tenant)
        start = asyncio.get_running_loop().time()
        (result,) = await in_run(rail, [call("work", {"seconds": arrival.seconds})], principal=principal)
        if arrival.tenant != "loud":
            spent.append(asyncio.get_running_loop().time() - start if result.ok else float("inf"))

    async def main() -> None:
        start, tasks = asyncio.get_running_loop().time(), list[asyncio.Task[None]]()
        for arrival in calls:
            await asyncio.sleep(max(0.0, start + arrival.at - asyncio.get_running_loop().time()))
            tasks.append(asyncio.create_task(one(arrival)))
        await asyncio.gather(*tasks)

    run_virtual(main())
    return sorted(spent)[int(0.99 * len(spent))]


IN_TURN = RailLimits(calls=PLACES, wait=2.0)
CAPPED = RailLimits(calls=PLACES, tenant_calls=PLACES // 2, wait=2.0)
"""Where all calls take equally long, the wait for the next place to come free is a tenth of that by itself: a cap on
each tenant keeps places free for the others."""


@promise("steady:fair")
@pytest.mark.parametrize(
    ("limits", "duration"),
    [(IN_TURN, exponential), (CAPPED, exponential), (CAPPED, constant)],
    ids=["in turn", "in turn, with a cap", "in turn, with a cap, calls of one length"],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_tenant_at_a_hundred_times_its_load_raises_the_others_p99_by_less_than_a_tenth(
    seed: int, limits: RailLimits, duration: Duration
) -> None:
    before = p99_of_the_quiet(arrivals(seed, 1.0, duration), limits)
    after = p99_of_the_quiet(arrivals(seed, 100.0, duration), limits)
    assert after < 1.1 * before


@promise("steady:fair")
@pytest.mark.parametrize("seed", range(3))
def test_first_come_first_served_would_not_hold_that(seed: int) -> None:
    before = p99_of_the_quiet(arrivals(seed, 1.0, exponential), IN_TURN, fifo=True)
    after = p99_of_the_quiet(arrivals(seed, 100.0, exponential), IN_TURN, fifo=True)
    assert after > 2 * before


@promise("steady:fair")
def test_tenants_are_served_in_turn_and_each_one_in_its_own_order() -> None:
    served: list[str] = []

    @tool(effect="read")
    async def work(name: str) -> str:
        """Works."""
        served.append(name)
        await asyncio.sleep(1)
        return "done"

    rail, _ = rail_of(work, limits=RailLimits(calls=1, wait=99.0))

    async def ask(name: str) -> None:
        await in_run(rail, [call("work", {"name": name})], principal=Principal("p", tenant=name[0]))

    async def main() -> None:
        await asyncio.gather(*[ask(name) for name in ("a0", "a1", "a2", "a3", "b1", "b2", "c1", "a4")])

    run_virtual(main())
    assert served == ["a0", "a1", "b1", "c1", "a2", "b2", "a3", "a4"]
