"""Asking the model: the one retry layer for requests, recorded. A dead model is a reason to stop, never an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from toolrail.events import Head, ModelAttemptEnded, ModelSettled, ModelStarted
from toolrail.model import ArgumentsDelta, Conversation, ModelFailure, ModelResponse, TextDelta, TurnRequest
from toolrail.money import known_cost
from toolrail.run import Run

BACKOFF = 0.5
BACKOFF_MAX = 20.0
"""Seconds before the second request, doubled for each further one up to the most, with full jitter."""
RETRY_AFTER_MAX = 60.0
"""A provider that asks for more patience than this is unavailable."""


@dataclass(frozen=True, slots=True)
class Discard:
    """A streamed attempt broke off: what it has shown so far is void, whether it is made again or was the last."""


Show = Callable[[TextDelta | ArgumentsDelta | Discard], None]


@dataclass(frozen=True, slots=True)
class Asker:
    """One conversation of one run, and whoever watches it."""

    run: Run[Any]
    conversation: Conversation
    model: str
    attempts: int
    show: Show | None = None

    async def ask(self, turn: TurnRequest) -> ModelResponse:
        """One whole response, after as many attempts as are allowed and may help.

        Raises:
            ModelFailure: the last attempt's.
        """
        run, began = self.run, self.run.now()
        size = len(run.messages)
        run.show_messages(run.emit(lambda head: ModelStarted(head, self.model, size)))
        attempt = 1
        while True:
            try:
                response = await self._once(turn)
            except ModelFailure as failure:
                wait = self._wait(failure, attempt)
                self._failed(failure, attempt, wait)
                if failure.streamed and self.show is not None:
                    self.show(Discard())
                if wait is None:
                    raise
                await asyncio.sleep(wait)
                attempt += 1
            else:
                self._settled(response, seconds=run.now() - began, attempts=attempt)
                return response

    async def _once(self, turn: TurnRequest) -> ModelResponse:
        if self.show is None:
            return await self.conversation.request(self.run.messages, turn)
        last: ModelResponse | None = None
        stream = self.conversation.stream(self.run.messages, turn)
        try:
            async for item in stream:
                if isinstance(item, ModelResponse):
                    last = item
                else:
                    self.show(item)
        finally:
            await _close(stream)
        if last is None:
            raise ModelFailure("connection", "the stream ended without a response", streamed=True)
        return last

    def _wait(self, failure: ModelFailure, attempt: int) -> float | None:
        if not failure.may_pass or attempt >= self.attempts or (failure.retry_after or 0.0) > RETRY_AFTER_MAX:
            return None
        jitter = min(BACKOFF_MAX, BACKOFF * 2 ** (attempt - 1)) * self.run.ports.clock.random()
        wait = max(jitter, failure.retry_after or 0.0)
        limit = self.run.limits.seconds
        return None if limit is not None and self.run.elapsed + wait >= limit else wait

    def _failed(self, failure: ModelFailure, attempt: int, wait: float | None) -> None:
        left = -1.0 if wait is None else wait
        self.run.emit(lambda head: ModelAttemptEnded(head, self.model, attempt, failure.label, left))

    def _settled(self, response: ModelResponse, *, seconds: float, attempts: int) -> None:
        calls, usage = len(response.calls), response.usage

        def made(head: Head) -> ModelSettled:
            cost = known_cost(self.run.prices, self.model, usage, at=head.wall)
            said = (self.model, response.stop, usage, seconds, attempts, calls)
            return ModelSettled(head, *said, cost.amount, cost.currency)

        self.run.emit(made, end=True)


async def _close(stream: object) -> None:
    """An async generator that nobody reads any more holds its connection until it is closed."""
    close: Any = getattr(stream, "aclose", None)
    if close is not None:
        await close()
