"""A process that can die: none of its tasks takes another step, and nothing that it was doing cleans up."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from types import AsyncGeneratorType
from typing import Any

CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
"""The process that the running code belongs to; None is the simulation itself."""


class Process:
    """One life of one worker. `crash_at` counts the steps of its tasks, so that a seed can hit any await."""

    __slots__ = ("crash_at", "dead", "ended", "generators", "name", "on_crash", "stepped", "steps")

    def __init__(self, name: str, *, crash_at: int | None, on_crash: Callable[[Process], None]) -> None:
        self.name = name
        self.crash_at = crash_at
        self.on_crash = on_crash
        self.dead = False
        self.steps = 0
        self.stepped: list[Stepped] = []
        self.generators: list[AsyncGeneratorType[Any, Any]] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once it is dead."""

    def crash(self) -> None:
        """From now on none of its tasks ever runs."""
        if self.dead:
            return
        self.dead = True
        self.on_crash(self)
        self.ended.set_result(None)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of this process. What it creates belongs to the process too."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def unheard(self) -> list[str]:
        """Tasks whose error nobody took."""
        tasks = [stepped.task for stepped in self.stepped if stepped.task is not None]
        return [f"{task.get_coro()} {task.exception()!r}" for task in tasks if getattr(task, "_log_traceback", False)]

    def bury(self) -> None:
        """Closes what it left behind, so that Python has nothing to report. Nothing of it may reach store or world."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        for generator in self.generators:
            context.run(_close, generator.ag_await)  # closing what waits for a generator does not reach into it
        for stepped in self.stepped:
            context.run(stepped.bury)
        self.generators.clear()
        self.stepped.clear()


class Stepped(Coroutine[Any, Any, Any]):
    """One coroutine of a process. It counts the steps, and stops for ever once the process is dead."""

    __slots__ = ("_coro", "_loop", "_process", "task")

    def __init__(self, coro: Coroutine[Any, Any, Any], process: Process, loop: asyncio.AbstractEventLoop) -> None:
        self._coro = coro
        self._process = process
        self._loop = loop
        self.task: asyncio.Task[Any] | None = None

    @property
    def dead(self) -> bool:
        """Whether it will never step again."""
        return self._process.dead

    def send(self, value: Any) -> Any:
        """One step, unless the process dies with it."""
        if self._lives():
            return self._coro.send(value)
        return self._parked()

    def throw(self, error: Any, *rest: Any) -> Any:
        """One step by an exception, likewise."""
        if self._lives():
            return self._coro.throw(error)
        return self._parked()

    def __repr__(self) -> str:
        return f"{self._coro}".partition(" at 0x")[0]

    def close(self) -> None:
        """The loop is closing."""
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("only a task steps this")

    def bury(self) -> None:
        """Ends the coroutine without a word."""
        _close(self._coro)
        if self.task is not None:
            setattr(self.task, "_log_destroy_pending", False)  # noqa: B010 - private, but asyncio's own way to say so

    def _lives(self) -> bool:
        process = self._process
        process.steps += 1
        if process.steps == process.crash_at:
            process.crash()
        return not process.dead

    def _parked(self) -> Any:
        return next(iter(self._loop.create_future().__await__()))


def _close(coro: Any) -> None:
    with suppress(BaseException):
        coro.close()


def make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any],
    *,
    name: str | None = None,
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    """The loop's task factory: tasks of a process step through `Stepped`."""
    process = CURRENT.get() if context is None else context.get(CURRENT)
    if process is None:
        return asyncio.Task(coro, loop=loop, name=name, context=context)
    if process.dead:  # it is being buried, and must not wait for anything
        coro.close()
        gone: Any = loop.create_future()
        gone.set_exception(ConnectionError("this process is dead"))
        gone.exception()  # nobody may ask
        return gone
    stepped = Stepped(coro, process, loop)
    process.stepped.append(stepped)
    stepped.task = asyncio.Task(stepped, loop=loop, name=name, context=context)
    return stepped.task
