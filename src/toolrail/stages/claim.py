"""claim: writes `started`, the last act before the handler, so that a crash leaves an unknown and never a silence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.events import CallClaimed
from toolrail.messages import ToolResult
from toolrail.ports import log
from toolrail.run import Job
from toolrail.stages.admit import Permit
from toolrail.stages.recall import STORE_SECONDS, met, row_for
from toolrail.store import CallRow, Claim, Claimed, Held, SaveRun, Settle, ask

LEASE_MARGIN = 10.0
"""Seconds past the deadline after which a `started` row of a dead holder counts as unknown."""


async def claim(job: Job, tool: Tool[Any], permit: Permit) -> ToolResult | None:
    """None when the handler may start. STORE_UNAVAILABLE when that cannot be written: then nothing runs. Whoever waits
    for another holder of the key holds no place meanwhile."""
    if not needs_claim(job, tool):
        return None
    try:
        while True:
            answer = await _write(job, row_for(job, tool, lease_until=_lease(job, tool)))
            if not isinstance(answer, Held):
                if job.ports.work.closing:  # it began to close meanwhile; settle gives the key back
                    return job.ports.refuse(job, Code.SHUTTING_DOWN)
                job.run.emit(lambda head: CallClaimed(head, job.ref(), tool.effect.kind, job.effect_key))
                return None
            permit.release(None)
            refused = await met(job, tool, answer.row) or await permit.enter()
            if refused is not None:
                return refused
    except Exception:
        log.exception("The store could not claim a call; it was not started.")
        return job.ports.refuse(job, Code.STORE_UNAVAILABLE)


async def _write(job: Job, row: CallRow) -> Claimed | Held:
    task = job.ports.own(_claimed(job, row))
    try:
        async with asyncio.timeout(STORE_SECONDS):
            answer = await asyncio.shield(task)
    except (asyncio.CancelledError, TimeoutError):
        # The write may still land; as the handler never ran, whatever it wrote is taken back.
        job.ports.own(_take_back(job, task, row))
        raise
    if not isinstance(answer, Held):
        job.claimed = row
    return answer


async def _claimed(job: Job, row: CallRow) -> Claimed | Held:
    """The first claim of a run brings its row along: whatever happens next, the run can be found."""
    if job.run.stored:
        return await ask(job.ports.store, Claim(row))
    return (await job.ports.store.apply(Claim(row), SaveRun(job.run.row())))[0]


def _lease(job: Job, tool: Tool[Any]) -> float:
    return job.ports.clock.wall() + tool.limits.timeout + LEASE_MARGIN


def needs_claim(job: Job, tool: Tool[Any]) -> bool:
    """Reads never; others when a durable store can tell of it later, or when they hold a key."""
    return tool.effect.writes and (job.ports.store.durable or job.effect_key is not None)


async def _take_back(job: Job, task: asyncio.Task[Any], row: CallRow) -> None:
    try:
        answer = await task
        if not isinstance(answer, Held):
            await job.ports.store.apply(Settle(settled_as_failed(row)))
    except Exception:
        log.exception("The store could not take back a claim; the call will count as unknown.")


def settled_as_failed(row: CallRow) -> CallRow:
    """The same row, as a call that did nothing and holds no key."""
    return replace(row, state="failed", status="cancelled", code=Code.CANCELLED, lease_until=None)
