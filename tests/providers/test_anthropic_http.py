"""Anthropic Messages over real HTTP: the SDK, a loopback server, and what stands in the requests."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Any, Literal

import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.fakes.model_server import Call, Fault, ModelServer, Recorded, Say, Think, Turn
from tests.promises import promise
from toolrail import DefinitionError, tool
from toolrail.messages import Message, ToolResult, Usage
from toolrail.model import Among, ModelFailure, ModelResponse, ModelSettings, Named, Setup, TextDelta, TurnRequest
from toolrail.providers.anthropic_client import AnthropicConversation, AnthropicMessages

Json = dict[str, Any]
MARK = {"type": "ephemeral"}
AUTO = TurnRequest()
THINKS = ModelSettings(extra={"thinking": {"type": "enabled", "budget_tokens": 1024}})
Via = Literal["post", "create"]


@tool(effect="read")
async def find(customer: str, limit: int = 5) -> str:
    """Finds the customer's invoices."""
    return f"{customer}: {limit}"


@tool(effect="read", name="billing.total")
async def total() -> int:
    """Adds all up."""
    return 9


TOOLS = (find, total)
ASKED: list[Message] = [{"role": "user", "content": "Find ACME's."}]


def talk(
    server: ModelServer,
    setup: Setup,
    use: Callable[[AnthropicConversation], Awaitable[Any]],
    *,
    via: Via = "post",
    cache: bool = True,
) -> Any:
    """One conversation through a client that is closed again, and that would retry by itself if it were let."""

    async def main() -> Any:
        async with AsyncAnthropic(base_url=server.anthropic_url, api_key="test-key", max_retries=7) as client:
            return await use(AnthropicMessages("claude-test", client, via=via, cache=cache).open(setup))

    return asyncio.run(main())


async def once(conversation: AnthropicConversation) -> ModelResponse:
    return await conversation.request(ASKED, AUTO)


def sent(setup: Setup, turn: TurnRequest = AUTO, messages: Sequence[Message] = ASKED) -> Json:
    """The body of one request."""
    with ModelServer([Say("Done.")]) as server:
        talk(server, setup, lambda conversation: conversation.request(messages, turn))
    assert server.rejections == []
    return server.requests[0].body


async def streamed(conversation: AnthropicConversation, messages: Sequence[Message] = ASKED) -> list[Any]:
    return [item async for item in conversation.stream(messages, AUTO)]


# -- the same behaviour, whichever way

ANSWER: tuple[Any, ...] = (
    Think("Which?", proof="c2ln"),
    Say("Let me look."),
    Call("find", '{"customer": "ACME"}', "t1"),
)


