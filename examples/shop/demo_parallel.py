"""Part 2 of the demo: three calls of 500 ms in one response, at the same time and, declared so, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rich.console import Group
from rich.live import Live
from rich.text import Text

from examples.shop.demo_rail import LOGGED_IN
from examples.shop.demo_screen import Screen
from toolrail import Order, Rail, Tool, ToolCall, tool
from toolrail.events import Sink
from toolrail.run import ToolEnded, ToolProgress, ToolStarted
from toolrail.store import Store

SUPPLIERS = ("Norvik", "Halden", "Lumeo")
SECONDS = 0.5
_LABELS = 24
_FRAME = 0.05


@tool(effect="read", timeout=5.0)
async def ask_supplier(name: str) -> str:
    """Asks a supplier, who takes his time."""
    await asyncio.sleep(SECONDS)
    return f"{name} can deliver."


ask_supplier_in_turn: Tool[object] = tool(
    name="ask_supplier_in_turn", effect="read", timeout=5.0, order=Order(barrier=True)
)(ask_supplier.fn)


@dataclass(slots=True)
class Lane:
    """One set of calls: when each began and ended, in seconds from the beginning of the set."""

    name: str
    tool: str
    style: str
    spans: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    seconds: float | None = None

    async def run(self, rail: Rail[object]) -> None:
        """Lets the rail answer the three calls as one response of a model."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        def note(event: ToolStarted | ToolProgress | ToolEnded) -> None:
            self.spans.setdefault(event.call.id, []).append(loop.time() - began)

        calls = [ToolCall(one, self.tool, f'{{"name":"{one}"}}') for one in SUPPLIERS]
        async with rail.run([], principal=LOGGED_IN) as run:
            run.observer = note
            await rail.batch(calls, run)
            run.stop("done")
        self.seconds = loop.time() - began


@dataclass(frozen=True, slots=True)
class Sets:
    """Both sets of calls, on their way since `began` on the event loop's clock."""

    lanes: Sequence[Lane]
    tasks: Sequence[asyncio.Task[None]]
    began: float


@asynccontextmanager
async def both_sets(*, store: Store, sinks: Sequence[Sink]) -> AsyncGenerator[Sets]:
    """Runs both sets at once, and while the parts before are shown: all that they do is wait."""
    rail = Rail([ask_supplier, ask_supplier_in_turn], store=store, sinks=sinks)
    lanes = (
        Lane("at the same time", ask_supplier.name, "green"),
        Lane("one after another", ask_supplier_in_turn.name, "yellow"),
    )
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(lane.run(rail)) for lane in lanes]
    try:
        yield Sets(lanes, tasks, loop.time())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def show_parallel(screen: Screen, sets: Sets) -> None:
    """Draws both sets until they have ended; on what is no terminal nothing is drawn before the end."""
    screen.title(2, "Three calls of 500 ms in one response, measured")
    screen.line()
    if screen.console.is_terminal:
        await _draw(screen, sets)
    await asyncio.gather(*sets.tasks)
    if not screen.console.is_terminal:
        screen.block(_chart(screen, sets.lanes, 0.0))


async def _draw(screen: Screen, sets: Sets) -> None:
    loop = asyncio.get_running_loop()
    with Live(console=screen.console, auto_refresh=False) as live:
        while not all(task.done() for task in sets.tasks):
            live.update(_chart(screen, sets.lanes, loop.time() - sets.began), refresh=True)
            await asyncio.sleep(_FRAME)
        live.update(_chart(screen, sets.lanes, loop.time() - sets.began), refresh=True)


def _chart(screen: Screen, lanes: Sequence[Lane], now: float) -> Group:
    """The time line: a bar for each call, from when its handler began to when it ended."""
    columns = screen.width - _LABELS - 12
    scale = columns / (SECONDS * len(SUPPLIERS) + 0.1)
    lines = [Text(" " * _LABELS + _ruler(scale, columns), style="dim")]
    for lane in lanes:
        for at, name in enumerate(SUPPLIERS):
            label = f"   {lane.name if at == 0 else ''}".ljust(_LABELS)
            text = Text(label).append(_bar(screen, lane.spans.get(name, []), now, scale), style=lane.style)
            if at == len(SUPPLIERS) - 1 and lane.seconds is not None:
                text.append(f"  {lane.seconds:.2f} s", style="bold")
            lines.append(text)
        lines.append(Text())
    return Group(*lines[:-1])


def _bar(screen: Screen, span: Sequence[float], now: float, scale: float) -> str:
    if not span:
        return ""
    begin, end = span[0], span[1] if len(span) > 1 else now
    block = "\u2588" if screen.console.encoding.startswith("utf") else "#"
    first = round(begin * scale)
    return " " * first + block * max(1, round(end * scale) - first)


def _ruler(scale: float, columns: int) -> str:
    marks = [" "] * (columns + 8)
    for step in range(len(SUPPLIERS) + 1):
        text = f"{step * SECONDS:.1f} s"
        marks[round(step * SECONDS * scale) : round(step * SECONDS * scale) + len(text)] = text
    return "".join(marks).rstrip()
