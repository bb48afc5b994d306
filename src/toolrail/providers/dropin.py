"""What the drop-ins of all providers share: a run's offer is kept on the run, a response in any form is one turn."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, Generic, Protocol, TypeVar, cast

from toolrail.errors import RunError
from toolrail.messages import Message, ToolResult
from toolrail.model import ModelFailure, ModelResponse, TurnRequest
from toolrail.ports import log
from toolrail.providers.wire import Json, plain
from toolrail.resuming import Answers, resume_turn
from toolrail.run import Run
from toolrail.turn import closing, settle_turn

OptionsT = TypeVar("OptionsT")
ChunkT = TypeVar("ChunkT")
_WARNED = "warned of usage"
"""The attachment of a run that was."""


class DropInCodec(Protocol):
    """What of a codec a drop-in needs."""

    def decode(self, body: Mapping[str, Any], taken: Container[str] = ...) -> ModelResponse: ...
    def results(self, results: Sequence[ToolResult], /) -> list[Message]: ...
    def user(self, text: str, /) -> Message: ...
    def ids_of(self, message: Mapping[str, Any], /) -> list[str]: ...
    def text_in(self, message: Mapping[str, Any], /) -> str:
        """What the assistant says in a message; empty for one of anybody else."""
        ...


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
    usage_mend: str = "Read a stream to its end; without a stream, ask the server for usage."
    """How to get the usage of a response that came without it."""

    def options(self, run: Run[Any], *, parallel: bool | None, strict: bool) -> OptionsT:
        """A forced choice holds for the first turn only, so that it cannot loop; the last turn allows no call."""
        kept = self._kept(run, strict=strict)
        choice = "none" if closing(run) else run.tool_choice if run.state.turn == 0 else "auto"
        return kept.fields(TurnRequest(choice, parallel))

    async def answer(self, run: Run[Any], response: object) -> list[ToolResult]:
        """Decodes a response and settles it as one turn."""
        codec = self._kept(run).codec
        body, whole = _body(response)
        if run.messages and _ends_with(codec, _readable(run.messages[-1]), body):
            raise RunError(
                "run.messages ends with this response already, and answer() appends the assistant's message itself. "
                "Mend: remove your own messages.append(...) before it."
            )
        taken = {id_ for message in run.messages for id_ in codec.ids_of(_readable(message))}
        decoded = codec.decode(body, taken)
        self._miss_usage(run, decoded)
        return await settle_turn(run, decoded if whole else replace(decoded, stop="length"), codec.results)

    async def resume(self, run: Run[Any], approvals: Answers | None = None) -> list[ToolResult]:
        """Goes on with a suspended run (`run.stop_reason == "pending"`): the calls that are decided or settled by now
        run, and their results take the place of their placeholders in `run.messages`. Then `run.open` is True again,
        unless some still wait.

        Args:
            run: opened with `rail.run(messages, run_id=...)` and the messages that it was suspended with.
            approvals: decisions by the id of their approval; True and False are those of the run's own principal. What
                others decide with `rail.approvals.decide` needs none.

        Raises:
            RunError: nothing waits.
            ApprovalError: a decision cannot be taken.

        Example:

            async with rail.run(messages, run_id=run_id, principal=user, deps=shop) as run:
                await resume(run)
                while run.open: ...
        """
        batch = await resume_turn(run, self._kept(run).codec, approvals=approvals)
        if batch.interrupt is not None:
            raise batch.interrupt
        return batch.results

    def watch(self, run: Run[Any], stream: AsyncIterable[ChunkT] | Iterable[ChunkT]) -> Watched[ChunkT]:
        """Wraps an SDK's stream."""
        return Watched(stream, self._kept(run).assembler())

    def _miss_usage(self, run: Run[Any], response: ModelResponse) -> None:
        """Warns once of a limit that does not hold."""
        if run.limits.tokens is None or response.usage.total_tokens or run.attachments.get(_WARNED):
            return
        run.attachments[_WARNED] = True
        log.warning(
            "Run %s: a response came without usage, so RunLimits(tokens=%s) does not count it. Mend: %s",
            run.id,
            run.limits.tokens,
            self.usage_mend,
        )

    def _kept(self, run: Run[Any], *, strict: bool = False) -> Kept[OptionsT]:
        kept: Kept[OptionsT] | None = run.attachments.get(self.name)
        if kept is None:
            kept = run.attachments[self.name] = self.keep(run, strict)
            run.null_means_default = kept.null_means_default
        return kept


class Watched(Generic[ChunkT]):
    """A provider's stream that passes its chunks on unchanged. Give it to `answer` once it was read.

    Read it as the stream under it is read: `async for` with an asynchronous client, `for` with a synchronous one.
    """

    __slots__ = ("_stream", "assembler")

    def __init__(self, stream: AsyncIterable[ChunkT] | Iterable[ChunkT], assembler: Assembler) -> None:
        self._stream = stream
        self.assembler = assembler

    async def __aiter__(self) -> AsyncIterator[ChunkT]:
        if not isinstance(self._stream, AsyncIterable):
            raise TypeError("The stream under it is synchronous. Mend: read it with `for`, or use an async client.")
        async for chunk in self._stream:
            self.assembler.feed(plain(chunk))
            yield chunk

    def __iter__(self) -> Iterator[ChunkT]:
        if not isinstance(self._stream, Iterable):
            raise TypeError("The stream under it is asynchronous. Mend: read it with `async for`.")
        for chunk in self._stream:
            self.assembler.feed(plain(chunk))
            yield chunk

    async def close(self) -> None:
        """Closes the stream under it; what it called so far will not run. In blocking code:
        `rail.wait(stream.close())`."""
        close: Any = getattr(self._stream, "close", None) or getattr(self._stream, "aclose", None)
        closing = None if close is None else close()
        if isawaitable(closing):
            await closing


def _body(response: object) -> tuple[Json, bool]:
    """A response's body, and whether the model has finished it."""
    if isinstance(response, Watched):
        assembler = cast("Watched[Any]", response).assembler
        return assembler.body(finish="length"), assembler.complete
    try:
        return plain(response), True
    except TypeError as error:
        raise ModelFailure("garbage", str(error)) from None


def _ends_with(codec: DropInCodec, last: Json, body: Json) -> bool:
    """Whether the last message of a history is the end of this very response: its calls, or else its words."""
    ids, said = codec.ids_of(last), codec.text_in(last)
    if not (ids or said):
        return False
    response = codec.decode(body)
    end: Message = response.messages[-1] if response.messages else {}
    if ids or codec.ids_of(end):
        return not {call.id for call in response.calls}.isdisjoint(id_ or "call" for id_ in ids)
    return said == codec.text_in(end)


def _readable(message: object) -> Json:
    """A history may hold an SDK's own objects, where the caller put them there."""
    try:
        return plain(message)
    except TypeError:
        return {}
