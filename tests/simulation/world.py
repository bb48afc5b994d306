"""The outside world: it takes payments, counts them, and answers late, wrongly worded, or not at all.

Whatever it states is true: when it says that nothing happened under a key, then what is still on its way under that
key will do nothing either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from tests.simulation.history import History
from tests.simulation.processes import Process
from toolrail.context import RunContext
from toolrail.effects import DOUBTED, EffectKind, Happened, Scope, Unclear, Verdict, WillNotHappen
from toolrail.errors import NotAuthorised, ToolError
from toolrail.limits import RunLimits

Fate = Literal[
    "ok",
    "request lost",
    "answer lost",
    "connection refused",
    "busy",
    "rejected",
    "states nothing",
    "says busy after a time-out",
    "not authorised",
    "breaks before",
    "breaks after",
    "exits after",
    "hangs before",
    "hangs after",
    "slow",
    "swallows cancellation",
]
FATES: dict[Fate, int] = {
    "ok": 64,
    "request lost": 5,
    "answer lost": 6,
    "connection refused": 3,
    "busy": 5,
    "rejected": 4,
    "states nothing": 2,
    "says busy after a time-out": 2,
    "not authorised": 1,
    "breaks before": 2,
    "breaks after": 2,
    "exits after": 1,
    "hangs before": 2,
    "hangs after": 2,
    "slow": 4,
    "swallows cancellation": 1,
}
_NAMES, _WEIGHTS = list(FATES), list(FATES.values())
STATED: frozenset[Fate] = frozenset({"busy", "rejected", "states nothing", "not authorised"})
"""The world turns the request down, and says so."""
HONOURED: frozenset[EffectKind] = frozenset({"keyed", "idempotent", "read"})
"""Kinds of which the world does the same thing only once, whoever asks how often."""


@dataclass(slots=True)
class Caller:
    """Who a run is, as its handlers know it; their dependencies."""

    world: World
    process: Process
    tenant: str
    principal: str
    session: str | None
    run: str
    limits: RunLimits


@dataclass(slots=True)
class Visit:
    """One attempt of one handler."""

    seq: int
    """Number of the event that it began with."""
    tool: str
    kind: EffectKind
    scope: Scope | None
    invoice: str
    amount: int
    caller: Caller
    call_key: str
    key: str
    """What the world goes by: the idempotency key; of an idempotent tool, what it is about."""
    fate: Fate
    prepared: float
    there: float
    back: float
    survives: bool
    """Its request arrives even when whoever sent it has hung up."""
    dropped: bool = False
    ended: str | None = None
    """How the handler ended: `ok`, `stated`, or `unclear`; None while it runs, or after it died."""

    @property
    def same(self) -> tuple[str, ...]:
        """Equal for calls that a declared key makes one effect; for those without one, by the arguments."""
        who = self.caller
        if self.scope is None:
            return (self.tool, who.tenant, who.principal, self.invoice, str(self.amount))
        owner = {"tenant": "", "principal": who.principal, "session": who.session or who.run, "run": who.run}
        return (self.tool, who.tenant, self.scope, owner[self.scope], self.invoice)


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that took place, for good."""

    number: int
    seq: int
    visit: Visit

    @property
    def receipt(self) -> str:
        """What the caller gets for it."""
        visit = self.visit
        return f"{visit.tool} {visit.invoice} {visit.amount} #{self.number}"


