"""Anthropic Messages: a stream's events put together to the message that the same request gives unstreamed."""

from __future__ import annotations

from typing import Any

from toolrail.dialects import NameMap
from toolrail.model import ArgumentsDelta, ModelFailure, TextDelta
from toolrail.providers.anthropic_codec import NO_NAMES, Written
from toolrail.providers.failures import failure_in
from toolrail.providers.wire import Json, is_json_object, text_of

_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""By kind of delta, the field with a piece of text."""


class _Block:
    """A content block that is coming in."""

    __slots__ = ("call", "ended", "pieces", "wire")

    def __init__(self, wire: Json, call: int | None) -> None:
        self.wire = wire
        self.call = call
        """Which of the message's calls it is."""
        self.ended = False
        self.pieces: dict[str, list[str]] = {}

    def add(self, delta: Json) -> str:
        """Takes a delta in; gives its text."""
        kind = text_of(delta.get("type"))
        if kind == "signature_delta":
            self.wire["signature"] = delta.get("signature")
        elif kind == "citations_delta":
            self.wire["citations"] = [*(self.wire.get("citations") or ()), delta.get("citation")]
        field = _PIECES.get(kind, "")
        text = text_of(delta.get(field))
        self.pieces.setdefault(field, []).append(text)
        return text

    def whole(self) -> Json:
        """The block with what came in pieces."""
        wire = {**self.wire}
        for field in ("text", "thinking"):
            if field in self.pieces:
                wire[field] = text_of(wire.get(field)) + "".join(self.pieces[field])
        written = "".join(self.pieces.get("partial_json", ()))
        return {**wire, "input": Written(written)} if written else wire


class AnthropicAssembler:
    """Puts one response together.

    Example:
        assembler = AnthropicAssembler()
        async for event in events:
            deltas = assembler.feed(event)
        response = codec.decode(assembler.body())
    """

    __slots__ = ("_blocks", "_calls", "_message", "_names", "_over")

    def __init__(self, names: NameMap = NO_NAMES) -> None:
        self._names = names
        self._message: Json = {}
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._over = False

    @property
    def complete(self) -> bool:
        """Whether the model has finished. A stream that ends before is broken off."""
        return self._over and "role" in self._message and all(block.ended for block in self._blocks.values())

    @property
    def over(self) -> bool:
        """Whether the last event of the message came."""
        return self._over

    def feed(self, event: Json) -> list[TextDelta | ArgumentsDelta]:
        """Takes in one event; gives what of it is worth showing.

        Raises:
            ModelFailure: the provider broke the stream off, or it makes no sense.
        """
        match event.get("type"):
            case "message_start":
                self._message = {"role": "assistant", **_object(event, "message")}
            case "content_block_start":
                self._start(_index(event), {**_object(event, "content_block")})
            case "content_block_delta":
                return self._add(self._block(_index(event)), _object(event, "delta"))
            case "content_block_stop":
                self._block(_index(event)).ended = True
            case "message_delta":
                self._end(_object(event, "delta"), event.get("usage"))
            case "message_stop":
                self._over = True
            case "error":
                raise failure_in(event)
            case _:
                pass  # a ping, or an event that is younger than this code
        return []

    def body(self, *, finish: str | None = None) -> Json:
        """The whole body, equal to an unstreamed one; only a call's input is the text that the model wrote.

        Args:
            finish: stands in for the stop reason of a stream that was broken off.
        """
        content = [block.whole() for _, block in sorted(self._blocks.items())]
        end: Json = {} if self.complete or finish is None else {"stop_reason": finish}
        return {"role": "assistant", **self._message, "content": content, **end}

    def _start(self, index: int, wire: Json) -> None:
        call = self._calls if wire.get("type") == "tool_use" else None
        self._calls += call is not None
        self._blocks[index] = _Block(wire, call)

    def _block(self, index: int) -> _Block:
        block = self._blocks.get(index)
        if block is None or block.ended:
            raise ModelFailure("garbage", f"an event of block {index}, which is not open")
        return block

    def _add(self, block: _Block, delta: Json) -> list[TextDelta | ArgumentsDelta]:
        text = block.add(delta)
        match delta.get("type"):
            case "text_delta" if text:
                return [TextDelta(text)]
            case "input_json_delta" if text and block.call is not None:
                name = self._names.to_tool(text_of(block.wire.get("name")))
                return [ArgumentsDelta(block.call, name, text)]
            case _:
                return []

    def _end(self, delta: Json, usage: Any) -> None:
        """Counts at the end are totals: they replace those of the beginning, except where they are null."""
        self._message |= delta
        if is_json_object(usage):
            before = self._message.get("usage")
            counts = {name: count for name, count in usage.items() if count is not None}
            self._message["usage"] = {**(before if is_json_object(before) else {}), **counts}


def _object(event: Json, field: str) -> Json:
    value = event.get(field)
    if not is_json_object(value):
        raise ModelFailure("garbage", f"a {event.get('type')} event without its {field}")
    return value


def _index(event: Json) -> int:
    value = event.get("index")
    if not isinstance(value, int):
        raise ModelFailure("garbage", f"a {event.get('type')} event without its index")
    return value
