"""Seven hours of a shop's support desk, really run on simulated time, in whose last hour ten things go wrong."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from toolrail import Agent, Principal, Rail, tool
from toolrail.decisions import Allow, Decision, Deny, PolicyRequest
from toolrail.definition import Tool
from toolrail.records.alerts import Alerts
from toolrail.records.alerts.evaluator import Evaluator
from toolrail.records.prices import Price
from toolrail.records.recorder import Recorder
from toolrail.testing import Calls, FixedClock, Say, ScriptedModel, run_virtual

HOURS = 7.0
TOTAL = HOURS * 3_600.0
MODEL, UNPRICED = "openai:gpt-4o", "inhouse:mystery-7b"
PRICES = {MODEL: Price(Decimal("2.50"), Decimal("10.00"))}
STAFF = tuple(Principal(f"agent-{number}") for number in range(1, 9))
TEMP = Principal("temp-17")
Call = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class World:
    """What the handlers meet: which of the outside is broken by now."""

    random: random.Random
    search_seconds: tuple[float, float] = (0.15, 0.5)
    carrier_dead: bool = False
    rates_dead: bool = False
    charge_lost: bool = False
    stock_failures: int = 0
    failing: dict[str, int] = field(default_factory=dict[str, int])

    async def works(self, low: float, high: float) -> None:
        """Takes its time."""
        await asyncio.sleep(self.random.uniform(low, high))


def tools_of(world: World) -> list[Tool[Any]]:
    """The desk's tools."""

    @tool(effect="read", dependency="crm")
    async def find_customer(name: str) -> str:
        """Finds a customer."""
        await world.works(0.05, 0.2)
        return f"customer 4711: {name}"

    @tool(effect="read", dependency="search")
    async def search_documents(query: str) -> str:
        """Searches the handbook."""
        await world.works(*world.search_seconds)
        return f"3 pages about {query}"

    @tool(effect="read", dependency="carrier")
    async def track_parcel(number: str) -> str:
        """Where a parcel is."""
        await world.works(0.2, 0.6)
        if world.carrier_dead:
            raise ConnectionRefusedError("carrier.example refuses")
        return f"{number}: on its way"

    @tool(effect="read", dependency="rates-api")
    async def exchange_rate(currency: str) -> str:
        """A rate of today."""
        await world.works(0.05, 0.1)
        if world.rates_dead:
            raise ConnectionResetError("rates.example went away")
        return f"1 EUR = 1.08 {currency}"

    @tool(effect="read", dependency="warehouse")
    async def get_stock(item: str) -> str:
        """How many there are."""
        await world.works(0.05, 0.15)
        left = world.failing.setdefault(item, world.stock_failures)
        if left:
            world.failing[item] = left - 1
            raise ConnectionResetError("warehouse.example hung up")
        return f"{item}: 12"

    @tool(effect="read", dependency="orders-db")
    async def export_orders(month: str) -> str:
        """All orders of a month."""
        await world.works(0.6, 0.9)
        return "\n".join(f"{month};order-{number};paid;19.90 EUR" for number in range(60_000))

    @tool(effect="idempotent", dependency="tickets")
    async def create_ticket(title: str, priority: Literal["low", "normal", "high"]) -> str:
        """Opens a ticket."""
        await world.works(0.1, 0.2)
        return f"ticket 90210: {title} ({priority})"

    @tool(effect="once", dependency="bank", timeout=20.0)
    async def charge_card(customer: str, amount: int) -> str:
        """Charges a customer's card."""
        await world.works(0.4, 0.9)
        if world.charge_lost:
            raise ConnectionResetError("the bank hung up before it answered")
        return f"charged {amount} EUR"

    @tool(effect="once", dependency="bank")
    async def refund(order: str, amount: int) -> str:
        """Gives money back."""
        await world.works(0.4, 0.9)
        return f"refunded {amount} EUR for {order}"

    return [
        find_customer, search_documents, track_parcel, exchange_rate, get_stock, export_orders, create_ticket,
        charge_card, refund,
    ]  # fmt: skip


