"""Anthropic Messages through the official SDK: the model port over a thin client."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, Protocol

from toolrail.errors import DefinitionError
from toolrail.messages import Message
from toolrail.model import ArgumentsDelta, ModelFailure, ModelResponse, Setup, TextDelta, TurnRequest
from toolrail.providers.anthropic_codec import AnthropicCodec, continued, is_paused, read_body
from toolrail.providers.anthropic_request import Requests
from toolrail.providers.anthropic_stream import AnthropicAssembler
from toolrail.providers.failures import failure_of
from toolrail.providers.wire import Json, decode, is_json_object, plain

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

MAX_TOKENS = 4096
"""Of one response, where the settings name no number: the API needs one."""
MAX_PAUSES = 8
"""How often a response that the provider's own tools interrupted is sent back within one request."""
_PATH = "/v1/messages"


class _Sender(Protocol):
    """One way through the SDK."""

    async def send(self, body: bytes, timeout: float) -> Json: ...

    def events(self, body: bytes, timeout: float) -> AsyncGenerator[Json, None]: ...


class AnthropicMessages:
    """A Claude model.

    Args:
        model: the provider's name for it, such as `claude-sonnet-4-5`.
        client: an `AsyncAnthropic` of yours, or one of its siblings for the clouds; yours to close. Default: one with
            the SDK's own settings, made at first use.
        max_tokens: of one response, where the settings name no number.
        cache: set cache breakpoints on the tools, the instructions and the last message. They take three of the four
            that a request may have.
        via: `post` sends ready bytes; `create` calls the SDK's `messages.create`, for tracers that patch it.

    Raises:
        DefinitionError: TR401, the client is not an asynchronous one.

    Example: `Agent(AnthropicMessages("claude-sonnet-4-5"), rail)`
    """

    __slots__ = ("_cache", "_client", "_max_tokens", "_model", "_sender", "_via")

    def __init__(
        self,
        model: str,
        client: AsyncAnthropic | Any = None,
        *,
        max_tokens: int = MAX_TOKENS,
        cache: bool = True,
        via: Literal["post", "create"] = "post",
    ) -> None:
        if client is not None and not inspect.iscoroutinefunction(getattr(client, "post", None)):
            where, given = f"anthropic:{model}", type(client).__name__
            raise DefinitionError("TR401", where, f"a {given} is not an asynchronous client.", "Give AsyncAnthropic().")
        self._model = model
        self._client: Any = client
        self._max_tokens = max_tokens
        self._cache = cache
        self._via = via
        self._sender: _Sender | None = None

    @property
    def name(self) -> str:
        """`anthropic:claude-sonnet-4-5`."""
        return f"anthropic:{self._model}"

    def open(self, setup: Setup) -> AnthropicConversation:
        """A new conversation.

        Raises:
            DefinitionError: TR401, the API cannot combine what is asked for.
        """
        requests = Requests(self._model, setup, max_tokens=self._max_tokens, cache=self._cache)
        return AnthropicConversation(self, requests, timeout=setup.settings.timeout)

    def sender(self) -> _Sender:
        """The way to the API; the SDK is loaded and its retries are switched off here, once."""
        if self._sender is None:
            client = self._client
            if client is None:
                from anthropic import AsyncAnthropic as Client

                client = Client()
            client = client.with_options(max_retries=0)
            # The clouds' clients read model and path from the body, so they need it as an object.
            direct = any(cls.__name__ == "AsyncAnthropic" for cls in type(client).__mro__)
            self._sender = _Post(client) if direct and self._via == "post" else _Create(client)
        return self._sender


class AnthropicConversation:
    """One conversation; see `toolrail.model.Conversation`. Made by `AnthropicMessages.open`."""

    __slots__ = ("_codec", "_model", "_requests", "_timeout")

    def __init__(self, model: AnthropicMessages, requests: Requests, *, timeout: float) -> None:
        self._model = model
        self._requests = requests
        self._codec = AnthropicCodec(requests.offer.names)
        self._timeout = timeout

    @property
    def codec(self) -> AnthropicCodec:
        return self._codec

    @property
    def null_means_default(self) -> Mapping[str, frozenset[str]]:
        """By tool, the arguments whose `null` only the dialect allows."""
        return self._requests.offer.null_means_default

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
        return continued(parts)

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
        yield continued(parts)

    async def _attempt(self, body: bytes) -> ModelResponse:
        try:
            async with asyncio.timeout(self._timeout):
                message = await self._model.sender().send(body, self._timeout)
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
            async with aclosing(self._model.sender().events(body, self._timeout)) as events:
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


def _with(messages: Sequence[Message], parts: Sequence[ModelResponse]) -> Sequence[Message]:
    return [*messages, *continued(parts).messages] if parts else messages


class _Post:
    """Ready bytes through the SDK's `post`: its authentication, headers and hooks stay."""

    __slots__ = ("_client",)

    def __init__(self, client: AsyncAnthropic) -> None:
        self._client = client

    async def send(self, body: bytes, timeout: float) -> Json:
        return read_body(await self._client.post(_PATH, content=body, cast_to=bytes, options={"timeout": timeout}))

    async def events(self, body: bytes, timeout: float) -> AsyncGenerator[Json, None]:
        from anthropic import AsyncStream

        stream = await self._client.post(
            _PATH,
            content=body,
            cast_to=object,
            options={"timeout": timeout},
            stream=True,
            stream_cls=AsyncStream[object],
        )
        try:
            async for event in stream:
                if is_json_object(event):
                    yield event
        finally:
            await stream.close()


class _Create:
    """The SDK's `messages.create`. What the body has and `create` does not know goes as `extra_body`."""

    __slots__ = ("_create", "_known")

    def __init__(self, client: Any) -> None:
        self._create: Any = client.messages.create
        self._known = frozenset(inspect.signature(self._create).parameters)

    async def send(self, body: bytes, timeout: float) -> Json:
        return plain(await self._call(body, timeout))

    async def events(self, body: bytes, timeout: float) -> AsyncGenerator[Json, None]:
        stream = await self._call(body, timeout)
        try:
            async for event in stream:
                yield plain(event)
        finally:
            await stream.close()

    async def _call(self, body: bytes, timeout: float) -> Any:
        fields = decode(body)
        known = {name: value for name, value in fields.items() if name in self._known}
        rest = {name: value for name, value in fields.items() if name not in self._known}
        return await self._create(**known, extra_body=rest or None, timeout=timeout)
