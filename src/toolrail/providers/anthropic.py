"""Anthropic Messages: the drop-in for a loop of your own. (The model for our loop is in `anthropic_client`.)

async with rail.run(messages, principal=user, deps=shop) as run:
    while run.open:
        response = await client.messages.create(
            model="claude-sonnet-4-5", max_tokens=4096, messages=messages, **anthropic.options(run)
        )
        await anthropic.answer(run, response)
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from functools import partial
from typing import Any, TypedDict, TypeVar, cast

from toolrail.messages import ToolResult
from toolrail.model import TurnRequest
from toolrail.providers.anthropic_codec import PAUSED, AnthropicCodec
from toolrail.providers.anthropic_request import choice_of, offer_of
from toolrail.providers.anthropic_stream import AnthropicAssembler
from toolrail.providers.dropin import DropIn, Kept, Watched
from toolrail.providers.wire import plain
from toolrail.run import Run

__all__ = ["AnthropicCodec", "AnthropicOptions", "answer", "options", "resume", "watch"]

ChunkT = TypeVar("ChunkT")


class AnthropicOptions(TypedDict, total=False):
    """What a request needs beside model, `max_tokens`, instructions and messages."""

    tools: list[Any]
    tool_choice: Any


def options(run: Run[Any], *, parallel: bool | None = None, strict: bool = False) -> AnthropicOptions:
    """The request's tools and choice: the same tools in every turn, `tool_choice` none in the last one allowed.

    Args:
        parallel: False for at most one call in a response.
        strict: constrain decoding to the tools' schemas where they allow it. The first turn decides.

    Example: `await client.messages.create(model=..., max_tokens=4096, messages=messages, **options(run))`
    """
    return _DROP_IN.options(run, parallel=parallel, strict=strict)


async def answer(run: Run[Any], response: object) -> list[ToolResult]:
    """Answers all calls of a response and appends the turn to `run.messages`: the assistant's message, then one user
    message with all results. A response without calls ends the run, unless the provider only paused it (`pause_turn`,
    its own tools): then it stays open, and your next request lets the model go on.

    Args:
        response: the SDK's object, its dict, or what `watch` gave once it was read.

    Raises:
        ModelFailure: it is no response.
        TurnConflict: another response was already answered at this position.
        RunError: `run.messages` ends with this response already: you appended it yourself.
        asyncio.CancelledError: the turn is written first.
    """
    results = await _DROP_IN.answer(run, response)
    if run.stop_reason in ("answer", "question") and _paused(response):
        run.state.stop_reason = None
    return results


def watch(run: Run[Any], stream: AsyncIterable[ChunkT] | Iterable[ChunkT]) -> Watched[ChunkT]:
    """A stream that passes its events on and remembers them for `answer`. Nothing runs before it has ended; what a
    broken stream has called is answered `TRUNCATED`.

    Example:

        stream = watch(run, await client.messages.create(stream=True, ...))
        async for event in stream: ...
        await answer(run, stream)

    With a synchronous client:

        stream = watch(run, client.messages.create(stream=True, ...))
        for event in stream: ...
        rail.wait(answer(run, stream))
    """
    return _DROP_IN.watch(run, stream)


def _paused(response: object) -> bool:
    if isinstance(response, Watched):
        return cast("Watched[Any]", response).assembler.body().get("stop_reason") == PAUSED
    return plain(response).get("stop_reason") == PAUSED


def _kept(run: Run[Any], strict: bool) -> Kept[AnthropicOptions]:
    offer = offer_of(run.offered.values(), strict=strict)
    codec = AnthropicCodec(offer.names)

    def fields(turn: TurnRequest) -> AnthropicOptions:
        if not offer.params:
            return {}
        choice = choice_of(turn.tool_choice, offer.names, parallel=turn.parallel)
        return {"tools": offer.params} if choice is None else {"tools": offer.params, "tool_choice": choice}

    return Kept(codec, offer.null_means_default, fields, partial(AnthropicAssembler, offer.names))


_DROP_IN: DropIn[AnthropicOptions] = DropIn("anthropic", _kept)
resume = _DROP_IN.resume
