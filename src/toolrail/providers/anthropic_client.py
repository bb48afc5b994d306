"""Anthropic Messages through the official SDK: the model port over a thin client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from toolrail.messages import Message
from toolrail.model import ArgumentsDelta, ModelFailure, ModelResponse, Setup, TextDelta, TurnRequest
from toolrail.providers.anthropic_codec import AnthropicCodec, continued, is_paused
from toolrail.providers.anthropic_request import Plan, Requests, plan_of
from toolrail.providers.anthropic_stream import AnthropicAssembler
from toolrail.providers.anthropic_transport import AnthropicTransport, Via
from toolrail.providers.failures import failure_of

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

MAX_TOKENS = 4096
"""Of one response, where the settings name no number: the API needs one."""
MAX_PAUSES = 8
"""How often a response that the provider's own tools interrupted is sent back within one request."""
_PLANS = 16


class AnthropicMessages:
    """A Claude model.

    Args:
        model: the provider's name for it, such as `claude-sonnet-4-5`.
        client: an `AsyncAnthropic` of yours, or one of its siblings for the clouds; yours to close. Its retries are
            switched off for our requests: there is one retry layer, and it is recorded. Default: one of ours.
        max_tokens: of one response, where the settings name no number.
        cache: set cache breakpoints on the tools, the instructions and the last message. They take three of the four
            that a request may have.
        via: `post` sends ready bytes; `create` calls the SDK's `messages.create`, for tracers that patch it.

    Raises:
        DefinitionError: TR401, the client is not an asynchronous one; TR403, the package anthropic is not installed.

    Example: `Agent(AnthropicMessages("claude-sonnet-4-5"), rail)`
    """

    __slots__ = ("_cache", "_max_tokens", "_model", "_plans", "_transport")

    def __init__(
        self,
        model: str,
        client: AsyncAnthropic | Any = None,
        *,
        max_tokens: int = MAX_TOKENS,
        cache: bool = True,
        via: Via = "post",
    ) -> None:
        self._model = model
        self._max_tokens = max_tokens
        self._cache = cache
        self._transport = AnthropicTransport(self.name, client, via)
        self._plans: list[tuple[Setup, Plan]] = []

    @property
    def name(self) -> str:
        """`anthropic:claude-sonnet-4-5`."""
        return f"anthropic:{self._model}"

    def open(self, setup: Setup) -> AnthropicConversation:
        """A new conversation.

        Raises:
            DefinitionError: TR401, the API cannot combine what is asked for; TR404, there is no key.
        """
        plan = self._plan(setup)
        self._transport.check()
        return AnthropicConversation(self._transport, plan)

    async def close(self) -> None:
        """Closes the connections, unless the client is yours."""
        await self._transport.close()

    def _plan(self, setup: Setup) -> Plan:
        """A setup is opened for each run, and compiled once."""
        for known, plan in self._plans:
            if known is setup or known == setup:
                return plan
        plan = plan_of(self._model, setup, max_tokens=self._max_tokens, cache=self._cache)
        self._plans = [(setup, plan), *self._plans[: _PLANS - 1]]
        return plan


class AnthropicConversation:
    """One conversation; see `toolrail.model.Conversation`. Made by `AnthropicMessages.open`."""

    __slots__ = ("_codec", "_requests", "_timeout", "_transport")

    def __init__(self, transport: AnthropicTransport, plan: Plan) -> None:
        self._transport = transport
        self._requests = Requests(plan)
        self._codec = AnthropicCodec(plan.offer.names)
        self._timeout = plan.timeout

    @property
    def codec(self) -> AnthropicCodec:
        return self._codec

    @property
    def null_means_default(self) -> Mapping[str, frozenset[str]]:
        """By tool, the arguments whose `null` only the dialect allows."""
        return self._requests.plan.offer.null_means_default

    async def request(self, messages: Sequence[Message], turn: TurnRequest) -> ModelResponse:
        """One attempt. A turn that the provider's own tools interrupted is sent back until it is whole.

        Raises:
            ModelFailure: with a closed label.
            DefinitionError: TR401, the API cannot combine what is asked for.
        """
        parts: list[ModelResponse] = []
        while not parts or (is_paused(parts[-1]) and len(parts) <= MAX_PAUSES):
            body = self._requests.body(_with(messages, parts), turn)
            parts.append(await self._attempt(body))
        return _whole(parts)

    async def stream(
        self, messages: Sequence[Message], turn: TurnRequest
    ) -> AsyncGenerator[TextDelta | ArgumentsDelta | ModelResponse, None]:
        """The same, as it comes; the whole response is the last item. Closing it early ends the HTTP response.

        Raises:
            ModelFailure: with a closed label, also when the stream broke off.
            DefinitionError: TR401, the API cannot combine what is asked for.
        """
        parts: list[ModelResponse] = []
        started = False
        while not parts or (is_paused(parts[-1]) and len(parts) <= MAX_PAUSES):
            assembler = AnthropicAssembler(self._codec.names)
            body = self._requests.body(_with(messages, parts), turn, stream=True)
            async with aclosing(self._deltas(body, assembler)) as deltas:
                try:
                    async for delta in deltas:
                        started = True
                        yield delta
                    parts.append(self._assembled(assembler))
                except ModelFailure as failure:
                    failure.streamed = started
                    raise
        yield _whole(parts)

    async def _attempt(self, body: bytes) -> ModelResponse:
        try:
            async with asyncio.timeout(self._timeout):
                message = await (await self._transport.sender()).send(body, self._timeout)
        except ModelFailure:
            raise
        except Exception as error:
            raise failure_of(error) from error
        return self._codec.decode(message, self._requests.ids)

    async def _deltas(
        self, body: bytes, assembler: AnthropicAssembler
    ) -> AsyncGenerator[TextDelta | ArgumentsDelta, None]:
        """Fills the assembler. The SDK bounds each wait for bytes, the clock here a stream that only trickles."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._timeout
        try:
            sender = await self._transport.sender()
            async with aclosing(sender.events(body, self._timeout)) as events:
                async for event in events:
                    for delta in assembler.feed(event):
                        yield delta
                    if now() > deadline:
                        raise TimeoutError(f"the stream took over {self._timeout:g} s")
        except ModelFailure:
            raise
        except Exception as error:
            if not assembler.over:  # once the message is whole, how its connection ended is no matter
                raise failure_of(error) from error

    def _assembled(self, assembler: AnthropicAssembler) -> ModelResponse:
        if not assembler.over:
            raise ModelFailure("connection", "the stream ended before its message did")
        if not assembler.complete:
            raise ModelFailure("garbage", "the stream's message has no beginning, or a block no end")
        return self._codec.decode(assembler.body(), self._requests.ids)


def _whole(parts: Sequence[ModelResponse]) -> ModelResponse:
    response = continued(parts)
    return replace(response, stop="length") if is_paused(response) else response


def _with(messages: Sequence[Message], parts: Sequence[ModelResponse]) -> Sequence[Message]:
    return [*messages, *continued(parts).messages] if parts else messages
