"""recall: an effect that is done is answered with its result, one whose outcome is unknown is refused.

It stands behind `authorise`: nobody is told the result of an effect that he may not ask for.
"""

from __future__ import annotations

import asyncio
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.codes import CODES, Code
from toolrail.definition import Tool
from toolrail.effects import TRANSACTION, Happened, WillNotHappen
from toolrail.events import OutcomeSettled
from toolrail.identity import identity_of, key_of
from toolrail.messages import ToolCall, ToolResult
from toolrail.ports import STORE_SECONDS, log_failure
from toolrail.run import Identity, Job
from toolrail.stages.outcome import Success
from toolrail.stages.settle import settled_as
from toolrail.stages.validate import validate
from toolrail.stages.verify import verdict_of
from toolrail.store import CallRow, FindCall, FindEffect, Settle, ask
from toolrail.wording import CONFLICT_UNKNOWN, UNDER_WAY

FIRST_LOOK = 0.02
LAST_LOOK = 0.5
"""Seconds between two looks at another holder of the key: doubled from the first to the last."""
_BY_HAND = ("by:", "note:")
"""Flags of a row that somebody settled by hand, which tell of him and stay with the row."""


async def recall(job: Job, tool: Tool[Any], arguments: Accepted) -> ToolResult | None:
    """The first result of the same effect, a refusal, or None when the call may go on."""
    if tool.effect.holds_key:
        job.identity = identity_of(job, tool, arguments.effective)
    elif job.begun is None:
        return None
    try:
        row = job.begun or await _find(job, job.identity)
        return None if row is None else await met(job, tool, arguments, row)
    except Exception as error:
        log_failure(error, "The store could not be asked for an effect; the call was not started.")
        return job.ports.refuse(job, Code.STORE_UNAVAILABLE)


async def met(job: Job, tool: Tool[Any], arguments: Accepted, found: CallRow) -> ToolResult | None:
    """What an earlier call that this one meets means for it. Waits, within the deadline, while that one runs.

    None: nothing stands in the way any more; where `job.repeats` is set, the call goes on as a repeat of that one.
    """
    row: CallRow | None = found
    job.repeats = None
    identity = job.identity
    while row is not None:
        if identity is not None and _conflicts(row, identity):
            if refused := await _conflict(job, tool, row):
                return refused
            row = await _find(job, identity)
            continue
        match row.state:
            case "done":
                return replayed_as(job.call, row)
            case "waiting":
                return job.ports.refuse(job, Code.WAITING)
            case "planned" | "pending" | "failed":
                return None
            case "started" | "repeated" if not _lapsed(job, row):
                if refused := await _wait(job, tool):
                    return refused
            case _:
                refused = await _unknown(job, tool, arguments, row)
                if refused is not None or job.repeats is not None:
                    return refused
        row = await _find(job, identity)
    return None


def _conflicts(row: CallRow, identity: Identity) -> bool:
    same = row.effect_key is not None and row.effect_key == identity.effect_key
    return same and row.arguments_digest != identity.arguments_digest


async def _conflict(job: Job, tool: Tool[Any], row: CallRow) -> ToolResult | None:
    """The key is that of an earlier call with other arguments. None: somebody has said meanwhile what became of it."""
    unknown = row.state == "unknown" or (row.state == "started" and _lapsed(job, row))
    if unknown and await _found_out_as_it_was(job, tool, row) is not None:
        return None
    values = {"by": ", ".join(tool.effect.by), "unknown": CONFLICT_UNKNOWN if unknown else ""}
    return job.ports.refuse(job, Code.EFFECT_CONFLICT, values=values)


async def _found_out_as_it_was(job: Job, tool: Tool[Any], row: CallRow) -> CallRow | None:
    """As `_found_out`, of a call with other arguments than this one: with those that its handler was given."""
    if row.flags == TRANSACTION and row.state == "started":  # it would be done, had it been committed
        return await _ended(job, row, settled_as(job, tool, row, None))
    if not tool.effect.kind == row.effect == "verified":
        return None
    read = validate(tool.reader, row.arguments or "", tool=tool.name)
    return await _found_out(job, tool, read, row) if isinstance(read, Accepted) else None


