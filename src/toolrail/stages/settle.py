"""settle: exactly one result, exactly one settled event; the ledger learns the outcome, however the waiter fares."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.digests import bytes_of
from toolrail.effects import TRANSACTION
from toolrail.events import CallSettled, Content, made
from toolrail.identity import row_for
from toolrail.messages import ToolResult
from toolrail.ports import STORE_SECONDS, log, log_failure
from toolrail.run import Job
from toolrail.stages.encode import encode
from toolrail.stages.keep import KEPT, keeping_ops, kept, not_kept, replayed_here
from toolrail.stages.outcome import Success
from toolrail.store import CallRow, CallState, Op, Settle
from toolrail.wording import MAY_HAVE_HAPPENED

ABANDONED = "abandoned"
"""Flag of an unknown outcome: a thread of the call was still at work when it was answered."""


async def settle(job: Job, result: ToolResult) -> ToolResult:
    """Writes how the call ended, then says so. The result stands even when it cannot be written; it is flagged then."""
    if job.flags and not result.flags:
        result = replace(result, flags=job.flags)
    if result.status == "unknown" and job.key in job.ports.work.adrift:
        result = replace(result, flags=(*result.flags, ABANDONED))
    if job.begun is not None and not result.started and result.status in ("error", "denied", "cancelled"):
        result = _doubtful(result)
    if KEPT in result.flags:
        if result.replayed:
            result = await replayed_here(job, result)
        elif job.claimed is None:
            result = await kept(job, result)
    written = False
    if job.transaction is not None and job.claimed is not None:
        result, written = await _committed(job, job.claimed, result)
    if written:
        pass
    elif job.claimed is not None or _left_open(job, result):
        result = await _write(job, result)
    elif (job.ports.store.durable or job.run.named or result.status == "pending") and _goes_along(job, result):
        # Nothing was claimed, so nothing is lost with it: this row goes with the run's next commit.
        job.run.unsaved.append(settled_row(job, row_for(job, job.tool), result))
    if job.run.heard:
        _record(job, result)
    return result


def _doubtful(result: ToolResult) -> ToolResult:
    """A refusal of a call that a process had begun before it died. It did nothing now; nobody knows about then."""
    said = json.loads(result.content)
    said["error"] += MAY_HAVE_HAPPENED
    return replace(result, content=json.dumps(said, ensure_ascii=False), flags=(*result.flags, "may_have_happened"))


async def _committed(job: Job, row: CallRow, result: ToolResult) -> tuple[ToolResult, bool]:
    """The result, and whether the ledger has it: the end of a call that writes through `ctx.transaction()`."""
    if not job.transaction.complete:
        return result, False
    if result.status not in ("ok", "pending"):
        await job.transaction.dropped()
        return result, False
    row = settled_row(job, row, result)
    beside = (*(await _token_of(job, row, compare=False)), *(keeping_ops(job) if KEPT in result.flags else ()))
    instead = await job.transaction.committed(result, row, beside=beside)
    return (result, True) if instead is None else (instead, instead.status == "unknown")


def _goes_along(job: Job, result: ToolResult) -> bool:
    """Whether the row of a call that claimed nothing is written with the run's. `approve` has written that of a call
    which waits for a person, and `resuming` writes those that waited."""
    return job.resumed is None and result.code is not Code.APPROVAL_PENDING


def _left_open(job: Job, result: ToolResult) -> bool:
    """A store that was not told of the start is told of what somebody must find again: an unknown, a waiting call."""
    return (result.code is Code.WAITING and result.started) or (result.status == "unknown" and job.attempts > 0)


async def _write(job: Job, result: ToolResult) -> ToolResult:
    """A cancellation does not stop the write: the rail owns it, and we wait for it to the end."""
    job.run.kept = True
    row = job.claimed or row_for(job, job.tool)
    if row.flags and result.status == "ok":
        _uncovered(job, row)
    task = job.ports.own(_recorded(job, row, result))
    while True:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await asyncio.shield(task)
        except asyncio.CancelledError as interrupt:
            job.interrupt = job.interrupt or interrupt
            if task.cancelled():
                break
        except Exception as error:
            log_failure(error, "The store could not record how %s ended (%s).", job.call.name, job.key)
            break
    result = not_kept(job, result)
    settled = Settle(settled_row(job, row, result), lease=row.lease_until)
    job.ports.own(job.ports.insist(job.key, settled, *(await _token_of(job, row, compare=False))))
    return replace(result, flags=(*result.flags, "not_recorded"))


def _uncovered(job: Job, row: CallRow) -> None:
    """A tool whose effect is to be what it writes in its transaction has succeeded without one."""
    told = job.ports.work.uncovered
    entered = job.transaction is not None and job.transaction.entered
    if row.flags == TRANSACTION and not entered and row.tool not in told:
        told.add(row.tool)
        log.warning(
            "%s is declared transactional, but succeeded without `async with ctx.transaction()`: what it did is not "
            "committed with the end of its call, and may be done twice after a crash.",
            row.tool,
        )


async def _token_of(job: Job, row: CallRow, *, compare: bool) -> Sequence[Op]:
    """What lets the other system's word for a call that suspended itself lead to its key, and to no other."""
    if not job.token:
        return ()
    from toolrail.stages.token import keeping, own_token  # most tools never suspend themselves

    if compare:
        await own_token(job, row)
    return keeping(job, row)


