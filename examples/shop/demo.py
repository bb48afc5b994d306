"""`make demo`: the shop, its agent and toolrail in between, in five parts of a few seconds in all."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence

from rich.text import Text

from examples.shop.data import CUSTOMERS, ORDERS, PRODUCTS_PER_CATEGORY
from examples.shop.demo_hostile import show_hostile
from examples.shop.demo_model import PRICES, Chosen, chosen_model
from examples.shop.demo_parallel import both_sets, show_parallel
from examples.shop.demo_patterns import Ran, show_patterns
from examples.shop.demo_payment import show_payment
from examples.shop.demo_rail import INSTRUCTIONS, LOGGED_IN, RECORD, STORE, forget_record, shop_rail, telemetry
from examples.shop.demo_screen import Screen
from examples.shop.demo_table import show_table
from examples.shop.open import DEFAULT_PATH, open_shop
from examples.shop.quotes import QuoteService
from examples.shop.vocabulary import SHELVES
from toolrail.agent import Agent
from toolrail.cli.dashboard import PORT
from toolrail.cli.lines import short_id
from toolrail.errors import DefinitionError
from toolrail.stores import open_store
from toolrail.testing import Recorder

DASHBOARD = f"http://127.0.0.1:{PORT}/"
_QUOTES = ("busy", "slow", "price")
"""What the shipping service does with the first three requests; then it begins again."""


async def show(screen: Screen, chosen: Chosen) -> int:
    """All parts; the exit code is 1 when the model could not be asked."""
    began = time.perf_counter()
    forget_record()
    recorder, quotes = Recorder(), QuoteService(cycle=_QUOTES, slow_seconds=0.1, retry_after=0)
    store, records = open_store(STORE), telemetry(PRICES)
    rail = shop_rail(sinks=[recorder, screen], store=store, records=records)
    try:
        async with (
            rail,
            both_sets(store=store, sinks=[recorder, records]) as sets,
            open_shop(fresh=True, quotes=quotes) as shop,
        ):
            _introduce(screen, chosen, seconds=time.perf_counter() - began)
            agent = Agent(chosen.model, rail, instructions=INSTRUCTIONS, prices=PRICES)
            ran = await show_patterns(screen, agent, shop, recorder)
            await show_parallel(screen, sets)
            await show_hostile(screen, rail, shop)
            await show_payment(screen, store=store, sinks=[recorder, records])
            show_table(screen, recorder, PRICES)
    finally:
        quotes.close()
    _what_next(screen, ran, seconds=time.perf_counter() - began)
    return int(any(one.result.stop_reason == "model_unavailable" for one in ran))


def _introduce(screen: Screen, chosen: Chosen, *, seconds: float) -> None:
    screen.line(Text("toolrail demo: an online shop, a model with its tools, and toolrail in between", "bold"))
    screen.line()
    screen.paragraph("model   ", chosen.says, style="yellow" if chosen.scripted else "")
    products = 1 + PRODUCTS_PER_CATEGORY * len(SHELVES)
    screen.paragraph(
        "shop    ",
        f"real: {DEFAULT_PATH}, built in {seconds:.1f} s, with {products:,} products, {CUSTOMERS} customers and "
        f"{ORDERS:,} orders; and a shipping service over HTTP that is busy or slow now and then",
    )
    screen.paragraph("user    ", f"{LOGGED_IN.id} is logged in; nothing that a model writes can change that")
    screen.paragraph("record  ", f"{RECORD} keeps every call below")


def _what_next(screen: Screen, ran: Sequence[Ran], *, seconds: float) -> None:
    longest = max(ran, key=lambda one: one.requests).result.run_id
    screen.line()
    screen.line(f"That took {seconds:.1f} s. To try next:")
    commands = (
        ("ask it yourself", "make chat"),
        ("see the chain", f".venv/bin/toolrail show {short_id(longest)} --store {RECORD}"),
        ("see every call", f".venv/bin/toolrail tail --once --store {RECORD}"),
        ("each tool", f".venv/bin/toolrail tools --store {RECORD}"),
        ("see all of it", f"make dashboard, at {DASHBOARD}"),
    )
    for meaning, command in commands:
        screen.line(Text().append(f"   {meaning:<16} ", "dim").append(command, "bold"))


def main() -> int:
    """Shows the demo; 1 when the model could not be asked."""
    # The demo says itself, as it happens, what the log would say a second time.
    logging.getLogger("toolrail").addHandler(logging.NullHandler())
    try:
        return asyncio.run(show(Screen(), chosen_model()))
    except (DefinitionError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
