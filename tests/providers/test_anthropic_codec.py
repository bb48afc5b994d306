"""Anthropic Messages, the codec alone: golden tables of what comes in and what goes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.promises import promise
from toolrail.arguments.strictjson import Parsed, parse
from toolrail.codes import Status
from toolrail.dialects import NameMap, name_rule
from toolrail.messages import Media, ToolCall, ToolResult, Usage
from toolrail.model import ArgumentsDelta, ModelFailure, Stop, TextDelta
from toolrail.providers.anthropic_codec import AnthropicCodec, continued, is_paused, read_body
from toolrail.providers.anthropic_stream import AnthropicAssembler
from toolrail.providers.wire import encode

Json = dict[str, Any]

CODEC = AnthropicCodec()
THOUGHT = {"type": "thinking", "thinking": "Which one?", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "b3BhcXVl"}
CITED = {"type": "text", "text": "It is open.", "citations": [{"type": "char_location", "cited_text": "open"}]}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "acme"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]}
BLANK = {"type": "text", "text": "\n\n"}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def use(id: object, name: str = "find", given: Any = None) -> Json:
    return {"type": "tool_use", "id": id, "name": name, "input": {} if given is None else given}


def body(*blocks: Json, stop: str | None = "end_turn", **rest: Any) -> Json:
    return {"type": "message", "role": "assistant", "model": "m", "content": [*blocks], "stop_reason": stop, **rest}


@promise("loop:providers/anthropic")
def test_every_block_goes_back_as_it_came_and_in_its_place() -> None:
    blocks = [THOUGHT, HIDDEN, SEARCH, FOUND, CITED, use("toolu_1", given={"customer": "ACME"})]
    response = CODEC.decode(body(*blocks, stop="tool_use"))
    assert response.messages == ({"role": "assistant", "content": blocks},)
    assert response.calls == (ToolCall("toolu_1", "find", '{"customer": "ACME"}'),)
    assert (response.text, response.stop, response.model) == ("It is open.", "calls", "m")


@promise("loop:history")
@pytest.mark.parametrize(
    ("blocks", "kept"),
    [
        ([BLANK, use("a")], [use("a")]),
        ([text("Hm."), THOUGHT], [text("Hm.")]),
        ([THOUGHT, HIDDEN], []),
        ([BLANK], []),
        ([{**text("Hm."), "parsed_output": {"a": 1}}], [text("Hm.")]),
    ],
    ids=["blank text", "thinking at the end", "thinking alone", "nothing but blanks", "the SDK's own parsing"],
)
def test_what_the_provider_refuses_to_take_back_is_left_out(blocks: list[Json], kept: list[Json]) -> None:
    messages = CODEC.decode(body(*blocks, stop="max_tokens")).messages
    assert [block for message in messages for block in message["content"]] == kept


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("word", "blocks", "stop"),
    [
        ("end_turn", [text("Done.")], "end"),
        ("stop_sequence", [text("Done.")], "end"),
        ("tool_use", [use("a")], "calls"),
        ("end_turn", [use("a")], "calls"),
        ("max_tokens", [text("Do")], "length"),
        ("max_tokens", [use("a")], "length"),
        ("max_tokens", [], "length"),
        ("model_context_window_exceeded", [use("a")], "length"),
        ("stop_sequence", [use("a")], "length"),
        ("a_word_of_the_future", [use("a")], "length"),
        ("a_word_of_the_future", [text("Done.")], "end"),
        ("pause_turn", [SEARCH], "end"),
        ("refusal", [text("No.")], "refusal"),
        ("end_turn", [], "empty"),
        ("end_turn", [THOUGHT], "empty"),
        ("tool_use", [BLANK], "empty"),
    ],
)
def test_each_stop_reason_has_one_meaning(word: str, blocks: list[Json], stop: Stop) -> None:
    assert CODEC.decode(body(*blocks, stop=word)).stop == stop


@promise("loop:model-errors")
def test_a_refused_turn_calls_nothing_and_says_why() -> None:
    why = {"type": "refusal", "category": "cyber", "explanation": "It could harm."}
    response = CODEC.decode(body(text("I"), use("a"), stop="refusal", stop_details=why))
    assert response.calls == ()
    assert response.messages == ({"role": "assistant", "content": [text("I")]},)
    assert response.detail == "It could harm."


@promise("call:total")
@pytest.mark.parametrize(
    ("ids", "taken", "whole"),
    [
        (["a", "b"], set[str](), ["a", "b"]),
        (["a", "a", ""], set[str](), ["a", "a_2", "call"]),
        ([None, 7, "x y"], set[str](), ["call", "call_2", "call_3"]),
        (["a"], {"a"}, ["a_2"]),
    ],
)
def test_ids_are_whole_in_the_message_and_in_its_calls(ids: list[object], taken: set[str], whole: list[str]) -> None:
    response = CODEC.decode(body(*map(use, ids), stop="tool_use"), taken)
    assert [call.id for call in response.calls] == whole
    assert [block["id"] for block in response.messages[0]["content"]] == whole
    assert CODEC.ids_of(response.messages[0]) == whole


@promise("tool:names")
def test_calls_have_our_names_and_the_message_the_providers() -> None:
    codec = AnthropicCodec(NameMap(["billing.pay"], name_rule("anthropic")))
    response = codec.decode(body(use("a", "billing_pay"), stop="tool_use"))
    assert response.calls[0].name == "billing.pay"
    assert response.messages[0]["content"][0]["name"] == "billing_pay"


@promise("call:json")
@pytest.mark.parametrize(
    ("given", "arguments", "back"),
    [
        ('{"a": 1}', '{"a": 1}', {"a": 1}),
        ('{"a": "ü"}', '{"a": "ü"}', {"a": "ü"}),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}', {}),
        ('{"a": [{"b": 1, "b": 2}]}', '{"a": [{"b": 1, "b": 2}]}', {}),
        ('{"a": 1e400}', '{"a": Infinity}', {}),
        ('{"a": NaN}', '{"a": NaN}', {}),
        ("[1]", "[1]", {}),
        ('"{}"', '"{}"', {}),
        ("null", "null", {}),
    ],
)
def test_an_input_reaches_the_call_as_it_was_written(given: str, arguments: str, back: Json) -> None:
    raw = json.dumps(body(use("a", given="@"), stop="tool_use")).replace('"@"', given)
    response = CODEC.decode(read_body(raw.encode()))
    assert response.calls[0].arguments == arguments
    assert response.messages[0]["content"][0]["input"] == back
    assert json.loads(encode(response.messages[0]), parse_constant=pytest.fail)


@promise("call:json")
@pytest.mark.parametrize("given", ['{"a": 1, "a": 2}', '{"a": 1e400}', '{"a": NaN}', "[1]"])
def test_what_stands_empty_in_the_history_is_never_run_on(given: str) -> None:
    raw = json.dumps(body(use("a", given="@"), stop="tool_use")).replace('"@"', given)
    assert not isinstance(parse(CODEC.decode(read_body(raw.encode())).calls[0].arguments), Parsed)


@promise("loop:model-errors")
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"content": "Done.", "stop_reason": "end_turn"},
        {"content": [1], "stop_reason": "end_turn"},
        {"content": [{"text": "no type"}], "stop_reason": "end_turn"},
        body(text("Done."), role="user"),
        body(text("Done."), stop=None),
        {"choices": [{"message": {"role": "assistant", "content": "Done."}}]},
    ],
)
def test_what_is_no_message_is_garbage(given: Json) -> None:
    with pytest.raises(ModelFailure) as failure:
        CODEC.decode(given)
    assert failure.value.label == "garbage"


@promise("loop:model-errors")
@pytest.mark.parametrize("raw", [b"", b"[]", b'{"content": [', b"\xff{}", b"<html>", b"[" * 100_000])
def test_bytes_that_are_no_json_object_are_garbage(raw: bytes) -> None:
    with pytest.raises(ModelFailure) as failure:
        read_body(raw)
    assert failure.value.label == "garbage"


@promise("see:cost")
@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (
            {"input_tokens": 5, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 25, "output_tokens": 9},
            Usage(100, 9, 70, 25),
        ),
        ({"input_tokens": 5, "cache_read_input_tokens": None, "output_tokens": 9}, Usage(5, 9)),
        ({"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}, Usage(0, 9, reasoning_tokens=4)),
        (None, Usage()),
        ("many", Usage()),
    ],
)
def test_cached_tokens_are_part_of_the_input(usage: Any, read: Usage) -> None:
    assert CODEC.decode(body(text("Done."), usage=usage)).usage == read


# -- what goes back


@promise("call:total", "loop:providers/anthropic")
def test_all_results_stand_in_one_user_message_in_order() -> None:
    results = [ToolResult("b", "find", "ok", "1"), ToolResult("a", "find", "error", '{"error": "no"}')]
    assert CODEC.results(results) == [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "b", "content": "1"},
                {"type": "tool_result", "tool_use_id": "a", "content": '{"error": "no"}', "is_error": True},
            ],
        }
    ]


@promise("call:total")
@pytest.mark.parametrize(
    ("status", "failed"),
    [("ok", False), ("pending", False), ("error", True), ("denied", True), ("unknown", True), ("cancelled", True)],
)
def test_every_status_is_told_as_failed_or_not(status: Status, failed: bool) -> None:
    (message,) = CODEC.results([ToolResult("a", "find", status, "?")])
    assert message["content"][0].get("is_error", False) is failed


PNG, PDF, WAV = Media(b"p", "image/png"), Media(b"%", "application/pdf", "bill.pdf"), Media(b"w", "audio/wav")


@promise("call:images")
def test_images_and_pdfs_go_along_and_the_rest_is_only_named() -> None:
    (message,) = CODEC.results([ToolResult("a", "scan", "ok", "[3 files]", media=(PNG, PDF, WAV))])
    assert message["content"][0]["content"] == [
        text("[3 files]"),
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cA=="}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JQ=="},
            "title": "bill.pdf",
        },
    ]


@promise("call:images")
@pytest.mark.parametrize(
    "result",
    [ToolResult("a", "scan", "ok", "[wav]", media=(WAV,)), ToolResult("a", "scan", "error", "broken", media=(PNG,))],
    ids=["no block for it", "an error takes text only"],
)
def test_where_the_form_carries_no_media_the_text_stands_alone(result: ToolResult) -> None:
    assert CODEC.results([result])[0]["content"][0]["content"] == result.content


# -- streams


def events(*blocks: tuple[Json, list[Json]], stop: str = "end_turn", over: bool = True) -> list[Json]:
    start = {**body(stop=None), "usage": {"input_tokens": 7, "cache_read_input_tokens": 2, "output_tokens": 1}}
    found: list[Json] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        found.append({"type": "content_block_start", "index": index, "content_block": block})
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        found.append({"type": "content_block_stop", "index": index})
    end = {"delta": {"stop_reason": stop}, "usage": {"output_tokens": 30, "input_tokens": None}}
    return [*found, {"type": "message_delta", **end}, *([{"type": "message_stop"}] if over else [])]


def written(*pieces: str) -> list[Json]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


STREAMED = events(
    (
        {"type": "thinking", "thinking": "", "signature": ""},
        [{"type": "thinking_delta", "thinking": "Which one?"}, {"type": "signature_delta", "signature": "c2ln"}],
    ),
    (HIDDEN, []),
    ({**SEARCH, "input": {}}, written('{"query": ', '"acme"}')),
    (FOUND, []),
    (
        text(""),
        [
            {"type": "text_delta", "text": "It is "},
            {"type": "citations_delta", "citation": CITED["citations"][0]},
            {"type": "text_delta", "text": "open."},
        ],
    ),
    (use("toolu_1"), written("", '{"customer": ', '"ACME"}')),
    (use("toolu_2", "now"), written("")),
    stop="tool_use",
)


@promise("loop:stream", "loop:providers/anthropic")
def test_a_streamed_response_equals_the_whole_one() -> None:
    assembler = AnthropicAssembler()
    deltas = [delta for event in STREAMED for delta in assembler.feed(event)]
    whole = body(
        THOUGHT, HIDDEN, SEARCH, FOUND, CITED, use("toolu_1", given={"customer": "ACME"}), use("toolu_2", "now"),
        stop="tool_use", usage={"input_tokens": 7, "cache_read_input_tokens": 2, "output_tokens": 30},
    )  # fmt: skip
    assert assembler.complete
    assert CODEC.decode(assembler.body()) == CODEC.decode(whole)
    assert deltas == [
        TextDelta("It is "),
        TextDelta("open."),
        ArgumentsDelta(0, "find", '{"customer": '),
        ArgumentsDelta(0, "find", '"ACME"}'),
    ]


@promise("call:json", "loop:stream")
@pytest.mark.parametrize(
    ("pieces", "stop", "meaning"),
    [
        (['{"amount": 1'], "max_tokens", "length"),
        (['{"amount": 1'], "tool_use", "calls"),
        (['{"a": 1, "a": 2}'], "tool_use", "calls"),
        (["{} {}"], "tool_use", "calls"),
    ],
)
def test_an_input_that_is_no_object_keeps_its_text_and_stands_empty(
    pieces: list[str], stop: str, meaning: Stop
) -> None:
    assembler = AnthropicAssembler()
    for event in events((use("a"), written(*pieces)), stop=stop):
        assembler.feed(event)
    response = CODEC.decode(assembler.body())
    assert (response.calls[0].arguments, response.stop) == ("".join(pieces), meaning)
    assert response.messages[0]["content"] == [use("a")]
    assert not isinstance(parse(response.calls[0].arguments), Parsed)


@promise("loop:stream")
def test_what_a_broken_stream_called_is_cut_off_and_its_thinking_left_out() -> None:
    assembler = AnthropicAssembler()
    thinking = ({"type": "thinking", "thinking": ""}, [{"type": "thinking_delta", "thinking": "W"}])
    for event in events((text(""), [{"type": "text_delta", "text": "I"}]), (use("a"), written("{}")), thinking)[:-3]:
        assembler.feed(event)
    response = CODEC.decode(assembler.body(finish="length"))
    assert not assembler.complete
    assert response.stop == "length"
    assert response.messages[0]["content"] == [text("I"), use("a")]


@promise("loop:model-errors", "loop:stream")
@pytest.mark.parametrize(
    ("event", "label"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server_error"),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}, "rate_limited"),
        ({"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "?"}}, "garbage"),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "?"}}, "garbage"),
        ({"type": "message_start"}, "garbage"),
    ],
)
def test_a_stream_that_makes_no_sense_fails_with_a_label(event: Json, label: str) -> None:
    assembler = AnthropicAssembler()
    assembler.feed(events()[0])
    with pytest.raises(ModelFailure) as failure:
        assembler.feed(event)
    assert failure.value.label == label


@promise("loop:stream")
def test_a_message_whose_block_has_no_end_is_not_complete() -> None:
    assembler = AnthropicAssembler()
    for event in events((use("a"), [])):
        if event["type"] != "content_block_stop":
            assembler.feed(event)
    assert assembler.over
    assert not assembler.complete


@promise("loop:stream")
def test_a_block_that_has_ended_takes_no_more() -> None:
    assembler = AnthropicAssembler()
    for event in events((use("a"), written("{}"))):
        assembler.feed(event)
    with pytest.raises(ModelFailure, match="garbage"):
        assembler.feed({"type": "content_block_delta", "index": 0, "delta": written("{}")[0]})


@promise("loop:stream")
def test_events_younger_than_this_code_are_passed_over() -> None:
    assembler = AnthropicAssembler()
    first, *rest = events((text("Done."), [{"type": "future_delta", "future": 1}]))
    for event in [first, {"type": "future_event"}, *rest]:
        assembler.feed(event)
    assert CODEC.decode(assembler.body()).text == "Done."


# -- turns that the provider's own tools interrupt


@promise("loop:providers/anthropic")
def test_a_paused_turn_and_what_follows_are_one_response() -> None:
    paused = CODEC.decode(body(text("Let me look. "), SEARCH, stop="pause_turn", usage={"output_tokens": 3}))
    rest = CODEC.decode(body(FOUND, text("It is open."), usage={"output_tokens": 4}))
    whole = continued([paused, rest])
    assert is_paused(paused)
    assert not is_paused(whole)
    assert whole.messages[0]["content"] == [text("Let me look. "), SEARCH, FOUND, text("It is open.")]
    assert (whole.text, whole.stop, whole.usage.output_tokens) == ("Let me look. It is open.", "end", 7)