def no_refunds_by_temps(request: PolicyRequest) -> Decision:
    """The desk's policy."""
    if request.tool == "refund" and request.principal.id.startswith("temp-"):
        return Deny("temporary staff may not give money back", rule="refunds-by-staff-only")
    return Allow()


@dataclass(slots=True)
class Desk:
    """Runs of the desk, each at its time."""

    rail: Rail[Any]
    world: World
    number: int = 0

    async def run(
        self, *turns: Sequence[Call], by: Principal | None = None, model: str = MODEL, ask: str = "Help."
    ) -> None:
        """One run, whose model asks for these calls, turn by turn."""
        self.number += 1
        script = [*(Calls(*turn) for turn in turns), Say("Done.")]
        agent = Agent(ScriptedModel(script, name=model, seconds=0.7, endless=True), self.rail)
        who = by or STAFF[self.number % len(STAFF)]
        await agent.run(ask, principal=who, session=f"chat-{who.id}-{self.number // 40}")

    async def ordinary(self) -> None:
        """What the desk does all day; now and then something harmless fails."""
        n = self.number
        first: list[Call] = [("find_customer", {"name": f"Jo {n}"}), ("search_documents", {"query": f"returns {n}"})]
        turns: list[list[Call]] = [first, [("search_documents", {"query": f"fees {n}"})]]
        other: tuple[Call, ...] = (
            ("track_parcel", {"number": f"P-{n}"}),
            ("exchange_rate", {"currency": "USD"}),
            ("get_stock", {"item": f"lamp-{n}"}),
            ("create_ticket", {"title": f"call back {n}", "priority": "normal"}),
            ("charge_card", {"customer": f"C-{n}", "amount": 20 + n % 50}),
            ("refund", {"order": f"O-{n}", "amount": 10}),
        )
        turns.append([other[n % len(other)], ("search_documents", {"query": f"greeting {n}"})])
        await self.run(*turns)


async def _day(desk: Desk, at: Callable[[float], Awaitable[None]]) -> None:
    """Ordinary until the last hour; `at` waits until so many seconds before the end."""
    world = desk.world
    for minute in range(int(TOTAL / 60), 62, -4):
        await at(minute * 60.0)
        await desk.ordinary()
    plans: list[tuple[float, Callable[[], Awaitable[None]]]] = []
    plans += [(minute * 60.0, desk.ordinary) for minute in range(58, 1, -3)]
    plans += [(2_700.0 - 95.0 * n, _wrong(desk, n)) for n in range(24)]
    plans += [(2_600.0 - 90.0 * n, _dead(desk, n)) for n in range(24)]
    plans += [(590.0 - 19.0 * n, _slow(desk, n)) for n in range(22)]
    plans += [(820.0 - 200.0 * n, _loop(desk, n)) for n in range(3)]
    plans += [(2_100.0 - 400.0 * n, _unpriced(desk)) for n in range(5)]
    plans += [(2_350.0 - 300.0 * n, _denied(desk, n)) for n in range(6)]
    plans += [(1_500.0, _unknown(desk))]
    plans += [(2_500.0 - 95.0 * n, _storm(desk, n)) for n in range(24)]
    plans += [(2_450.0 - 350.0 * n, _huge(desk, n)) for n in range(6)]
    plans += [(100.0, _opens(desk)), (80.0, desk.ordinary), (70.0, _refused(desk))]
    async with asyncio.TaskGroup() as group:
        for before, plan in sorted(plans, key=lambda each: -each[0]):
            await at(before)
            group.create_task(_coroutine(plan()))
    assert not world.charge_lost


async def _coroutine(plan: Awaitable[None]) -> None:
    await plan


def _wrong(desk: Desk, n: int) -> Callable[[], Awaitable[None]]:
    """The model writes a priority that there is not; in every third call it is right."""
    priority = "normal" if n % 3 == 2 else "urgent"
    return lambda: desk.run([("create_ticket", {"title": f"broken lamp {n}", "priority": priority})])


