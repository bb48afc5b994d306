"""Strict reading: one JSON object, read without loss, or a fault; never an exception, never a guess."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from toolrail.arguments.strictjson import MAX_DEPTH, MAX_DIGITS, Parsed, parse, parse_value
from toolrail.arguments.values import Fault


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


REFUSED = [
    pytest.param('{"a": NaN}', "NaN", id="NaN"),
    pytest.param('{"a": Infinity}', "Infinity", id="Infinity"),
    pytest.param('{"a": -Infinity}', "-Infinity", id="negative Infinity"),
    pytest.param('{"a": 1e400}', "too large", id="overflow"),
    pytest.param('{"a": -1e400}', "too large", id="negative overflow"),
    pytest.param('{"a": 1, "a": 2}', "'a' stands there twice", id="duplicate key"),
    pytest.param('{"o": {"b": 1, "\\u0062": 1}}', "'b' stands there twice", id="duplicate key by its escape"),
    pytest.param('{"a": "\\ud800"}', "surrogate", id="lone surrogate escaped"),
    pytest.param('{"a": "\\uDC00x"}', "surrogate", id="lone low surrogate escaped"),
    pytest.param('{"\\ud800": 1}', "surrogate", id="lone surrogate in a key"),
    pytest.param('{"é": "\\ud800"}', "surrogate", id="lone surrogate escaped beside other letters"),
    pytest.param('{"a": "\ud800"}', "character 8", id="lone surrogate raw"),
    pytest.param('{"a": "\ud83d\ude00"}', "surrogate", id="raw halves side by side"),
    pytest.param(nested(MAX_DEPTH + 1), "over 200 levels", id="depth 201"),
    pytest.param('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "over 200 levels", id="depth 201 in arrays"),
    pytest.param("[" * 100_000, "over 200 levels", id="depth 100,000, never closed"),
    pytest.param('{"a": 1', "not complete", id="truncated after a number"),
    pytest.param('{"a": "Be', "not complete", id="truncated in a string"),
    pytest.param('{"a": "Be\\', "not complete", id="truncated in an escape"),
    pytest.param("{", "not complete", id="truncated at once"),
    pytest.param('{"a": tr', "character 7", id="truncated in a word"),
    pytest.param('{"a": 1}{"a": 2}', "character 9", id="two objects"),
    pytest.param('{"a": 1}\n{"a": 2}', "character 10", id="two objects on two lines"),
    pytest.param('{"a": 1} done', "character 10", id="text behind"),
    pytest.param('Sure: {"a": 1}', "starts with 'Sure", id="text before"),
    pytest.param('\ufeff{"a": 1}', "byte order mark", id="byte order mark"),
    pytest.param('{"a": ' + "9" * (MAX_DIGITS + 1) + "}", "300 digits", id="301 digits"),
    pytest.param('{"a": ' + "9" * 5000 + "}", "300 digits", id="more digits than Python converts"),
    pytest.param("{'a': 1}", "character 2", id="single quotes"),
    pytest.param('{"a": 1,}', "at character", id="comma behind the last"),
    pytest.param('{"a": "x\ny"}', "control character", id="line break in a string"),
    pytest.param('{"a": 01}', "character 8", id="leading zero"),
    pytest.param("[1]", "got an array", id="array"),
    pytest.param('"x"', "got a string", id="string"),
    pytest.param("5", "got a number", id="number"),
    pytest.param("true", "got a boolean", id="boolean"),
    pytest.param("null", "got null", id="null"),
    pytest.param("", "got nothing", id="empty"),
    pytest.param(" \n\t", "got nothing", id="blank"),
    pytest.param('"[1]"', "got a string", id="an array encoded twice"),
    pytest.param('"\\"{}\\""', "got a string", id="encoded three times"),
    pytest.param('"{\\"a\\": NaN}"', "got a string", id="encoded twice, broken inside"),
    pytest.param('```json\n{"a": 1\n```', "not complete", id="a fence around a broken object"),
    pytest.param("```json\n[1]\n```", "got an array", id="a fence around an array"),
    pytest.param('Here:\n```json\n{"a": 1}\n```', "starts with", id="text before a fence"),
    pytest.param('```json\n{"a": 1}\n```\n```json\n{"a": 2}\n```', "character", id="two fences"),
]


@promise("call:json")
@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_is_not_one_plain_object_is_refused_in_words(text: str, said: str) -> None:
    fault = parse(text)
    assert isinstance(fault, Fault)
    assert said in fault.message
    assert fault.path == ()
    assert len(fault.message) < 200


ACCEPTED = [
    pytest.param("{}", {}, (), id="no arguments"),
    pytest.param(' \n{"a": 1}\t', {"a": 1}, (), id="white space around"),
    pytest.param('{"a": "\\ud83d\\ude00"}', {"a": "😀"}, (), id="a whole pair of escapes"),
    pytest.param('{"a": "\\u00e9\\\\ud800"}', {"a": "é\\ud800"}, (), id="an escaped backslash before ud800"),
    pytest.param('{"a": "{{{[[["}', {"a": "{{{[[["}, (), id="brackets in a string"),
    pytest.param('{"a": "' + "[" * 300 + '"}', {"a": "[" * 300}, (), id="300 brackets in a string"),
    pytest.param('{"a": ' + "9" * MAX_DIGITS + "}", {"a": int("9" * MAX_DIGITS)}, (), id="300 digits"),
    pytest.param('```json\n{"a": 1}\n```', {"a": 1}, ("code_fence",), id="code fence"),
    pytest.param('```\n{"a": "```"}\n```\n', {"a": "```"}, ("code_fence",), id="code fence without language"),
    pytest.param('"{\\"a\\": 1}"', {"a": 1}, ("encoded_twice",), id="encoded twice"),
]


@promise("call:json")
@pytest.mark.parametrize(("text", "data", "flags"), ACCEPTED)
def test_lossless_readings_are_accepted_and_flagged(text: str, data: dict[str, Any], flags: tuple[str, ...]) -> None:
    parsed = parse(text)
    assert isinstance(parsed, Parsed)
    assert (parsed.data, parsed.flags) == (data, flags)
    assert json.loads(parsed.text) == data


@promise("call:json")
def test_depth_200_is_still_read() -> None:
    assert isinstance(parse(nested(MAX_DEPTH)), Parsed)


@promise("call:json")
@pytest.mark.parametrize("text", ["", "  \n", "null", " null "])
def test_nothing_means_no_arguments_only_where_none_is_required(text: str) -> None:
    assert parse(text, empty_ok=True) == Parsed({}, "{}", ("empty",))
    assert isinstance(parse(text), Fault)


@promise("call:json")
@pytest.mark.parametrize("text", ["[]", "5", '""', '"null"', "false", "0"])
def test_an_empty_looking_value_is_not_nothing(text: str) -> None:
    assert isinstance(parse(text, empty_ok=True), Fault)


def test_any_value_is_read_just_as_strictly() -> None:
    assert parse_value("[1, 2.5, null]") == [1, 2.5, None]
    assert isinstance(parse_value("[NaN]"), Fault)


json_text = st.text(st.sampled_from('{}[]":,\\ue0123456789-+.EeaNInfty \n`\ud800é\ufeff'), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=5)


@promise("call:json")
@given(st.text() | json_text, st.booleans())
def test_no_text_ever_raises(text: str, empty_ok: bool) -> None:
    assert isinstance(parse(text, empty_ok=empty_ok), (Parsed, Fault))


@promise("call:json")
@given(json_objects, st.booleans())
def test_every_object_reads_as_the_standard_library_reads_it(value: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    parsed = parse(text)
    assert isinstance(parsed, Parsed)
    assert parsed.data == json.loads(text)
    assert parsed.flags == ()


@promise("call:json")
@given(json_objects, st.data())
def test_a_cut_off_text_is_never_read_as_an_object(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    assert isinstance(parse(cut, empty_ok=True), Fault)
