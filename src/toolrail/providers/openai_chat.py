"""OpenAI Chat Completions: the model `OpenAIChat`, and the drop-in for a loop of your own.

async with rail.run(messages, principal=user, deps=shop) as run:
    while run.open:
        response = await client.chat.completions.create(
            model="gpt-4o", messages=messages, **openai_chat.options(run)
        )
        await openai_chat.answer(run, response)
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from toolrail.messages import ToolResult
from toolrail.model import Setup, TurnRequest
from toolrail.providers.chat_codec import ChatCodec
from toolrail.providers.chat_stream import ChatAssembler
from toolrail.providers.dropin import DropIn, Kept, Watched
from toolrail.providers.openai_client import OpenAITransport, Via
from toolrail.providers.openai_conversation import OpenAIConversation, Plan, Plans, refuse_own_fields
from toolrail.providers.openai_offer import Offer, answer_format, choice_of, offer_tools
from toolrail.providers.wire import Json
from toolrail.run import Run

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ChunkT = TypeVar("ChunkT")


class OpenAIChat:
    """A model behind OpenAI's Chat Completions.

    Args:
        model: for example `gpt-4o`.
        client: your own `AsyncOpenAI` or `AsyncAzureOpenAI`. Its retries are switched off for our requests: there is
            one retry layer, and it is recorded. Default: one of ours, made at first use.
        base_url, api_key: for a client of ours. Default: what the SDK finds in the environment.
        via: `create` for tracers that patch the SDK's method.

    Raises:
        DefinitionError: TR403, the package openai is not installed; TR401, the client is not an asynchronous one.

    Example: `Agent(OpenAIChat("gpt-4o", client=AsyncOpenAI()), rail)`
    """

    def __init__(
        self,
        model: str,
        client: AsyncOpenAI | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        via: Via = "post",
    ) -> None:
        self._model = model
        self._transport = OpenAITransport(self.name, client, base_url=base_url, api_key=api_key, via=via)
        self._plans = Plans(self._plan)

    @property
    def name(self) -> str:
        return f"openai:{self._model}"

    def open(self, setup: Setup) -> OpenAIConversation:
        """See `Model.open`. Also raises TR404 when there is no key."""
        plan = self._plans.of(setup)
        self._transport.check()
        return OpenAIConversation(plan, self._transport)

    async def close(self) -> None:
        """Closes the connections, unless the client is yours."""
        await self._transport.close()

    def _plan(self, setup: Setup) -> Plan:
        refuse_own_fields(setup, self.name)
        offer = offer_tools(setup.tools, api="chat", strict=setup.strict)
        return chat_plan(self._model, setup, offer, ChatCodec(offer.names), max_tokens="max_completion_tokens")


def chat_plan(model: str, setup: Setup, offer: Offer, codec: ChatCodec, *, max_tokens: str) -> Plan:
    """The plan of a conversation with any server that speaks Chat Completions."""
    settings = setup.settings
    fixed: Json = {"model": model}
    if offer.tools:
        fixed["tools"] = offer.tools
    if setup.output_schema is not None and (form := answer_format(setup.output_schema, setup.output_name)):
        fixed["response_format"] = {"type": "json_schema", "json_schema": form}
    if settings.max_tokens is not None:
        fixed[max_tokens] = settings.max_tokens
    if settings.temperature is not None:
        fixed["temperature"] = settings.temperature
    return Plan(
        path="/chat/completions",
        codec=codec,
        null_means_default=offer.null_means_default,
        fixed=fixed,
        extra=settings.extra,
        timeout=settings.timeout,
        messages="messages",
        first=None if setup.instructions is None else {"role": "system", "content": setup.instructions},
        turn=partial(turn_fields, offer),
        streaming={"stream": True, "stream_options": {"include_usage": True}},
        assembler=partial(ChatAssembler, codec.names),
    )


def turn_fields(offer: Offer, turn: TurnRequest) -> Json:
    """What of a request depends on the turn. Without tools there is nothing to choose: the API refuses the fields."""
    if not offer.tools:
        return {}
    fields: Json = {"tool_choice": choice_of(turn.tool_choice, offer.names, "chat")}
    return fields if turn.parallel is None else {**fields, "parallel_tool_calls": turn.parallel}


# -- the drop-in


class ChatOptions(TypedDict, total=False):
    """What a request needs beside model and messages."""

    tools: list[Any]
    tool_choice: Any
    parallel_tool_calls: bool


def options(run: Run[Any], *, parallel: bool | None = None, strict: bool = False) -> ChatOptions:
    """The request's tools and choice: the same tools in every turn, `tool_choice` none in the last one allowed.

    Args:
        parallel: False for at most one call in a response.
        strict: constrain decoding to the tools' schemas where they allow it. The first turn decides.

    Example: `await client.chat.completions.create(model="gpt-4o", messages=messages, **options(run))`
    """
    return _DROP_IN.options(run, parallel=parallel, strict=strict)


async def answer(run: Run[Any], response: object) -> list[ToolResult]:
    """Answers all calls of a response and appends the turn to `run.messages`: the assistant's message, then one tool
    message for each call. A response without calls ends the run.

    Args:
        response: the SDK's object, its dict, or what `watch` gave once it was read.

    Raises:
        ModelFailure: it is no response.
        TurnConflict: another response was already answered at this position.
        RunError: `run.messages` ends with this response already: you appended it yourself.
        asyncio.CancelledError: the turn is written first.
    """
    return await _DROP_IN.answer(run, response)


def watch(run: Run[Any], stream: AsyncIterable[ChunkT] | Iterable[ChunkT]) -> Watched[ChunkT]:
    """A stream that passes its chunks on and remembers them for `answer`. Nothing runs before it has ended; what a
    broken stream has called is answered `TRUNCATED`.

    A limit of tokens needs usage, and this API streams none unless it is asked, as in the example. It comes behind the
    last word, so read on to the end. Without it `RunLimits(tokens=...)` does not hold, of which one warning is logged.

    Example:

        chunks = await client.chat.completions.create(
            stream=True, stream_options={"include_usage": True}, ..., **options(run)
        )
        stream = watch(run, chunks)
        async for chunk in stream: ...
        await answer(run, stream)

    With a synchronous client:

        stream = watch(run, client.chat.completions.create(stream=True, ...))  # and stream_options
        for chunk in stream: ...
        rail.wait(answer(run, stream))
    """
    return _DROP_IN.watch(run, stream)


def _kept(run: Run[Any], strict: bool) -> Kept[ChatOptions]:
    offer = offer_tools(run.offered.values(), api="chat", strict=strict)
    codec = ChatCodec(offer.names)

    def fields(turn: TurnRequest) -> ChatOptions:
        return ChatOptions(tools=offer.tools, **turn_fields(offer, turn)) if offer.tools else ChatOptions()

    return Kept(codec, offer.null_means_default, fields, partial(ChatAssembler, offer.names))


_USAGE = (
    'Stream with stream_options={"include_usage": True} and read to the end; without a stream, the server must send it.'
)
_DROP_IN: DropIn[ChatOptions] = DropIn("openai_chat", _kept, _USAGE)
resume = _DROP_IN.resume
