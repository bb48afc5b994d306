"""Threads of our own for sync handlers: daemons, so that one that never returns cannot keep the process alive.

A thread past its deadline is abandoned: its place is given to a new thread, up to a cap, and it is counted until it
returns. A handler that itself waits for sync tool calls lends its place meanwhile, or nested calls would deadlock.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol

IDLE_SECONDS = 60.0
"""An idle thread ends after this."""


class ThreadWork(Protocol):
    """One function at work in a thread."""

    future: asyncio.Future[Any]

    def abandon(self, late: Callable[[Any, BaseException | None], None]) -> None:
        """Nobody waits any more; `late` hears, in the thread, how it ended."""
        ...


class Standing(NamedTuple):
    """A pool's threads, at one moment."""

    size: int
    """Handlers that may be at work at the same time."""
    busy: int
    waiting: int
    """Calls in the queue for a place."""
    abandoned: int
    """Threads past their deadline that were replaced and still run."""
    lost: int
    """Places of such threads beyond the cap: busy until they return."""


class Pool(Protocol):
    """Where sync handlers run."""

    async def reserve(self) -> None:
        """Waits for a free place. Each reservation is either started or released."""
        ...

    def release(self) -> None:
        """Gives a reserved place back unused."""
        ...

    def start(self, fn: Callable[[], Any]) -> ThreadWork:
        """Runs `fn` in the reserved place, with the caller's context variables."""
        ...

    def lend(self) -> Any:
        """A context manager for a pool thread that is about to wait: its place is free meanwhile."""
        ...

    def standing(self) -> Standing:
        """How the threads are, for `rail.health()`."""
        ...

    def close(self) -> None:
        """Lets idle threads end. Those at work are daemons and hold nothing up."""
        ...


def hold(loop: asyncio.AbstractEventLoop) -> None:
    """Tells a simulated loop that real work is out, so that it does not advance its time meanwhile."""
    getattr(loop, "hold", _nothing)()


def release(loop: asyncio.AbstractEventLoop) -> None:
    """The work that `hold` announced has come back."""
    getattr(loop, "release", _nothing)()


def _nothing() -> None:
    return None


