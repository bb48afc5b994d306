"""The closed table of lossless readings: a value of another JSON type that can only mean one thing.

| wanted | accepted |
|---|---|
| integer | its canonical decimal text, `"5"`; a number without fraction below 2**53, `5.0` |
| number | its JSON text, where a float keeps every digit, `"5.5"` |
| array, object | its own JSON text, `"[1, 2]"` |

Nothing else: never to a boolean, never to a date, never to text.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Literal

from toolrail.arguments.strictjson import MAX_DIGITS, parse_value

Wanted = Literal["integer", "number", "array", "object"]
Path = tuple[str | int, ...]

NOTHING = object()
"""There is no lossless reading."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
_EXACT = 2**53


def lossless(value: Any, wanted: Wanted) -> Any:
    """The value as the wanted JSON type, or `NOTHING`."""
    match wanted:
        case "integer":
            return _integer(value)
        case "number":
            return _number(value)
        case "array":
            return _container(value, list)
        case "object":
            return _container(value, dict)


def keeps_digits(text: str) -> bool:
    """Whether the float nearest to a JSON number has the same value when it is written out."""
    number = float(text)
    return number not in (float("inf"), float("-inf")) and Decimal(text) == Decimal(repr(number))


def at(data: Any, path: Path) -> Any:
    """The value at a path, or `NOTHING`."""
    for step in path:
        if not _has(data, step):
            return NOTHING
        data = data[step]
    return data


def replace(data: Any, path: Path, value: Any) -> None:
    """Changes the value at a path of `data` in place. The path is not empty and exists."""
    at(data, path[:-1])[path[-1]] = value


def drop(data: Any, path: Path) -> bool:
    """Removes the key at a path in place; whether there was one."""
    parent = at(data, path[:-1])
    if not isinstance(parent, dict) or path[-1] not in parent:
        return False
    del parent[path[-1]]
    return True


def locate(data: Any, loc: Path, value: Any) -> Path | None:
    """The path in the data that Pydantic's `loc` means: union labels and the like are left out. None if unclear.

    A label may look like a key, so the value that Pydantic saw has to stand at the end.
    """
    if not loc:
        return () if _same(data, value) else None
    if _has(data, loc[0]):
        below = locate(data[loc[0]], loc[1:], value)
        if below is not None:
            return (loc[0], *below)
    return locate(data, loc[1:], value)


def greedy(data: Any, loc: Path) -> Path:
    """The path in the data that fits `loc` best, where the value there was changed by a validator."""
    found: Path = ()
    for step in loc:
        if _has(data, step):
            found, data = (*found, step), data[step]
    return found


def _has(data: Any, step: str | int) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data)  # pyright: ignore[reportUnknownArgumentType]


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, type(other)) and one == other


def _integer(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= MAX_DIGITS and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return NOTHING


def _number(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= MAX_DIGITS and NUMBER.fullmatch(value) and keeps_digits(value):
        return int(value) if _INTEGER.fullmatch(value) else float(value)
    return NOTHING


def _container(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, str):
        return NOTHING
    inside = parse_value(value)
    return inside if type(inside) is kind and _keeps_all_digits(value) else NOTHING


def _keeps_all_digits(text: str) -> bool:
    try:
        json.loads(text, parse_float=_exact)
    except ValueError:
        return False
    return True


def _exact(literal: str) -> float:
    if not keeps_digits(literal):
        raise ValueError(literal)
    return float(literal)
