"""claim: writes `started`, the last act before the handler, so that a crash leaves an unknown and never a silence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.events import CallClaimed
from toolrail.identity import row_for
from toolrail.messages import ToolResult
from toolrail.ports import STORE_SECONDS, log_failure
from toolrail.run import Job
from toolrail.stages.admit import Permit
from toolrail.stages.recall import met
from toolrail.store import CallRow, Claim, Claimed, Held, NotApproved, SaveRun, Settle, ask

LEASE_MARGIN = 10.0
"""Seconds past the deadline after which a `started` row of a dead holder counts as unknown."""


async def claim(job: Job, tool: Tool[Any], arguments: Accepted, *, permit: Permit) -> ToolResult | None:
    """None when the handler may start. STORE_UNAVAILABLE when that cannot be written: then nothing runs. Whoever waits
    for another holder of the key holds no place meanwhile."""
    if not needs_claim(job, tool):
        return None
    try:
        while True:
            answer = await _write(job, row_for(job, tool, lease_until=_lease(job, tool)))
            match answer:
                case Claimed():
                    return _begun(job, tool)
                case NotApproved():
                    return job.ports.refuse(job, Code.APPROVAL_EXPIRED)
                case Held(row):
                    permit.release(None)
                    refused = await met(job, tool, arguments, row) or await permit.enter()
                    if refused is not None:
                        return refused
    except Exception as error:
        log_failure(error, "The store could not claim a call; it was not started.")
        return job.ports.refuse(job, Code.STORE_UNAVAILABLE)


def _begun(job: Job, tool: Tool[Any]) -> ToolResult | None:
    if job.ports.work.closing:  # it began to close meanwhile; settle gives the key back
        return job.ports.refuse(job, Code.SHUTTING_DOWN)
    key = job.identity and job.identity.effect_key
    job.run.emit(lambda head: CallClaimed(head, job.ref(), tool.effect.kind, key))
    return None


async def _write(job: Job, row: CallRow) -> Claimed | Held | NotApproved:
    task = job.ports.own(_claimed(job, row))
    try:
        async with asyncio.timeout(STORE_SECONDS):
            answer = await asyncio.shield(task)
    except BaseException:
        # The write may have landed, or may still; as the handler never runs, whatever it wrote is taken back.
        job.ports.own(_take_back(job, task, row))
        raise
    if isinstance(answer, Claimed):
        job.claimed = row
    return answer


async def _claimed(job: Job, row: CallRow) -> Claimed | Held | NotApproved:
    """The first claim of a run brings its row along: whatever happens next, the run can be found. Where another process
    may take over, those of a batch do until one has landed, or it would not know what was counted."""
    over = job.repeats and job.repeats.key
    op = Claim(row, row.updated, over=over, approval=job.approval)
    if job.run.stored:
        return await ask(job.ports.store, op)
    save = SaveRun(job.run.row())
    job.run.stored = not job.run.named
    answers = await job.ports.store.apply(op, save)
    job.run.stored = True
    return answers[0]


def _lease(job: Job, tool: Tool[Any]) -> float:
    return job.ports.clock.wall() + tool.limits.timeout + LEASE_MARGIN


def needs_claim(job: Job, tool: Tool[Any]) -> bool:
    """Reads never; others when a durable store can tell of it later, or when they hold, repeat or consume something."""
    if not tool.effect.writes:
        return job.approval is not None
    keyed = job.identity is not None and job.identity.effect_key is not None
    return job.ports.store.durable or keyed or job.repeats is not None or job.approval is not None


async def _take_back(job: Job, task: asyncio.Task[Any], row: CallRow) -> None:
    """Makes an abandoned claim a call that did nothing. If that is not possible either, it lapses to unknown."""
    landed: Any = None
    try:
        landed = await task
    except Exception:
        landed = Claimed()  # nobody knows
    if isinstance(landed, Claimed):
        await job.ports.insist(row.key, Settle(_taken_back(job, row), ("started",), row.lease_until))


def _taken_back(job: Job, row: CallRow) -> CallRow:
    """The same row, as a call that did nothing and holds no key; or as it was before."""
    if job.goes_on:
        return replace(row, state="unknown", status="unknown", code=Code.OUTCOME_UNKNOWN, lease_until=None)
    return replace(row, state="failed", status="cancelled", code=Code.CANCELLED, lease_until=None)
