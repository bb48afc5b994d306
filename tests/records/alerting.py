"""Real runs at chosen times, whose record the tests of alerts read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolrail import Agent, CallLimits, Rail, ToolCall, ToolError, tool
from toolrail.clock import SystemClock
from toolrail.events import Event, ModelSettled
from toolrail.records.alerts import Alerts, Change, Evaluator, Rule
from toolrail.records.database import connect
from toolrail.records.writing import Flush, write
from toolrail.testing import Calls, ScriptedModel, run_virtual

START = 1_800_000_000.0
GOOD, WRONG, DOWN, BUG = '{"amount": 1}', '{"amount": "much"}', '{"amount": -1}', '{"amount": 13}'


@tool(effect="read")
async def pay(amount: int) -> str:
    """Pays."""
    if amount < 0:
        raise ToolError("The bank is down.")
    if amount == 13:
        raise KeyError("unlucky")
    return "paid"


@tool(effect="read")
async def find(seconds: float) -> str:
    """Searches for so long."""
    await asyncio.sleep(seconds)
    return "found"


@tool(effect="read", limits=CallLimits(attempts=1))
async def ship(order: int) -> str:
    """Ships, by a carrier that cannot be reached."""
    raise ConnectionError("no route")


@tool(effect="once", limits=CallLimits(timeout=1.0))
async def order(item: str) -> str:
    """Orders, and is never answered."""
    await asyncio.sleep(60)
    return "ordered"


class At(SystemClock):
    """A wall clock that stands where the test puts it."""

    def __init__(self) -> None:
        super().__init__()
        self.time = START

    def wall(self) -> float:
        return self.time


@dataclass(slots=True)
class Heard:
    """A teller that remembers; `deaf` is how often it fails first."""

    name: str = "heard"
    deaf: int = 0
    changes: list[Change] = field(default_factory=list[Change])

    def tell(self, change: Change) -> str | None:
        if self.deaf:
            self.deaf -= 1
            return "deaf"
        self.changes.append(change)
        return None


class _Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


class Shop:
    """A rail on simulated time, its telemetry, and one evaluator."""

    def __init__(self, path: Path, rules: Sequence[Rule] | None = None, **more: Any) -> None:
        self.url = f"sqlite:///{path / 'shop.records.db'}"
        self.clock = At()
        self.heard = Heard()
        self.alerts = Alerts(rules, tellers=(self.heard,), **more)
        self.evaluator = Evaluator(self.url, self.alerts, now=self.clock.wall)

    def calls(self, *arguments: str, name: str = "pay", each: float = 0.0) -> None:
        """So many calls, `each` seconds apart, recorded."""
        kept = _Kept()

        async def run() -> None:
            async with Rail([pay, find, ship, order], sinks=[kept], store="memory://", clock=self.clock) as rail:
                for number, one in enumerate(arguments):
                    await rail.batch([ToolCall(f"c{number}", name, one)])
                    self.clock.time += each

        run_virtual(run())
        self.record(kept.events)

    def run(self, *, calls: int, arguments: str = '{"amount": %d}', paid: float | None = 0.0) -> None:
        """One run with so many calls to its end; `paid` is what each response cost."""
        kept = _Kept()

        async def run() -> None:
            script = [Calls(("pay", arguments.replace("%d", str(at + 1)))) for at in range(calls)]
            rail = Rail([pay], sinks=[kept], clock=self.clock)
            await Agent(ScriptedModel([*script, "Done."]), rail, max_turns=50).run("Pay.")

        run_virtual(run())
        self.record(kept.events, paid=paid)

    def record(self, events: Sequence[Event], *, lost: int = 0, paid: float | None = None) -> None:
        """Writes events, as the recorder does."""
        database = connect(self.url)

        def costing(event: ModelSettled) -> tuple[float | None, str]:
            return paid, "USD"

        flush = Flush("test", {"queue": lost} if lost else {}, self.clock.time)
        write(database, events, handles={}, costing=costing, flush=flush)
        database.close()

    def look(self, *, after: float = 15.0) -> list[tuple[str, str, str]]:
        """What changed at a round so many seconds later: rule, subject, state."""
        self.clock.time += after
        return [(one.rule, one.subject, one.state) for one in self.evaluator.look()]
