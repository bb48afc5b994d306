"""A thread pool without threads: a sync tool gives a `Thread`, which takes simulated time and ends when it likes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

from tests.simulation.processes import Process
from toolrail.pool import Standing

End = Callable[[Any, BaseException | None], None]


class Thread(Protocol):
    """A sync handler at work."""

    def begin(self, end: End) -> None:
        """Works on; `end` hears how it went."""
        ...


class Work:
    """One function in one simulated thread."""

    def __init__(self, pool: SimulatedPool, process: Process, fn: Callable[[], Any]) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pool = pool
        self._process = process
        self._late: End | None = None
        self._ended: tuple[Any, BaseException | None] | None = None
        try:
            thread: Thread = fn()
        except BaseException as error:
            asyncio.get_running_loop().call_soon(self._end, None, error)
        else:
            thread.begin(self._end)

    def abandon(self, late: End) -> None:
        """Nobody waits any more."""
        if self._ended is not None:
            late(*self._ended)
            return
        self._late = late
        self._pool.release()

    def _end(self, value: Any, error: BaseException | None) -> None:
        if self._process.dead:
            return
        self._ended = (value, error)
        if self._late is not None:
            self._late(value, error)
            return
        self._pool.release()
        if not self.future.done():
            self.future.set_result((value, error))


class SimulatedPool:
    """The places of one process."""

    def __init__(self, process: Process, size: int) -> None:
        self._process = process
        self._size = self._free = size
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self) -> None:
        """Waits for a free place."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Gives a place back."""
        while self._waiting:
            granted = self._waiting.popleft()
            if not granted.done():
                granted.set_result(None)
                return
        self._free += 1

    def start(self, fn: Callable[[], Any]) -> Work:
        """Runs `fn` in the place that was reserved."""
        return Work(self, self._process, fn)

    @contextmanager
    def lend(self) -> Generator[None]:
        """Nobody waits inside a simulated thread."""
        yield

    def standing(self) -> Standing:
        """How the places are."""
        return Standing(self._size, self._size - self._free, len(self._waiting), 0, 0)

    def close(self) -> None:
        """There are no threads."""
