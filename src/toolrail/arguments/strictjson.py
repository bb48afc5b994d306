"""Strict reading of the JSON that a model wrote: one object, read without loss, or a fault that says what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from toolrail.arguments.values import Fault

MAX_DEPTH = 200
MAX_DIGITS = 300
"""Longer whole numbers are refused: no argument needs one, and a float cannot hold one."""

_SPACE = " \t\r\n"
_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_KINDS: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    type(None): "null",
}


@dataclass(slots=True)
class Parsed:
    """A JSON object, read strictly."""

    data: dict[str, Any]
    text: str
    """The JSON that `data` was read from: inside a code fence, say, only its content."""
    flags: tuple[str, ...] = ()
    """`code_fence`, `encoded_twice` or `empty`, where one of these lossless readings was needed."""


class _Refused(ValueError):
    """Raised by the hooks below; its text is for the model."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise _Refused(f"the key {_cut(twice)} stands there twice")
    return found


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _Refused(f"the number {_cut(digits)} is too large")
    return value


def _int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _Refused(f"a number has over {MAX_DIGITS} digits")
    return int(digits)


def _constant(name: str) -> float:
    raise _Refused(f"{name} is not JSON; write a number, or null where it is allowed")


# Short texts cannot hold a number that is too long, so they skip the hook for whole numbers.
_short = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
_scan: Callable[[str, int], tuple[Any, int]] = _short.scan_once  # pyright: ignore
"""What `raw_decode` calls, which costs as much again."""
_long = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant, parse_int=_int)


def parse(text: str, *, empty_ok: bool = False) -> Parsed | Fault:
    """Reads the arguments that a model wrote. Never raises and never repairs.

    Args:
        text: the raw arguments.
        empty_ok: the tool requires no argument, so nothing, blanks or `null` mean no arguments.

    Example: `parse('{"city": "Bern"}')` gives `Parsed(data={"city": "Bern"}, ...)`; `parse('{"city": "Be')` a `Fault`.
    """
    if text[:1] == "{" and len(text) <= MAX_DIGITS and text.isascii():
        # The common case at full speed: too short to be too deep or too long, and no half characters.
        try:
            found, end = _scan(text, 0)
        except (ValueError, RecursionError, StopIteration):
            found, end = None, -1
        if end == len(text) and "\\u" not in text:
            return Parsed(cast("dict[str, Any]", found), text)
    value = _read(text)
    if type(value) is dict:
        return Parsed(value, text)  # pyright: ignore[reportUnknownArgumentType]
    return _other_reading(text, value, empty_ok=empty_ok)


def parse_value(text: str) -> Any:
    """Any JSON value, read just as strictly. A `Fault` if it cannot be."""
    return _read(text)


def kind_of(value: object) -> str:
    """The JSON name of a parsed value's type."""
    return _KINDS.get(type(value), "object")


def _other_reading(text: str, value: Any, *, empty_ok: bool) -> Parsed | Fault:
    """The closed list of lossless readings of a text that is not one object."""
    stripped = text.strip(_SPACE)
    if not stripped or value is None:
        came = "null" if stripped else "nothing"
        return Parsed({}, "{}", ("empty",)) if empty_ok else Fault((), f"expected a JSON object, got {came}")
    fence = _FENCE.fullmatch(stripped)
    if fence:
        inside = _read(fence[1])
        if type(inside) is dict:
            return Parsed(inside, fence[1], ("code_fence",))  # pyright: ignore[reportUnknownArgumentType]
        return inside if isinstance(inside, Fault) else _not_an_object(inside)
    if isinstance(value, str):
        inside = _read(value)
        if type(inside) is dict:
            return Parsed(inside, value, ("encoded_twice",))  # pyright: ignore[reportUnknownArgumentType]
    return value if isinstance(value, Fault) else _not_an_object(value)


def _not_an_object(value: object) -> Fault:
    name = kind_of(value)
    return Fault((), f"expected a JSON object, got {'an' if name == 'array' else 'a'} {name}")


def _read(text: str) -> Any:
    try:
        value = _decode(text)
        problem = _hidden_problem(text, value)
    except _Refused as refused:
        return Fault((), f"{refused}")
    except json.JSONDecodeError as error:
        return _broken(text, error)
    except RecursionError:
        return _too_deep()
    except (ValueError, MemoryError):
        return Fault((), "the JSON cannot be read")
    return value if problem is None else problem


def _decode(text: str) -> Any:
    decoder = _short if len(text) <= MAX_DIGITS else _long
    if text[:1] == "{":
        value, end = decoder.raw_decode(text)
        if end == len(text):
            return value
    return decoder.decode(text)


def _hidden_problem(text: str, value: Any) -> Fault | None:
    """What the decoder lets through: depth, and halves of characters."""
    if text.count("{") + text.count("[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        return _too_deep()
    if text.isascii():
        if "\\u" in text and _SURROGATE.search(text) and _has_half(value):
            return Fault((), "a string has half a character: a lone surrogate escape (\\ud800 to \\udfff)")
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return Fault((), f"half a character (a lone surrogate) at character {error.start + 1}")
    if _SURROGATE.search(text) and _has_half(value):
        return Fault((), "a string has half a character: a lone surrogate escape (\\ud800 to \\udfff)")
    return None


def _deeper_than(value: Any, limit: int) -> bool:
    level: list[Any] = [[value]]
    for _ in range(limit + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> list[Any]:
    """The containers right below; a leaf adds no level."""
    if isinstance(node, dict):
        node = list(cast("dict[str, Any]", node).values())
    return [child for child in cast("list[Any]", node) if isinstance(child, (dict, list))]


def _has_half(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _too_deep() -> Fault:
    return Fault((), f"the JSON is nested over {MAX_DEPTH} levels deep")


def _broken(text: str, error: json.JSONDecodeError) -> Fault:
    """The decoder's complaint in words that a model can act on. Positions count from 1."""
    at = error.pos + 1
    if text[:1] == "\ufeff":
        return Fault((), "the text starts with a byte order mark; start with {")
    if error.msg.startswith("Extra data"):
        return Fault((), f"more text after the JSON at character {at}; send one JSON object and nothing else")
    if error.msg.startswith("Unterminated string") or not text[error.pos :].strip(_SPACE):
        return Fault((), f"the JSON is not complete; it ends at character {len(text)}")
    if error.msg.startswith("Invalid control character"):
        return Fault((), f"an unescaped control character at character {at}; escape it, as in \\n")
    if not text[: error.pos].strip(_SPACE):
        return Fault((), f"expected a JSON object, got text that starts with {_cut(text.lstrip(_SPACE))}")
    what = error.msg[0].lower() + error.msg[1:]
    return Fault((), f"not valid JSON at character {at}: {what}, got {_cut(text[error.pos :], 20)}")


def _cut(text: str, size: int = 40) -> str:
    return repr(text if len(text) <= size else text[:size] + "…")
