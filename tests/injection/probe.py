"""Counts the awaits of everything that the spine does, and injects one fault at one of them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any, Literal

Fault = Literal["exception", "cancellation", "crash", "hang"]
FAULTS: tuple[Fault, ...] = ("exception", "cancellation", "crash", "hang")

WATCHED: contextvars.ContextVar[Probe | None] = contextvars.ContextVar("probe", default=None)
"""The probe of the running code; None is the test itself."""


class Injected(Exception):
    """What is thrown in. No code of ours expects it by name."""


class Probe:
    """One life of one process: every time that one of its tasks goes on after an await is a point."""

    def __init__(self, fault: Fault | None = None, at: int | None = None) -> None:
        self._fault: Fault | None = fault
        self._at = at
        self.points: list[str] = []
        self.dead = False
        self.buried = False
        self.open = False
        """Points count only from when the batch begins until it has ended."""
        self.caller: asyncio.Task[Any] | None = None
        """Who is cancelled: the task that waits for the batch."""
        self.stepped: list[Stepped] = []
        self._loop = asyncio.get_running_loop()

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process. What it creates belongs to the process too."""
        context = contextvars.copy_context()
        context.run(WATCHED.set, self)
        return self._loop.create_task(work, context=context)

    def hit(self, place: str) -> Fault | None:
        """One more point; the fault to inject here, if it is the one."""
        if not self.open or self.dead:
            return None
        self.points.append(place)
        return self._fault if len(self.points) - 1 == self._at else None

    def bury(self) -> None:
        """Closes what a dead process left behind, so that Python has nothing to report."""
        for stepped in self.stepped:
            stepped.bury()
        self.buried = True


class Stepped(Coroutine[Any, Any, Any]):
    """One coroutine of a watched process."""

    def __init__(self, coro: Coroutine[Any, Any, Any], probe: Probe, loop: asyncio.AbstractEventLoop) -> None:
        self._coro = coro
        self._probe = probe
        self._loop = loop
        self._begun = False
        self.task: asyncio.Task[Any] | None = None

    def send(self, value: Any) -> Any:
        """One step, or the fault in its place."""
        probe, begun = self._probe, self._begun and self is not self._probe.stepped[0]  # that one is the test's own
        self._begun = True
        match probe.hit(self._place()) if begun else None:
            case "exception":
                return self._coro.throw(Injected("injected"))
            case "cancellation":
                assert probe.caller is not None
                probe.caller.cancel()
            case "crash":
                probe.dead = True
            case "hang":
                return self._parked()
            case None:
                pass
        return self._parked() if probe.dead else self._coro.send(value)

    def throw(self, error: Any, *rest: Any) -> Any:
        """An exception of the loop's own: a cancellation."""
        if self._probe.buried:
            raise error
        return self._parked() if self._probe.dead else self._coro.throw(error)

    def close(self) -> None:
        """The loop is closing."""
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("only a task steps this")

    def bury(self) -> None:
        """Ends the coroutine without a word."""
        with suppress(BaseException):
            self._coro.close()
        if self.task is not None:
            setattr(self.task, "_log_destroy_pending", False)  # noqa: B010 - asyncio's own way to say so

    def _place(self) -> str:
        return getattr(self._coro, "__qualname__", type(self._coro).__name__)

    def _parked(self) -> Any:
        return next(iter(self._loop.create_future().__await__()))


def make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any],
    *,
    name: str | None = None,
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    """The loop's task factory."""
    probe = WATCHED.get() if context is None else context.get(WATCHED)
    if probe is None:
        return asyncio.Task(coro, loop=loop, name=name, context=context)
    stepped = Stepped(coro, probe, loop)
    probe.stepped.append(stepped)
    stepped.task = asyncio.Task(stepped, loop=loop, name=name, context=context)
    return stepped.task