class Handoff:
    """Brings one result from a thread to a future of a loop."""

    __slots__ = ("_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        hold(loop)

    def set(self, value: Any, error: BaseException | None) -> None:
        """To be called once, in the thread. A loop that has closed meanwhile hears nothing."""
        try:
            self._loop.call_soon_threadsafe(self._land, value, error)
        except RuntimeError:
            return

    def _land(self, value: Any, error: BaseException | None) -> None:
        release(self._loop)
        if self.future.done():
            return
        # A future takes neither StopIteration nor our wish that BaseExceptions travel as values.
        self.future.set_result((value, error))


class _Work:
    """One function in one thread. Its state changes under the pool's lock."""

    __slots__ = ("_fn", "_handoff", "counted", "finished", "future", "late", "outcome", "pool")

    def __init__(self, pool: ThreadPool, fn: Callable[[], Any]) -> None:
        self.pool = pool
        self._fn = fn
        self._handoff = Handoff(asyncio.get_running_loop())
        self.future = self._handoff.future
        self.late: Callable[[Any, BaseException | None], None] | None = None
        self.outcome: tuple[Any, BaseException | None] = (None, None)
        self.counted = False
        self.finished = False

    def run(self) -> None:
        """In the thread. Whatever the function does, the thread lives on: a tool's SystemExit ends nothing."""
        try:
            self.outcome = (self._fn(), None)
        except BaseException as raised:
            self.outcome = (None, raised)

    def tell(self) -> None:
        """In the thread, when the place is free again: the result goes to whoever waits, or to `late`."""
        self._handoff.set(*self.outcome)
        if self.late is not None:
            self.late(*self.outcome)

    def abandon(self, late: Callable[[Any, BaseException | None], None]) -> None:
        if not self.pool.abandon(self, late):
            late(*self.outcome)


_here = threading.local()
"""The work that this thread is doing."""


class ThreadPool:
    """The default pool.

    Args:
        size: threads at work at the same time.
        abandoned: at most this many threads past their deadline are replaced; beyond it places are lost until some
            of them return.
    """

    def __init__(self, size: int = 32, *, abandoned: int = 64) -> None:
        self.size = size
        self.abandoned_cap = abandoned
        self._lock = threading.Lock()
        self._free = size
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._idle: list[SimpleQueue[tuple[contextvars.Context, _Work] | None]] = []
        self._abandoned = self._lost = 0
        self._pid = os.getpid()

    def _after_fork(self) -> None:
        """A child process has none of its parent's threads."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.Lock()
            self._free, self._abandoned, self._lost = self.size, 0, 0
            self._waiting, self._idle = deque(), []

    def standing(self) -> Standing:
        with self._lock:
            busy, waiting = self.size - self._free, len(self._waiting)
            return Standing(self.size, busy, waiting, abandoned=self._abandoned, lost=self._lost)

    async def reserve(self) -> None:
        self._after_fork()
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._free > 0 and not self._waiting:
                self._free -= 1
                return
            granted: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop, granted))
        try:
            await granted
        except BaseException:  # cancelled, or closed with the coroutine that waits here
            self._withdraw(loop, granted)
            raise

    def _withdraw(self, loop: asyncio.AbstractEventLoop, granted: asyncio.Future[None]) -> None:
        """A waiter leaves: out of the queue, or it passes on the place that it was just given."""
        given = granted.done() and not granted.cancelled()
        granted.cancel()
        with self._lock, suppress(ValueError):
            self._waiting.remove((loop, granted))
        if given:
            self.release()

    def release(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._free < 0:
                    self._free += 1
                    return
                loop, granted = self._waiting.popleft()
            try:
                loop.call_soon_threadsafe(self._grant, granted)
                return
            except RuntimeError:  # that loop has closed: the next waiter, then
                continue

    def _grant(self, granted: asyncio.Future[None]) -> None:
        if granted.done():  # whoever waited has left meanwhile
            self.release()
        else:
            granted.set_result(None)

    def start(self, fn: Callable[[], Any]) -> _Work:
        work = _Work(self, fn)
        item = (contextvars.copy_context(), work)
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = SimpleQueue[Any]()
            thread = threading.Thread(target=self._serve, args=(inbox,), name="toolrail-tool", daemon=True)
            try:
                thread.start()
            except BaseException:  # the system has no more threads: this call fails, its place does not go with it
                release(work.future.get_loop())
                self.release()
                raise
        inbox.put(item)
        return work

    def _serve(self, inbox: SimpleQueue[tuple[contextvars.Context, _Work] | None]) -> None:
        while True:
            try:
                item = inbox.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if inbox in self._idle:
                        self._idle.remove(inbox)
                        return
                continue
            if item is None:
                return
            context, work = item
            _here.work = work
            context.run(work.run)
            _here.work = None
            keep = self._finish(work, inbox)
            work.tell()
            del item, context, work  # an idle thread keeps nothing alive
            if not keep:
                return

    def _finish(self, work: _Work, inbox: SimpleQueue[Any]) -> bool:
        """In the thread: frees its place. False when the thread was replaced meanwhile and should end."""
        with self._lock:
            work.finished = True
            if work.counted:
                self._abandoned -= 1
                return False
            self._lost -= work.late is not None
            self._idle.append(inbox)
        self.release()
        return True

    def abandon(self, work: _Work, late: Callable[[Any, BaseException | None], None]) -> bool:
        """Gives up waiting for `work`. False when it has finished already."""
        with self._lock:
            if work.finished:
                return False
            work.late = late
            work.counted = self._abandoned < self.abandoned_cap
            if not work.counted:
                self._lost += 1
                return True
            self._abandoned += 1
        self.release()
        return True

    def _holds(self, work: _Work) -> bool:
        """Whether this is a thread of ours that has a place to lend; an abandoned one has none any more."""
        with self._lock:
            return work.pool is self and not work.counted

    @contextmanager
    def lend(self) -> Generator[None]:
        work: _Work | None = getattr(_here, "work", None)
        if work is None or not self._holds(work):
            yield
            return
        self.release()
        try:
            yield
        finally:
            with self._lock:
                self._free -= 1

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)
