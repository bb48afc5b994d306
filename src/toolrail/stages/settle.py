"""settle: exactly one result, exactly one settled event; the ledger learns the outcome, however the waiter fares."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from toolrail.events import CallSettled
from toolrail.messages import ToolResult
from toolrail.ports import log
from toolrail.run import Job
from toolrail.stages.recall import STORE_SECONDS, row_for
from toolrail.store import CallRow, CallState, Settle


async def settle(job: Job, result: ToolResult) -> ToolResult:
    """Writes how the call ended, then says so. The result stands even when it cannot be written; it is flagged then."""
    if job.flags and not result.flags:
        result = replace(result, flags=job.flags)
    if job.claimed is not None:
        result = await _write(job, result)
    elif job.ports.store.durable or job.run.named:
        # Nothing was claimed, so nothing is lost with it: this row goes with the run's next commit.
        job.run.unsaved.append(settled_row(job, row_for(job, job.tool), result))
    if job.run.heard:
        _record(job, result)
    return result


async def _write(job: Job, result: ToolResult) -> ToolResult:
    """A cancellation does not stop the write: the rail owns it, and we wait for it to the end."""
    task = job.ports.own(job.ports.store.apply(Settle(settled_row(job, job.claimed, result))))
    while True:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await asyncio.shield(task)
            return result
        except asyncio.CancelledError as interrupt:
            job.interrupt = interrupt
            if task.cancelled():
                return replace(result, flags=(*result.flags, "not_recorded"))
        except Exception:
            log.exception("The store could not record how %s ended (%s).", job.call.name, job.key)
            return replace(result, flags=(*result.flags, "not_recorded"))


def settled_row(job: Job, row: CallRow, result: ToolResult) -> CallRow:
    """The row, as it ended."""
    return replace(
        row,
        state=_state(result, frees_key=job.frees_key),
        status=result.status,
        code=result.recorded_code or result.code,
        content=result.content,
        trust=result.trust,
        flags=result.flags,
        attempts=job.attempts,
        result_bytes=len(result.content.encode()),
        seconds=job.ports.now() - job.started,
        updated=job.ports.clock.wall(),
        lease_until=None,
    )


def _state(result: ToolResult, *, frees_key: bool) -> CallState:
    if result.status == "ok":
        return "done"
    if result.status == "unknown" or not frees_key:
        return "unknown"
    return "failed"


def _record(job: Job, result: ToolResult) -> None:
    argument_bytes = len(job.call.arguments.encode("utf-8", "surrogatepass"))
    job.run.emit(
        lambda head: CallSettled(
            head,
            job.ref(),
            result.status,
            result.recorded_code or result.code,
            job.attempts,
            argument_bytes,
            len(result.content.encode()),
            head.mono - job.started,
            job.handler_seconds,
            result.flags,
            result.replayed,
            result.started,
            job.reference,
        )
    )