async def _recorded(job: Job, row: CallRow, result: ToolResult) -> ToolResult:
    """A long result is kept in the same transaction. If that cannot be done, the outcome is written all the same."""
    store = job.ports.store
    if KEPT in result.flags:
        try:
            await store.apply(*keeping_ops(job), Settle(settled_row(job, row, result), lease=row.lease_until))
            return result
        except Exception as error:
            log_failure(error, "The store could not keep the whole result of %s (%s).", job.call.name, job.key)
            result = not_kept(job, result)
    beside = await _token_of(job, row, compare=True)
    await store.apply(Settle(settled_row(job, row, result), lease=row.lease_until), *beside)
    return result


def settled_row(job: Job, row: CallRow, result: ToolResult) -> CallRow:
    """The row, as it ended."""
    return replace(
        row,
        state=_state(result, frees_key=job.frees_key and (job.attempts > 0 or not job.goes_on)),
        status=result.status,
        code=result.recorded_code or result.code,
        content=result.content,
        trust=result.trust,
        flags=result.flags,
        attempts=job.attempts,
        result_bytes=bytes_of(result.content),
        seconds=job.ports.now() - job.started,
        updated=job.ports.clock.wall(),
        lease_until=None,
    )


def settled_as(job: Job, tool: Tool[Any], row: CallRow, outcome: Success | None) -> CallRow:
    """An earlier call's row, as the other side says that it ended; None: it did not happen."""
    ended = replace(row, updated=job.ports.clock.wall(), lease_until=None)
    if outcome is None:
        return replace(ended, state="failed", status="error", code=Code.TOOL_ERROR, content=None)
    result = encode(job, tool, outcome)
    return replace(
        ended,
        state="waiting" if result.code is Code.WAITING else "done",
        status=result.status,
        code=result.code,
        content=result.content,
        trust=result.trust,
        flags=result.flags,
        result_bytes=bytes_of(result.content),
    )


def _state(result: ToolResult, *, frees_key: bool) -> CallState:
    if result.status == "ok":
        return "done"
    if result.status == "pending":
        # A call that met another's, which waits, has not begun itself.
        return "waiting" if result.code is Code.WAITING and result.started else "pending"
    # A call that was refused because of another's unknown outcome did nothing itself.
    open_now = (result.status == "unknown" and result.started) or not frees_key
    return "unknown" if open_now else "failed"


def _record(job: Job, result: ToolResult) -> None:
    """The one event that every call has: made in place, and without the constructor that a named tuple has."""
    ports, tool, content, arguments = job.ports, job.tool, result.content, job.call.arguments
    head, call = job.run.head(), job.ref()
    ports.emit(
        made(
            CallSettled,
            (
                head,
                call,
                result.status,
                result.recorded_code or result.code,
                job.attempts,
                len(arguments) if arguments.isascii() else bytes_of(arguments),
                len(content) if content.isascii() else bytes_of(content),
                head.mono - job.started,
                job.handler_seconds,
                result.flags,
                result.replayed,
                result.started,
                job.reference,
                "" if tool is None else tool.dependency or tool.name,
            ),
        )
    )
    if ports.readers:
        ports.show(Content(head, "result", call, content))