async def _unknown(job: Job, tool: Tool[Any], arguments: Accepted, row: CallRow) -> ToolResult | None:
    """An earlier call's outcome is unknown: by the effect's class refused, repeated under the old key, or asked for."""
    match tool.effect.kind:
        case "keyed" | "idempotent" | "read":
            job.repeats = row
            return None
        case "verified":
            return await _asked(job, tool, arguments, row)
        case _:
            return job.ports.refuse(job, Code.OUTCOME_UNKNOWN)


async def _asked(job: Job, tool: Tool[Any], arguments: Accepted, row: CallRow) -> ToolResult | None:
    """The other side is asked. Only `WillNotHappen` lets this call go on."""
    ended = await _found_out(job, tool, arguments, row)
    if ended is None:
        return job.ports.refuse(job, Code.OUTCOME_UNKNOWN)
    return replayed_as(job.call, ended) if ended.state == "done" else None


async def _found_out(job: Job, tool: Tool[Any], arguments: Accepted, row: CallRow) -> CallRow | None:
    """The row as the other side, asked under the old key, says that it ended. None: it cannot say, or not yet."""
    if job.ports.clock.wall() < row.updated + tool.effect.settle_after or row.key in job.ports.work.adrift:
        return None
    match await verdict_of(job, tool, arguments, key=key_of(row)):
        case Happened(value):
            return await _ended(job, row, settled_as(job, tool, row, Success(value)))
        case WillNotHappen():
            return await _ended(job, row, settled_as(job, tool, row, None))
        case _:
            return None


async def _ended(job: Job, row: CallRow, ended: CallRow) -> CallRow:
    async with asyncio.timeout(STORE_SECONDS):
        # As it was when it was asked about: meanwhile the call itself may have begun again.
        await ask(job.ports.store, Settle(ended, (row.state,), row.lease_until))
    job.run.emit(lambda head: OutcomeSettled(head, job.ref(), ended.status or "ok", "verify"))
    return ended


async def _wait(job: Job, tool: Tool[Any]) -> ToolResult | None:
    """One look later; TIMEOUT when this call's own time is over."""
    left = tool.limits.timeout - job.waited
    if left <= 0:
        text = UNDER_WAY.format(tool=tool.name, by=", ".join(tool.effect.by) or "arguments")
        return job.ports.refuse(job, Code.TIMEOUT, text=text, values={"seconds": tool.limits.timeout})
    began = job.ports.now()
    look = min(LAST_LOOK, max(FIRST_LOOK, job.waited))  # doubles, from the first to the last
    await asyncio.sleep(min(look, left))
    job.waited += job.ports.now() - began
    return None


async def _find(job: Job, identity: Identity | None) -> CallRow | None:
    """What the call meets. One of a tool that holds no key meets nothing but itself, begun by an earlier process."""
    tenant = job.run.state.tenant
    op = FindCall(tenant, job.key)
    if identity is not None:
        op = FindEffect(tenant, identity.effect_key, identity.open_key, job.ports.clock.wall())
    async with asyncio.timeout(STORE_SECONDS):
        return await ask(job.ports.store, op)


def _lapsed(job: Job, row: CallRow) -> bool:
    return row.lease_until is not None and job.ports.clock.wall() > row.lease_until


def replayed_as(call: ToolCall, row: CallRow) -> ToolResult:
    """The result of a row that is settled, as the answer to this call."""
    return ToolResult(
        call.id,
        call.name,
        CODES[row.code].status if row.code else row.status or "ok",
        row.content or "",
        code=row.code,
        trust=row.trust,
        flags=tuple(flag for flag in row.flags if not flag.startswith(_BY_HAND)),
        replayed=True,
    )
