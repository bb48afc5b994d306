"""execute: the handler, with its deadline, its attempts and its thread. Says how it ended; never raises."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.context import KeptResult, RunContext, Transaction
from toolrail.definition import Tool
from toolrail.drive import Ended, Interrupted, Raised, Returned, TimedOut, drive
from toolrail.effects import DOUBTED, REPEATABLE, Happened, Unclear, WillNotHappen
from toolrail.errors import ProcessDied, ToolError
from toolrail.events import AttemptEnded
from toolrail.identity import idempotency_key
from toolrail.interrupts import from_signal
from toolrail.ports import Wrap
from toolrail.run import Job, ToolProgress, ToolStarted
from toolrail.stages.admit import Permit
from toolrail.stages.keep import read_kept
from toolrail.stages.late import settle_late
from toolrail.stages.outcome import Failure, Success
from toolrail.stages.verify import rekey, verdict_of
from toolrail.transient import Transient, cause_of, transient

Late = Callable[[Any, BaseException | None], None]


class Attempts:
    """What all attempts of one call share."""

    __slots__ = ("arguments", "begun", "bound", "control", "deadline", "job", "loop", "permit", "tool")

    def __init__(
        self,
        job: Job,
        tool: Tool[Any],
        arguments: Accepted,
        permit: Permit,
        loop: asyncio.AbstractEventLoop,
        *,
        deadline: float,
    ) -> None:
        self.job = job
        self.tool = tool
        self.arguments = arguments
        self.permit = permit
        self.loop = loop
        self.deadline = deadline
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
            self.loop.call_soon_threadsafe(self._landed, value, error)
        except RuntimeError:  # the loop has closed; nobody is left to tell
            return

    def _landed(self, value: Any, error: BaseException | None) -> None:
        self.job.ports.work.ashore(self.job.key)
        if self.job.transaction is not None or self.tool.effect.transactional:
            return  # it was rolled back: nothing can come of it any more
        stated = error is not None and _raised(self, error).kind == "statement"
        settle_late(self.job, value, error, nothing_happened=stated)


class Racer(Attempts):
    """The attempts of a hedged read. How one of them ends that nobody waits for is no news."""

    __slots__ = ()

    def late(self, value: Any, error: BaseException | None) -> None:
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

    async def read_result(self, handle: str) -> KeptResult | None:
        return await read_kept(self._shared.job, self._shared.tool, handle)

    def transaction(self) -> Transaction:
        from toolrail.stages.transact import CallTransaction  # most tools have none

        job = self._shared.job
        if self.cancelled:
            raise ToolError("The time for this call is over; nothing must be written now.", nothing_happened=True)
        if job.transaction is not None and job.transaction.attempt == job.attempts:
            raise ToolError("A call has one transaction.", nothing_happened=True)
        job.transaction = CallTransaction(job, self._shared.tool, self._shared.loop)
        return job.transaction


async def execute(job: Job, tool: Tool[Any], arguments: Accepted, *, permit: Permit) -> Success | Failure:
    """Runs the handler until it returns, fails for good, or its time is over."""
    loop, kind = asyncio.get_running_loop(), Attempts if tool.limits.hedge is None else Racer
    began = started = loop.time()
    shared = kind(job, tool, arguments, permit, loop, deadline=began + tool.limits.timeout - job.waited)
    if job.run.observer is not None:
        job.run.observer(ToolStarted(job.call))
    while True:
        job.attempts += 1
        coro = _begin(shared)
        ended = coro if isinstance(coro, Raised) else _ended(shared, await _drive(shared, coro, started))
        outcome = Success(ended.value) if isinstance(ended, Returned) else _judge(shared, ended)
        if job.transaction is not None:
            outcome = await job.transaction.concluded(outcome)
        if tool.effect.kind == "verified" and isinstance(outcome, Failure):
            outcome = await _verified(shared, outcome)
        wait = None if isinstance(outcome, Success) else _wait(shared, outcome)
        if job.run.heard and not (isinstance(outcome, Success) and job.attempts == 1):
            _record(shared, outcome, seconds=loop.time() - started, wait=wait)
        if wait is None or job.interrupt is not None:
            break
        if not await _sleep(job, wait):
            began_before = isinstance(outcome, Failure) and outcome.began
            outcome = Failure("cancelled", None, began=began_before)
            break
        started = loop.time()
    permit.outcome, permit.ended = outcome, loop.time()
    job.handler_seconds = permit.ended - began
    return outcome


def _begin(shared: Attempts) -> Coroutine[Any, Any, Any] | Raised:
    """The handler's coroutine. Nothing of it has run yet."""
    wrap = shared.job.ports.wrap
    try:
        return _handler(shared) if wrap is None else _wrapped(shared, wrap)
    except Exception as error:  # such as a handler that does not take what its raw schema allows: it never ran
        shared.bound = False
        return Raised(error)


