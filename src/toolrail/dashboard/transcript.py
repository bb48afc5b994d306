"""Recorded messages as a text that people read: the wire forms of all providers, and what is none, as it came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast


def transcript(pieces: Sequence[str]) -> str:
    """The messages of several JSON lists, one after the other.

    Example: `transcript(['[{"role": "user", "content": "Hi"}]'])` is `"user: Hi\\n"`
    """
    return "".join(f"{line}\n" for piece in pieces for line in _lines(piece))


def _lines(piece: str) -> Iterator[str]:
    try:
        messages = json.loads(piece)
    except (ValueError, RecursionError):  # shortened by the recorder, or not ours
        yield piece
        return
    for message in cast("list[Any]", messages) if isinstance(messages, list) else [messages]:
        yield from _message(message)


def _message(message: Any) -> Iterator[str]:
    if not isinstance(message, Mapping):
        yield _json(message)
        return
    given = cast("Mapping[str, Any]", message)
    who = str(given.get("role") or given.get("type") or "?")
    calls = given.get("tool_calls")
    content = given.get("content", given.get("output", given.get("arguments")))
    if isinstance(content, list):
        for part in cast("list[Any]", content):
            yield f"{who}: {_part(part)}"
    elif content is not None:
        yield f"{who}: {_text(content)}"
    elif not calls:
        yield f"{who}: {_json(given)}"
    for call in cast("list[Any]", calls) if isinstance(calls, list) else []:
        yield f"{who} calls {_call(call)}"


def _call(call: Any) -> str:
    if not isinstance(call, Mapping):
        return _json(call)
    given = cast("Mapping[str, Any]", call)
    function = given.get("function")
    named = cast("Mapping[str, Any]", function) if isinstance(function, Mapping) else given
    return f"{named.get('name')}({_text(named.get('arguments', ''))})"


def _part(part: Any) -> str:
    if not isinstance(part, Mapping):
        return _text(part)
    given = cast("Mapping[str, Any]", part)
    match given.get("type"):
        case "text" | "input_text" | "output_text":
            return _text(given.get("text", ""))
        case "tool_use":
            return f"calls {given.get('name')}({_json(given.get('input', {}))})"
        case "tool_result":
            return f"result: {_text(given.get('content', ''))}"
        case _:
            return _json(given)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
