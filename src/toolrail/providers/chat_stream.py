"""Chat Completions, streamed: chunks to deltas, and to the very body that would have come whole."""

from __future__ import annotations

import json
from typing import Any

from toolrail.dialects import NameMap
from toolrail.model import ArgumentsDelta, TextDelta
from toolrail.providers.chat_codec import arguments_of
from toolrail.providers.failures import failure_in
from toolrail.providers.openai_offer import NO_NAMES
from toolrail.providers.wire import Json, is_json_object, objects, text_of

_NOT_JOINED = frozenset({"role", "tool_calls", "function_call"})


class ChatAssembler:
    """Puts one response together. Knows what real servers send: later names that are empty, gaps in the index, the
    same index for several calls, no index at all."""

    __slots__ = ("_by_index", "_calls", "_finish", "_head", "_message", "_names")

    def __init__(self, names: NameMap = NO_NAMES) -> None:
        self._names = names
        self._head: Json = {}
        self._message: Json = {"role": "assistant", "content": None}
        self._calls: list[Json] = []
        self._by_index: dict[int, int] = {}
        self._finish: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the model has finished. A stream that ends before is broken off."""
        return self._finish is not None

    def feed(self, chunk: Json) -> list[TextDelta | ArgumentsDelta]:
        """What a chunk adds.

        Raises:
            ModelFailure: the provider broke the stream off with an error.
        """
        choices = objects(chunk.get("choices"))
        if chunk.get("error") and not choices:
            raise failure_in(chunk)
        self._head |= {key: chunk[key] for key in ("id", "model", "usage") if chunk.get(key)}
        for choice in choices:
            if choice.get("index", 0) == 0:
                return self._choice(choice)
        return []

    def body(self, *, finish: str | None = None) -> Json:
        """The whole body. `finish` stands in for a reason that never came."""
        calls = {"tool_calls": self._calls} if self._calls else {}
        choice = {"index": 0, "message": self._message | calls, "finish_reason": self._finish or finish}
        return {**self._head, "choices": [choice]}

    def _choice(self, choice: Json) -> list[TextDelta | ArgumentsDelta]:
        if choice.get("error"):
            raise failure_in(choice)
        self._finish = text_of(choice.get("finish_reason")) or self._finish
        delta = choice.get("delta")
        if not is_json_object(delta):
            return []
        for key, value in delta.items():
            if key not in _NOT_JOINED and value is not None:
                self._message[key] = _added(self._message.get(key), value)
        text = text_of(delta.get("content"))
        shown: list[TextDelta | ArgumentsDelta] = [TextDelta(text)] if text else []
        return shown + [self._call(piece) for piece in objects(delta.get("tool_calls"))]

    def _call(self, piece: Json) -> ArgumentsDelta:
        at = self._place(piece)
        call = self._calls[at]
        kind = "custom" if "custom" in piece or call.get("custom") else "function"
        body: Any = piece.get(kind)
        body = body if is_json_object(body) else {}
        known: Json = call.setdefault(kind, {"name": ""})
        known["name"] = known["name"] or text_of(body.get("name"))
        field = "input" if kind == "custom" else "arguments"
        text = arguments_of(body.get(field))
        known[field] = known.get(field, "") + text
        call["type"] = kind
        for key, value in piece.items():
            if key not in ("index", "type", "function", "custom") and value is not None:
                call[key] = call.get(key) or value
        return ArgumentsDelta(at, self._names.to_tool(known["name"]), text)

    def _place(self, piece: Json) -> int:
        """Which call a piece belongs to."""
        index = piece.get("index")
        at = self._by_index.get(index, -1) if isinstance(index, int) else len(self._calls) - 1
        if at < 0 or _opens(piece, self._calls[at]):
            self._calls.append({})
            at = len(self._calls) - 1
        if isinstance(index, int):
            self._by_index[index] = at
        return at


def _opens(piece: Json, call: Json) -> bool:
    """Whether a piece begins a call of its own, although its index belongs to this one or it has none."""
    body = piece.get("function")
    if not is_json_object(body) or not body.get("name"):
        return False
    if piece.get("id") and call.get("id"):
        return piece["id"] != call["id"]
    return bool(body.get("arguments")) and _whole(call.get("function", {}).get("arguments"))


def _whole(arguments: object) -> bool:
    try:
        return is_json_object(json.loads(text_of(arguments)))
    except (ValueError, RecursionError):
        return False


def _added(before: Any, value: Any) -> Any:
    """Texts and lists of pieces grow; anything else is replaced."""
    if isinstance(before, str) and isinstance(value, str):
        return before + value
    if isinstance(before, list) and isinstance(value, list):
        return [*before, *value]
    return value
