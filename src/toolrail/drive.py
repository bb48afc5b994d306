"""A deadline that holds: a tool's coroutine, driven by us in its own task, and a waiter that always gets an answer.

Deadline -> cancel -> grace -> `close()` -> abandoned. The waiter waits on a future of its own, never on the tool's
task: a tool in `await gather(...)` passes the cancellation on to its children and would not step.

It contains a swallowed cancellation, a hanging clean-up, SystemExit and KeyboardInterrupt in the tool's own coroutine.
It cannot contain tasks that the tool spawned: they may outlive the call, and a SystemExit in one stops the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from toolrail.frozen import frozen


@dataclass(slots=True)
class Returned:
    """The tool returned."""

    value: Any


@frozen
class Raised:
    """The tool raised, by itself."""

    error: BaseException


@frozen
class TimedOut:
    """The deadline came first."""

    abandoned: bool
    """It did not even end when it was closed; its child tasks may go on."""


@frozen
class Interrupted:
    """The waiter itself was cancelled, and the tool with it."""

    abandoned: bool
    before: Returned | Raised | None = None
    """How the tool had ended, if it had, before the cancellation came."""


Ended = Returned | Raised | TimedOut | Interrupted
_KILLED = object()
_ABANDONED = object()


async def drive(
    coro: Coroutine[Any, Any, Any],
    *,
    seconds: float,
    grace: float = 0.05,
    active: set[Driven] | None = None,
    job: Any = None,
) -> Ended:
    """Runs `coro` to its end, for at most `seconds` and one `grace`; never raises.

    When the waiting task is cancelled, the tool is cancelled too and the answer is `Interrupted`: it is for the caller
    to pass the cancellation on. An abandoned tool is closed at its next step, if it ever comes to one: it does not go
    on to further effects. `active` holds what is under way, so that a rail that closes can make it expire; `job` says
    what it is, for a watchdog that finds it at work.
    """
    driven = Driven(coro, seconds, grace, job)
    if active is not None:
        active.add(driven)
    try:
        while True:
            try:
                await driven.answer
                break
            except asyncio.CancelledError:
                # Cancelling us has cancelled the future that we waited on. The tool gets its grace, then we go on.
                driven.interrupt()
    except GeneratorExit:  # we ourselves run inside a tool that was closed at its deadline
        driven.stop()
        raise
    finally:
        if active is not None:
            active.discard(driven)
    return driven.ended()


class Driven(Coroutine[Any, Any, None]):
    """One coroutine on its way. It is itself what its task steps, so that it can close the tool's coroutine even while
    that swallows all that is thrown in; and settling at the last step saves each call a round of the loop."""

    __slots__ = (
        "_begun",
        "_coro",
        "_deadline",
        "_grace",
        "_interrupted",
        "_killed",
        "_outcome",
        "_stopping",
        "_timed_out",
        "_timer",
        "answer",
        "job",
        "loop",
        "task",
    )

    def __init__(self, coro: Coroutine[Any, Any, Any], seconds: float, grace: float, job: Any = None) -> None:
        self.loop = loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[None] = loop.create_future()
        self._coro = coro
        self.job = job
        self._deadline = loop.time() + seconds
        self._grace = grace
        self._begun = self._killed = self._timed_out = False
        self._outcome: Any = None
        self._interrupted: tuple[Returned | Raised | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping: asyncio.TimerHandle | None = None
        self.task = loop.create_task(self)

    def send(self, value: Any) -> Any:
        """One step, for the task."""
        if self._killed:  # it was given up; what it waited for must not send it on to further effects
            self._end(self._close())
            raise StopIteration
        try:
            wanted = self._coro.send(value)
            if not self._begun:
                # Until its first await it holds the loop, so no timer could fire: many tools never need one.
                self._begun = True
                self._timer = self.loop.call_at(self._deadline, self.expire)
            return wanted
        except StopIteration as stop:
            self._end(Returned(stop.value))
        except BaseException as error:  # a tool's SystemExit is a tool's error
            self._end(Raised(error))
        raise StopIteration

    def throw(self, error: Any, *rest: Any) -> Any:
        """One step by an exception, for the task: a cancellation, mostly."""
        if self._killed:
            self._end(self._close())
            raise StopIteration
        try:
            return self._coro.throw(error)
        except StopIteration as stop:
            self._end(Returned(stop.value))
        except BaseException as raised:
            self._end(Raised(raised))
        raise StopIteration

    def close(self) -> None:
        """The loop is closing with the task still there."""
        self._close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("drive() steps this; it is not to be awaited")

    def _close(self) -> object:
        # "Ignored GeneratorExit", or its clean-up failed: either way it has ended for us.
        with suppress(BaseException):
            self._coro.close()
        return _KILLED

    def _end(self, outcome: Any) -> None:
        self._begun = True
        if self._timer is not None:
            self._timer.cancel()
        if self._stopping is not None:
            self._stopping.cancel()
        if self._outcome is not _ABANDONED:
            self._settle(outcome)

    def _settle(self, outcome: Any) -> None:
        self._outcome = outcome
        if not self.answer.done():
            self.answer.set_result(None)

    def interrupt(self) -> None:
        """The waiter was cancelled: a new future to wait on, and the tool is cancelled too unless it has ended."""
        if self._interrupted is None:
            self._interrupted = (None if self._timed_out else _own_end(self._outcome),)
        self.answer = self.loop.create_future()
        if self._outcome is not None:
            self.answer.set_result(None)
        self.stop()

    def expire(self) -> None:
        """The deadline, or the rail closes; a tool that has just ended keeps its result."""
        if self._outcome is None:
            self._timed_out = True
        self.stop()

    def stop(self) -> None:
        """Cancels the tool; what is still there after the grace is closed."""
        if self._stopping is not None or self._outcome is not None:
            return
        self.task.cancel()
        if not self._begun:  # cancelled before its first step: nothing of the tool has run, nothing will
            self._settle(self._close())
            return
        self._stopping = self.loop.call_later(self._grace, self._kill)

    def _kill(self) -> None:
        self._killed = True
        self.task.cancel()
        # The cancelled task steps in the next round and reports in the one after; then nobody waits any longer.
        self.loop.call_soon(self._last_rounds, 2)

    def _last_rounds(self, left: int) -> None:
        if left:
            self.loop.call_soon(self._last_rounds, left - 1)
        elif self._outcome is None:
            self._settle(_ABANDONED)

    def ended(self) -> Ended:
        """What to tell the waiter, at the end."""
        del self.task  # it holds us: without this each call would be a cycle, left to the collector
        abandoned = self._outcome is _ABANDONED
        if self._interrupted is not None:
            return Interrupted(abandoned, self._interrupted[0])
        if self._timed_out:
            return TimedOut(abandoned)
        return self._outcome


def _own_end(outcome: Any) -> Returned | Raised | None:
    """How a tool had ended by itself. A loop that cancels all its tasks reaches the tool's before ours."""
    if isinstance(outcome, Raised) and isinstance(outcome.error, asyncio.CancelledError):
        return None
    return outcome if isinstance(outcome, (Returned, Raised)) else None