@promise("loop:providers/anthropic", "loop:stream")
@pytest.mark.parametrize("via", ["post", "create"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("write_size", [None, 7])
def test_a_turn_with_a_call_and_its_answer(*, via: Via, stream: bool, write_size: int | None) -> None:
    async def use(conversation: AnthropicConversation) -> list[ModelResponse]:
        messages, responses = [*ASKED], list[ModelResponse]()
        for _ in range(2):
            whole = (await streamed(conversation, messages))[-1] if stream else None
            responses.append(whole or await conversation.request(messages, AUTO))
            messages += responses[-1].messages
            messages += conversation.codec.results([ToolResult("t1", "find", "ok", "none")])
        return responses

    with ModelServer([ANSWER, Say("There is none.")], write_size=write_size) as server:
        first, second = talk(server, Setup(TOOLS), use, via=via)
    assert server.rejections == []
    assert [(call.id, call.name, call.arguments) for call in first.calls] == [("t1", "find", '{"customer": "ACME"}')]
    assert (first.stop, first.text, first.model) == ("calls", "Let me look.", "scripted-model")
    assert first.usage == Usage(120, 30, 40, 10, 5)
    assert first.messages[0]["content"][0] == {"type": "thinking", "thinking": "Which?", "signature": "c2ln"}
    assert (second.text, second.stop) == ("There is none.", "end")


@promise("loop:stream")
def test_deltas_come_before_the_whole_response() -> None:
    with ModelServer([Say("It is open.")], piece=4) as server:
        items = talk(server, Setup(), streamed)
    assert items[:-1] == [TextDelta("It i"), TextDelta("s op"), TextDelta("en.")]
    assert items[-1].text == "It is open."


@promise("loop:providers/anthropic")
@pytest.mark.parametrize("via", ["post", "create"])
def test_headers_are_the_sdks_own(via: Via) -> None:
    with ModelServer([Say("Done.")]) as server:
        talk(server, Setup(), once, via=via)
    headers = server.requests[0].headers
    assert server.requests[0].path == "/v1/messages"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer test-key"
    assert headers["anthropic-version"]
    assert headers["x-stainless-retry-count"] == "0"


@promise("loop:providers/anthropic")
def test_one_connection_serves_a_whole_conversation_streamed_and_not() -> None:
    async def use(conversation: AnthropicConversation) -> None:
        for _ in range(3):
            await conversation.request(ASKED, AUTO)
            await streamed(conversation)

    with ModelServer([Say("Done.")] * 6) as server:
        talk(server, Setup(TOOLS), use)
    assert server.connections == 1


# -- what stands in a request


@promise("loop:providers/anthropic")
def test_the_body_of_a_request() -> None:
    settings = ModelSettings(temperature=0.5, extra={"metadata": {"user_id": "u1"}})
    request = sent(Setup((total,), "Be brief.", settings))
    assert request == {
        "model": "claude-test",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
        "temperature": 0.5,
        "metadata": {"user_id": "u1"},
        "tools": [
            {
                "name": "billing_total",
                "description": "Adds all up.",
                "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
                "cache_control": MARK,
            }
        ],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Find ACME's.", "cache_control": MARK}]}],
    }


@promise("loop:providers/anthropic")
def test_64000_tokens_need_no_stream() -> None:
    assert sent(Setup(settings=ModelSettings(max_tokens=64_000)))["max_tokens"] == 64_000


@promise("tool:dialect")
@pytest.mark.parametrize(("strict", "marked"), [(True, [True] * 20 + [False] * 5), (False, [False] * 25)])
def test_as_many_tools_are_strict_as_one_request_takes(*, strict: bool, marked: list[bool]) -> None:
    tools = tuple(tool(effect="read", name=f"find_{n}")(find_all) for n in range(25))
    assert [each.get("strict", False) for each in sent(Setup(tools, strict=strict))["tools"]] == marked


async def find_all(customer: str) -> str:
    """Finds all."""
    return customer


def turns(count: int) -> list[Turn]:
    return [Call("find", '{"customer": "ACME"}', f"t{n}") for n in range(count)]


def a_conversation(server: ModelServer, count: int, *, cache: bool = True) -> list[Recorded]:
    async def use(conversation: AnthropicConversation) -> None:
        messages = [conversation.codec.user("Find ACME's.")]
        for n in range(count):
            messages += (await conversation.request(messages, AUTO)).messages
            messages += conversation.codec.results([ToolResult(f"t{n}", "find", "ok", "none")])

    talk(server, Setup(TOOLS, "Be brief."), use, cache=cache)
    return server.requests


def marks(request: Recorded) -> list[str]:
    """The places of the cache breakpoints."""
    found = ["tools" for each in request.body["tools"] if "cache_control" in each]
    found += ["system" for each in request.body["system"] if "cache_control" in each]
    for at, message in enumerate(request.messages):
        blocks: Any = message["content"]
        found += [f"messages[{at}]" for block in blocks if "cache_control" in block]
    return found


@promise("loop:providers/anthropic")
def test_breakpoints_stand_on_tools_instructions_and_the_last_message() -> None:
    with ModelServer(turns(3)) as server:
        requests = a_conversation(server, 3)
    assert [marks(request) for request in requests] == [
        ["tools", "system", "messages[0]"],
        ["tools", "system", "messages[2]"],
        ["tools", "system", "messages[4]"],
    ]


@promise("loop:providers/anthropic")
def test_a_request_repeats_the_one_before_byte_for_byte_but_for_the_mark() -> None:
    with ModelServer(turns(4)) as server:
        requests = a_conversation(server, 4)
    marked, plain = json.dumps(MARK, separators=(",", ":")), b""
    for before, after in pairwise(requests):
        plain = before.raw.rpartition(f',"cache_control":{marked}'.encode())[0]
        assert after.raw.startswith(plain)
    assert plain


@promise("loop:providers/anthropic")
def test_without_cache_nothing_is_marked() -> None:
    with ModelServer(turns(2)) as server:
        requests = a_conversation(server, 2, cache=False)
    assert b"cache_control" not in requests[1].raw
    assert requests[1].body["system"] == [{"type": "text", "text": "Be brief."}]


@promise("loop:providers/anthropic")
@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        [{"type": "thinking", "thinking": "?", "signature": "c2ln"}],
    ],
    ids=["it has one already", "none can stand there"],
)
def test_a_message_that_takes_no_mark_is_sent_as_it_is(content: list[Json]) -> None:
    assert sent(Setup(), messages=[{"role": "user", "content": content}])["messages"][0]["content"] == content


# -- choices


