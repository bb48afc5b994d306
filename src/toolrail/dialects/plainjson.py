"""Whether a value is JSON that can be sent, and a copy of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

MAX_DEPTH = 64
MAX_NODES = 200_000


def not_json(schema: object) -> str | None:
    """Why a value is not JSON that can be sent, without recursion: cycles and depth end in a reason, too."""
    todo: list[tuple[object, int]] = [(schema, 0)]
    seen = 0
    while todo:
        value, depth = todo.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_NODES:
            return f"the schema is nested over {MAX_DEPTH} levels" if depth > MAX_DEPTH else "the schema is too large"
        match value:
            case Mapping():
                inside = cast("Mapping[Any, Any]", value)
                if not all(isinstance(key, str) and _sendable(key) for key in inside):
                    return "the schema has a key that is not text"
                todo.extend((each, depth + 1) for each in inside.values())
            case list() | tuple():
                todo.extend((each, depth + 1) for each in cast("list[Any]", value))
            case _:
                if not _scalar(value):
                    return "the schema has a value that is not JSON"
    return None


def _scalar(value: object) -> bool:
    match value:
        case None | bool():
            return True
        case str():
            return _sendable(value)
        case int():
            return value.bit_length() <= 1024
        case float():
            return math.isfinite(value)
        case _:
            return False


def _sendable(text: str) -> bool:
    """Whether the text has a UTF-8 form: a lone surrogate would break the whole request."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)


def copied(value: Any) -> Any:
    """A deep copy in plain dicts and lists, of a value that `not_json` has passed."""
    match value:
        case Mapping():
            return {str(key): copied(each) for key, each in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple():
            return [copied(each) for each in cast("list[Any]", value)]
        case _:
            return value
