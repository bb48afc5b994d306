"""reconcile: goes through the calls whose outcome is unknown, and finds out from whoever can say."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from toolrail.arguments.values import Accepted
from toolrail.decisions import Principal
from toolrail.definition import Tool
from toolrail.drive import Interrupted, Raised, Returned, drive
from toolrail.effects import TRANSACTION, Happened, Unclear, Verdict, WillNotHappen
from toolrail.errors import RunError, ToolError
from toolrail.leases import Lease, to_the_end
from toolrail.ports import Ports, log, log_failure
from toolrail.settling import settle_call
from toolrail.stages.validate import validate
from toolrail.stages.verify import Question, asked
from toolrail.store import CallRow, OpenCalls, ask
from toolrail.toolset import Toolset

Hook = Callable[[CallRow], Awaitable[Verdict] | Verdict]
"""Says what became of a call that its tool cannot verify: your own query, a ticket, a person."""
PrincipalFor = Callable[[str, str], Principal]
"""Id and tenant to principal. The store keeps no permissions."""
How = Literal["verify", "hand"]
HOOK_SECONDS = 30.0
"""A hook that has not answered within this has not found out."""
SEARCHED = 10_000
"""How many open calls are looked through for those whose outcome is unknown."""
DID_NOT_HAPPEN = "It has been found out since that this did not take place."


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one round did."""

    asked: int = 0
    """Calls of which somebody was asked."""
    settled: int = 0
    """Calls whose outcome is known now."""
    left: int = 0
    """Calls of this round whose outcome is still unknown: `toolrail effects list` shows them."""
    busy: bool = False
    """Another worker is at it, so this round did nothing."""


@dataclass(frozen=True, slots=True)
class Round:
    """Who can be asked."""

    ports: Ports
    tools: Toolset[Any]
    hook: Hook | None
    deps: Any
    principal_for: PrincipalFor
    timeout: float
    """Seconds for one answer of the hook."""
    odd: set[type[object]] = field(default_factory=set[type[object]])
    """What the hook answered in place of a verdict: each kind is told of once."""


async def reconcile(
    ports: Ports,
    tools: Toolset[Any],
    *,
    hook: Hook | None = None,
    deps: Any = None,
    principal_for: PrincipalFor | None = None,
    limit: int = 100,
    timeout: float = HOOK_SECONDS,
) -> Reconciled:
    """One round over at most `limit` calls, the oldest first; see `Rail.reconcile`."""
    one = Round(ports, tools, hook, deps, principal_for or _unprivileged, timeout)
    lease = Lease(ports, "", "reconcile", ports.clock.new_id("worker"))
    (taken,) = await to_the_end(ports, lease.take())
    if not taken:
        return Reconciled(busy=True)
    renewal = lease.kept()
    try:
        return await _round(one, limit)
    finally:
        renewal.cancel()
        await to_the_end(ports, lease.drop())


async def _round(one: Round, limit: int) -> Reconciled:
    rows = await ask(one.ports.store, OpenCalls(None, SEARCHED))
    found = [row for row in rows if _unknown(one.ports, row)][:limit]
    heard = [await _told(one, row) for row in found]
    asked_of = sum(bool(steps) for steps in heard)
    settled = sum(steps[-1:] == ["settled"] for steps in heard)
    return Reconciled(asked_of, settled, len(found) - settled)


async def _told(one: Round, row: CallRow) -> list[str]:
    """What each of those who were asked of a call led to. A call that makes trouble does not stop the round."""
    steps: list[str] = []
    try:
        await _heard(one, row, steps)
    except Exception as error:
        log_failure(error, "What became of %s could not be found out; its outcome stays unknown.", row.key)
    return steps


async def _heard(one: Round, row: CallRow, steps: list[str]) -> None:
    """Asks whoever can say, in turn, until it is settled."""
    for ask_one, how in _askable(one, row):
        steps.append("asked")
        verdict = await ask_one()
        steps.append("settled" if await _settled(one, row, verdict, how) else "unclear")
        if not isinstance(verdict, Unclear):
            break


