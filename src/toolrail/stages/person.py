"""person: asks the rail's approver, within the question's time, without holding up the loop or anybody's place."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import Any

from toolrail.codes import Code
from toolrail.decisions import Approval, ApprovalRequest, Approver
from toolrail.drive import Interrupted, Raised, Returned, drive
from toolrail.interrupts import from_signal
from toolrail.ports import Ports, log
from toolrail.run import Job

_FOR_EVER = 10 * 365 * 86_400.0


async def answer_of(job: Job, request: ApprovalRequest, *, approver: Approver) -> Any:
    """Whatever the approver said; a refusal where nobody said anything in time.

    Raises:
        asyncio.CancelledError: the call was cancelled meanwhile.
    """
    ports = job.ports
    seconds = _seconds(ports, approver, request)
    if seconds <= 0:
        return ports.refuse(job, Code.APPROVAL_EXPIRED)
    ended = await drive(
        _asked(ports, approver, request), seconds=seconds, grace=ports.limits.grace, active=ports.work.driven
    )
    match ended:
        case Returned(value):
            return value
        case Raised(error):
            if from_signal(error):
                raise error
            log.error("The approver failed; the call is rejected.", exc_info=error)
            return Approval(False, "approver-error", request.digest)
        case Interrupted():
            raise asyncio.CancelledError
        case _:
            return ports.refuse(job, Code.SHUTTING_DOWN if ports.work.closing else Code.APPROVAL_EXPIRED)


def _seconds(ports: Ports, approver: Approver, request: ApprovalRequest) -> float:
    """The approver's own bound, and the question's."""
    own: float | None = getattr(approver, "seconds", None)
    left = _FOR_EVER if request.expires is None else request.expires - ports.clock.wall()
    return left if own is None else min(own, left)


async def _asked(ports: Ports, approver: Approver, request: ApprovalRequest) -> Any:
    answer = approver(request) if _is_async(approver) else await _in_thread(ports, approver, request)
    return await answer if inspect.isawaitable(answer) else answer


async def _in_thread(ports: Ports, approver: Approver, request: ApprovalRequest) -> Any:
    """A plain function may block for as long as a person thinks; the loop must not."""
    await ports.pool.reserve()
    work = ports.pool.start(partial(approver, request))
    try:
        value, error = await work.future
    except asyncio.CancelledError:
        work.abandon(_too_late)
        raise
    if error is not None:
        raise error
    return value


def _too_late(value: Any, error: BaseException | None) -> None:
    """Nobody waits for the answer any more."""


def _is_async(approver: Approver) -> bool:
    called = getattr(type(approver), "__call__", None)  # noqa: B004 - an instance with an async `__call__`
    return inspect.iscoroutinefunction(approver) or inspect.iscoroutinefunction(called)
