"""A day and a half of real runs in simulated time, whose events are kept beside the telemetry that is made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from toolrail import Agent, Principal, Rail, ToolError, once, testing, tool
from toolrail.events import CallSettled, Content, Event
from toolrail.records.metrics import Latencies
from toolrail.records.prices import Price
from toolrail.records.recorder import Recorder
from toolrail.records.views import Window
from toolrail.testing import Calls, FixedClock, Say, ScriptedModel, run_virtual

BEGIN = 1_800_000_000.0
HOUR = 3600.0
RUNS = 60
PRICES = {"scripted": Price(Decimal("2.5"), Decimal("10"))}


@tool(effect="read", dependency="catalogue")
async def find(seconds: float) -> str:
    """Finds, in so many seconds."""
    await asyncio.sleep(seconds)
    return "found"


@tool(effect="read", dependency="catalogue")
async def broken() -> str:
    """Fails."""
    raise ToolError("The shop is closed.")


@tool(effect=once())
async def pay(order: str) -> str:
    """Pays, and nobody hears what became of it."""
    raise ConnectionResetError(order)


def script_of(number: int) -> list[Calls | Say]:
    """What the model says in one run."""
    turns: list[Calls | Say] = [Calls(("find", {"seconds": 0.01 * (number + 1)}), ("find", {"seconds": 0.5}))]
    if number % 3 == 0:
        turns.append(Calls(("broken", {})))
    if number % 5 == 0:
        turns.append(Calls(("find", {"wrong": 1}), ("nothing_like_it", {})))
    if number % 20 == 0:
        turns.append(Calls(("pay", {"order": f"ORD-{number}"})))
    if number % 15 == 7:
        turns += [Calls(("find", {"seconds": 1.0}))] * 7
    return [*turns, Say("Done.")]


class Reader(testing.Recorder):
    """Keeps content, too."""

    wants_content = True

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Event | Content] = []

    def emit(self, event: Event) -> None:
        super().emit(event)
        self.all.append(event)

    def take(self, content: Content) -> None:
        self.all.append(content)


def a_day_and_a_half() -> list[Event | Content]:
    """What 60 runs say, one each 36 minutes, by three users of two tenants, in six sessions."""
    recorder = Reader()

    async def main() -> None:
        async with Rail([find, broken, pay], sinks=[recorder], clock=FixedClock()) as rail:
            for number in range(RUNS):
                agent = Agent(ScriptedModel(script_of(number)), rail)
                who = Principal(f"user_{number % 3}", tenant=f"tenant_{number % 2}")
                await agent.run("Go.", principal=who, session=f"session_{number % 6}")
                await asyncio.sleep(2160.0)

    run_virtual(main())
    return recorder.all


def tell(url: str, events: Sequence[Event | Content], *, processes: int = 1, batch: int = 300) -> None:
    """Gives events to so many recorders, as so many processes would: each has runs of its own, and they take turns."""
    shares: list[list[Event | Content]] = [[] for _ in range(processes)]
    known: dict[str, int] = {}
    for event in events:
        shares[known.setdefault(event.head.run, len(known) % processes)].append(event)
    recorders = [Recorder(url, content="full", keep_days=None, keep_bytes=None, prices=PRICES) for _ in shares]
    for first in range(0, max(map(len, shares)), batch):
        for recorder, share in zip(recorders, shares, strict=True):
            for event in share[first : first + batch]:
                recorder.take(event) if isinstance(event, Content) else recorder.emit(event)
            assert recorder.flush(60.0)
    for recorder in recorders:
        recorder.close(60.0)
        assert recorder.lost == 0


def settled_within(events: Sequence[Event | Content], window: Window) -> dict[str, list[CallSettled]]:
    """By tool, straight from the events."""
    found: dict[str, list[CallSettled]] = {}
    for event in events:
        if isinstance(event, CallSettled) and window.since <= event.head.wall < window.until:
            name = event.call.tool if event.call.digest else "(unknown)"
            found.setdefault(name, []).append(event)
    return found


def sketch(calls: Sequence[CallSettled]) -> Latencies:
    """Their latencies."""
    latencies = Latencies()
    for call in calls:
        latencies.add(call.seconds)
    return latencies
