"""Numbers that Pydantic would read as dates, and decimals that it would read loosely: found by asking it again.

A doubtful value is replaced by a mark that no date or decimal can be read from, and validated once more. If Pydantic
then complains about a date or a decimal there, or reads fewer of them, the value stood in such a place. This holds for
any model, whatever its unions, aliases and nesting, and it costs only arguments that hold a doubtful value.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from pydantic import BaseModel

from toolrail.arguments.coercion import NUMBER, Path, keeps_digits
from toolrail.arguments.complaints import PYDANTIC
from toolrail.arguments.faults import expected, merged
from toolrail.arguments.modelling import Facts
from toolrail.arguments.values import Fault

Again = Callable[[str], "tuple[Any, list[Any]]"]
"""Validates a JSON text: the model and no errors, or None and Pydantic's errors."""

EXACT = "a decimal number as a string, so that no digit is lost"

_DATES = ("date", "time")
_DECIMALS = ("decimal",)
_MARK = "\u2060refused "
_LONG = re.compile(r"[0-9.]{16,}")
"""Only a literal of this length can lose digits in a float."""
_MAX_EXPONENT = 400
_MAX_ROUNDS = 4
_MAX_SINGLE = 20


class LongFraction(float):
    """A fraction with more digits than a float holds. It is written to JSON like any float; `literal` has them all."""

    literal: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class _Doubt:
    path: Path
    value: Any
    confirmed_by: tuple[str, ...]
    """How the error types start that would confirm it."""


def with_long_fractions(text: str, data: dict[str, Any]) -> dict[str, Any]:
    """The data, with a `LongFraction` where the text has one."""
    return json.loads(text, parse_float=_fraction) if _LONG.search(text) else data


def refused_numbers(again: Again, model: Any, data: dict[str, Any], facts: Facts) -> list[Fault]:
    """Texts with a number where a date is wanted, and loose or rounded numbers where a decimal is.

    Args:
        again: validates as the reader does.
        model: what the reader made of `data`.
        data: the arguments, after lossless readings.
        facts: of the model.
    """
    doubts = list(_doubts(data, (), facts))
    for _ in range(_MAX_ROUNDS):
        if not doubts:
            return []
        read, errors = again(json.dumps(_marked(data, (), {doubt.path: doubt for doubt in doubts})))
        if read is not None:
            return [] if _exact_values(read) >= _exact_values(model) else _one_by_one(again, model, data, doubts)
        blamed = [(doubt, error) for error in errors for doubt in doubts if error["input"] == _mark(doubt)]
        found = [_fault(doubt, error) for doubt, error in blamed if str(error["type"]).startswith(doubt.confirmed_by)]
        if found or not blamed:
            return merged(found)
        cleared = {doubt.path for doubt, _ in blamed}  # refused for another reason, so no date or decimal is there
        doubts = [doubt for doubt in doubts if doubt.path not in cleared]
    return []


def _one_by_one(again: Again, model: Any, data: dict[str, Any], doubts: list[_Doubt]) -> list[Fault]:
    """A union took a doubtful text for a date, and the mark for a plain text: which text was it?"""
    for doubt in doubts[:_MAX_SINGLE]:
        read, _ = again(json.dumps(_marked(data, (), {doubt.path: doubt})))
        if read is not None and _exact_values(read) < _exact_values(model):
            return [_fault(doubt, {})]
    return [Fault((), "a number stands where a date or a decimal is read")]


def _fault(doubt: _Doubt, error: Mapping[str, Any]) -> Fault:
    if isinstance(doubt.value, LongFraction):
        return Fault(doubt.path, f"expected {EXACT}, got {doubt.value.literal[:60]}")
    return Fault(doubt.path, expected(PYDANTIC.get(error.get("type", ""), "another text, no number"), doubt.value))


def _doubts(value: Any, path: Path, facts: Facts) -> Collection[_Doubt]:
    if isinstance(value, str):
        why = _why(value, facts)
        return [_Doubt(path, value, why)] if why else []
    if isinstance(value, LongFraction):
        return [_Doubt(path, value, _DECIMALS)] if facts.decimals else []
    if isinstance(value, list):
        items = enumerate(cast("list[Any]", value))
        return [doubt for index, item in items for doubt in _doubts(item, (*path, index), facts)]
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        keys = [_Doubt((*path, _MARK, key), key, why) for key in pairs if (why := _why(key, facts))]
        return keys + [doubt for key, item in pairs.items() for doubt in _doubts(item, (*path, key), facts)]
    return []


def _why(value: str, facts: Facts) -> tuple[str, ...]:
    dates = _DATES if facts.dates and _is_number(value) else ()
    return (*dates, *_DECIMALS) if facts.decimals and _is_loose_decimal(value) else dates


def _marked(value: Any, path: Path, doubts: Mapping[Path, _Doubt]) -> Any:
    if path in doubts:
        return _mark(doubts[path])
    if isinstance(value, list):
        return [_marked(item, (*path, index), doubts) for index, item in enumerate(cast("list[Any]", value))]
    if isinstance(value, dict):
        return {
            _marked(key, (*path, _MARK, key), doubts): _marked(item, (*path, key), doubts)
            for key, item in cast("dict[str, Any]", value).items()
        }
    return value


def _mark(doubt: _Doubt) -> str:
    return _MARK + "/".join(map(str, doubt.path))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_loose_decimal(value: str) -> bool:
    """Read by Decimal, but not a JSON number of a sane size: `1_0`, ` 5 `, `1e5000000`."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return not NUMBER.fullmatch(value) or abs(number.adjusted()) > _MAX_EXPONENT


def _fraction(literal: str) -> float:
    if keeps_digits(literal):
        return float(literal)
    number = LongFraction(literal)
    number.literal = literal
    return number


def _exact_values(value: Any) -> int:
    """How many dates, times and decimals a read value holds."""
    if isinstance(value, (dt.date, dt.time, dt.timedelta, Decimal)):
        return 1
    if isinstance(value, BaseModel):
        return sum(map(_exact_values, value.__dict__.values()))
    if dataclasses.is_dataclass(value):
        return sum(_exact_values(getattr(value, field.name, None)) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        return sum(_exact_values(key) + _exact_values(item) for key, item in cast("dict[Any, Any]", value).items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(map(_exact_values, cast("list[Any]", value)))
    return 0