def _drive(shared: Attempts, coro: Coroutine[Any, Any, Any], now: float) -> Coroutine[Any, Any, Ended]:
    """What waits for the attempt's end. No coroutine of its own: each one that a call waits in costs."""
    job, ports, limits = shared.job, shared.job.ports, shared.tool.limits
    seconds = shared.deadline - now
    if limits.attempt_timeout is not None:
        seconds = min(seconds, limits.attempt_timeout)
    if not ports.watchdog.awake:
        ports.watchdog.wake(shared.loop)
    if limits.hedge is None:
        return drive(coro, seconds=seconds, grace=ports.limits.grace, active=ports.work.driven, job=job)
    from toolrail.stages.hedge import hedged  # few tools are hedged

    return hedged(job, coro, second=partial(_second, shared), after=limits.hedge, seconds=seconds)


def _ended(shared: Attempts, ended: Ended) -> Ended:
    """How the attempt ended for the call."""
    job = shared.job
    shared.end_attempt()
    if isinstance(ended, Returned):
        return ended
    if isinstance(ended, Interrupted):
        job.interrupt = asyncio.CancelledError()
        return ended.before or ended
    if isinstance(ended, Raised) and shared.tool.is_async and from_signal(ended.error):
        job.interrupt = ended.error
        return Interrupted(abandoned=False)
    return ended


def _second(shared: Attempts) -> Coroutine[Any, Any, Any] | None:
    """Another attempt beside the one under way, if there may be one."""
    job = shared.job
    spent = job.attempts >= shared.tool.limits.attempts or job.ports.work.closing
    if spent or not shared.permit.line.dependency.may_retry(job.ports.now()):
        return None
    job.attempts += 1
    other = Racer(job, shared.tool, shared.arguments, shared.permit, shared.loop, deadline=shared.deadline)
    return _handler(other) if job.ports.wrap is None else _wrapped(other, job.ports.wrap)


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
        idempotency_key=idempotency_key(job),
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
    if tool.isolate is not None:
        return _in_process(shared, args, values)
    if tool.is_async:
        return tool.fn(*args, **values)
    return _in_thread(shared, partial(tool.fn, *args, **values))


def _in_process(shared: Attempts, args: tuple[Any, ...], values: Mapping[str, Any]) -> Coroutine[Any, Any, Any]:
    from toolrail.processes import Child  # most programs isolate nothing

    tool, job = shared.tool, shared.job
    assert tool.isolate is not None
    child = Child(
        tool.fn,
        args,
        values,
        isolation=tool.isolate,
        tool=tool.name,
        timeout=tool.limits.timeout,
        shown=job.run.cap_of(tool),
    )
    shared.bound = job.attempts > 1  # true as soon as the process may have been told what to do

    async def awaited() -> Any:
        try:
            value, flags = await _in_thread(shared, child.run, late=child.late(shared.late))
        except BaseException:
            child.kill()
            raise
        finally:
            shared.bound = shared.bound or child.sent
        job.flags = (*job.flags, *flags)
        return value

    return awaited()


async def _in_thread(shared: Attempts, fn: Callable[[], Any], *, late: Late | None = None) -> Any:
    pool, permit = shared.job.ports.pool, shared.permit
    if not permit.thread:
        await pool.reserve()
    permit.thread = False
    work = pool.start(fn)
    try:
        value, error = await work.future
    except asyncio.CancelledError:
        shared.end_attempt()
        if late is None and shared.job.identity is not None:
            shared.job.ports.work.adrift[shared.job.key] += 1
        work.abandon(late or shared.late)
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
    if isinstance(error, ProcessDied):  # for a read that is all there is to say
        return Failure("statement" if shared.tool.effect.kind == "read" else "unexpected", error, began=began)
    if isinstance(error, ToolError):
        if shared.tool.effect.kind in DOUBTED and began and not error.nothing_happened and _says_nothing(error):
            return Failure("transient", error, began=began, may_pass=error.retryable)
        return Failure("statement", error, began=False, may_pass=error.retryable)
    if transient(error) is not None:
        return Failure("transient", error, began=began, may_pass=True)
    return Failure("unexpected", error, began=began)


def _says_nothing(error: ToolError) -> bool:
    """`except Timeout: raise ToolError("bank slow")` says no more than the time-out did."""
    cause = cause_of(error)
    return cause is not None and not cause.refused


async def _verified(shared: Attempts, failure: Failure) -> Success | Failure:
    """Asks the other side what became of an attempt that failed without a statement, while there is time."""
    job, tool = shared.job, shared.tool
    left = shared.deadline - job.ports.now() - tool.effect.settle_after
    if job.key in job.ports.work.adrift:  # what has not happened yet, a thread of ours may still do
        return failure
    if not failure.began or failure.kind in ("statement", "cancelled") or left <= 0 or job.interrupt is not None:
        return failure
    if tool.effect.settle_after and not await _sleep(job, tool.effect.settle_after):
        return failure
    try:
        verdict = await verdict_of(job, tool, shared.arguments, key=idempotency_key(job), seconds=left)
    except asyncio.CancelledError as interrupt:
        job.interrupt = interrupt
        return failure
    match verdict:
        case Happened(value):
            return Success(value)
        case WillNotHappen():
            nothing = replace(failure, began=False)
            return nothing if await rekey(job) else replace(nothing, may_pass=False)
        case Unclear():
            return failure


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
    now = job.ports.now()
    return wait if now + wait < shared.deadline and shared.permit.line.dependency.may_retry(now) else None


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
