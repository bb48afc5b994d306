"""Responses on the wire: output items become calls and go back as input items, nothing lost that the API takes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.promises import promise
from toolrail import Media, ToolCall, ToolResult, Usage
from toolrail.dialects import NameMap, name_rule
from toolrail.history.check import check
from toolrail.model import ArgumentsDelta, ModelFailure, ModelResponse, TextDelta
from toolrail.providers.responses_codec import ResponsesCodec
from toolrail.providers.responses_stream import ResponsesAssembler

Json = dict[str, Any]
CODEC = ResponsesCodec(NameMap(["search", "billing.pay"], name_rule("openai")))
REASONING: Json = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "opaque"}


def body(*output: Json, status: str = "completed", **more: Any) -> Json:
    return {"object": "response", "model": "gpt-5", "status": status, "output": list(output), **more}


def call(arguments: Any = "{}", *, id: Any = "c1", name: Any = "search", **more: Any) -> Json:
    return {"id": "fc_1", "type": "function_call", "call_id": id, "name": name, "arguments": arguments, **more}


def say(text: str, kind: str = "output_text") -> Json:
    part = {"type": kind, "text" if kind == "output_text" else "refusal": text}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def answered(response: ModelResponse) -> list[Json]:
    results = [ToolResult(one.id, one.name, "ok", "done") for one in response.calls]
    return [{"role": "user", "content": "Go."}, *response.messages, *CODEC.results(results)]


@promise("loop:providers")
def test_all_items_come_back_in_order_and_whole() -> None:
    hosted: Json = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}}
    items = [REASONING, hosted, say("Let me see."), call('{"q": 1}', status="completed")]
    response = CODEC.decode(body(*items))
    assert list(response.messages) == items
    assert response.calls == (ToolCall("c1", "search", '{"q": 1}'),)
    assert (response.text, response.stop, response.model) == ("Let me see.", "calls", "gpt-5")
    assert check(answered(response), "openai_responses") == []


def test_null_fields_are_left_out_because_the_api_refuses_them() -> None:
    response = CODEC.decode(body(REASONING | {"status": None, "content": None}, call(namespace=None, caller=None)))
    assert list(response.messages) == [REASONING, call()]


def test_new_fields_of_a_call_are_kept_beside_it() -> None:
    response = CODEC.decode(body(call(namespace="crm", caller={"type": "direct"})))
    assert response.calls[0].provider_data == {"namespace": "crm", "caller": {"type": "direct"}}
    assert response.messages[0]["namespace"] == "crm"


@promise("call:total")
@pytest.mark.parametrize(
    ("ids", "whole"),
    [(["a", "b"], ["a", "b"]), (["a", "a"], ["a", "a_2"]), (["", None], ["call", "call_2"])],
)
def test_every_call_has_an_id_of_its_own_on_both_sides(ids: list[Any], whole: list[str]) -> None:
    response = CODEC.decode(body(*(call(id=id) for id in ids)))
    assert [one.id for one in response.calls] == whole
    assert [one["call_id"] for one in response.messages] == whole
    assert check(answered(response), "openai_responses") == []


@promise("tool:names")
@pytest.mark.parametrize(
    ("name", "tool"),
    [("billing_pay", "billing.pay"), ("multi_tool_use.parallel", "multi_tool_use.parallel"), (None, "")],
)
def test_names_come_back_as_ours_and_go_out_as_the_provider_takes_them(name: Any, tool: str) -> None:
    response = CODEC.decode(body(call(name=name)))
    assert response.calls[0].name == tool
    assert name_rule("openai").allows(response.messages[0]["name"])


@pytest.mark.parametrize(("raw", "read"), [("", ""), (None, ""), ("null", "null"), ({"a": 1}, '{"a": 1}')])
def test_arguments_reach_the_spine_as_the_model_wrote_them(raw: Any, read: str) -> None:
    response = CODEC.decode(body(call(raw)))
    assert (response.calls[0].arguments, response.messages[0]["arguments"]) == (read, read)


def test_a_custom_tool_call_is_answered_like_a_function() -> None:
    custom = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "c1", "name": "shell", "input": "ls"}
    response = CODEC.decode(body(custom))
    assert response.calls == (ToolCall("c1", "shell", "ls", {"type": "custom"}),)
    assert response.messages == (
        {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": '{"input": "ls"}'},
    )
    assert check(answered(response), "openai_responses") == []


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("output", "more", "stop"),
    [
        ([say("Hello.")], {}, "end"),
        ([say("No.", "refusal")], {}, "refusal"),
        ([], {}, "empty"),
        ([REASONING], {}, "empty"),
        ([say("Hel")], {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ([call("")], {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ([REASONING], {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ([say("Hel")], {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ([call("")], {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "length"),
        ([say("Hel")], {"status": "incomplete", "incomplete_details": None}, "length"),
    ],
)
def test_each_way_to_stop_has_one_name(output: list[Json], more: Json, stop: str) -> None:
    response = CODEC.decode(body(*output) | more)
    assert response.stop == stop
    assert check([*answered(response), {"role": "user", "content": "Go on."}], "openai_responses") == []


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("sent", "label"),
    [
        ({}, "garbage"),
        ({"output": "hello"}, "garbage"),
        (body(status="failed", error={"code": "server_error", "message": "sorry"}), "server_error"),
        (body(status="failed", error={"code": "rate_limit_exceeded", "message": "slow"}), "rate_limited"),
        (body(status="failed", error={"code": "context_length_exceeded", "message": "long"}), "context_length"),
        (body(status="cancelled"), "server_error"),
    ],
)
def test_a_body_of_another_shape_is_a_failure_with_a_label(sent: Json, label: str) -> None:
    with pytest.raises(ModelFailure) as failure:
        CODEC.decode(sent)
    assert failure.value.label == label


def test_cached_tokens_are_inside_the_input_and_reasoning_inside_the_output() -> None:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 20},
    }
    assert CODEC.decode(body(say("Hi"), usage=usage)).usage == Usage(100, 30, cached_tokens=64, reasoning_tokens=20)


@promise("call:images")
def test_images_and_files_go_back_as_parts_of_the_output() -> None:
    media = (Media(b"png", "image/png"), Media(b"pdf", "application/pdf", "a.pdf"), Media(b"?", "text/csv"))
    (item,) = CODEC.results([ToolResult("c1", "chart", "ok", "a chart", media=media)])
    data = [base64.b64encode(one.data).decode() for one in media]
    assert item == {
        "type": "function_call_output",
        "call_id": "c1",
        "output": [
            {"type": "input_text", "text": "a chart"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{data[0]}", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data[1]}"},
            {"type": "input_file", "filename": "attachment-3", "file_data": f"data:text/csv;base64,{data[2]}"},
        ],
    }


def test_text_alone_goes_back_as_text() -> None:
    assert CODEC.results([ToolResult("c1", "a", "ok", "1")]) == [
        {"type": "function_call_output", "call_id": "c1", "output": "1"}
    ]


# -- streamed


@promise("loop:stream")
def test_a_stream_shows_text_and_arguments_and_ends_with_the_whole_response() -> None:
    whole = ResponsesAssembler(CODEC.names)
    events: list[Json] = [
        {"type": "response.created", "response": body(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": say("")},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "Let"},
        {"type": "response.output_item.added", "output_index": 2, "item": call("", name="billing_pay")},
        {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"a"'},
        {"type": "response.something_new", "delta": {}},
        {"type": "response.completed", "response": body(say("Let"), call('{"a": 1}'))},
    ]
    shown = [delta for event in events for delta in whole.feed(event)]
    assert shown == [TextDelta("Let"), ArgumentsDelta(0, "billing.pay", '{"a"')]
    assert whole.complete
    assert CODEC.decode(whole.body()) == CODEC.decode(body(say("Let"), call('{"a": 1}')))


def test_a_last_event_without_its_items_is_completed_from_what_was_announced() -> None:
    whole = ResponsesAssembler()
    whole.feed({"type": "response.output_item.done", "output_index": 0, "item": call()})
    whole.feed({"type": "response.completed", "response": body()})
    assert CODEC.decode(whole.body()).calls == (ToolCall("c1", "search", "{}"),)


@promise("call:json")
def test_a_stream_that_breaks_off_is_cut_off() -> None:
    whole = ResponsesAssembler()
    whole.feed({"type": "response.created", "response": body(status="in_progress", error=None)})
    whole.feed({"type": "response.output_item.added", "output_index": 0, "item": call("", status="in_progress")})
    assert not whole.complete
    response = CODEC.decode(whole.body(finish="length"))
    assert (response.stop, [one.name for one in response.calls]) == ("length", ["search"])
    assert response.messages[0]["status"] == "incomplete"


@promise("loop:model-errors")
@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "server_error", "message": "sorry", "param": None},
        {"type": "error", "error": {"type": "server_error", "message": "sorry"}},
    ],
)
def test_an_error_in_mid_stream_is_a_failure(event: Json) -> None:
    with pytest.raises(ModelFailure) as failure:
        ResponsesAssembler().feed(event)
    assert failure.value.label == "server_error"