@promise("loop:choice")
@pytest.mark.parametrize(
    ("turn", "choice"),
    [
        (TurnRequest(), None),
        (TurnRequest(parallel=True), None),
        (TurnRequest(parallel=False), {"type": "auto", "disable_parallel_tool_use": True}),
        (TurnRequest("required"), {"type": "any"}),
        (TurnRequest("required", parallel=False), {"type": "any", "disable_parallel_tool_use": True}),
        (TurnRequest("none"), {"type": "none"}),
        (TurnRequest("none", parallel=False), {"type": "none"}),
        (TurnRequest(Named("billing.total")), {"type": "tool", "name": "billing_total"}),
        (TurnRequest(Among(("find",), required=True)), {"type": "tool", "name": "find"}),
        (TurnRequest(Among(("find", "billing.total"), required=True)), {"type": "any"}),
        (TurnRequest(Among(("find",))), None),
        (TurnRequest(Among(())), {"type": "none"}),
    ],
)
def test_each_choice_on_the_wire(turn: TurnRequest, choice: Json | None) -> None:
    request = sent(Setup(TOOLS), turn)
    assert request.get("tool_choice") == choice
    assert len(request["tools"]) == 2


@promise("loop:choice")
def test_without_tools_there_is_nothing_to_choose() -> None:
    assert {"tools", "tool_choice"}.isdisjoint(sent(Setup(), TurnRequest("none", parallel=False)))


@promise("loop:choice", "loop:history")
def test_a_history_with_calls_gets_stand_ins_when_no_tool_is_offered() -> None:
    calls: list[Json] = [{"type": "tool_use", "id": "t1", "name": "find", "input": {}}]
    results = [{"type": "tool_result", "tool_use_id": "t1", "content": "none"}]
    history: list[Message] = [*ASKED, {"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    request = sent(Setup(), messages=history)
    assert [each["name"] for each in request["tools"]] == ["find"]
    assert request["tool_choice"] == {"type": "none"}


@promise("loop:choice")
@pytest.mark.parametrize(
    "settings",
    [
        ModelSettings(temperature=0.2, extra=THINKS.extra),
        ModelSettings(extra={"tool_choice": {"type": "any"}}),
        ModelSettings(extra={"stream": True}),
    ],
    ids=["thinking and temperature", "a choice of its own", "a stream of its own"],
)
def test_what_cannot_be_combined_is_an_error_when_a_conversation_opens(settings: ModelSettings) -> None:
    with pytest.raises(DefinitionError, match=r"^TR401 anthropic:claude-test"):
        AnthropicMessages("claude-test", AsyncAnthropic(api_key="k")).open(Setup(TOOLS, settings=settings))


@promise("loop:choice")
@pytest.mark.parametrize(
    ("settings", "turn"),
    [
        (THINKS, TurnRequest("required")),
        (THINKS, TurnRequest(Named("find"))),
        (ModelSettings(), TurnRequest(Named("lost"))),
        (ModelSettings(), TurnRequest(Among(("find", "lost")))),
    ],
)
def test_what_cannot_be_combined_in_a_turn_is_an_error_before_any_request(
    settings: ModelSettings, turn: TurnRequest
) -> None:
    with ModelServer([]) as server, pytest.raises(DefinitionError, match=r"^TR401"):
        talk(server, Setup(TOOLS, settings=settings), lambda conversation: conversation.request(ASKED, turn))
    assert server.requests == []


@promise("loop:output")
def test_an_output_schema_is_sent_where_the_api_can_say_it() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    request = sent(Setup(settings=ModelSettings(extra={"output_config": {"effort": "low"}}), output_schema=schema))
    form = {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}
    assert request["output_config"] == {"effort": "low", "format": form}


@promise("loop:output")
def test_an_output_schema_that_the_api_cannot_say_is_left_to_our_own_check() -> None:
    tree = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    assert "output_config" not in sent(Setup(output_schema=tree))


# -- failures


@promise("loop:model-errors")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "label", "after"),
    [
        (Fault("429", retry_after=7), "rate_limited", 7.0),
        (Fault("500"), "server_error", None),
        (Fault("529"), "server_error", None),
        (Fault("401"), "authentication", None),
        (Fault("404"), "rejected", None),
        (Fault("408"), "timeout", None),
        (Fault("context_length"), "context_length", None),
        (Fault("reset"), "connection", None),
        (Fault("drop"), "connection", None),
    ],
)
def test_a_failed_request_is_one_request_and_has_a_label(
    *, fault: Fault, label: str, after: float | None, stream: bool
) -> None:
    with ModelServer([fault]) as server, pytest.raises(ModelFailure) as failure:
        talk(server, Setup(TOOLS), streamed if stream else once)
    assert (failure.value.label, failure.value.retry_after) == (label, after)
    assert len(server.requests) == 1


