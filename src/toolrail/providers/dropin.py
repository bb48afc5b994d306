"""What the drop-ins of all providers share: a run's offer is kept on the run, a response in any form is one turn."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, cast

from toolrail.messages import Message, ToolResult
from toolrail.model import ModelFailure, ModelResponse, TurnRequest
from toolrail.providers.wire import Json, plain
from toolrail.run import Run
from toolrail.turn import settle_turn

OptionsT = TypeVar("OptionsT")
ChunkT = TypeVar("ChunkT")


class DropInCodec(Protocol):
    """What of a codec a drop-in needs."""

    def decode(self, body: Mapping[str, Any], taken: Container[str] = ...) -> ModelResponse: ...
    def results(self, results: Sequence[ToolResult], /) -> list[Message]: ...
    def ids_of(self, message: Mapping[str, Any], /) -> list[str]: ...


class Assembler(Protocol):
    """Puts a streamed response together."""

    @property
    def complete(self) -> bool:
        """Whether the model has finished."""
        ...

    def feed(self, chunk: Json, /) -> object: ...

    def body(self, *, finish: str | None = None) -> Json:
        """The whole body; `finish` stands in for a reason that never came."""
        ...


@dataclass(frozen=True, slots=True)
class Kept(Generic[OptionsT]):
    """What a provider keeps of one run."""

    codec: DropInCodec
    null_means_default: Mapping[str, frozenset[str]]
    fields: Callable[[TurnRequest], OptionsT]
    """The fields of one request."""
    assembler: Callable[[], Assembler]


@dataclass(frozen=True, slots=True)
class DropIn(Generic[OptionsT]):
    """The three functions of one provider."""

    name: str
    keep: Callable[[Run[Any], bool], Kept[OptionsT]]
    """Compiles the run's tools; the flag asks for strict decoding."""

    def options(self, run: Run[Any], *, parallel: bool | None, strict: bool) -> OptionsT:
        """A forced choice holds for the first turn only, so that it cannot loop; the last turn allows no call."""
        kept = self._kept(run, strict=strict)
        choice = "none" if run.last_turn else run.tool_choice if run.state.turn == 0 else "auto"
        return kept.fields(TurnRequest(choice, parallel))

    async def answer(self, run: Run[Any], response: object) -> list[ToolResult]:
        """Decodes a response and settles it as one turn."""
        codec = self._kept(run).codec
        taken = {id_ for message in run.messages for id_ in codec.ids_of(_readable(message))}
        if not isinstance(response, Watched):
            return await settle_turn(run, codec.decode(_body(response), taken), codec.results)
        stream = cast("Watched[Any]", response)
        decoded = codec.decode(stream.assembler.body(finish="length"), taken)
        whole = decoded if stream.assembler.complete else replace(decoded, stop="length")
        return await settle_turn(run, whole, codec.results)

    def watch(self, run: Run[Any], stream: AsyncIterable[ChunkT]) -> Watched[ChunkT]:
        """Wraps an SDK's stream."""
        return Watched(stream, self._kept(run).assembler())

    def _kept(self, run: Run[Any], *, strict: bool = False) -> Kept[OptionsT]:
        kept: Kept[OptionsT] | None = run.attachments.get(self.name)
        if kept is None:
            kept = run.attachments[self.name] = self.keep(run, strict)
            run.null_means_default = kept.null_means_default
        return kept


class Watched(Generic[ChunkT]):
    """A provider's stream that passes its chunks on unchanged. Give it to `answer` once it was read."""

    __slots__ = ("_stream", "assembler")

    def __init__(self, stream: AsyncIterable[ChunkT], assembler: Assembler) -> None:
        self._stream = stream
        self.assembler = assembler

    async def __aiter__(self) -> AsyncIterator[ChunkT]:
        async for chunk in self._stream:
            self.assembler.feed(plain(chunk))
            yield chunk

    async def close(self) -> None:
        """Closes the stream under it; what it called so far will not run."""
        close: Any = getattr(self._stream, "close", None) or getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


def _body(response: object) -> Json:
    try:
        return plain(response)
    except TypeError as error:
        raise ModelFailure("garbage", str(error)) from None


def _readable(message: object) -> Json:
    """A history may hold an SDK's own objects, where the caller put them there."""
    try:
        return plain(message)
    except TypeError:
        return {}
