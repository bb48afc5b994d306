"""Processes that pay the same invoices through `ctx.transaction()`, and die on the way, some of them, at random.

python -m tests.kills.committers STORE HOURS SEED [some | all]
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import Any

from tests.kills.payers import ALICE, LaterClock, die
from toolrail.context import RunContext
from toolrail.definition import Tool, tool
from toolrail.effects import transactional
from toolrail.messages import ToolCall
from toolrail.rail import Rail

PROCESSES = 4
INVOICES = 8
TABLE = "CREATE TABLE payments (invoice TEXT NOT NULL, call_key TEXT NOT NULL)"
PLACES = ("before the block", "in the block", "after the block", "rounds later")
MOST_ROUNDS = 60
"""Rounds of the loop after the handler's end: the commit, and more calls, lie within."""


def pay_tool(rng: random.Random, *, sqlite: bool, deadly: str) -> Tool[object]:
    """The tool, which dies at one of its calls, or at the first."""
    deaths = {rng.randrange(INVOICES): rng.choice(PLACES)} if deadly else {}
    if deadly == "all":
        deaths = dict.fromkeys(range(INVOICES), PLACES[1])

    @tool(name="pay", effect=transactional(by="invoice", scope="tenant"), timeout=1.0 if deadly else 30.0)
    async def pay(ctx: RunContext[object], invoice: str) -> str:
        """Pays an invoice."""
        death = deaths.get(int(invoice))
        if death == PLACES[0]:
            die()
        async with ctx.transaction() as tx:
            await _insert(tx, invoice, ctx.call_key, sqlite=sqlite)
            if death == PLACES[1]:
                die()
        if death == PLACES[2]:
            die()
        if death == PLACES[3]:
            _die_later(asyncio.get_running_loop(), rng.randrange(MOST_ROUNDS))
        return f"paid {invoice}"

    return pay


async def _insert(tx: Any, invoice: str, key: str, *, sqlite: bool) -> None:
    if sqlite:
        await tx.execute("INSERT INTO payments VALUES (?, ?)", (invoice, key))
    else:
        await tx.execute("INSERT INTO public.payments VALUES ($1, $2)", invoice, key)


def _die_later(loop: asyncio.AbstractEventLoop, rounds: int) -> None:
    loop.call_soon(die if rounds == 0 else lambda: _die_later(loop, rounds - 1))


async def pay_all(url: str, hours: float, seed: int, *, deadly: str) -> str:
    rng = random.Random(seed)
    pay = pay_tool(rng, sqlite=url.startswith("sqlite"), deadly=deadly)
    rail = Rail([pay], store=url, clock=LaterClock(hours), sinks=[])
    invoices = rng.sample(range(INVOICES), INVOICES)
    calls = [ToolCall(str(n), "pay", f'{{"invoice": "{n}"}}') for n in invoices]
    async with rail, rail.run([], principal=ALICE) as run:
        results = [*await rail.batch(calls[:4], run), *await rail.batch(calls[4:], run)]
        run.stop("done")
    return " ".join(str(result.code or result.status) for result in results)


def main(url: str, hours: str, seed: str, deadly: str = "") -> None:
    """Forks the payers, all at once; each line says how one of them was answered. The dead say nothing."""
    children: list[int] = []
    for number in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            said = asyncio.run(pay_all(url, float(hours), 100 * int(seed) + number, deadly=deadly))
            os.write(1, f"{said}\n".encode())
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
