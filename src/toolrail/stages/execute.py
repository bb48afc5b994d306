"""execute: the handler, with its deadline, its attempts and its thread. Says how it ended; never raises."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.context import RunContext
from toolrail.definition import Tool
from toolrail.drive import Interrupted, Raised, Returned, TimedOut, drive
from toolrail.effects import REPEATABLE
from toolrail.errors import ToolError
from toolrail.events import AttemptEnded
from toolrail.interrupts import from_signal
from toolrail.ports import Wrap
from toolrail.run import Job, ToolProgress, ToolStarted
from toolrail.stages.admit import Permit
from toolrail.stages.late import settle_late
from toolrail.stages.outcome import Failure, Success
from toolrail.transient import Transient, cause_of, transient


class Attempts:
    """What all attempts of one call share."""

    __slots__ = ("arguments", "begun", "bound", "control", "deadline", "job", "loop", "permit", "tool")

    def __init__(
        self, job: Job, tool: Tool[Any], arguments: Accepted, permit: Permit, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.job = job
        self.tool = tool
        self.arguments = arguments
        self.permit = permit
        self.loop = loop
        self.deadline = loop.time() + tool.limits.timeout
        self.bound = True
        """The handler could be called."""
        self.begun = False
        """Some attempt has marked the start of its effect."""
        self.control: AttemptControl | None = None
        """The attempt under way, where its handler takes a context."""

    def end_attempt(self) -> None:
        """Nobody waits for this attempt any more. It says so before anyone asks whether the effect has begun."""
        if self.control is not None:
            self.control.cancelled = True

    def late(self, value: Any, error: BaseException | None) -> None:
        """An abandoned handler has ended after all, in whatever thread."""
        try:
            self.loop.call_soon_threadsafe(settle_late, self.job, value, error)
        except RuntimeError:  # the loop has closed; nobody is left to tell
            return


class AttemptControl:
    """The spine's end of one attempt's context."""

    __slots__ = ("_shared", "cancelled")

    def __init__(self, shared: Attempts) -> None:
        self._shared = shared
        self.cancelled = False
        """Nobody waits for this attempt any more."""

    def begin(self) -> None:
        # First said, then looked: either we see here that nobody waits, or whoever stops waiting sees that it began.
        self._shared.begun = True
        if self.cancelled:
            raise ToolError("The time for this call is over; its effect must not begin now.", nothing_happened=True)

    def now(self) -> float:
        return self._shared.loop.time()

    def progress(self, text: str) -> None:
        job = self._shared.job
        observer = job.run.observer
        if observer is not None:
            self._shared.loop.call_soon_threadsafe(observer, ToolProgress(job.call, text))

    def transaction(self) -> AbstractAsyncContextManager[Any] | None:
        return None


async def execute(job: Job, tool: Tool[Any], arguments: Accepted, *, permit: Permit) -> Success | Failure:
    """Runs the handler until it returns, fails for good, or its time is over."""
    loop = asyncio.get_running_loop()
    shared = Attempts(job, tool, arguments, permit, loop)
    if job.run.observer is not None:
        job.run.observer(ToolStarted(job.call))
    now = loop.time
    began = started = shared.deadline - tool.limits.timeout
    while True:
        job.attempts += 1
        outcome = _judge(shared, await _attempt(shared, started))
        wait = None if isinstance(outcome, Success) else _wait(shared, outcome)
        if job.run.heard and not (isinstance(outcome, Success) and job.attempts == 1):
            _record(shared, outcome, seconds=now() - started, wait=wait)
        if wait is None or job.interrupt is not None:
            break
        if not await _sleep(job, wait):
            began_before = isinstance(outcome, Failure) and outcome.began
            outcome = Failure("cancelled", None, began=began_before)
            break
        started = now()
    job.handler_seconds = now() - began
    return outcome


async def _attempt(shared: Attempts, now: float) -> Returned | Raised | TimedOut | Interrupted:
    job, tool, limits = shared.job, shared.tool, shared.tool.limits
    seconds = shared.deadline - now
    if limits.attempt_timeout is not None:
        seconds = min(seconds, limits.attempt_timeout)
    try:
        coro = _handler(shared) if job.ports.wrap is None else _wrapped(shared, job.ports.wrap)
    except Exception as error:  # such as a handler that does not take what its raw schema allows: it never ran
        shared.bound = False
        return Raised(error)
    grace, active = job.ports.limits.grace, job.ports.work.driven
    ended = await drive(coro, seconds=seconds, grace=grace, active=active)
    shared.end_attempt()
    if isinstance(ended, Returned):
        return ended
    if isinstance(ended, Interrupted):
        job.interrupt = asyncio.CancelledError()
        return ended.before or ended
    if isinstance(ended, Raised) and tool.is_async and from_signal(ended.error):
        job.interrupt = ended.error
        return Interrupted(abandoned=False)
    return ended


async def _sleep(job: Job, seconds: float) -> bool:
    """Waits before the next attempt. False when the run was cancelled, or the rail began to close, meanwhile."""
    ended = await drive(asyncio.sleep(seconds), seconds=seconds + 1.0, active=job.ports.work.driven)
    if isinstance(ended, Interrupted):
        job.interrupt = asyncio.CancelledError()
    return isinstance(ended, Returned)


def _context(shared: Attempts) -> RunContext[Any]:
    job = shared.job
    shared.control = AttemptControl(shared)
    return RunContext(
        job.run.deps,
        job.run.principal,
        call_key=job.key,
        idempotency_key=job.effect_key or job.key,
        deadline=shared.deadline,
        attempt=job.attempts,
        control=shared.control,
    )


def _wrapped(shared: Attempts, wrap: Wrap) -> Coroutine[Any, Any, Any]:
    ctx = _context(shared)
    return wrap(ctx, shared.tool, partial(_handler, shared, ctx))


def _handler(shared: Attempts, ctx: RunContext[Any] | None = None) -> Coroutine[Any, Any, Any]:
    tool, arguments = shared.tool, shared.arguments
    args: tuple[Any, ...] = (ctx or _context(shared),) if tool.takes_context else ()
    if tool.takes_model:
        args, values = (*args, arguments.model), {}
    else:
        values = arguments.values
    if tool.is_async:
        return tool.fn(*args, **values)
    return _in_thread(shared, partial(tool.fn, *args, **values))


async def _in_thread(shared: Attempts, fn: partial[Any]) -> Any:
    pool, permit = shared.job.ports.pool, shared.permit
    if not permit.thread:
        await pool.reserve()
    permit.thread = False
    work = pool.start(fn)
    try:
        value, error = await work.future
    except asyncio.CancelledError:
        shared.end_attempt()
        work.abandon(shared.late)
        raise
    if error is not None:
        raise error
    # A plain function may hand out a coroutine (a lambda around one): it belongs on the loop.
    return await value if inspect.isawaitable(value) else value


def _judge(shared: Attempts, ended: Returned | Raised | TimedOut | Interrupted) -> Success | Failure:
    match ended:
        case Returned(value):
            return Success(value)
        case TimedOut():
            over = shared.job.ports.now() >= shared.deadline
            return Failure("deadline", None, began=_may_have_begun(shared), may_pass=not over)
        case Interrupted():
            return Failure("cancelled", None, began=_may_have_begun(shared))
        case Raised(error):
            return _raised(shared, error)


def _raised(shared: Attempts, error: BaseException) -> Failure:
    began = _may_have_begun(shared)
    if isinstance(error, ToolError):
        if shared.tool.effect.kind == "once" and began and not error.nothing_happened and _says_nothing(error):
            return Failure("transient", error, began=began)
        return Failure("statement", error, began=False, may_pass=error.retryable)
    if transient(error) is not None:
        return Failure("transient", error, began=began, may_pass=True)
    return Failure("unexpected", error, began=began)


def _says_nothing(error: ToolError) -> bool:
    """`except Timeout: raise ToolError("bank slow")` says no more than the time-out did."""
    cause = cause_of(error)
    return cause is not None and not cause.refused


def _may_have_begun(shared: Attempts) -> bool:
    return shared.bound and (shared.begun or not shared.tool.effect.marked)


def _wait(shared: Attempts, failure: Failure) -> float | None:
    """Seconds until the next attempt, or None when there is none: not safe, spent, or no time left."""
    job, tool = shared.job, shared.tool
    repeatable = tool.effect.kind in REPEATABLE[failure.kind] or not failure.began
    if not (failure.may_pass and repeatable) or job.attempts >= tool.limits.attempts or job.ports.work.closing:
        return None
    wait = _backoff(job) if failure.kind != "deadline" else 0.0
    asked = _asked(failure.error)
    wait = wait if asked is None else max(wait, asked)
    return wait if job.ports.now() + wait < shared.deadline else None


def _backoff(job: Job) -> float:
    """Doubling from the first, with full jitter (Brooker, "Exponential Backoff And Jitter", 2015)."""
    limits = job.ports.limits
    return min(limits.backoff_max, limits.backoff * 2 ** min(job.attempts - 1, 60)) * job.ports.clock.random()


def _asked(error: BaseException | None) -> float | None:
    if isinstance(error, ToolError):
        return error.retry_after
    found: Transient | None = transient(error) if error is not None else None
    return found.retry_after if found else None


def _record(shared: Attempts, outcome: Success | Failure, *, seconds: float, wait: float | None) -> None:
    job = shared.job
    failed = outcome if isinstance(outcome, Failure) else None
    kind = type(failed.error).__name__ if failed and failed.error else None
    label = failed.kind if failed else None
    job.run.emit(lambda head: AttemptEnded(head, job.ref(), job.attempts, label, kind, seconds, wait))
