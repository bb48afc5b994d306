"""The OpenAI providers over real HTTP: what goes out, what comes back, streamed and not, and every way to fail."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Any, Literal

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from tests.fakes.model_server import Call, Fault, FaultKind, ModelServer, Recorded, Say, Script, Think
from tests.promises import promise
from toolrail import DefinitionError, Tool, ToolResult, tool
from toolrail.model import (
    Among,
    ArgumentsDelta,
    Conversation,
    Model,
    ModelFailure,
    ModelResponse,
    ModelSettings,
    Named,
    Setup,
    TextDelta,
    ToolChoice,
    TurnRequest,
)
from toolrail.providers.compatible import Compatible
from toolrail.providers.openai_chat import OpenAIChat
from toolrail.providers.openai_responses import OpenAIResponses

Json = dict[str, Any]
Kind = Literal["chat", "responses", "compatible"]
Via = Literal["post", "create"]
KINDS: tuple[Kind, ...] = ("chat", "responses", "compatible")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@tool(effect="read")
async def search(query: str, limit: int = 5) -> str:
    """Searches."""
    return query


@tool(effect="read", name="billing.pay")
async def pay(invoice: str) -> str:
    """Pays."""
    return invoice


TOOLS: tuple[Tool[Any], ...] = (search, pay)
USER: Json = {"role": "user", "content": "Go."}


def model_of(kind: Kind, url: str, *, via: Via = "post", client: AsyncOpenAI | None = None) -> Model:
    key = None if client else "test"
    match kind:
        case "chat":
            return OpenAIChat("gpt-4o", client, base_url=None if client else url, api_key=key, via=via)
        case "responses":
            return OpenAIResponses("gpt-5", client, base_url=None if client else url, api_key=key, via=via)
        case "compatible":
            return Compatible("qwen3", client, base_url=None if client else url, via=via)


def talk(
    script: Script,
    say: Callable[[Conversation], Awaitable[Any]],
    *,
    kind: Kind = "chat",
    setup: Setup | None = None,
    via: Via = "post",
) -> tuple[Any, list[Recorded]]:
    """What one conversation gave, and the requests that it made. The clients of all models here are closed."""
    with ModelServer(script) as server:

        async def main() -> Any:
            model: Any = model_of(kind, server.openai_url, via=via)
            try:
                return await say(model.open(setup or Setup(TOOLS)))
            finally:
                await model.close()

        result = asyncio.run(main())
    assert server.rejections == []
    return result, server.requests


async def ask(conversation: Conversation, *, messages: Sequence[Json] = (USER,), **turn: Any) -> ModelResponse:
    return await conversation.request(list(messages), TurnRequest(**turn))


async def ask_streamed(conversation: Conversation) -> tuple[list[Any], ModelResponse]:
    *deltas, last = [item async for item in conversation.stream([USER], TurnRequest())]
    assert isinstance(last, ModelResponse)
    return deltas, last


def on_the_wire(kind: Kind, *, setup: Setup | None = None, **turn: Any) -> Json:
    _, (request,) = talk([Say("Hi.")], lambda one: ask(one, **turn), kind=kind, setup=setup)
    return request.body


TURN = [Think("Hm."), Say("Let me look."), Call("search", '{"query": "trail"}', "c1"), Call("billing_pay", "{}", "c2")]


@promise("loop:providers")
@pytest.mark.parametrize("via", ["post", "create"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_response_comes_back_whole(kind: Kind, via: Via) -> None:
    response, (request,) = talk([TURN], ask, kind=kind, via=via)
    assert [(one.id, one.name, one.arguments) for one in response.calls] == [
        ("c1", "search", '{"query": "trail"}'),
        ("c2", "billing.pay", "{}"),
    ]
    assert (response.text, response.stop, response.usage.input_tokens) == ("Let me look.", "calls", 120)
    assert (response.usage.cached_tokens, response.usage.reasoning_tokens) == (40, 5)
    assert request.headers["authorization"].startswith("Bearer ")


@promise("loop:providers", "loop:stream")
@pytest.mark.parametrize("via", ["post", "create"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_streamed_response_is_the_same_as_a_whole_one(kind: Kind, via: Via) -> None:
    whole, _ = talk([TURN], ask, kind=kind)
    (deltas, streamed), (request,) = talk([TURN], ask_streamed, kind=kind, via=via)
    assert request.streams
    assert (streamed.calls, streamed.text, streamed.stop) == (whole.calls, whole.text, whole.stop)
    assert (streamed.usage, streamed.messages) == (whole.usage, whole.messages)
    assert "".join(one.text for one in deltas if isinstance(one, TextDelta)) == "Let me look."
    arguments = [one for one in deltas if isinstance(one, ArgumentsDelta)]
    assert "".join(one.text for one in arguments if one.index == 0) == '{"query": "trail"}'
    assert {(one.index, one.name) for one in arguments} == {(0, "search"), (1, "billing.pay")}


@promise("loop:history")
@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_goes_back_as_it_came_and_the_server_takes_it(kind: Kind) -> None:
    async def two_turns(one: Conversation) -> ModelResponse:
        messages = [one.codec.user("Go.")]
        first = await one.request(messages, TurnRequest())
        messages += first.messages
        messages += one.codec.results([ToolResult(call.id, call.name, "ok", "done") for call in first.calls])
        return await one.request(messages, TurnRequest())

    twins = [Call("search", "", "same"), Call("nobody.knows", "{", "same"), Call("search", '{"query": "x"}', "")]
    response, (_, second) = talk([twins, Say("Bye.")], two_turns, kind=kind)
    assert (response.text, [text for _, text in second.results]) == ("Bye.", ["done"] * 3)
    assert len({id_ for id_, _ in second.results}) == 3


@promise("loop:history")
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_repeats_its_ids_each_turn_does_no_harm(kind: Kind) -> None:
    async def three_turns(one: Conversation) -> list[str]:
        messages, ids = [one.codec.user("Go.")], list[str]()
        for _ in range(3):
            response = await one.request(messages, TurnRequest())
            ids += [call.id for call in response.calls]
            messages += response.messages
            messages += one.codec.results([ToolResult(call.id, call.name, "ok", "1") for call in response.calls])
        return ids

    ids, _ = talk([Call("search", "{}", "call_0")] * 3, three_turns, kind=kind)
    assert ids == ["call_0", "call_0_2", "call_0_3"]


@promise("tool:offered")
@pytest.mark.parametrize("kind", KINDS)
def test_each_request_begins_with_the_whole_request_before_it(kind: Kind) -> None:
    async def turns(one: Conversation) -> None:
        messages = [one.codec.user("Gö.")]
        for choice in ("required", "auto", "none"):
            response = await one.request(messages, TurnRequest(choice))
            messages += response.messages
            messages += one.codec.results([ToolResult(call.id, call.name, "ok", "ü") for call in response.calls])

    setup = Setup(TOOLS, instructions="Be kind.", settings=ModelSettings(max_tokens=9, extra={"seed": 1}))
    _, requests = talk([Call("search"), Call("search"), Say("Bye.")], turns, kind=kind, setup=setup)
    prefixes = [request.raw.partition(b'],"tool_choice"')[0] for request in requests]
    assert [prefix.count(b'"tools":[') for prefix in prefixes] == [1, 1, 1]
    assert all(later.startswith(before) for before, later in pairwise(prefixes))


CHAT_NAMED = {"type": "function", "function": {"name": "billing_pay"}}
ALLOWED = [{"type": "function", "name": "search"}, {"type": "function", "name": "billing_pay"}]
CHAT_ALLOWED = [{"type": "function", "function": {"name": each["name"]}} for each in ALLOWED]
BOTH = Among(("search", "billing.pay"), required=True)


@promise("loop:choice")
@pytest.mark.parametrize(
    ("kind", "choice", "sent"),
    [
        *((kind, choice, choice) for kind in KINDS for choice in ("auto", "required", "none")),
        ("chat", Named("billing.pay"), CHAT_NAMED),
        ("responses", Named("billing.pay"), {"type": "function", "name": "billing_pay"}),
        ("compatible", Named("billing.pay"), CHAT_NAMED),
        ("chat", BOTH, {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": CHAT_ALLOWED}}),
        ("responses", BOTH, {"type": "allowed_tools", "mode": "required", "tools": ALLOWED}),
        ("compatible", BOTH, "required"),
        ("compatible", Among(("search", "billing.pay")), "auto"),
        ("compatible", Among(("billing.pay",), required=True), CHAT_NAMED),
        *((kind, Among(()), "none") for kind in KINDS),
    ],
)
def test_a_choice_is_said_in_the_servers_words(kind: Kind, choice: ToolChoice, sent: object) -> None:
    body = on_the_wire(kind, tool_choice=choice)
    assert body["tool_choice"] == sent
    assert len(body["tools"]) == 2


@promise("loop:choice")
@pytest.mark.parametrize("kind", KINDS)
def test_parallel_calls_are_switched_off_only_when_asked(kind: Kind) -> None:
    assert on_the_wire(kind, parallel=False)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in on_the_wire(kind)


@promise("loop:choice")
@pytest.mark.parametrize("kind", KINDS)
def test_without_tools_nothing_is_said_of_them(kind: Kind) -> None:
    body = on_the_wire(kind, setup=Setup(), tool_choice="none", parallel=False)
    assert body.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("chat", {"max_completion_tokens": 50, "temperature": 0.5, "seed": 7}),
        ("compatible", {"max_tokens": 50, "temperature": 0.5, "seed": 7}),
        ("responses", {"max_output_tokens": 50, "temperature": 0.5, "seed": 7, "store": False}),
    ],
)
def test_settings_go_out_under_the_servers_names(kind: Kind, fields: Json) -> None:
    settings = ModelSettings(max_tokens=50, temperature=0.5, extra={"seed": 7})
    body = on_the_wire(kind, setup=Setup(settings=settings))
    assert {name: body.get(name) for name in fields} == fields


def test_instructions_stand_in_front_and_not_in_the_history() -> None:
    setup = Setup(instructions="Be kind.")
    assert on_the_wire("chat", setup=setup)["messages"] == [{"role": "system", "content": "Be kind."}, USER]
    body = on_the_wire("responses", setup=setup)
    assert (body["instructions"], body["input"]) == ("Be kind.", [USER])


@pytest.mark.parametrize(
    ("model", "asked"), [("gpt-5", True), ("o4-mini", True), ("gpt-4o", False), ("gpt-4.1", False)]
)
def test_nothing_is_stored_and_reasoning_is_asked_for_where_there_is_some(model: str, asked: bool) -> None:
    with ModelServer([Say("Hi.")]) as server:

        async def main() -> None:
            one = OpenAIResponses(model, base_url=server.openai_url, api_key="test")
            await ask(one.open(Setup()))
            await one.close()

        asyncio.run(main())
    body = server.requests[0].body
    assert body["store"] is False
    assert (body.get("include") == ["reasoning.encrypted_content"]) is asked


@promise("loop:output")
def test_an_output_type_goes_out_as_a_schema() -> None:
    setup = Setup(TOOLS, output_schema=SCHEMA, output_name="count")
    strict = SCHEMA | {"additionalProperties": False}
    form = on_the_wire("responses", setup=setup)["text"]["format"]
    assert form == {"type": "json_schema", "name": "count", "schema": strict, "strict": True}
    form = on_the_wire("chat", setup=setup)["response_format"]
    assert form == {"type": "json_schema", "json_schema": {"name": "count", "schema": strict, "strict": True}}


def test_an_output_with_optional_fields_is_not_strict_so_that_they_may_be_left_out() -> None:
    optional = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}
    body = on_the_wire("chat", setup=Setup(output_schema=optional))
    assert body["response_format"]["json_schema"]["strict"] is False


@promise("tool:dialect")
def test_strict_tools_say_which_nulls_stand_for_a_default() -> None:
    async def nulls(one: Conversation) -> object:
        await ask(one)
        return one.null_means_default

    found, (request,) = talk([Say("Hi.")], nulls, setup=Setup(TOOLS, strict=True))
    assert found == {"search": frozenset({"limit"})}
    assert [each["function"]["strict"] for each in request.body["tools"]] == [True, True]


@promise("loop:choice")
@pytest.mark.parametrize("field", ["stream", "tools", "tool_choice", "n", "messages", "input"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_setting_that_undoes_ours_is_an_error_at_start_up(kind: Kind, field: str) -> None:
    with pytest.raises(DefinitionError, match="TR401"):
        model_of(kind, "http://localhost").open(Setup(settings=ModelSettings(extra={field: True})))


@promise("loop:choice")
@pytest.mark.parametrize("server", ["ollama", "llama.cpp"])
def test_a_server_that_cannot_take_tools_and_an_output_type_is_an_error_at_start_up(server: Any) -> None:
    with pytest.raises(DefinitionError, match="TR401"):
        Compatible("qwen3", server=server).open(Setup(TOOLS, output_schema=SCHEMA))


def test_a_server_of_nobody_knows_where_is_an_error_at_start_up() -> None:
    with pytest.raises(DefinitionError, match="TR405"):
        Compatible("qwen3")


def test_a_missing_key_is_an_error_at_start_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(DefinitionError, match="TR404"):
        OpenAIChat("gpt-4o").open(Setup())


# -- failures

STATUSES: list[tuple[FaultKind, str]] = [
    ("401", "authentication"),
    ("403", "authentication"),
    ("404", "rejected"),
    ("408", "timeout"),
    ("409", "server_error"),
    ("429", "rate_limited"),
    ("500", "server_error"),
    ("503", "server_error"),
    ("529", "server_error"),
    ("reset", "connection"),
    ("dead", "connection"),
    ("hang", "timeout"),
    ("garbage", "garbage"),
    ("html", "garbage"),
    ("context_length", "context_length"),
]
WHOLE: list[tuple[FaultKind, str]] = [
    ("failed", "server_error"),
    ("midstream", "server_error"),
    ("drop", "connection"),
    ("unfinished", "connection"),
    ("stall", "timeout"),
]


async def failing(conversation: Conversation, *, streamed: bool) -> ModelFailure:
    with pytest.raises(ModelFailure) as failure:
        await (ask_streamed(conversation) if streamed else ask(conversation))
    return failure.value


@promise("loop:model-errors")
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "label"), [*STATUSES, *WHOLE])
def test_every_failure_has_a_label_and_is_asked_once(fault: FaultKind, label: str, kind: Kind, streamed: bool) -> None:
    setup = Setup(TOOLS, settings=ModelSettings(timeout=0.3 if fault in ("hang", "stall") else 30.0))
    failure, requests = talk([Fault(fault)], lambda one: failing(one, streamed=streamed), kind=kind, setup=setup)
    assert failure.label == label
    assert len(requests) == 1
    assert failure.streamed is (
        streamed
        and fault in ("midstream", "drop", "unfinished", "stall", "failed")
        and (fault != "failed" or kind != "responses")
    )


@promise("loop:model-errors")
@pytest.mark.parametrize("kind", KINDS)
def test_the_seconds_that_a_server_asks_for_are_told(kind: Kind) -> None:
    failure, _ = talk([Fault("429", retry_after=7)], lambda one: failing(one, streamed=False), kind=kind)
    assert (failure.retry_after, failure.may_pass) == (7.0, True)


@promise("loop:model-errors")
@pytest.mark.parametrize("via", ["post", "create"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "stop"),
    [
        ("truncated", "length"),
        ("empty", "empty"),
        ("refusal", "refusal"),
        ("content_filter", "content_filter"),
    ],
)
def test_a_bad_answer_is_a_response_with_its_stop(fault: FaultKind, stop: str, kind: Kind, via: Via) -> None:
    whole, _ = talk([Fault(fault)], ask, kind=kind, via=via)
    (_, streamed), _ = talk([Fault(fault)], ask_streamed, kind=kind, via=via)
    assert (whole.stop, streamed.stop) == (stop, stop)


@promise("call:json")
@pytest.mark.parametrize("kind", KINDS)
def test_calls_of_a_response_that_was_cut_off_are_known_as_such(kind: Kind) -> None:
    cut = Fault("truncated", parts=(Call("search", '{"query": "x"}'), Call("search", "")))
    whole, _ = talk([cut], ask, kind=kind)
    (_, streamed), _ = talk([cut], ask_streamed, kind=kind)
    assert [(one.stop, len(one.calls)) for one in (whole, streamed)] == [("length", 2)] * 2


@promise("loop:stream")
@pytest.mark.parametrize("via", ["post", "create"])
@pytest.mark.parametrize("kind", KINDS)
def test_leaving_a_stream_early_closes_the_request(kind: Kind, via: Via) -> None:
    async def leave(one: Conversation) -> object:
        stream: Any = one.stream([USER], TurnRequest())
        async with aclosing(stream):
            return await anext(stream)

    delta, (request,) = talk([Fault("stall", parts=(Say("A long story."),))], leave, kind=kind, via=via)
    assert isinstance(delta, TextDelta)
    assert request.left.wait(10)


@promise("loop:stream")
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_read_to_its_end_leaves_its_connection_to_the_next(kind: Kind) -> None:
    async def twice(one: Conversation) -> None:
        await ask_streamed(one)
        await ask_streamed(one)

    _, requests = talk([Say("One."), Say("Two.")], twice, kind=kind)
    assert [request.connection for request in requests] == [1, 1]


@promise("loop:stream")
@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_may_be_cut_anywhere_by_the_network(kind: Kind, size: int) -> None:
    with ModelServer([[Say("Grüße 🚲"), Call("search", '{"query": "ö"}')]], write_size=size) as server:

        async def main() -> ModelResponse:
            model: Any = model_of(kind, server.openai_url)
            _, response = await ask_streamed(model.open(Setup(TOOLS)))
            await model.close()
            return response

        response = asyncio.run(main())
    assert (response.text, response.calls[0].arguments) == ("Grüße 🚲", '{"query": "ö"}')


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_of_the_users_is_used_and_left_open_with_its_own_retries(kind: Kind) -> None:
    with ModelServer([Fault("500"), Say("Hi."), Say("Still here.")]) as server:

        async def main() -> str | None:
            async with AsyncOpenAI(base_url=server.openai_url, api_key="theirs", max_retries=5) as client:
                model: Any = model_of(kind, "", client=client)
                failure = await failing(model.open(Setup()), streamed=False)
                assert (failure.label, client.max_retries) == ("server_error", 5)
                await ask(model.open(Setup()))
                await model.close()
                reply = await client.responses.create(model="gpt-5", input="Hi")
                return reply.output_text

        assert asyncio.run(main()) == "Still here."
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer theirs"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the first loop's sockets
def test_one_model_serves_one_loop_after_another() -> None:
    with ModelServer([Say("One."), Say("Two.")]) as server:
        model = OpenAIChat("gpt-4o", base_url=server.openai_url, api_key="test")

        async def main(*, last: bool) -> str:
            response = await ask(model.open(Setup()))
            if last:
                await model.close()
            return response.text

        texts = [asyncio.run(main(last=last)) for last in (False, True)]
        gc.collect()
    assert texts == ["One.", "Two."]


def test_azure_finds_its_deployment_in_the_path() -> None:
    with ModelServer([Say("Hi."), Say("Ho.")]) as server:

        async def main() -> list[str]:
            async with AsyncAzureOpenAI(azure_endpoint=server.url, api_key="test", api_version="2024-10-21") as client:
                one = OpenAIChat("my-gpt", client).open(Setup(TOOLS))
                whole = await ask(one)
                _, streamed = await ask_streamed(one)
                return [whole.text, streamed.text]

        assert asyncio.run(main()) == ["Hi.", "Ho."]
    assert all("/deployments/my-gpt/chat/completions" in request.path for request in server.requests)
