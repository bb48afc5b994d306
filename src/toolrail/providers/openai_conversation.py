"""One conversation with an OpenAI server: what stays the same is encoded once, each message once, each turn anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Container, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from toolrail.errors import DefinitionError
from toolrail.messages import Message
from toolrail.model import (
    ArgumentsDelta,
    Codec,
    ModelFailure,
    ModelResponse,
    Setup,
    TextDelta,
    TurnRequest,
)
from toolrail.providers.failures import failure_of
from toolrail.providers.openai_client import OpenAITransport, Outgoing, body_of
from toolrail.providers.wire import EncodedMessages, Json, decode, encode, objects

_OURS = frozenset({"messages", "input", "tools", "tool_choice", "stream", "n", "response_format"})
_KEPT = 16


class OpenAICodec(Codec, Protocol):
    """A codec that keeps the ids of a whole conversation apart."""

    def decode(self, body: Mapping[str, Any], taken: Container[str] = ...) -> ModelResponse: ...
    def ids_of(self, message: Mapping[str, Any]) -> list[str]: ...


class Assembler(Protocol):
    """Puts a streamed response together."""

    @property
    def complete(self) -> bool: ...
    def feed(self, chunk: Json, /) -> list[TextDelta | ArgumentsDelta]: ...
    def body(self, *, finish: str | None = None) -> Json: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an API needs to know of one `Setup`."""

    path: str
    codec: OpenAICodec
    null_means_default: Mapping[str, frozenset[str]]
    fixed: Json
    """Fields that stay the same from turn to turn, the tools among them."""
    extra: Mapping[str, Any]
    timeout: float
    messages: str
    """The field that carries the messages."""
    first: Message | None
    """A message in front of them that is not in the history."""
    turn: Callable[[TurnRequest], Json]
    """The fields of one turn."""
    streaming: Json
    """Further fields of a streamed request."""
    assembler: Callable[[], Assembler]
    encoded: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def __post_init__(self) -> None:
        self.encoded.update({name: encode(value) for name, value in (*self.fixed.items(), *self.extra.items())})

    def with_turn(self, turn: Callable[[TurnRequest], Json]) -> Plan:
        """The same with other fields of a turn."""
        return replace(self, turn=turn)


class Plans:
    """The last plans of a model: a setup is opened for each run and compiled once."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[Setup], Plan]) -> None:
        self._make = make
        self._known: list[tuple[Setup, Plan]] = []

    def of(self, setup: Setup) -> Plan:
        for known, plan in self._known:
            if known is setup or known == setup:
                return plan
        plan = self._make(setup)
        self._known = [(setup, plan), *self._known[: _KEPT - 1]]
        return plan


def refuse_own_fields(setup: Setup, model: str) -> None:
    """Raises TR401 for settings that would undo what toolrail writes into the request."""
    clash = sorted(_OURS & setup.settings.extra.keys())
    if clash:
        raise DefinitionError(
            "TR401",
            f"{model} ModelSettings(extra=...)",
            f"{clash[0]!r} is written by toolrail.",
            "Drop it: tools, choices, streams and output types have options of their own.",
        )


class OpenAIConversation:
    """Implements `Conversation` for both APIs."""

    __slots__ = ("_first", "_messages", "_plan", "_transport")

    def __init__(self, plan: Plan, transport: OpenAITransport) -> None:
        self._plan = plan
        self._transport = transport
        self._first = None if plan.first is None else encode(plan.first)
        self._messages = EncodedMessages(plan.codec.ids_of)

    @property
    def codec(self) -> OpenAICodec:
        return self._plan.codec

    @property
    def null_means_default(self) -> Mapping[str, frozenset[str]]:
        return self._plan.null_means_default

    async def request(self, messages: Sequence[Message], turn: TurnRequest) -> ModelResponse:
        """See `Conversation.request`."""
        try:
            raw = await self._transport.fetch(self._outgoing(messages, self._plan.turn(turn)))
            return self._decoded(raw)
        except DefinitionError:
            raise
        except Exception as error:
            raise failure_of(error) from error

    async def stream(
        self, messages: Sequence[Message], turn: TurnRequest
    ) -> AsyncGenerator[TextDelta | ArgumentsDelta | ModelResponse]:
        """See `Conversation.stream`."""
        started = False
        try:
            out = self._outgoing(messages, {**self._plan.turn(turn), **self._plan.streaming})
            assembler = self._plan.assembler()
            async with aclosing(self._transport.events(out)) as events:
                async for data in events:
                    chunk = decode(data) if isinstance(data, bytes) else data
                    if _is_whole(chunk):
                        yield self._decoded(chunk)
                        return
                    for delta in assembler.feed(chunk):
                        started = True
                        yield delta
            if not assembler.complete:
                raise ModelFailure("connection", "the stream ended before the response was finished")
            response = self._decoded(assembler.body())
        except DefinitionError:
            raise
        except Exception as error:
            raise failure_of(error, streamed=started) from error
        yield response

    def _decoded(self, raw: bytes | Json) -> ModelResponse:
        body = decode(raw) if isinstance(raw, bytes) else raw
        return self._plan.codec.decode(body, self._messages.ids)

    def _outgoing(self, messages: Sequence[Message], turn: Json) -> Outgoing:
        plan, via = self._plan, self._transport.via
        array = {plan.messages: self._messages.array(messages, first=self._first)}
        all_messages = [*messages] if plan.first is None else [plan.first, *messages]
        fields = {**plan.fixed, plan.messages: all_messages, **turn}
        raw = b"" if via == "create" else body_of(plan.encoded, array, turn)
        return Outgoing(plan.path, raw, fields, plan.extra, plan.timeout)


def _is_whole(chunk: Json) -> bool:
    """A whole body where a chunk was expected: the server does not stream."""
    if chunk.get("object") in ("chat.completion", "response"):
        return True
    return any("message" in choice for choice in objects(chunk.get("choices")))
