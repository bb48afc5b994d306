"""OpenAI Responses: the model `OpenAIResponses`, and the drop-in for a loop of your own.

async with rail.run(items, principal=user, deps=shop) as run:
    while run.open:
        response = await client.responses.create(model="gpt-5", input=items, **openai_responses.options(run))
        await openai_responses.answer(run, response)
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from toolrail.messages import ToolResult
from toolrail.model import Setup, TurnRequest
from toolrail.providers.dropin import DropIn, Kept, Watched
from toolrail.providers.openai_client import OpenAITransport, Via
from toolrail.providers.openai_conversation import OpenAIConversation, Plan, Plans, refuse_own_fields
from toolrail.providers.openai_offer import Offer, answer_format, choice_of, offer_tools
from toolrail.providers.responses_codec import ResponsesCodec
from toolrail.providers.responses_stream import ResponsesAssembler
from toolrail.providers.wire import Json
from toolrail.run import Run

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ChunkT = TypeVar("ChunkT")
_WITHOUT_REASONING = ("gpt-3", "gpt-4", "chatgpt-4", "ft:gpt-3", "ft:gpt-4")


class OpenAIResponses:
    """A model behind OpenAI's Responses. Nothing is stored there: reasoning travels encrypted in the history.

    Args:
        model: for example `gpt-5`.
        client: your own `AsyncOpenAI`. Its retries are switched off for our requests: there is one retry layer, and it
            is recorded. Default: one of ours, made at first use.
        base_url, api_key: for a client of ours. Default: what the SDK finds in the environment.
        via: `create` for tracers that patch the SDK's method.
        reasons: whether the model reasons, so that its reasoning must be asked for: others refuse the question.
            Default: by the model's name.

    Raises:
        DefinitionError: TR403, the package openai is not installed; TR401, the client is not an asynchronous one.

    Example: `Agent(OpenAIResponses("gpt-5", client=AsyncOpenAI()), rail)`
    """

    def __init__(
        self,
        model: str,
        client: AsyncOpenAI | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        via: Via = "post",
        reasons: bool | None = None,
    ) -> None:
        self._model = model
        self._reasons = not model.startswith(_WITHOUT_REASONING) if reasons is None else reasons
        self._transport = OpenAITransport(self.name, client, base_url=base_url, api_key=api_key, via=via)
        self._plans = Plans(self._plan)

    @property
    def name(self) -> str:
        return f"openai-responses:{self._model}"

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
        offer = offer_tools(setup.tools, api="responses", strict=setup.strict)
        return Plan(
            path="/responses",
            codec=ResponsesCodec(offer.names),
            null_means_default=offer.null_means_default,
            fixed=self._fixed(setup, offer),
            extra=setup.settings.extra,
            timeout=setup.settings.timeout,
            messages="input",
            first=None,
            turn=partial(turn_fields, offer),
            streaming={"stream": True},
            assembler=partial(ResponsesAssembler, offer.names),
        )

    def _fixed(self, setup: Setup, offer: Offer) -> Json:
        settings = setup.settings
        fixed: Json = {"model": self._model, "store": False}
        if self._reasons:
            fixed["include"] = ["reasoning.encrypted_content"]
        if offer.tools:
            fixed["tools"] = offer.tools
        if setup.instructions is not None:
            fixed["instructions"] = setup.instructions
        if setup.output_schema is not None and (form := answer_format(setup.output_schema, setup.output_name)):
            fixed["text"] = {"format": {"type": "json_schema", **form}}
        if settings.max_tokens is not None:
            fixed["max_output_tokens"] = settings.max_tokens
        if settings.temperature is not None:
            fixed["temperature"] = settings.temperature
        return {name: value for name, value in fixed.items() if name not in settings.extra}


def turn_fields(offer: Offer, turn: TurnRequest) -> Json:
    """What of a request depends on the turn. Without tools there is nothing to choose: the API refuses the fields."""
    if not offer.tools:
        return {}
    fields: Json = {"tool_choice": choice_of(turn.tool_choice, offer.names, "responses")}
    return fields if turn.parallel is None else {**fields, "parallel_tool_calls": turn.parallel}


# -- the drop-in


class ResponsesOptions(TypedDict, total=False):
    """What a request needs beside model and input."""

    tools: list[Any]
    tool_choice: Any
    parallel_tool_calls: bool


def options(run: Run[Any], *, parallel: bool | None = None, strict: bool = False) -> ResponsesOptions:
    """The request's tools and choice: the same tools in every turn, `tool_choice` none in the last one allowed.

    Args:
        parallel: False for at most one call in a response.
        strict: constrain decoding to the tools' schemas where they allow it. The first turn decides.

    Example: `await client.responses.create(model="gpt-5", input=items, **options(run))`
    """
    return _DROP_IN.options(run, parallel=parallel, strict=strict)


async def answer(run: Run[Any], response: object) -> list[ToolResult]:
    """Answers all calls of a response and appends the turn to `run.messages`: all output items, then one output for
    each call. A response without calls ends the run.

    Args:
        response: the SDK's object, its dict, or what `watch` gave once it was read.

    Raises:
        ModelFailure: it is no response, or one that failed.
        TurnConflict: another response was already answered at this position.
        RunError: `run.messages` ends with this response already: you appended it yourself.
        asyncio.CancelledError: the turn is written first.
    """
    return await _DROP_IN.answer(run, response)


def watch(run: Run[Any], stream: AsyncIterable[ChunkT] | Iterable[ChunkT]) -> Watched[ChunkT]:
    """A stream that passes its events on and remembers them for `answer`. Nothing runs before it has ended; what a
    broken stream has called is answered `TRUNCATED`.

    Example:

        stream = watch(run, await client.responses.create(stream=True, ...))
        async for event in stream: ...
        await answer(run, stream)

    With a synchronous client:

        stream = watch(run, client.responses.create(stream=True, ...))
        for event in stream: ...
        rail.wait(answer(run, stream))
    """
    return _DROP_IN.watch(run, stream)


def _kept(run: Run[Any], strict: bool) -> Kept[ResponsesOptions]:
    offer = offer_tools(run.offered.values(), api="responses", strict=strict)
    codec = ResponsesCodec(offer.names)

    def fields(turn: TurnRequest) -> ResponsesOptions:
        return ResponsesOptions(tools=offer.tools, **turn_fields(offer, turn)) if offer.tools else ResponsesOptions()

    return Kept(codec, offer.null_means_default, fields, partial(ResponsesAssembler, offer.names))


_DROP_IN: DropIn[ResponsesOptions] = DropIn("openai_responses", _kept)
resume = _DROP_IN.resume
