"""The world around the spine: a store that others could share, a bank, a policy, a person. All of them take time."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.injection.probe import Injected, Probe
from toolrail.context import RunContext
from toolrail.decisions import Allow, Approval, ApprovalRequest, Ask, Decision, PolicyRequest, Principal
from toolrail.definition import Access, Tool, tool
from toolrail.effects import Happened, Verdict, WillNotHappen, keyed, once, verified
from toolrail.messages import ToolCall
from toolrail.store import Op
from toolrail.stores.memory import MemoryStore

ALICE = Principal("alice")
TICK = 0.01


class Store:
    """A durable store across a line: each transaction is a point before it lands and one after."""

    durable = True

    def __init__(self, rows: MemoryStore, probe: Probe) -> None:
        self._rows = rows
        self._probe = probe

    async def apply(self, *ops: Op) -> list[Any]:
        """One transaction: whole or not at all."""
        names = "+".join(type(op).__name__ for op in ops)
        await self._line(f"store before {names}")
        if self._probe.dead:
            raise ConnectionError("this process is dead")
        answers = await self._rows.apply(*ops)
        await self._line(f"store after {names}")
        return answers

    async def _line(self, place: str) -> None:
        match self._probe.hit(place):
            case "exception":
                raise Injected("the store's line broke")
            case "cancellation":
                assert self._probe.caller is not None
                self._probe.caller.cancel()
            case "crash":
                self._probe.dead = True
                await asyncio.get_running_loop().create_future()
            case "hang":
                await asyncio.get_running_loop().create_future()
            case None:
                pass
        await asyncio.sleep(TICK)

    async def close(self) -> None:
        """Nothing is queued here."""


@dataclass
class World:
    """What took place, by invoice."""

    payments: Counter[str] = field(default_factory=Counter[str])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    """Of banks that honour keys: invoice by key."""
    void: set[str] = field(default_factory=set[str])
    flaky: bool = True
    """The first shipment's answer gets lost."""

    def pay(self, invoice: str, key: str | None = None) -> None:
        """Pays, unless a bank that honours keys has done so under this one or has given it up."""
        if key is not None and (key in self.keys or key in self.void):
            return
        if key is not None:
            self.keys[key] = invoice
        self.payments[invoice] += 1


def tools(world: World) -> list[Tool[object]]:
    """One tool of each effect class."""

    @tool(effect="read")
    async def look(invoice: str) -> str:
        """Looks at an invoice."""
        await asyncio.sleep(TICK)
        return f"{invoice} is open"

    @tool(effect=once(by="invoice", scope="tenant"), access=Access(approve=True))
    async def pay(invoice: str) -> str:
        """Pays an invoice."""
        await asyncio.sleep(TICK)
        world.pay(invoice)
        await asyncio.sleep(TICK)
        return f"{invoice} is paid"

    @tool(effect=keyed(by="invoice", scope="tenant"))
    async def send(ctx: RunContext[object], invoice: str) -> str:
        """Sends an invoice."""
        await asyncio.sleep(TICK)
        world.pay(invoice, ctx.idempotency_key)
        await asyncio.sleep(TICK)
        return f"{invoice} is sent"

    async def shipped(ctx: RunContext[Any], arguments: Any) -> Verdict:
        await asyncio.sleep(TICK)
        if ctx.idempotency_key in world.keys:
            return Happened(f"{arguments['invoice']} is shipped")
        world.void.add(ctx.idempotency_key)
        return WillNotHappen()

    @tool(effect=verified(shipped, by="invoice", scope="tenant"))
    async def ship(ctx: RunContext[object], invoice: str) -> str:
        """Ships what an invoice lists."""
        await asyncio.sleep(TICK)
        world.pay(invoice, ctx.idempotency_key)
        await asyncio.sleep(TICK)
        if world.flaky:
            world.flaky = False
            raise ConnectionError("the answer got lost")
        return f"{invoice} is shipped"

    return [look, pay, send, ship]


async def policy(request: PolicyRequest) -> Decision:
    """Takes its time."""
    await asyncio.sleep(TICK)
    return Ask("always") if request.tool == "pay" else Allow()


async def approver(request: ApprovalRequest) -> Approval:
    """Says yes, after a while."""
    await asyncio.sleep(TICK)
    return Approval(True, "carol", request.digest)


CALLS = [
    ToolCall(f"call_{name}", name, f'{{"invoice": "{invoice}"}}')
    for name, invoice in (("look", "L"), ("pay", "P"), ("send", "S"), ("ship", "V"), ("pay", "P"))
]
