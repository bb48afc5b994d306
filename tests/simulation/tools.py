"""Tools of every effect, with and without a key, async and sync, all of which visit the world."""

from __future__ import annotations

from typing import Any

from tests.simulation.thread import InThread
from tests.simulation.world import Caller, Visit
from toolrail.context import RunContext
from toolrail.definition import Tool, tool
from toolrail.effects import BY_NAME, Effect, Scope, Verdict, keyed, once, verified
from toolrail.limits import CallLimits

SECONDS = 2.0
"""The deadline of every tool."""


def _begin(ctx: RunContext[Caller], name: str, effect: Effect, invoice: str, amount: int) -> Visit:
    scope: Scope | None = (effect.scope or "principal") if effect.by else None
    return ctx.deps.world.begin(ctx, name, kind=effect.kind, scope=scope, order=(invoice, amount))


def _made(name: str, effect: Effect, *, sync: bool = False, attempt: float | None = None) -> Tool[Caller]:
    limits = CallLimits(timeout=SECONDS, attempt_timeout=attempt)

    async def visit(ctx: RunContext[Caller], invoice: str, amount: int) -> str:
        began = _begin(ctx, name, effect, invoice, amount)
        return await ctx.deps.world.serve(began, ctx.begin_effect if effect.marked else None)

    def visit_in_thread(ctx: RunContext[Caller], invoice: str, amount: int) -> Any:
        return InThread(_begin(ctx, name, effect, invoice, amount), ctx.begin_effect if effect.marked else None)

    fn = visit_in_thread if sync else visit
    return tool(name=name, description=f"Does {name}.", effect=effect, limits=limits)(fn)


def _asking(name: str) -> Any:
    async def ask(ctx: RunContext[Caller], args: Any) -> Verdict:
        return await ctx.deps.world.ask(name, ctx.idempotency_key)

    return ask


TOOLS: tuple[Tool[Caller], ...] = (
    _made("look", BY_NAME["read"]),
    _made("look_in_thread", BY_NAME["read"], sync=True),
    _made("note", BY_NAME["undeclared"]),
    _made("note_in_thread", BY_NAME["undeclared"], sync=True),
    _made("pay", once(by="invoice", scope="tenant")),
    _made("pay_in_thread", once(by="invoice", scope="tenant"), sync=True),
    _made("pay_marked", once(by="invoice", scope="tenant", marked=True)),
    _made("pay_marked_in_thread", once(by="invoice", scope="tenant", marked=True), sync=True),
    _made("pay_own", once(by="invoice")),
    _made("pay_in_session", once(by="invoice", scope="session")),
    _made("pay_in_run", once(by="invoice", scope="run")),
    _made("pay_plain", once()),
    _made("put", BY_NAME["idempotent"]),
    _made("send", keyed(by="invoice", scope="tenant")),
    _made("send_in_thread", keyed(by="invoice", scope="tenant"), sync=True),
    _made("send_plain", keyed(), attempt=0.5),
    _made("send_plain_in_thread", keyed(), sync=True),
    _made("wire", verified(_asking("wire"), by="invoice", scope="tenant")),
    _made("wire_own", verified(_asking("wire_own"), by="invoice", settle_after=1.0)),
    _made("wire_plain", verified(_asking("wire_plain"))),
)
BY_TOOL: dict[str, Effect] = {one.name: one.effect for one in TOOLS}
