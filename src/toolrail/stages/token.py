"""token: the word of another system for a call that suspended itself leads to one waiting call, and never to two."""

from __future__ import annotations

import asyncio

from toolrail.ports import STORE_SECONDS, log
from toolrail.run import Job
from toolrail.store import CallRow, DropLease, FindCall, KeepResult, Op, ReadResult, ResultRow, TakeLease

_SECONDS = 60.0
"""How long two calls that name one token at the same moment are kept apart, should the first one's process die."""
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds to wait for the other of two such calls."""


def place_of(token: str) -> str:
    """Where the key of the call stands that another system knows by this token."""
    return f"later:{token}"


def keeping(job: Job, row: CallRow) -> list[Op]:
    """What lets the other system's word lead to the call's key."""
    if not job.token:
        return []
    place = ResultRow(row.tenant, place_of(job.token), row.run, row.key, row.principal, "untrusted", "", row.updated)
    return [KeepResult(place), DropLease(row.tenant, place.handle, row.key)]


async def own_token(job: Job, row: CallRow) -> None:
    """Takes the job's token from it where another call waits under it: whoever settles that one would settle this one
    instead, and the other would wait for ever. This one is settled by its key. Does not raise; a cancellation waits."""
    task = job.ports.own(_other(job, row))
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as interrupt:
            job.interrupt = job.interrupt or interrupt
            if task.cancelled():
                return
    if task.cancelled() or task.exception() is not None:
        log.error("The token %r of %s could not be compared with others.", job.token, row.key, exc_info=_why(task))
    elif (other := task.result()) is not None:
        log.error(
            "%s handed call %s over with the token %r, under which %s waits already. That one keeps it; this one can "
            "only be settled by its key: rail.settle(%r, ...). Mend: Later(token) has to be new for each call.",
            row.tool,
            row.key,
            job.token,
            other,
            row.key,
        )
        job.token = ""


def _why(task: asyncio.Task[str | None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


async def _other(job: Job, row: CallRow) -> str | None:
    """The call that waits under the job's token, where it is another; or takes the right to write it there."""
    handle, apply = place_of(job.token), job.ports.store.apply
    async with asyncio.timeout(STORE_SECONDS):
        for pause in _PAUSES:
            wall = job.ports.clock.wall()
            lease = TakeLease(row.tenant, handle, row.key, wall, wall + _SECONDS)
            taken, place = await apply(lease, ReadResult(row.tenant, handle))
            if taken:
                break
            await asyncio.sleep(pause)  # it is being written there just now
        else:
            return "another call"
        if place is None or place.key == row.key:
            return None
        (found,) = await apply(FindCall(row.tenant, place.key))
        if found is None or found.state in ("done", "failed"):
            return None
        await apply(DropLease(row.tenant, handle, row.key))
        return place.key