def _dead(desk: Desk, n: int) -> Callable[[], Awaitable[None]]:
    async def plan() -> None:
        desk.world.carrier_dead = True
        await desk.run([("track_parcel", {"number": f"P-9{n}"})])

    return plan


def _slow(desk: Desk, n: int) -> Callable[[], Awaitable[None]]:
    async def plan() -> None:
        desk.world.search_seconds = (6.0, 11.0)
        await desk.run([("search_documents", {"query": f"{word} {n}"}) for word in ("fees", "customs", "returns")])

    return plan


def _loop(desk: Desk, n: int) -> Callable[[], Awaitable[None]]:
    again: list[list[Call]] = [[("find_customer", {"name": "Nobody Atall"})]] * 9
    return lambda: desk.run(*again, by=STAFF[n])


def _unpriced(desk: Desk) -> Callable[[], Awaitable[None]]:
    return lambda: desk.run([("find_customer", {"name": "Ada"})], model=UNPRICED)


def _denied(desk: Desk, n: int) -> Callable[[], Awaitable[None]]:
    return lambda: desk.run([("refund", {"order": f"O-7{n}", "amount": 40})], by=TEMP)


def _unknown(desk: Desk) -> Callable[[], Awaitable[None]]:
    async def plan() -> None:
        desk.world.charge_lost = True
        await desk.run([("charge_card", {"customer": "C-1138", "amount": 250})], by=STAFF[2])
        desk.world.charge_lost = False

    return plan


def _storm(desk: Desk, n: int) -> Callable[[], Awaitable[None]]:
    async def plan() -> None:
        desk.world.stock_failures = 2
        await desk.run([("get_stock", {"item": f"chair-{n}"})])

    return plan


def _huge(desk: Desk, n: int) -> Callable[[], Awaitable[None]]:
    return lambda: desk.run([("export_orders", {"month": f"2026-0{n + 1}"})])


def _opens(desk: Desk) -> Callable[[], Awaitable[None]]:
    async def plan() -> None:
        desk.world.rates_dead = True
        await desk.run([("exchange_rate", {"currency": f"X{n:02}"}) for n in range(24)])

    return plan


def _refused(desk: Desk) -> Callable[[], Awaitable[None]]:
    return lambda: desk.run([("exchange_rate", {"currency": "CHF"}), ("exchange_rate", {"currency": "NOK"})])


@dataclass(frozen=True, slots=True)
class Planted:
    """Where it was recorded: `rail.db`, and `rail.records.db` beside it."""

    folder: Path

    @property
    def url(self) -> str:
        """Of the record."""
        return f"sqlite:///{self.folder / 'rail.records.db'}"

    @property
    def store(self) -> str:
        """Of the store."""
        return f"sqlite:///{self.folder / 'rail.db'}"


def planted(folder: Path) -> Planted:
    """Runs it all, up to a moment ago, and looks at the default alerts twice, as if a minute lay between."""
    made = Planted(folder)
    end = time.time() // 60.0 * 60.0  # rollups are of whole minutes: which ones must not depend on the second
    began = end - TOTAL
    recorder = Recorder(made.url, content="redacted", prices=PRICES, alerts=False)  # the tests look themselves

    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        clock = FixedClock(seed=7, wall=began - start)
        world = World(random.Random(7))
        rail = Rail(
            tools_of(world), store=made.store, sinks=[recorder], clock=clock, policies=[no_refunds_by_temps],
        )  # fmt: skip

        async def at(before: float) -> None:
            await asyncio.sleep(max(0.0, start + TOTAL - before - loop.time()))

        await _day(Desk(rail, world), at)
        await rail.ports.store.close()

    run_virtual(main())
    assert recorder.flush(30.0)
    recorder.close()
    assert (recorder.lost, recorder.failures) == (0, 0)
    now = [began + TOTAL - 62.0]
    evaluator = Evaluator(made.url, Alerts(log=False), now=lambda: now[0])
    evaluator.look()
    now[0] += 61.0
    evaluator.look()
    evaluator.close()
    return made