@dataclass(slots=True)
class World:
    """What happened outside, and what is on its way there."""

    history: History
    rng: Random
    trouble: float
    """The share of visits that do not simply succeed."""
    effects: list[Effect] = field(default_factory=list[Effect])
    visits: list[Visit] = field(default_factory=list[Visit])
    by_key: dict[tuple[str, str], list[Effect]] = field(default_factory=dict[tuple[str, str], list[Effect]])
    """By tool and key."""
    void: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """By tool and key, the event up to which all that was begun does nothing."""

    def begin(
        self, ctx: RunContext[Caller], tool: str, *, kind: EffectKind, scope: Scope | None, order: tuple[str, int]
    ) -> Visit:
        """A handler has been called."""
        rng, who = self.rng, ctx.deps
        fate: Fate = "ok" if rng.random() >= self.trouble else rng.choices(_NAMES, _WEIGHTS)[0]
        if fate == "says busy after a time-out" and kind not in DOUBTED:
            fate = "answer lost"  # such a tool would say what is not true
        key = ctx.idempotency_key
        if kind in ("idempotent", "read"):
            key = f"{who.tenant} {who.principal if kind == 'read' else ''} {order[0]} {order[1]}"
        seq = self.history.note(
            who.process.name, "handler", f"{tool} {order} {ctx.call_key} {key} attempt {ctx.attempt} {fate}"
        )
        visit = Visit(
            seq,
            tool,
            kind,
            scope,
            *order,
            who,
            ctx.call_key,
            key,
            fate,
            prepared=rng.random() * 0.05,
            there=rng.random() * 0.1,
            back=rng.random() * 0.1,
            survives=rng.random() < 0.6,
        )
        if fate == "slow":
            visit.there, visit.back = rng.random() * 3.0, rng.random() * 3.0
        self.history.count(f"world: {fate}")
        self.history.count(f"handler: {kind}")
        self.visits.append(visit)
        return visit

    async def serve(self, visit: Visit, begin_effect: Callable[[], None] | None) -> str:
        """An async handler's whole way."""
        try:
            await asyncio.sleep(visit.prepared)
            if begin_effect is not None:
                begin_effect()
            answer = await self._answer(visit)
        except BaseException as error:
            visit.ended = "stated" if isinstance(error, ToolError) and error.__cause__ is None else "unclear"
            raise
        visit.ended = "ok"
        return answer

    async def _answer(self, visit: Visit) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.send(visit, answer)
        try:
            return await answer
        except asyncio.CancelledError:
            visit.dropped = True
            if visit.fate == "swallows cancellation":
                await asyncio.sleep(1_000.0)
            raise

    def send(self, visit: Visit, answer: asyncio.Future[str]) -> None:
        """The request is on its way; it may arrive although whoever sent it is gone."""
        asyncio.get_running_loop().call_later(visit.there, self._arrive, visit, answer)

    def _arrive(self, visit: Visit, answer: asyncio.Future[str]) -> None:
        if (visit.dropped or visit.caller.process.dead) and not visit.survives:
            return
        loop, fate = asyncio.get_running_loop(), visit.fate
        place = (visit.tool, visit.key)
        known = self.by_key.get(place)
        if known and visit.kind in HONOURED:
            done: Effect | None = known[0]
        elif visit.seq <= self.void.get(place, -1):
            after(loop, visit.back, answer, ToolError("This request was called off."))
            return
        elif fate in STATED:
            if known:  # it cannot say that nothing happened
                after(loop, visit.back, answer, ConnectionResetError("reset"))
                return
            self.void[place] = visit.seq
            after(loop, visit.back, answer, _statement(fate))
            return
        else:
            done = (
                None
                if fate in ("request lost", "connection refused", "breaks before", "hangs before")
                else self._do(visit)
            )
        if fate not in ("hangs before", "hangs after", "swallows cancellation"):
            after(loop, visit.back, answer, _ending(fate, done))

    def _do(self, visit: Visit) -> Effect:
        seq = self.history.note(
            "world", "EFFECT", f"#{len(self.effects)} {visit.tool} {visit.invoice} {visit.amount} {visit.call_key}"
        )
        effect = Effect(len(self.effects), seq, visit)
        self.effects.append(effect)
        self.by_key.setdefault((visit.tool, visit.key), []).append(effect)
        self.history.count(f"effect: {visit.kind}")
        return effect

    async def ask(self, tool: str, key: str) -> Verdict:
        """What became of everything under this key. The answer is true, and stays true."""
        await asyncio.sleep(self.rng.random() * 0.1)
        known = self.by_key.get((tool, key))
        say = self.rng.random()
        if say < 0.04:
            await asyncio.sleep(1_000.0)
        if say < 0.1:
            raise ConnectionError("no answer")
        if known:
            return self._said(tool, key, Happened(known[0].receipt))
        if say < 0.35:
            return self._said(tool, key, Unclear())
        self.void[tool, key] = self.history.at
        return self._said(tool, key, WillNotHappen())

    def _said(self, tool: str, key: str, verdict: Verdict) -> Verdict:
        name = type(verdict).__name__
        self.history.note("world", "verdict", f"{tool} {key} {name}")
        self.history.count(f"verdict: {name}")
        return verdict


def after(
    loop: asyncio.AbstractEventLoop, seconds: float, answer: asyncio.Future[str], what: str | BaseException
) -> None:
    """The answer, or the error, arrives so many seconds later."""
    loop.call_later(seconds, _set, answer, what)


def _set(answer: asyncio.Future[str], what: str | BaseException) -> None:
    if answer.done():
        return
    if isinstance(what, str):
        answer.set_result(what)
    else:
        answer.set_exception(what)
        answer.exception()


def _statement(fate: Fate) -> ToolError:
    match fate:
        case "busy":
            return ToolError("The bank is busy.", retryable=True)
        case "not authorised":
            return NotAuthorised(like="There is no such invoice.")
        case "states nothing":
            return _caused(ToolError("Not sent.", nothing_happened=True))
        case _:
            return ToolError("The bank refuses.")


def _caused(error: ToolError) -> ToolError:
    error.__cause__ = TimeoutError("no connection in time")
    return error


def _ending(fate: Fate, done: Effect | None) -> str | BaseException:
    match fate:
        case "ok" | "slow" if done is not None:
            return done.receipt
        case "connection refused":
            return ConnectionRefusedError("refused")
        case "says busy after a time-out":
            return _caused(ToolError("The bank is slow.", retryable=True))
        case "breaks before" | "breaks after":
            return ValueError("a bug")
        case "exits after":
            return SystemExit(3)
        case _ if done is not None and fate in ("busy", "rejected", "states nothing", "not authorised"):
            return done.receipt
        case _:
            return ConnectionResetError("reset")
