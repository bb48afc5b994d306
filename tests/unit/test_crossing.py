"""What comes back from an isolated process is read as data: every error keeps its kind, and no answer is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from toolrail.crossing import OVER_MEMORY, IsolatedError, answer_in, began_in, error_out, value_out
from toolrail.errors import ModelRetry, NotAuthorised, ToolError
from toolrail.transient import cause_of, transient

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def crossed(error: BaseException) -> Exception:
    """The exception on this side."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is, is the question
        answer_in(error_out(error, began=True))
    return caught.value


@promise("tool:isolated")
@given(PLAIN.filter(lambda value: "\\ud" not in json.dumps(value)))
def test_plain_data_crosses_unchanged(value: Any) -> None:
    assert answer_in(value_out(value, max_bytes=10**6, shown=10**4)) == (value, ())


@promise("tool:isolated")
@pytest.mark.parametrize("text", ["x" * 9_900, "\u2603" * 3_300, '"' * 4_900, "\n" * 4_900, '"' * 9_900], ids=repr)
def test_a_result_within_the_limit_crosses_whole(text: str) -> None:
    assert answer_in(value_out(text, max_bytes=10_000, shown=10_000)) == (text, ())


@promise("tool:isolated")
@pytest.mark.parametrize("value", ["line\n" * 4_000, list(range(4_000)), {"rows": ["x" * 40] * 400}], ids=type)
def test_of_a_result_over_the_limit_one_preview_crosses_that_says_that_the_rest_is_lost(value: Any) -> None:
    text, flags = answer_in(value_out(value, max_bytes=10_000, shown=2_000))
    assert (flags, len(text) <= 2_000) == (("preview",), True)
    said = json.loads(text)
    assert "handle" not in said
    assert said["truncated"]
    assert said["bytes"] > 10_000
    assert "The rest is lost: the result was over the isolated tool's limit of 10000 bytes." in said["note"]


@promise("tool:isolated")
@pytest.mark.parametrize(
    "error",
    [
        ToolError("no"),
        ToolError("busy", retryable=True, retry_after=2.5),
        ToolError("early", nothing_happened=True),
        ModelRetry("again"),
        NotAuthorised(),
        NotAuthorised(like="No order 7."),
    ],
    ids=repr,
)
def test_a_statement_keeps_its_text_and_its_flags(error: ToolError) -> None:
    there = crossed(error)
    assert isinstance(there, ToolError)
    assert type(there) is type(error)
    names = ("args", "retryable", "nothing_happened", "retry_after", "like")
    assert [getattr(there, name, None) for name in names] == [getattr(error, name, None) for name in names]
    assert there.__cause__ is None


class HTTPError(Exception):
    """As a client library has it."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__("s3cr3t-value")
        self.status_code = status
        self.headers = headers


class SerializationError(Exception):
    """As a database driver has it."""

    sqlstate = "40001"


@promise("tool:isolated", "call:transient")
@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        ConnectionRefusedError(),
        TimeoutError(),
        HTTPError(503),
        HTTPError(429, **{"retry-after": "7"}),
        SerializationError(),
    ],
    ids=repr,
)
def test_a_passing_failure_is_one_on_this_side_too(error: Exception) -> None:
    here, there = transient(error), transient(crossed(error))
    assert here is not None
    assert there is not None
    assert (there.refused, there.retry_after) == (here.refused, here.retry_after)
    if here.label.startswith("http"):
        assert there.label == here.label
    try:
        raise ToolError("slow") from error
    except ToolError as stated:
        behind = cause_of(crossed(stated))
    assert behind is not None
    assert behind.refused == here.refused


@promise("tool:isolated")
@pytest.mark.parametrize("error", [ValueError("s3cr3t"), HTTPError(404), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_anything_else_is_unexpected_with_its_traceback(error: BaseException) -> None:
    there = crossed(error)
    assert type(there) is IsolatedError
    assert type(error).__name__ in str(there)
    assert transient(there) is None


class Hostile(ToolError):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError


def test_an_error_without_a_text_is_named_by_its_class() -> None:
    assert crossed(Hostile("never seen")).args == ("Hostile",)


@promise("tool:isolated")
@given(st.binary() | PLAIN.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_process_writes_is_a_value_or_an_error(payload: bytes) -> None:
    assert isinstance(began_in(payload), bool)
    try:
        _, flags = answer_in(payload)
    except (IsolatedError, ToolError):
        return
    assert all(isinstance(flag, str) for flag in flags)


@promise("tool:isolated")
@pytest.mark.parametrize(
    "answer",
    [
        "[" * 100_000,
        '{"value": {}, "flags": []}',
        '{"value": {"json": 1}}',
        '{"value": {"json": 1}, "flags": 7}',
        '{"value": {"media": {"type": "image/png", "name": null, "data": "%"}}, "flags": []}',
        '{"value": {"media": {"type": "png", "name": null, "data": ""}}, "flags": []}',
        '{"error": {"kind": "tool_error", "text": 5}}',
        '{"error": {"kind": "tool_error", "text": "a"}}',
        '{"error": {"kind": "tool_error", "text": "a", "retryable": 1, "nothing_happened": 1, "retry_after": "x"}}',
        '{"error": {"kind": "passing"}}',
        '{"error": null}',
        '{"value": {"json": ' + "9" * 5_000 + '}, "flags": []}',
        OVER_MEMORY.decode(),
    ],
)
def test_an_answer_that_makes_no_sense_is_unexpected(answer: str) -> None:
    with pytest.raises(IsolatedError):
        answer_in(answer.encode())


def test_numbers_that_no_clock_knows_are_left_out() -> None:
    stated = {"kind": "tool_error", "text": "a", "retryable": 1, "nothing_happened": "yes", "cause": None}
    for seconds in ("NaN", "-1", "1e999", "true", '"5"'):
        with pytest.raises(ToolError) as caught:
            answer_in(f'{{"error": {json.dumps(stated)[:-1]}, "retry_after": {seconds}}}}}'.encode())
        assert (caught.value.retry_after, caught.value.retryable, caught.value.nothing_happened) == (None, False, False)


def test_only_a_clear_no_says_that_the_handler_was_not_called() -> None:
    assert not began_in(error_out(ImportError(), began=False))
    assert began_in(error_out(ImportError(), began=True))
    assert [began_in(text) for text in (b"", b"[]", b"{}", b'{"began": 0}')] == [True] * 4
