"""What all wire forms share: bytes out, bytes in, messages encoded once, ids made whole, events out of pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from toolrail.model import ModelFailure
from toolrail.providers.sse import EventReader
from toolrail.providers.wire import EncodedMessages, decode, encode, whole_ids

TEXT = st.text(alphabet=st.characters(codec=None)) | st.sampled_from(["\ud83d", "\ud83d\ude00", "\u2028"])


@promise("loop:history")
@given(TEXT)
def test_any_text_goes_out_as_utf_8(text: str) -> None:
    back = json.loads(encode({"content": text}).decode("utf-8"))["content"]
    assert back == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"text"', b"<html>", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_garbage(raw: bytes) -> None:
    with pytest.raises(ModelFailure) as failure:
        decode(raw)
    assert failure.value.label == "garbage"


@given(st.lists(st.sampled_from(["", "a", "a_2", "call", "call_2", None])), st.sets(st.sampled_from(["a", "call"])))
def test_ids_are_whole_unique_and_new_and_the_first_of_an_id_keeps_it(ids: list[Any], taken: set[str]) -> None:
    whole = whole_ids(ids, taken)
    assert len(set(whole)) == len(ids)
    assert all(whole)
    assert taken.isdisjoint(whole)
    kept = [id for id in set(ids) if id and id not in taken]
    assert [whole[ids.index(id)] for id in kept] == kept


MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": str(at)} for at in range(4)]


@promise("loop:history")
@given(st.lists(st.lists(st.sampled_from(MESSAGES), max_size=6), max_size=6))
def test_messages_are_sent_as_they_stand_however_the_list_was_changed(lists: list[list[dict[str, Any]]]) -> None:
    encoded = EncodedMessages()
    for messages in lists:
        assert json.loads(encoded.array(messages)) == messages


def test_a_message_is_encoded_once() -> None:
    class Counted(dict[str, Any]):
        reads = 0

        def items(self) -> Any:
            Counted.reads += 1
            return super().items()

    encoded = EncodedMessages()
    messages: list[dict[str, Any]] = [Counted(role="user", content="Go.")]
    for _ in range(3):
        encoded.array(messages)
        messages.append({"role": "assistant", "content": "Hi."})
    assert Counted.reads == 1


def test_the_ids_of_calls_are_gathered_as_messages_go_out() -> None:
    encoded = EncodedMessages(lambda message: message.get("ids", []))
    encoded.array([{"ids": ["a", "b"]}, {}], first=b"{}")
    assert encoded.ids == {"a", "b"}


DATA = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), max_size=5)


@promise("loop:stream")
@given(DATA, st.integers(1, 9), st.sampled_from(["\n", "\r\n"]))
def test_events_are_whole_wherever_the_network_cut_them(data: list[str], size: int, end: str) -> None:
    whole = "".join(f": comment{end}event: x{end}data: {each}{end}{end}" for each in data).encode()
    reader = EventReader()
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert [event.decode() for piece in pieces for event in reader.feed(piece)] == data


def test_an_event_that_was_cut_off_is_not_given() -> None:
    assert EventReader().feed(b'data: {"a": 1}\n') == []
