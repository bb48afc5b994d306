"""Processes that pay one invoice through a rail and are killed on the way, some of them, at random.

python -m tests.kills.payers STORE EFFECT WORLD HOURS SEED [DEADLY]
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.kills.world import World
from toolrail.clock import SystemClock
from toolrail.context import RunContext
from toolrail.decisions import Principal
from toolrail.definition import Tool, tool
from toolrail.effects import Effect, Happened, Verdict, WillNotHappen, keyed, once, verified
from toolrail.messages import ToolCall
from toolrail.rail import Rail

PROCESSES = 20
ALICE = Principal("alice")
DEATHS = ("before it pays", "after it has paid", "after its handler", "nowhere")


class LaterClock(SystemClock):
    """The machine's clock, some hours on: leases of the dead have lapsed."""

    def __init__(self, hours: float) -> None:
        super().__init__()
        self._hours = hours

    def wall(self) -> float:
        return time.time() + self._hours * 3_600


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def pay_tool(kind: str, world: World, death: str) -> Tool[object]:
    """The tool with the effect class of that name. Dies where it is told to."""

    async def ask(ctx: RunContext[object], arguments: object) -> Verdict:
        return Happened("paid") if world.paid(ctx.idempotency_key) else WillNotHappen()

    effects: dict[str, Effect] = {
        "once": once(by="invoice", scope="tenant"),
        "keyed": keyed(by="invoice", scope="tenant"),
        "verified": verified(ask, by="invoice", scope="tenant"),
    }

    @tool(name="pay", effect=effects[kind], timeout=3.0)
    async def pay(ctx: RunContext[object], invoice: str) -> str:
        """Pays an invoice."""
        if death == DEATHS[0]:
            die()
        done = world.pay(ctx.idempotency_key, honours=kind != "once")
        if death == DEATHS[1]:
            die()
        if death == DEATHS[2]:
            asyncio.get_running_loop().call_soon(die)  # somewhere between the handler's end and the settlement
        await asyncio.sleep(0.01)
        return "paid" if done else "given up"

    return pay


async def pay_once(url: str, kind: str, world: World, hours: float, death: str) -> str:
    rail = Rail([pay_tool(kind, world, death)], store=url, clock=LaterClock(hours), sinks=[])
    async with rail, rail.run([], principal=ALICE) as run:
        (result,) = await rail.batch([ToolCall("1", "pay", '{"invoice": "A1"}')], run)
        run.stop("done")
    return str(result.code or result.status)


def main(url: str, kind: str, world: str, hours: str, seed: str, deadly: str = "") -> None:
    """Forks the payers, all at once; each line says how one of them was answered. The dead say nothing."""
    rng = random.Random(int(seed))
    children: list[int] = []
    for _ in range(PROCESSES):
        death = rng.choice(DEATHS[:3]) if deadly and rng.random() < 0.9 else DEATHS[3]
        pid = os.fork()
        if pid == 0:
            said = asyncio.run(pay_once(url, kind, World(Path(world)), float(hours), death))
            os.write(1, f"{said}\n".encode())
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
