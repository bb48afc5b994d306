"""Simulated time: an event loop that jumps to its next timer. The real code runs on it, unchanged."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from toolrail.clock import make_id

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer: it moves the loop's time instead. While real work is out it waits for that."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop.held:
            return super().select(timeout if timeout == 0 else None)
        events = super().select(0)
        if not events and timeout is None:
            raise RuntimeError("Deadlock: nothing is scheduled and nothing can happen any more.")
        if not events and timeout:
            self.loop.now += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still until nothing else is left to do, and then jumps to the next timer.

    Threads of toolrail's own pool and its stores announce themselves with `hold` and `release`, those of
    `asyncio.to_thread` are announced here: time does not move while they work. Anything else in real threads or over
    real sockets does not belong on this loop.
    """

    def __init__(self, start: float = 1_000.0) -> None:
        self.now = start
        self.held = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def hold(self) -> None:
        """Real work is out: time stands still."""
        self.held += 1

    def release(self) -> None:
        """It has come back."""
        self.held -= 1

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        self.hold()
        work = super().run_in_executor(executor, func, *args)
        work.add_done_callback(lambda _: self.release())
        return work

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        self.hold()  # it waits for its threads in one of its own
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self.release()


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in simulated time.

    Raises:
        RuntimeError: it waits for something that can never happen.

    Example:

        async def three_days() -> float:
            await asyncio.sleep(3 * 86_400)
            return asyncio.get_running_loop().time()

        assert run_virtual(three_days()) == 1_000.0 + 3 * 86_400
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class FixedClock:
    """Wall time that follows the simulated loop, and randomness from a seed."""

    def __init__(self, *, seed: int = 0, wall: float = 1_800_000_000.0) -> None:
        self._random = random.Random(seed)
        self._wall = wall

    def wall(self) -> float:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._wall
        return self._wall + loop.time()

    def random(self) -> float:
        return self._random.random()

    def new_id(self, prefix: str) -> str:
        return make_id(prefix, self.wall(), self._random.getrandbits(64))

    def secret(self) -> str:
        return f"{self._random.getrandbits(128):032x}"
