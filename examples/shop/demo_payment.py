"""Part 4 of the demo: a payment whose answer gets lost, by hand and through the rail, side by side."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import zip_longest

from rich.text import Text

from examples.article import retries
from examples.shop.bank import Bank
from examples.shop.demo_rail import LOGGED_IN, RECORD
from examples.shop.demo_screen import Screen
from toolrail import Rail, ToolCall, once, tool
from toolrail.events import Sink
from toolrail.store import OpenCalls, Store, ask

SECONDS = 0.15
"""How long either side waits for the bank."""
PAYMENT = '{"invoice": "INV-2041", "amount": "42.00"}'


@dataclass(slots=True)
class Side:
    """What happened on one side, line by line."""

    title: str
    lines: list[str] = field(default_factory=list[str])
    sum: str = ""

    def bank(self) -> Bank:
        """A bank that tells this side what it does."""
        return Bank(slow_seconds=10 * SECONDS, note=self.lines.append)


async def show_payment(screen: Screen, *, store: Store, sinks: Sequence[Sink]) -> tuple[int, int, int]:
    """Both sides; answers how often each charged, and how many unknown outcomes the rail lists."""
    screen.title(4, "A payment whose answer gets lost: retried by hand, and through toolrail")
    by_hand, ours = Side("a loop with retries, by hand"), Side("toolrail, once(by='invoice')")
    first = await _by_hand(by_hand)
    second, unknown = await _through_the_rail(ours, store=store, sinks=sinks)
    by_hand.sum, ours.sum = f"charged {first}x", f"charged {second}x, {unknown} unknown"
    _side_by_side(screen, by_hand, ours)
    screen.paragraph(
        "   ",
        "Nobody can know from here whether the first try went through. So the model is told, a person finds it listed, "
        "and it is never made again by itself: "
        f".venv/bin/toolrail effects list --store {RECORD}",
        style="dim",
    )
    return first, second, unknown


async def _by_hand(side: Side) -> int:
    """The retry loop of the article's third step. Its author thinks that a time-out means that nothing happened."""
    bank = side.bank()

    async def pay(invoice: str, amount: str) -> str:
        try:
            async with asyncio.timeout(SECONDS):
                return await bank.pay(invoice, Decimal(amount))
        except TimeoutError as error:
            side.lines.append("no answer in time: try again")
            raise retries.ToolError("The bank is slow.", retryable=True) from error

    async def soon(_: float) -> None:
        """The demo does not wait between two tries."""

    retries.logger.addHandler(logging.NullHandler())
    told = await retries.answer_text("pay", PAYMENT, {"pay": pay}, attempts=3, sleep=soon)
    side.lines.append(f"the model is told: {json.loads(told)}")
    return len(bank.charges)


async def _through_the_rail(side: Side, *, store: Store, sinks: Sequence[Sink]) -> tuple[int, int]:
    bank = side.bank()

    @tool(effect=once(by="invoice", scope="tenant"), timeout=SECONDS)
    async def pay(invoice: str, amount: Decimal) -> str:
        """Pays an open invoice."""
        return await bank.pay(invoice, amount)

    rail = Rail([pay], store=store, sinks=sinks)
    async with rail.run([], principal=LOGGED_IN) as run:
        for at, again in enumerate(("no answer in time: unknown", "the model asks again: not made")):
            (result,) = await rail.batch([ToolCall(f"payment_{at}", "pay", PAYMENT)], run)
            side.lines.append(again)
            side.lines.append(f"the model is told: {result.code}")
        run.stop("done")
    unknown = [row for row in await ask(store, OpenCalls()) if row.tool == "pay"]
    return len(bank.charges), len(unknown)


def _side_by_side(screen: Screen, left: Side, right: Side) -> None:
    width = (screen.width - 6) // 2
    screen.line()
    screen.line(Text(f"   {left.title:<{width}}{right.title}", style="bold cyan"))
    for one, other in zip_longest(left.lines, right.lines, fillvalue=""):
        screen.line(f"   {one[: width - 2]:<{width}}{other[:width]}".rstrip())
    line = Text("   ").append(f"{left.sum:<{width}}", style="bold red").append(right.sum, style="bold green")
    screen.line(line)