@promise("loop:model-errors")
@pytest.mark.parametrize("kind", ["garbage", "html"])
def test_a_body_that_is_no_message_is_garbage(kind: Literal["garbage", "html"]) -> None:
    with ModelServer([Fault(kind)]) as server, pytest.raises(ModelFailure) as failure:
        talk(server, Setup(TOOLS), once)
    assert failure.value.label == "garbage"


@promise("loop:model-errors")
@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_falls_silent_is_a_timeout(*, stream: bool) -> None:
    setup = Setup(settings=ModelSettings(timeout=0.2))
    with ModelServer([Fault("stall")]) as server, pytest.raises(ModelFailure) as failure:
        talk(server, setup, streamed if stream else once)
    assert failure.value.label == "timeout"


@promise("loop:model-errors", "loop:stream")
@pytest.mark.parametrize(
    ("kind", "label"), [("midstream", "server_error"), ("drop", "connection"), ("unfinished", "connection")]
)
@pytest.mark.parametrize("via", ["post", "create"])
def test_a_stream_that_breaks_off_says_that_it_had_begun(
    kind: Literal["midstream", "drop", "unfinished"], label: str, via: Via
) -> None:
    with ModelServer([Fault(kind)]) as server, pytest.raises(ModelFailure) as failure:
        talk(server, Setup(TOOLS), streamed, via=via)
    assert (failure.value.label, failure.value.streamed) == (label, True)


@promise("loop:stream")
def test_leaving_a_stream_early_closes_the_response() -> None:
    async def use(conversation: AnthropicConversation) -> None:
        async with aclosing(conversation.stream(ASKED, AUTO)) as stream:
            async for _ in stream:
                break

    with ModelServer([Fault("stall", parts=(Say("A long answer."),))]) as server:
        talk(server, Setup(), use)
        assert server.requests[0].left.wait(5)


@promise("call:json", "loop:providers/anthropic")
@pytest.mark.parametrize("stream", [False, True])
def test_a_key_that_stands_there_twice_reaches_the_call(*, stream: bool) -> None:
    twice = '{"customer": "A", "customer": "B"}'
    with ModelServer([Call("find", twice)]) as server:
        found = talk(server, Setup(TOOLS), streamed if stream else once)
    response: ModelResponse = found[-1] if stream else found
    assert response.calls[0].arguments == twice


@promise("call:total")
def test_an_id_that_the_history_has_already_is_made_new() -> None:
    async def use(conversation: AnthropicConversation) -> list[str]:
        messages, ids = [*ASKED], list[str]()
        for _ in range(3):
            response = await conversation.request(messages, AUTO)
            ids.append(response.calls[0].id)
            messages += [*response.messages, *conversation.codec.results([ToolResult(ids[-1], "find", "ok", "none")])]
        return ids

    with ModelServer([Call("find", "{}", "call_0"), Call("find", "{}", ""), Call("find", "{}", "call_0")]) as server:
        assert talk(server, Setup(TOOLS), use) == ["call_0", "call", "call_0_2"]
    assert server.rejections == []


# -- clients


@promise("loop:providers/anthropic")
def test_a_synchronous_client_is_an_error_at_once() -> None:
    with pytest.raises(DefinitionError, match=r"^TR401 .* a Anthropic is not an asynchronous client"):
        AnthropicMessages("claude-test", Anthropic(api_key="k"))


@promise("loop:providers/anthropic")
def test_without_a_key_a_conversation_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DefinitionError, match=r"^TR404 anthropic:claude-test"):
        AnthropicMessages("claude-test").open(Setup())


@promise("loop:sync")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the first loop's connection
def test_a_client_of_ours_serves_one_event_loop_after_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ModelServer([Say("One."), Say("Two.")]) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.anthropic_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key")
        model = AnthropicMessages("claude-test")

        async def ask(*, close: bool) -> str:
            response = await once(model.open(Setup()))
            if close:
                await model.close()
            return response.text

        assert asyncio.run(ask(close=False)) == "One."  # its connection is lost with the loop
        assert asyncio.run(ask(close=True)) == "Two."
        gc.collect()
    assert caplog.records == []


@promise("loop:providers/anthropic")
def test_a_closed_model_can_be_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer([Say("One."), Say("Two.")]) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.anthropic_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key")
        model = AnthropicMessages("claude-test")

        async def ask() -> str:
            response = await once(model.open(Setup()))
            await model.close()
            return response.text

        assert [asyncio.run(ask()), asyncio.run(ask())] == ["One.", "Two."]
    assert server.connections == 2
