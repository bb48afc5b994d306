"""The loopback model server speaks each provider's wire form: the official SDKs read every answer that it gives."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import anthropic
import httpx2
import openai
import pytest

from tests.fakes.asking import (
    APIS,
    ASK,
    Json,
    anthropic_body,
    anthropic_client,
    ask,
    chat_body,
    openai_client,
    seen_chat,
)
from tests.fakes.model_server import (
    Api,
    Call,
    Endless,
    Fault,
    FaultKind,
    ModelServer,
    Recorded,
    Reply,
    Say,
    Script,
    Think,
    Tokens,
    Turn,
)

ROOT = Path(__file__).parents[2]
ADD = Call("add", '{"a": 1, "b": "żółw"}', "call_1")
USER: Json = {"role": "user", "content": "hi"}
EVERY_WAY = pytest.mark.parametrize(("api", "stream"), list(ASK))


@EVERY_WAY
def test_text_calls_and_tokens_arrive_as_scripted(api: Api, stream: bool) -> None:
    parts = (Think("hm"), Say("Adding żółw."), ADD, Call("pay"))
    with ModelServer([Reply(parts, Tokens(input=200, output=40, cached=50, reasoning=7))], piece=3) as server:
        seen = ask(server, api, stream=stream)
    assert seen.text == "Adding żółw."
    assert [(key, name, json.loads(raw)) for key, name, raw in seen.calls[:1]] == [
        ("call_1", "add", {"a": 1, "b": "żółw"})
    ]
    assert seen.calls[1][1:] == ("pay", "{}")
    assert seen.calls[1][0] not in ("", "call_1")
    assert seen.tokens == (200, 40, 50, 7)


STOPS: list[tuple[Turn, tuple[str, str, str]]] = [
    (Say("hi"), ("stop", "completed", "end_turn")),
    (ADD, ("tool_calls", "completed", "tool_use")),
    (Fault("empty"), ("stop", "completed", "end_turn")),
    (Fault("refusal"), ("stop", "completed", "refusal")),
]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("turn", "stops"), STOPS)
def test_each_turn_ends_with_the_stop_of_its_provider(
    turn: Turn, stops: tuple[str, ...], api: Api, stream: bool
) -> None:
    with ModelServer([turn]) as server:
        assert ask(server, api, stream=stream).stop == stops[APIS.index(api)]


CUT_STOPS = {
    "truncated": ("length", "incomplete", "max_tokens"),
    "content_filter": ("content_filter", "incomplete", "refusal"),
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", ["truncated", "content_filter"])
def test_an_answer_that_is_cut_off_says_so(kind: FaultKind, api: Api) -> None:
    with ModelServer([Fault(kind)]) as server:
        assert ask(server, api).stop == CUT_STOPS[kind][APIS.index(api)]


@pytest.mark.parametrize("raw", ['{"amount": 1', ""])
def test_a_truncated_answer_carries_its_cut_off_call(raw: str) -> None:
    fault = Fault("truncated", parts=(Call("add", "{}"), Call("pay", raw)))
    for api in ("chat", "responses"):
        with ModelServer([fault]) as server:
            assert ask(server, api).calls[1][1:] == ("pay", raw)
    with ModelServer([fault]) as server, anthropic_client(server) as client:
        events = [e.model_dump() for e in client.messages.create(**anthropic_body(), stream=True)]
    texts = [e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta" and e["index"] == 1]
    assert "".join(texts) == raw
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"


def test_a_refusal_stands_where_openai_puts_it() -> None:
    for api, stream in ASK:
        with ModelServer([Fault("refusal")]) as server:
            seen = ask(server, api, stream=stream)
        assert seen.text == ("I can't help with that." if api == "anthropic" else "")
        assert seen.refusal == (None if api == "anthropic" else "I can't help with that.")


@EVERY_WAY
@pytest.mark.parametrize("kind", ["401", "403", "404", "408", "409", "429", "500", "503", "529"])
def test_an_error_status_is_the_sdks_own_error(kind: FaultKind, api: Api, stream: bool) -> None:
    refused = pytest.raises((openai.APIStatusError, anthropic.APIStatusError))
    with ModelServer([Fault(kind, retry_after=2)]) as server, refused as caught:
        ask(server, api, stream=stream)
    assert caught.value.status_code == int(kind)
    assert caught.value.response.headers["retry-after"] == "2"
    body = cast(Json, caught.value.body)
    assert (body["error"] if api == "anthropic" else body)["message"]


@EVERY_WAY
def test_a_conversation_that_is_too_long_is_refused_in_the_providers_words(api: Api, stream: bool) -> None:
    refused = pytest.raises((openai.BadRequestError, anthropic.BadRequestError))
    with ModelServer([Fault("context_length")]) as server, refused as caught:
        ask(server, api, stream=stream)
    if api == "anthropic":
        assert "prompt is too long" in str(caught.value)
    else:
        assert cast(Json, caught.value.body)["code"] == "context_length_exceeded"


@EVERY_WAY
@pytest.mark.parametrize("kind", ["reset", "dead"])
def test_a_reset_connection_is_a_connection_error(kind: FaultKind, api: Api, stream: bool) -> None:
    with ModelServer([Fault(kind), Say("back")]) as server:
        with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
            ask(server, api, stream=stream)
        if kind == "reset":
            assert ask(server, api, stream=stream).text == "back"
        else:
            with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
                ask(server, api, stream=stream)
        assert len(server.requests) == 2


@pytest.mark.parametrize("api", APIS)
def test_half_an_answer_is_a_connection_error(api: Api) -> None:
    lost = pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError))
    with ModelServer([Fault("drop")]) as server, lost:
        ask(server, api)


@pytest.mark.parametrize("api", APIS)
def test_garbage_called_json_is_no_error_of_the_sdk_and_a_web_page_is_returned_as_text(api: Api) -> None:
    with ModelServer([Fault("garbage"), Fault("html")]) as server:
        with pytest.raises(json.JSONDecodeError):
            ask(server, api)
        with pytest.raises(AttributeError, match="'str' object has no attribute 'model_dump'"):
            ask(server, api)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", ["midstream", "failed"])
def test_a_stream_may_break_off_with_an_error_event(kind: FaultKind, api: Api) -> None:
    with ModelServer([Fault(kind)]) as server:
        if kind == "failed" and api == "responses":
            assert ask(server, api, stream=True).stop == "failed"
        else:
            with pytest.raises((openai.APIError, anthropic.APIError)):
                ask(server, api, stream=True)


@pytest.mark.parametrize("kind", ["drop", "unfinished"])
def test_a_stream_may_end_before_it_is_finished(kind: FaultKind) -> None:
    with ModelServer([Fault(kind)]) as server, openai_client(server) as client:
        texts: list[str] = []
        stops: list[str | None] = []
        lost = False
        try:
            for chunk in client.chat.completions.create(**chat_body(), stream=True):
                texts.append(chunk.choices[0].delta.content or "")
                stops.append(chunk.choices[0].finish_reason)
        except (openai.APIConnectionError, httpx2.RemoteProtocolError):
            lost = True
    assert "Let me look that up.".startswith("".join(texts))
    assert set(stops) == {None}
    assert lost == (kind == "drop")


def test_a_client_that_leaves_a_silent_stream_is_noticed() -> None:
    with ModelServer([Fault("stall")]) as server, openai_client(server) as client:
        stream = client.chat.completions.create(**chat_body(), stream=True)
        assert next(iter(stream)).choices[0].delta.role == "assistant"
        assert not server.requests[0].left.is_set()
        stream.close()
        assert server.requests[0].left.wait(10)


def test_deltas_are_small_and_later_ones_repeat_an_empty_name() -> None:
    with ModelServer([ADD], piece=4, write_size=5) as server, openai_client(server) as client:
        chunks: list[Any] = list(client.chat.completions.create(**chat_body(), stream=True))
    lists: list[list[Any] | None] = [chunk.choices[0].delta.tool_calls for chunk in chunks]
    deltas = [call for calls in lists if calls for call in calls]
    functions: list[Any] = [call.function for call in deltas if call.function]
    assert [f.name for f in functions[:3]] == ["add", "", ""]
    assert max(len(f.arguments or "") for f in functions) == 4
    assert "".join(f.arguments or "" for f in functions) == ADD.arguments
    assert all(chunk.usage is None for chunk in chunks)


def test_arguments_that_are_json_reach_anthropic_clients_byte_for_byte() -> None:
    raw = '{"a": 1, "a": 2, "b": 1e400}'
    with ModelServer([Call("add", raw)]) as server, anthropic_client(server) as client:
        answer = client.messages.with_raw_response.create(**anthropic_body())
    assert raw in answer.http_response.text


def test_an_endless_model_goes_on_until_calls_are_closed() -> None:
    with ModelServer([Endless(Call("add"))]) as server, openai_client(server) as client:
        seen = [seen_chat(client.chat.completions.create(**chat_body()).model_dump()) for _ in range(3)]
        closed = client.chat.completions.create(**chat_body(), tool_choice="none")
    assert len({key for one in seen for key, _, _ in one.calls}) == 3
    assert closed.choices[0].message.content == "That is all I found."


def test_a_server_may_ignore_that_calls_are_closed() -> None:
    with ModelServer([Endless(Call("add"), heeds=False)]) as server, openai_client(server) as client:
        closed = client.chat.completions.create(**chat_body(), tool_choice="none")
    assert closed.choices[0].message.tool_calls


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("as_turn", [False, True])
def test_a_function_may_choose_the_turn(api: Api, as_turn: bool) -> None:
    def choose(request: Recorded) -> Turn:
        return Say(f"{request.api} {request.messages[-1]['content']} {request.results_seen}")

    script: Script = [choose] if as_turn else choose
    with ModelServer(script) as server:
        assert ask(server, api).text == f"{api} hi 0"


def test_what_a_script_function_raises_is_raised_where_the_server_ends() -> None:
    def choose(request: Recorded) -> Turn:
        raise LookupError(request.path)

    failed = pytest.raises(LookupError, match="/v1/messages")
    with failed, ModelServer(choose) as server, pytest.raises(anthropic.BadRequestError, match="model server failed"):
        ask(server, "anthropic")


def test_a_finished_script_is_a_refusal_that_names_itself() -> None:
    with ModelServer([]) as server, pytest.raises(openai.BadRequestError, match="no further turn"):
        ask(server, "chat")


def test_requests_are_recorded_and_share_their_connection() -> None:
    with ModelServer([Say("one"), Say("two"), Say("three")]) as server:
        with openai_client(server) as client:
            for _ in range(2):
                client.chat.completions.create(**chat_body())
        assert server.left_over == 1
    first, second = server.requests
    assert (first.path, first.headers["authorization"]) == ("/v1/chat/completions", "Bearer test")
    assert first.body == json.loads(second.raw) == chat_body()
    assert server.connections == 1


def test_it_serves_an_async_client_whose_loop_started_it() -> None:
    async def main() -> str | None:
        with ModelServer([Say("hi")]) as server:
            async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="test", max_retries=0) as client:
                answer = await cast(Any, client).chat.completions.create(**chat_body())
        return answer.choices[0].message.content

    assert asyncio.run(main()) == "hi"


def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.fakes.model_server", "--port", "0", "--script", "chain:1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            url = f"http://127.0.0.1:{port}/v1"
            with cast(Any, openai.OpenAI(base_url=url, api_key="test", max_retries=0)) as client:
                first = client.chat.completions.create(**chat_body()).choices[0].message
                assert first.tool_calls
                result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "ok"}
                history = [USER, first.model_dump(exclude_none=True), result]
                second = client.chat.completions.create(**chat_body() | {"messages": history})
                assert second.choices[0].message.content == "done"
        finally:
            process.terminate()
