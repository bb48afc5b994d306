"""A sync handler that visits the world, in a simulated thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.simulation.world import Visit, after
from toolrail.errors import ToolError


class InThread:
    """A sync handler at work in a simulated thread."""

    def __init__(self, visit: Visit, begin_effect: Callable[[], None] | None) -> None:
        self.visit = visit
        self.begin_effect = begin_effect

    def begin(self, end: Callable[[Any, BaseException | None], None]) -> None:
        """It cannot be cancelled: it ends when it ends."""
        asyncio.get_running_loop().call_later(self.visit.prepared, self._send, end)

    def _send(self, end: Callable[[Any, BaseException | None], None]) -> None:
        visit, loop = self.visit, asyncio.get_running_loop()
        if visit.caller.process.dead:
            return
        answer: asyncio.Future[str] = loop.create_future()
        answer.add_done_callback(lambda done: self._end(done, end))
        if visit.fate in ("hangs before", "hangs after", "swallows cancellation"):
            after(loop, 20.0 + visit.back * 300.0, answer, TimeoutError("gave up"))
        try:
            if self.begin_effect is not None:
                self.begin_effect()
        except ToolError as error:
            answer.set_exception(error)
            return
        visit.caller.world.send(visit, answer)

    def _end(self, done: asyncio.Future[str], end: Callable[[Any, BaseException | None], None]) -> None:
        visit, error = self.visit, done.exception()
        if visit.caller.process.dead:
            return
        if error is None:
            visit.ended = "ok"
            end(done.result(), None)
            return
        visit.ended = "stated" if isinstance(error, ToolError) and error.__cause__ is None else "unclear"
        end(None, error)
