"""Chat Completions on the wire: what real servers send becomes calls, and goes back in a form that they take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.promises import promise
from toolrail import Media, ToolCall, ToolResult, Usage
from toolrail.dialects import NameMap, name_rule
from toolrail.history.check import check
from toolrail.model import ModelFailure, ModelResponse
from toolrail.providers.chat_codec import ChatCodec
from toolrail.providers.chat_stream import ChatAssembler

Json = dict[str, Any]
CODEC = ChatCodec(NameMap(["search", "billing.pay"], name_rule("openai")))


def body(message: Json, finish: str | None = "stop", **more: Any) -> Json:
    return {"model": "gpt-4o", "choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


def call(arguments: Any = "{}", *, id: Any = "c1", name: Any = "search", **more: Any) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calling(*calls: Json, **message: Any) -> Json:
    return body({"role": "assistant", "content": None, "tool_calls": list(calls), **message}, "tool_calls")


def answered(response: ModelResponse, codec: ChatCodec = CODEC) -> list[Json]:
    results = [ToolResult(one.id, one.name, "ok", "done") for one in response.calls]
    return [{"role": "user", "content": "Go."}, *response.messages, *codec.results(results)]


@promise("loop:providers")
def test_a_response_with_calls_gives_them_and_a_message_that_the_api_takes_back() -> None:
    sent = calling(call('{"q": "a"}'), refusal=None, annotations=[], function_call=None)
    response = CODEC.decode(sent)
    assert response.calls == (ToolCall("c1", "search", '{"q": "a"}'),)
    assert response.messages == ({"role": "assistant", "content": None, "tool_calls": [call('{"q": "a"}')]},)
    assert (response.stop, response.model, response.text) == ("calls", "gpt-4o", "")


@promise("call:total")
@pytest.mark.parametrize(
    ("ids", "whole"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a"], ["a", "a_2"]),
        (["", ""], ["call", "call_2"]),
        ([None, "call"], ["call_2", "call"]),
        (["a", "a_2", "a"], ["a", "a_2", "a_3"]),
        ([7, True], ["call", "call_2"]),
    ],
)
def test_every_call_has_an_id_of_its_own_on_both_sides(ids: list[Any], whole: list[str]) -> None:
    response = CODEC.decode(calling(*(call(id=id) for id in ids)))
    assert [one.id for one in response.calls] == whole
    assert [one["id"] for one in response.messages[0]["tool_calls"]] == whole
    assert check(answered(response), "openai_chat") == []


@promise("call:total")
def test_an_id_that_the_history_has_already_is_not_used_again() -> None:
    response = CODEC.decode(calling(call(id="call_0"), call(id="call_1")), {"call_0"})
    assert [one.id for one in response.calls] == ["call_0_2", "call_1"]


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("", ""),
        (None, ""),
        ("null", "null"),
        ('{"a": 1}{"a": 2}', '{"a": 1}{"a": 2}'),
        ('"{\\"a\\": 1}"', '"{\\"a\\": 1}"'),
        ({"a": 1}, '{"a": 1}'),
        ('{"a": 1', '{"a": 1'),
    ],
)
def test_arguments_reach_the_spine_as_the_model_wrote_them(raw: Any, read: str) -> None:
    response = CODEC.decode(calling(call(raw)))
    assert response.calls[0].arguments == read
    assert response.messages[0]["tool_calls"][0]["function"]["arguments"] == read


@promise("loop:history")
@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ("", "{}"),
        ("{}", "{}"),
        ('{"a": 1', '{"invalid_arguments": "{\\"a\\": 1"}'),
        ("[1]", '{"invalid_arguments": "[1]"}'),
        ("[" * 100_000, None),
    ],
)
def test_a_server_that_reads_arguments_again_gets_an_object(raw: str, sent: str | None) -> None:
    response = ChatCodec(mends=True).decode(calling(call(raw)))
    back = response.messages[0]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(back), dict)
    assert sent is None or back == sent
    assert response.calls[0].arguments == raw


@promise("tool:names")
@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("search", "search"),
        ("billing_pay", "billing.pay"),
        ("billing.pay", "billing.pay"),
        ("parallel", "parallel"),
        ("multi_tool_use.parallel", "multi_tool_use.parallel"),
        ("", ""),
        (None, ""),
        ("x" * 200, "x" * 200),
    ],
)
def test_names_come_back_as_ours_and_go_out_as_the_provider_takes_them(name: Any, tool: str) -> None:
    response = CODEC.decode(calling(call(name=name)))
    sent = response.messages[0]["tool_calls"][0]["function"]["name"]
    assert response.calls[0].name == tool
    assert name_rule("openai").allows(sent)
    assert CODEC.names.to_wire(tool) == sent


def test_fields_of_other_servers_survive_the_way_back() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "s"}}}
    response = CODEC.decode(calling(call(**signed), reasoning_content="hm"))
    assert response.calls[0].provider_data == signed
    assert response.messages[0]["tool_calls"][0] == call(**signed)
    assert response.messages[0]["reasoning_content"] == "hm"


def test_a_custom_tool_call_is_not_lost() -> None:
    custom: Json = {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    response = CODEC.decode(calling(custom))
    assert response.calls == (ToolCall("c1", "shell", "ls", {"type": "custom"}),)
    assert response.messages[0]["tool_calls"] == [custom]


SAY: Json = {"role": "assistant", "content": "Hello."}
ASK: Json = {"role": "assistant", "content": None, "tool_calls": [call("")]}


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("message", "finish", "stop"),
    [
        (SAY, "stop", "end"),
        (SAY, None, "end"),
        (SAY, "eos", "end"),
        (SAY, "length", "length"),
        (SAY, "content_filter", "content_filter"),
        (SAY | {"tool_calls": [call()]}, "stop", "calls"),
        (ASK, "tool_calls", "calls"),
        (ASK, "length", "length"),
        (ASK, "model_context_window_exceeded", "length"),
        (ASK, "content_filter", "length"),
        ({"role": "assistant", "content": None, "refusal": "No."}, "stop", "refusal"),
        ({"role": "assistant", "content": ""}, "stop", "empty"),
        ({"role": "assistant", "content": " \n"}, "stop", "empty"),
        ({"role": "assistant", "content": None}, "tool_calls", "empty"),
        ({}, "stop", "empty"),
        ({"content": [{"type": "text", "text": "Hello."}]}, "stop", "end"),
        ({"content": "{", "tool_calls": "broken"}, "stop", "end"),
    ],
)
def test_each_way_to_stop_has_one_name(message: Json, finish: str | None, stop: str) -> None:
    response = CODEC.decode(body(message, finish))
    assert response.stop == stop
    assert check(answered(response), "openai_chat") == []


def test_a_refusal_is_told_in_detail_and_kept() -> None:
    response = CODEC.decode(body({"role": "assistant", "content": None, "refusal": "I can't."}))
    assert (response.detail, response.messages[0]["refusal"]) == ("I can't.", "I can't.")


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("sent", "label"),
    [
        ({}, "garbage"),
        ({"choices": []}, "garbage"),
        ({"choices": [{"message": "hello"}]}, "garbage"),
        ({"choices": "hello"}, "garbage"),
        ({"error": {"message": "busy", "code": "rate_limit_exceeded"}}, "rate_limited"),
        ({"error": "it broke"}, "server_error"),
        (body({}, "error"), "server_error"),
    ],
)
def test_a_body_of_another_shape_is_a_failure_with_a_label(sent: Json, label: str) -> None:
    with pytest.raises(ModelFailure) as failure:
        CODEC.decode(sent)
    assert failure.value.label == label


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (None, Usage()),
        ({"prompt_tokens": 10, "completion_tokens": 3}, Usage(10, 3)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 30,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(100, 30, cached_tokens=64, reasoning_tokens=20),
        ),
        ({"prompt_tokens": None, "prompt_tokens_details": None}, Usage()),
    ],
)
def test_cached_tokens_are_inside_the_input_and_reasoning_inside_the_output(usage: Any, read: Usage) -> None:
    assert CODEC.decode(body(SAY, usage=usage)).usage == read


def test_results_are_one_tool_message_each_and_name_their_media_in_the_text() -> None:
    image = ToolResult("c2", "b", "ok", "[a.png: image/png, 3 bytes]", media=(Media(b"abc", "image/png", "a.png"),))
    assert CODEC.results([ToolResult("c1", "a", "ok", "1"), image]) == [
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "content": "[a.png: image/png, 3 bytes]"},
    ]


# -- streamed


def piece(index: Any, arguments: str | None = None, **more: Any) -> Json:
    function: Json = {} if arguments is None else {"arguments": arguments}
    if "name" in more:
        function["name"] = more.pop("name")
    return {"index": index, "function": function, **more} if index is not None else {"function": function, **more}


def assembled(*pieces: Json | list[Json]) -> ModelResponse:
    whole = ChatAssembler(CODEC.names)
    for each in pieces:
        calls = each if isinstance(each, list) else [each]
        whole.feed({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]})
    whole.feed({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    return CODEC.decode(whole.body())


@promise("loop:stream")
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([piece(0, "", id="a", name="search"), piece(0, '{"q":'), piece(0, "1}")], id="as OpenAI"),
        pytest.param(
            [piece(0, "", id="a", name="search"), piece(0, '{"q":', name=""), piece(0, "1}", name="")], id="empty names"
        ),
        pytest.param([piece(3, '{"q":', id="a", name="search"), piece(3, "1}")], id="a gap before the index"),
        pytest.param([piece(0, '{"q":', id="a", name="search"), piece(0, "1}", id="a")], id="the id repeated"),
        pytest.param([piece(0, '{"q":', id="a", name="search"), piece(0, "1}", name="search")], id="the name repeated"),
        pytest.param([piece(None, '{"q":', id="a", name="search"), piece(None, "1}")], id="no index"),
        pytest.param([piece(0, '{"q":1}', id="a", name="search")], id="one piece"),
        pytest.param([piece(0, None, id="a", name="search"), piece(0, '{"q":1}')], id="null before text"),
    ],
)
def test_a_streamed_call_is_put_together_however_it_is_cut(pieces: list[Json]) -> None:
    response = assembled(*pieces)
    assert response.calls == (ToolCall("a", "search", '{"q":1}'),)
    assert response.messages[0]["tool_calls"] == [call('{"q":1}', id="a")]


@promise("loop:stream")
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([piece(0, "{}", id="a", name="x"), piece(1, "{}", id="b", name="y")], id="as OpenAI"),
        pytest.param([piece(0, "{}", id="a", name="x"), piece(5, "{}", id="b", name="y")], id="a gap"),
        pytest.param([piece(0, "{}", id="a", name="x"), piece(0, "{}", id="b", name="y")], id="one index for both"),
        pytest.param([piece(0, "{}", id="", name="x"), piece(0, "{}", id="", name="y")], id="one index, no ids"),
        pytest.param([piece(None, "{}", id="a", name="x"), piece(None, "{}", id="b", name="y")], id="no index"),
        pytest.param([[piece(0, "{}", id="a", name="x"), piece(1, "{}", id="b", name="y")]], id="one chunk"),
    ],
)
def test_two_streamed_calls_stay_two(pieces: list[Any]) -> None:
    response = assembled(*pieces)
    assert [(one.name, one.arguments) for one in response.calls] == [("x", "{}"), ("y", "{}")]
    assert len({one.id for one in response.calls}) == 2


def test_streamed_fields_of_other_servers_are_kept() -> None:
    whole = ChatAssembler()
    for text in ("th", "ink"):
        whole.feed({"choices": [{"delta": {"reasoning_content": text}}]})
    whole.feed({"choices": [{"delta": {"reasoning_details": [{"a": 1}], "content": "Hi"}, "finish_reason": "stop"}]})
    message = ChatCodec().decode(whole.body()).messages[0]
    assert (message["reasoning_content"], message["reasoning_details"]) == ("think", [{"a": 1}])
