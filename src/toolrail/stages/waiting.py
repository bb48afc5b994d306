"""waiting: for a rate and for places, each within a bound. Whoever waits here holds nothing that another one needs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping
from typing import Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.drive import Interrupted, Returned, drive
from toolrail.gates.board import Line
from toolrail.gates.places import Need
from toolrail.messages import ToolResult
from toolrail.run import Job
from toolrail.wording import FULL

LATER = 1.0
"""When to come back for a place: nobody knows when one will be free."""


def refused_by_circuit(job: Job, seconds: float | None) -> ToolResult:
    """CIRCUIT_OPEN, with when to come back."""
    return _refused(job, Code.CIRCUIT_OPEN, seconds or 0.0)


async def paced(job: Job, line: Line) -> ToolResult | None:
    """Takes a token of each bucket, in turn. Refuses at once, and takes nothing, when the wait would be too long."""
    principal = (job.run.principal.tenant, job.run.principal.id)
    until = job.run.now() + line.wait
    for buckets, per_principal in line.rates:
        wait = buckets.wait(principal if per_principal else None, job.run.now())
        if job.run.now() + wait > until:
            return _refused(job, Code.RATE_LIMITED, wait)
    for buckets, per_principal in line.rates:
        key = principal if per_principal else None
        now = job.run.now()
        wait = buckets.wait(key, now)
        if now + wait > until:  # while it waited for another bucket
            return _refused(job, Code.RATE_LIMITED, wait)
        buckets.take(key, now)
        if not wait:
            continue
        mine = buckets.full_at(key)
        try:
            refused = await _bounded(job, asyncio.sleep(wait), seconds=wait + 1.0)
        except asyncio.CancelledError:
            buckets.give_back(key, mine)
            raise
        if refused is not None:
            return refused
    return None


async def placed(job: Job, tool: Tool[Any], line: Line, *, values: Mapping[str, Any]) -> tuple[Need, ...] | ToolResult:
    """All places that the call needs beside that in its run, together; waits for them in its tenant's turn."""
    board, tenant = job.ports.board, job.run.principal.tenant
    needs, kind = board.needs(line, tenant, resource_of(tool.order.resource or "", values) if line.resource else None)
    if board.places.take(needs):
        return needs
    if line.wait <= 0:
        return _full(job)
    waiter = board.places.queue(tenant, kind, needs)
    held = False
    try:
        refused = await _bounded(job, _granted(waiter.granted), seconds=line.wait)
        held = refused is None
        refused = _full(job) if refused is not None and refused.code is Code.RATE_LIMITED else refused
    finally:
        if not held:
            board.places.withdraw(waiter)
    return needs if refused is None else refused


def resource_of(template: str, values: Mapping[str, Any]) -> str:
    """What the call names as its resource."""
    try:
        return template.format_map(values)
    except Exception:  # an optional argument was left out, or cannot be text: one place for all of its kind
        return template


async def _granted(future: asyncio.Future[None]) -> None:
    await future


async def _bounded(job: Job, wait: Coroutine[Any, Any, None], *, seconds: float) -> ToolResult | None:
    """Waits; a rail that closes ends it, as does the bound."""
    ended = await drive(wait, seconds=seconds, active=job.ports.work.driven)
    if isinstance(ended, Returned):
        return None
    if isinstance(ended, Interrupted):
        raise asyncio.CancelledError
    if job.ports.work.closing:
        return job.ports.refuse(job, Code.SHUTTING_DOWN)
    return _refused(job, Code.RATE_LIMITED, LATER)


def _full(job: Job) -> ToolResult:
    """RATE_LIMITED for want of a place: not because it was called too often."""
    text = FULL.format(tool=job.call.name, seconds=LATER)
    return _refused(job, Code.RATE_LIMITED, LATER, text=text)


def _refused(job: Job, code: Code, seconds: float, *, text: str | None = None) -> ToolResult:
    seconds = math.ceil(seconds * 1e3) / 1e3  # never too early
    return job.ports.refuse(job, code, text=text, values={"seconds": seconds}, extra={"retry_after": seconds})
