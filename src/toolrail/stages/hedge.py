"""hedge: a read that is slow to answer is asked a second time; the first success wins, the other one is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from toolrail.drive import Ended, Interrupted, Returned, drive
from toolrail.run import Job

Task = asyncio.Task[Ended]


async def hedged(
    job: Job,
    first: Coroutine[Any, Any, Any],
    *,
    second: Callable[[], Coroutine[Any, Any, Any] | None],
    after: float,
    seconds: float,
) -> Ended:
    """Like `drive`, for at most `seconds` in all. After `after` seconds `second` is asked; it may give None."""
    racing = [_start(job, first, seconds)]
    try:
        await asyncio.wait(racing, timeout=min(after, seconds))
        other = None if racing[0].done() or seconds <= after else second()
        if other is not None:
            racing.append(_start(job, other, seconds - after))
        return await _first_success(racing)
    except asyncio.CancelledError:
        return await _interrupted(racing)
    finally:
        for task in racing:
            task.cancel()


def _start(job: Job, coro: Coroutine[Any, Any, Any], seconds: float) -> Task:
    # The rail owns it: whoever lost is cancelled and needs its grace, but nobody waits for that.
    grace, active = job.ports.limits.grace, job.ports.work.driven
    return job.ports.own(drive(coro, seconds=seconds, grace=grace, active=active, job=job))


async def _first_success(racing: Sequence[Task]) -> Ended:
    """The first that returned; if none does, the end of the last one."""
    while True:
        running = [task for task in racing if not task.done()]
        ended = [task.result() for task in racing if task.done()]
        found = next((one for one in ended if isinstance(one, Returned)), None)
        if found is not None or not running:
            return found or ended[-1]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


async def _interrupted(racing: Sequence[Task]) -> Ended:
    """The call was cancelled, and its attempts with it. What had returned before counts."""
    for task in racing:
        task.cancel()
    while any(not task.done() for task in racing):
        try:
            await asyncio.wait(racing)
        except asyncio.CancelledError:  # once more; they are on their way
            continue
    ended = [task.result() for task in racing]
    before = [one.before if isinstance(one, Interrupted) else one for one in ended]
    abandoned = any(isinstance(one, Interrupted) and one.abandoned for one in ended)
    return Interrupted(abandoned, next((one for one in before if isinstance(one, Returned)), None))
