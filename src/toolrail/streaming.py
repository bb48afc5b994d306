"""A run as typed events. Leaving early cancels the run, settles its tools and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, Self, TypeVar

from toolrail.asking import Discard
from toolrail.model import ArgumentsDelta, TextDelta
from toolrail.run import ToolEnded, ToolProgress, ToolStarted

R = TypeVar("R")

StreamEvent = TextDelta | ArgumentsDelta | Discard | ToolStarted | ToolProgress | ToolEnded
"""What a stream hands out. After `Discard`, what the current model response has shown so far is void."""

_END = object()


class AgentStream(Generic[R]):
    """An async context manager and iterator over `StreamEvent`; afterwards `result` is the run's result."""

    def __init__(self, start: Callable[[Callable[[StreamEvent], None]], Coroutine[Any, Any, R]]) -> None:
        self._start = start
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._task: asyncio.Task[R] | None = None
        self._ended = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._start(self._queue.put_nowait))
        self._task.add_done_callback(lambda _: self._queue.put_nowait(_END))
        return self

    async def __aexit__(self, *_: object) -> None:
        task = self._task
        if task is None:
            return
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever left early does not want to hear of it, not even from the loop

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        if self._task is None:
            raise RuntimeError("Open the stream first: async with agent.stream(...) as stream.")
        while not self._ended:
            event = await self._queue.get()
            self._ended = event is _END
            if not self._ended:
                yield event
        self._task.result()  # what the run raised, its consumer hears

    @property
    def result(self) -> R:
        """The run's result.

        Raises:
            RuntimeError: the stream was not read to its end.
        """
        if self._task is None or not self._task.done() or self._task.cancelled():
            raise RuntimeError("The stream was not read to its end, so there is no result.")
        return self._task.result()