def _askable(one: Round, row: CallRow) -> Iterator[tuple[Callable[[], Awaitable[Verdict]], How]]:
    """The ledger, the tool's own verifier, the hook."""
    if row.flags == TRANSACTION and row.state == "started":
        yield _not_committed, "verify"
        return
    tool, hook = one.tools.get(row.tool), one.hook
    if tool is not None and tool.effect.verify is not None and not _too_early(one, tool, row):
        yield lambda: _verified(one, tool, row), "verify"
    if hook is not None:
        yield lambda: _hooked(one, hook, row), "hand"


async def _not_committed() -> Verdict:
    return WillNotHappen()  # the row would be done


def _too_early(one: Round, tool: Tool[Any], row: CallRow) -> bool:
    since = row.updated if row.state == "unknown" else max(row.updated, row.lease_until or 0.0)
    return one.ports.clock.wall() < since + tool.effect.settle_after or row.key in one.ports.work.adrift


async def _verified(one: Round, tool: Tool[Any], row: CallRow) -> Verdict:
    """Asks under the old key, with the arguments that the handler was given, read again."""
    read = validate(tool.reader, row.arguments or "", tool=tool.name)
    if not isinstance(read, Accepted):
        log.warning("The arguments of %s do not fit %s any more; its outcome stays unknown.", row.key, tool.name)
        return Unclear()
    key = row.idempotency_key or row.effect_key or row.key
    principal = one.principal_for(row.principal, row.tenant)
    question = Question(key, row.key, principal, one.deps, max(1, row.attempts), tool.limits.timeout)
    return await asked(one.ports, tool, read.model if tool.takes_model else read.values, question)


async def _hooked(one: Round, hook: Hook, row: CallRow) -> Verdict:
    """What the hook says in its time. Whatever is no verdict is `Unclear`."""
    active, grace = one.ports.work.driven, one.ports.limits.grace
    match await drive(_answer(hook, row), seconds=one.timeout, grace=grace, active=active):
        case Returned(Happened() | WillNotHappen() | Unclear() as verdict):
            return verdict
        case Returned(value):
            _odd(one, value)
        case Raised(error):
            log.warning("The reconcile hook failed on %s; its outcome stays unknown.", row.key, exc_info=error)
        case Interrupted():
            raise asyncio.CancelledError
        case _:
            log.warning("The reconcile hook did not answer about %s in %g s.", row.key, one.timeout)
    return Unclear()


async def _answer(hook: Hook, row: CallRow) -> Any:
    answer: Any = hook(row)
    return await answer if inspect.isawaitable(answer) else answer


def _odd(one: Round, value: object) -> None:
    if type(value) not in one.odd:
        one.odd.add(type(value))
        log.error(
            "The reconcile hook returned %r, a %s, which counts as Unclear(). Mend: return Happened(value), "
            "WillNotHappen() or Unclear() from toolrail.effects.",
            value,
            type(value).__name__,
        )


async def _settled(one: Round, row: CallRow, verdict: Verdict, how: How) -> bool:
    """Whether this settled it. Its holder, or a person, may have been faster."""
    match verdict:
        case Happened(value):
            error = None
        case WillNotHappen():
            value, error = None, ToolError(DID_NOT_HAPPEN)
        case Unclear():
            return False
    try:
        return await settle_call(one.ports, one.tools, row.key, value=value, error=error, tenant=row.tenant, by=how)
    except RunError:  # a repeat of it has begun meanwhile
        return False


def _unknown(ports: Ports, row: CallRow) -> bool:
    lapsed = row.lease_until is not None and ports.clock.wall() > row.lease_until
    # What an undeclared call did stands in nobody's way, so its end with its process is no open question.
    return row.state == "unknown" or (row.state == "started" and lapsed and row.effect != "undeclared")


def _unprivileged(id: str, tenant: str) -> Principal:
    return Principal(id, tenant=tenant)
