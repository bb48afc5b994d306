"""A crowd of runs that call tools of every effect, one call in twenty with a fault, on a real loop and threads."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from toolrail.decisions import Principal
from toolrail.definition import Tool, tool
from toolrail.effects import IDEMPOTENT, Effect, Verdict, WillNotHappen, keyed, once
from toolrail.errors import ToolError
from toolrail.limits import CallLimits, RailLimits, RunLimits
from toolrail.messages import ToolCall
from toolrail.rail import Rail
from toolrail.records.metrics import Metrics
from toolrail.store import CallRow
from toolrail.stores.memory import MemoryStore

FAULTS = (
    "bug",
    "permanent",
    "passing",
    "hangs",
    "swallows",
    "exits",
    "huge",
    "unknown tool",
    "bad arguments",
    "bad json",
    "cancelled run",
    "blocks",
)
SHARE = 0.05
SECONDS = 1.0
"""The deadline of a tool. So many runs at once keep the loop busy, so it cannot be short."""
PRINCIPALS = tuple(Principal(f"P-{at}", tenant=f"T-{at % 7}") for at in range(100))


async def _misbehave(fault: str) -> str:
    match fault:
        case "bug":
            raise RuntimeError("a bug")
        case "permanent":
            raise ToolError("there is no such thing")
        case "passing":
            raise ConnectionError("reset")
        case "hangs":
            await asyncio.sleep(3_600)
        case "swallows":
            for _ in range(3):
                try:
                    await asyncio.sleep(3_600)
                except asyncio.CancelledError:
                    continue
        case "exits":
            raise SystemExit(1)
        case "huge":
            return "x" * 200_000
        case _:
            await asyncio.sleep(0)
    return "done"


def _tool(name: str, effect: Effect | Any) -> Tool[object]:
    @tool(name=name, effect=effect, limits=CallLimits(timeout=SECONDS, attempts=2))
    async def handler(item: str, fault: str = "") -> str:
        """Does something with an item."""
        return await _misbehave(fault)

    return handler


@tool(name="in_a_thread", effect="read", limits=CallLimits(timeout=SECONDS, attempts=2))
def in_a_thread(item: str, fault: str = "") -> str:
    """Does something in a thread; a fault blocks it past its deadline, and then it ends by itself."""
    if fault == "blocks":
        time.sleep(2 * SECONDS)
    return "done"


TOOLS = (
    _tool("reads", "read"),
    _tool("sets", IDEMPOTENT),
    _tool("sends", keyed(by="item")),
    _tool("pays", once(by="item")),
    _tool("pays_for_all", once(by="item", scope="principal")),
    _tool("guesses", "undeclared"),
    in_a_thread,
)


_WEIGHTS = (9, 9, 9, 9, 9, 9, 1)
"""Few go to a thread: a loop that is full hands places back late, and 32 of them would be too few."""


@dataclass
class Crowd:
    """Runs at once, until so many calls were answered or the time is up."""

    runs: int
    seed: int = 0
    store: MemoryStore = field(default_factory=MemoryStore)
    answers: Counter[str] = field(default_factory=Counter[str])
    calls: int = 0
    rail: Rail[Any] = field(init=False)

    def __post_init__(self) -> None:
        limits = RailLimits(circuit=None, backoff=0.001, backoff_max=0.002)
        self.rail = Rail(TOOLS, store=self.store, sinks=[Metrics()], limits=limits)
        self._rng = random.Random(self.seed)

    async def go_on(self, *, calls: int, seconds: float) -> None:
        """Lets the crowd make so many calls more, for at most so many seconds."""
        until, target = time.monotonic() + seconds, self.calls + calls
        people = [asyncio.create_task(self._person(until, target)) for _ in range(self.runs)]
        clerk = asyncio.create_task(self._settle_now_and_then())
        await asyncio.gather(*people)
        clerk.cancel()
        await asyncio.gather(clerk, return_exceptions=True)
        await self._settle()

    async def _person(self, until: float, target: int) -> None:
        while time.monotonic() < until and self.calls < target:
            one = asyncio.create_task(self._run())
            if self._rng.random() < SHARE:
                await asyncio.sleep(self._rng.random() * 0.1)
                one.cancel()
                self.answers["cancelled run"] += 1
            await asyncio.gather(one, return_exceptions=True)

    async def _run(self) -> None:
        rng = self._rng
        async with self.rail.run([], principal=rng.choice(PRINCIPALS), limits=RunLimits(turns=None)) as run:
            for _ in range(rng.randint(1, 5)):
                calls = [self._call(at) for at in range(rng.randint(1, 5))]
                self.calls += len(calls)
                for result in await self.rail.batch(calls, run):
                    self.answers[str(result.code or "ok")] += 1
            run.stop("done")

    def _call(self, at: int) -> ToolCall:
        rng = self._rng
        chosen = rng.choices(TOOLS, _WEIGHTS)[0]
        name, item = chosen.name, f"I-{rng.getrandbits(48)}"
        if name == "pays_for_all":  # a key that outlives its run stays, so there are only so many
            item = f"I-{rng.randrange(50)}"
        fault = rng.choice(FAULTS) if rng.random() < SHARE else ""
        text = f'{{"item": "{item}", "fault": "{fault}"}}'
        if fault == "unknown tool":
            name = "nothing_like_it"
        elif fault == "bad arguments":
            text = '{"items": 3}'
        elif fault == "bad json":
            text = '{"item": '
        return ToolCall(f"call_{at}", name, text)

    async def _settle_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            await self._settle()

    async def _settle(self) -> None:
        """The person who looks after unknown outcomes: without him they would stay listed, as they should."""

        async def nothing_happened(_: CallRow) -> Verdict:
            return WillNotHappen()

        while (await self.rail.reconcile(nothing_happened, limit=1_000)).settled:
            pass
