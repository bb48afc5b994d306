"""Validation: what fits runs with exactly what was meant; what does not is answered so that a model can correct it."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from tests.promises import promise
from toolrail.arguments.coercion import NOTHING, lossless
from toolrail.arguments.strictjson import parse
from toolrail.arguments.typed import from_function, from_json_schema, from_model
from toolrail.arguments.values import ArgumentReader
from toolrail.stages.validate import Invalid, Validated, validate


class Size(BaseModel):
    width: int
    height: float = 1.0


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Grade(enum.IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int


class Row(TypedDict):
    z: int


def search_products(
    query: str, max_results: Annotated[int, Field(ge=1, le=20)] = 5, in_stock: bool = False, price: float | None = None
) -> None: ...


def everything(
    flag: bool = False,
    count: int = 0,
    ratio: float = 0.0,
    numbers: list[int] | None = None,
    pair: tuple[int, str] = (0, ""),
    names: set[str] | None = None,
    size: Size | None = None,
    point: Point | None = None,
    row: Row | None = None,
    table: dict[str, int] | None = None,
    either: int | Size | list[int] | None = None,
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None,
    day: dt.date | None = None,
    moment: dt.datetime | None = None,
    clock: dt.time | None = None,
    span: dt.timedelta | None = None,
    amount: Decimal | None = None,
    word: dt.datetime | str | None = None,
    days: dict[dt.date, int] | None = None,
    grade: Grade | None = None,
    text: str = "",
) -> None: ...


SEARCH = from_function(search_products)
EVERYTHING = from_function(everything)
RAW = from_json_schema(
    {
        "type": "object",
        "properties": {
            "flag": {"type": "boolean"},
            "count": {"type": "integer"},
            "ratio": {"type": "number"},
            "numbers": {"type": "array", "items": {"type": "integer"}},
            "size": {
                "type": "object",
                "properties": {"width": {"type": "integer"}, "height": {"type": "number"}},
                "required": ["width"],
                "additionalProperties": False,
            },
            "either": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
            "day": {"type": "string", "format": "date"},
            "moment": {"type": "string", "format": "date-time"},
            "text": {"type": "string"},
        },
    }
)


def check(reader: ArgumentReader, arguments: Any, **options: Any) -> Validated | Invalid:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return validate(reader, text, tool="search_products", **options)


def accepted(reader: ArgumentReader, arguments: Any, **options: Any) -> Validated:
    result = check(reader, arguments, **options)
    assert isinstance(result, Validated), result
    return result


def refused(reader: ArgumentReader, arguments: Any, **options: Any) -> str:
    result = check(reader, arguments, **options)
    assert isinstance(result, Invalid), result
    assert result.faults
    assert result.message.startswith("Invalid arguments for search_products: ")
    return result.message.removeprefix("Invalid arguments for search_products: ")


# -- what real models send


@promise("call:json")
@promise("call:validate")
@pytest.mark.parametrize(
    ("arguments", "flags"),
    [("", ("empty",)), ("null", ("empty",)), ("{}", ()), ('{"invented": 1}', ("extra_dropped",))],
)
@pytest.mark.parametrize(
    "reader",
    [
        from_function(lambda: None),
        from_json_schema({"type": "object"}),
        from_json_schema({"type": "object", "properties": {}, "additionalProperties": False}),
    ],
    ids=["function", "raw", "raw and closed"],
)
def test_a_tool_without_parameters_runs_whatever_a_model_invents(
    reader: ArgumentReader, arguments: str, flags: tuple[str, ...]
) -> None:
    result = accepted(reader, arguments)
    assert (result.values, result.effective, result.flags) == ({}, {}, flags)


@promise("call:json")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "expected a JSON object, got nothing."),
        ("null", "expected a JSON object, got null."),
        ('{"query": "a"}{"query": "b"}', "more text after the JSON at character 15"),
        ('{"query": "sho', "the JSON is not complete"),
        ('{"query": "a", "max_results": NaN}', "NaN is not JSON"),
    ],
)
def test_a_tool_with_required_arguments_never_runs_on_guessed_ones(arguments: str, said: str) -> None:
    assert refused(SEARCH, arguments).startswith(said)


@promise("call:json")
@pytest.mark.parametrize(
    ("arguments", "flag"),
    [('```json\n{"query": "a"}\n```', "code_fence"), (json.dumps('{"query": "a"}'), "encoded_twice")],
)
def test_fenced_and_doubly_encoded_arguments_run_flagged(arguments: str, flag: str) -> None:
    result = accepted(SEARCH, arguments)
    assert result.values["query"] == "a"
    assert result.flags == (flag,)


@promise("call:validate")
def test_a_wrong_key_is_refused_beside_what_is_missing() -> None:
    def quote(symbol: str) -> None: ...

    said = refused(from_function(quote), {"ticker": "ACME"})
    assert said == "symbol: is required and missing. ticker: unknown argument 'ticker'; known are symbol."


# -- the closed table of lossless readings

COERCED: list[tuple[str, Any, Any]] = [
    ("count", "5", 5),
    ("count", "-12", -12),
    ("count", 5.0, 5),
    ("count", -0.0, 0),
    ("ratio", 5, 5.0),
    ("ratio", "5.5", 5.5),
    ("ratio", "5", 5.0),
    ("ratio", "-1e3", -1000.0),
    ("numbers", "[1, 2]", [1, 2]),
    ("numbers", ["1", 2.0], [1, 2]),
    ("numbers", '["1", 2.0]', [1, 2]),
    ("size", '{"width": 2}', {"width": 2, "height": 1.0}),
    ("size", {"width": "2", "height": "0.5"}, {"width": 2, "height": 0.5}),
    ("size", '{"width": "2"}', {"width": 2, "height": 1.0}),
    ("either", "5", 5),
    ("either", ["5"], [5]),
    ("either", "[5]", [5]),
]
NOT_IN_RAW = [
    ("either", {"width": "3"}, {"width": 3, "height": 1.0}),
    ("either", '{"width": 3}', {"width": 3, "height": 1.0}),
    ("pair", ["1", "a"], [1, "a"]),
    ("names", '["b", "a"]', ["a", "b"]),
    ("point", {"x": "1"}, {"x": 1}),
    ("point", '{"x": 1}', {"x": 1}),
    ("row", '{"z": "1"}', {"z": 1}),
    ("table", {"a": "1"}, {"a": 1}),
    ("table", {"int": "1"}, {"int": 1}),
    ("pet", {"kind": "cat", "lives": "9"}, {"kind": "cat", "lives": 9}),
]


@promise("call:validate")
@pytest.mark.parametrize(("name", "given", "read"), COERCED + NOT_IN_RAW)
def test_a_typed_argument_is_read_losslessly_and_flagged(name: str, given: Any, read: Any) -> None:
    result = accepted(EVERYTHING, {name: given})
    assert result.effective[name] == read
    assert type(result.effective[name]) is type(read)
    assert result.flags == (() if (name, given) == ("ratio", 5) else (f"coerced:{name}",))


@promise("call:validate")
@pytest.mark.parametrize(("name", "given", "read"), COERCED)
def test_a_raw_schema_is_read_by_the_same_table(name: str, given: Any, read: Any) -> None:
    result = accepted(RAW, {name: given})
    wanted = {"width": 2} if name == "size" and "0.5" not in str(given) else read
    assert result.values == result.effective == {name: wanted}
    if name == "count":
        assert type(result.values[name]) is int
    assert result.flags == (() if (name, given) == ("ratio", 5) else (f"coerced:{name}",))


REFUSED: list[tuple[str, Any, str]] = [
    ("flag", 1, "flag: expected true or false, got 1."),
    ("flag", "true", "flag: expected true or false, got 'true' (string)."),
    ("flag", "yes", "flag: expected true or false, got 'yes' (string)."),
    ("flag", None, "flag: expected true or false, got null."),
    ("count", True, "count: expected an integer, got true (boolean)."),
    ("count", 5.5, "count: expected an integer, got 5.5."),
    ("count", "5.0", "count: expected an integer, got '5.0' (string)."),
    ("count", "007", "count: expected an integer, got '007' (string)."),
    ("count", " 5", "count: expected an integer, got ' 5' (string)."),
    ("count", "5_0", "count: expected an integer, got '5_0' (string)."),
    ("count", "+5", "count: expected an integer, got '+5' (string)."),
    ("count", "-0", "count: expected an integer, got '-0' (string)."),
    ("count", "\u0665", "count: expected an integer, got '\u0665' (string)."),
    ("count", 1e300, "count: expected an integer, got 1e+300."),
    ("count", 2.0**53, "count: expected an integer, got 9007199254740992.0."),
    ("count", [5], "count: expected an integer, got [5] (array)."),
    ("ratio", "1e400", "ratio: expected a number, got '1e400' (string)."),
    ("ratio", "NaN", "ratio: expected a number, got 'NaN' (string)."),
    ("ratio", "0.1234567890123456789", "ratio: expected a number, got '0.1234567890123456789' (string)."),
    ("ratio", True, "ratio: expected a number, got true (boolean)."),
    ("numbers", "[1", "numbers: expected an array, got '[1' (string)."),
    ("numbers", "[NaN]", "numbers: expected an array, got '[NaN]' (string)."),
    ("numbers", '{"a": 1}', "numbers: expected an array, got '{\"a\": 1}' (string)."),
    ("numbers", "1,2", "numbers: expected an array, got '1,2' (string)."),
    ("numbers", [1, "x"], "numbers[1]: expected an integer, got 'x' (string)."),
    ("size", {"height": 1}, "size.width: is required and missing."),
    ("size", {"width": 1, "hight": 2}, "size.hight: unknown argument 'hight'; did you mean 'height'?"),
    ("text", 5, "text: expected a string, got 5."),
    ("day", 5, "day: expected a date such as '2026-01-31', got 5."),
    ("day", "5", "day: expected a date such as '2026-01-31', got '5' (string)."),
    ("day", "86400", "day: expected a date such as '2026-01-31', got '86400' (string)."),
    ("moment", 5, "moment: expected a date and time such as '2026-01-31T12:00:00Z', got 5."),
    ("moment", "5", "moment: expected a date and time such as '2026-01-31T12:00:00Z', got '5' (string)."),
    ("moment", "-1.5e3", "moment: expected a date and time such as '2026-01-31T12:00:00Z', got '-1.5e3' (string)."),
    ("moment", "20260131", "moment: expected a date and time such as '2026-01-31T12:00:00Z', got '20260131' (string)."),
]
ONLY_TYPED: list[tuple[str, Any, str]] = [
    ("clock", "5", "clock: expected a time such as '12:30:00', got '5' (string)."),
    ("clock", 5, "clock: expected a time such as '12:30:00', got 5."),
    ("span", "5", "span: expected a duration such as 'PT1H30M', got '5' (string)."),
    ("span", 5, "span: expected a duration such as 'PT1H30M', got 5."),
    ("amount", "1_0", "amount: expected a decimal number, got '1_0' (string)."),
    ("amount", " 5 ", "amount: expected a decimal number, got ' 5 ' (string)."),
    ("amount", "1e5000000", "amount: expected a decimal number, got '1e5000000' (string)."),
    ("amount", True, "amount: expected a decimal number, got true (boolean)."),
    ("grade", "1", "grade: expected 1, got '1' (string)."),
    ("either", "x", "either: expected an integer, an object or an array, got 'x' (string)."),
    ("either", {"width": "x"}, "either.width: expected an integer, got 'x' (string)."),
    ("pet", {"kind": "cow"}, "pet: expected 'kind' to be one of 'cat', 'dog', got {\"kind\": \"cow\"} (object)."),
    ("pet", {"lives": 9}, "pet: expected an object with 'kind', got {\"lives\": 9} (object)."),
]


@promise("call:validate")
@pytest.mark.parametrize(("name", "given", "said"), REFUSED + ONLY_TYPED)
def test_everything_else_is_refused_with_field_expectation_and_value(name: str, given: Any, said: str) -> None:
    assert refused(EVERYTHING, {name: given}) == said


@promise("call:validate")
@pytest.mark.parametrize(("name", "given", "said"), REFUSED)
def test_a_raw_schema_is_as_strict_and_says_the_same(name: str, given: Any, said: str) -> None:
    assert refused(RAW, {name: given}) == said


@promise("call:validate")
@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("day", "2026-01-31", dt.date(2026, 1, 31)),
        ("moment", "2026-01-31T12:00:00Z", dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)),
        ("clock", "12:30:00", dt.time(12, 30)),
        ("span", "PT1H", dt.timedelta(hours=1)),
        ("amount", "1.50", Decimal("1.50")),
        ("amount", "12345678901234567.89", Decimal("12345678901234567.89")),
        ("amount", 0.1, Decimal("0.1")),
        ("amount", 10**20, Decimal(10**20)),
        ("word", "shoes", "shoes"),
        ("text", "5", "5"),
    ],
)
def test_what_is_written_as_meant_is_accepted_without_a_flag(name: str, given: Any, read: Any) -> None:
    result = accepted(EVERYTHING, {name: given})
    assert result.values[name] == read
    assert result.flags == ()


@promise("call:validate")
def test_numbers_as_keys_where_dates_are_wanted_are_refused() -> None:
    assert "expected a date" in refused(EVERYTHING, {"days": {"86400": 1}})


@promise("call:validate")
@pytest.mark.parametrize("others", [{}, {"text": "7"}, {"zip": "12345"}, {"text": "7", "zip": "12345", "count": "3"}])
def test_a_union_of_date_and_text_does_not_take_a_number_for_a_date(others: dict[str, Any]) -> None:
    def note(
        word: dt.datetime | str,
        text: str = "",
        count: int = 0,
        zip: Annotated[str, Field(pattern=r"^\d{5}$")] = "00000",
    ) -> None: ...

    reader = from_function(note)
    assert refused(reader, {"word": "5", **others}) == "word: expected another text, no number, got '5' (string)."
    assert accepted(reader, {"word": "five", **others}).values["word"] == "five"


@promise("call:validate")
def test_a_decimal_never_loses_a_digit() -> None:
    for others in ("", ', "count": "5"'):
        said = refused(EVERYTHING, '{"amount": 12345678901234567.89' + others + "}")
        assert said.startswith("amount: expected a decimal number as a string, so that no digit is lost")
    assert accepted(EVERYTHING, '{"ratio": 0.1234567890123456789}').values["ratio"] == 0.1234567890123456789


@promise("call:validate")
def test_a_date_is_checked_even_when_another_argument_had_to_be_mended() -> None:
    assert refused(EVERYTHING, {"moment": "5", "count": "5"}).startswith("moment: expected a date and time")


@promise("call:validate")
@pytest.mark.parametrize("reader", [EVERYTHING, RAW], ids=["typed", "raw"])
def test_an_integer_too_large_for_a_float_is_refused_in_text(reader: ArgumentReader) -> None:
    assert "300 digits" in refused(reader, '{"ratio": 1' + "0" * 400 + "}")


@promise("call:validate")
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12))
def test_a_lossless_reading_writes_back_to_what_came(value: Any) -> None:
    integer = lossless(value, "integer")
    if integer is not NOTHING:
        assert type(integer) is int
        assert integer == (int(value) if isinstance(value, str) else value)
        assert not isinstance(value, str) or str(integer) == value
    number = lossless(value, "number")
    if number is not NOTHING:
        assert Decimal(repr(number)) == Decimal(str(value))


@promise("call:validate")
@given(st.integers(-(2**200), 2**200))
def test_every_integer_may_come_as_text(value: int) -> None:
    assert lossless(str(value), "integer") == value


@promise("call:validate")
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_may_come_as_text(value: float) -> None:
    assert lossless(repr(value), "number") == value


@promise("call:validate")
@given(st.lists(st.integers(), max_size=4), st.dictionaries(st.text(max_size=4), st.integers(), max_size=4))
def test_containers_may_come_as_their_own_json(numbers: list[int], table: dict[str, int]) -> None:
    result = accepted(EVERYTHING, {"numbers": json.dumps(numbers), "table": json.dumps(table)})
    assert (result.values["numbers"], result.values["table"]) == (numbers, table)


# -- unknown keys, limits, nulls


@promise("call:validate")
@pytest.mark.parametrize("reader", [SEARCH, from_json_schema(SEARCH.schema)], ids=["typed", "raw"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"query": "a", "max_results": 50}, "max_results: expected an integer <= 20, got 50."),
        ({"query": "a", "max_results": -5}, "max_results: expected an integer >= 1, got -5."),
        ({"query": "a", "max_results": "50"}, "max_results: expected an integer <= 20, got 50."),
        ({"query": "a", "quary": "b"}, "quary: unknown argument 'quary'; did you mean 'query'?"),
        ({"query": "a", "Max_Results": 3}, "Max_Results: unknown argument 'Max_Results'; did you mean 'max_results'?"),
        ({}, "query: is required and missing."),
        ({"query": None}, "query: expected a string, got null."),
    ],
)
def test_limits_and_unknown_keys_are_named(reader: ArgumentReader, arguments: Any, said: str) -> None:
    assert refused(reader, arguments) == said


@promise("call:validate")
@pytest.mark.parametrize(
    "reader",
    [from_function(search_products, extra="ignore"), from_json_schema(SEARCH.schema, extra="ignore")],
    ids=["typed", "raw"],
)
def test_a_reader_that_ignores_unknown_arguments_drops_them_flagged(reader: ArgumentReader) -> None:
    result = accepted(reader, {"query": "a", "colour": "red", "max_results": "3"})
    assert result.effective["max_results"] == 3
    assert "colour" not in result.effective
    assert set(result.flags) == {"extra_dropped", "coerced:max_results"}


@promise("call:validate")
def test_unknown_keys_inside_nested_models_are_refused_or_dropped_too() -> None:
    def paint(size: Size) -> None: ...

    arguments = {"size": {"width": 1, "colour": 2}}
    assert (
        refused(from_function(paint), arguments) == "size.colour: unknown argument 'colour'; known are width, height."
    )
    result = accepted(from_function(paint, extra="ignore"), arguments)
    assert result.effective == {"size": {"width": 1, "height": 1.0}}
    assert result.flags == ("extra_dropped",)


CLOSING: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {"b": 1}, False),
    ({"additionalProperties": False}, {"b": 1}, False),
    ({"additionalProperties": True}, {"b": 1}, True),
    ({"additionalProperties": {"type": "integer"}}, {"b": 1}, True),
    ({"additionalProperties": {"type": "integer"}}, {"b": "x"}, False),
    ({"patternProperties": {"^x-": {}}}, {"x-b": 1}, True),
    ({"patternProperties": {"^x-": {}}}, {"b": 1}, False),
    ({"allOf": [{"properties": {"b": {}}}]}, {"b": 1}, True),
    ({"anyOf": [{"$ref": "#/$defs/B"}], "$defs": {"B": {"properties": {"b": {}}}}}, {"b": 1}, True),
]


@promise("call:validate")
@pytest.mark.parametrize(
    ("more", "arguments", "fits"),
    CLOSING,
)
def test_a_raw_schema_is_closed_unless_it_speaks_of_further_properties(
    more: dict[str, Any], arguments: Any, fits: bool
) -> None:
    reader = from_json_schema({"type": "object", "properties": {"a": {}}, **more})
    assert isinstance(check(reader, arguments), Validated) is fits


@promise("tool:dialect")
@pytest.mark.parametrize("reader", [SEARCH, from_json_schema(SEARCH.schema)], ids=["typed", "raw"])
def test_null_means_the_default_only_where_the_dialect_added_it(reader: ArgumentReader) -> None:
    arguments = {"query": "a", "max_results": None}
    assert refused(reader, arguments) == "max_results: expected an integer, got null."
    result = accepted(reader, arguments, null_means_default=frozenset({"max_results", "in_stock"}))
    assert result.effective.get("max_results", 5) == 5
    assert result.flags == ()


LIMITS: list[tuple[dict[str, Any], dict[str, Any], Any, str]] = [
    ({"gt": 1}, {"type": "integer", "exclusiveMinimum": 1}, 1, "an integer > 1, got 1."),
    ({"lt": 1}, {"type": "integer", "exclusiveMaximum": 1}, 1, "an integer < 1, got 1."),
    ({"multiple_of": 3}, {"type": "integer", "multipleOf": 3}, 4, "a multiple of 3, got 4."),
    ({"min_length": 2}, {"type": "string", "minLength": 2}, "a", "a string of 2 or more characters, got 'a' (string)."),
    (
        {"max_length": 2},
        {"type": "string", "maxLength": 2},
        "abc",
        "a string of 2 or fewer characters, got 'abc' (string).",
    ),
    ({"pattern": "^b"}, {"type": "string", "pattern": "^b"}, "a", "a string that matches ^b, got 'a' (string)."),
    ({"min_length": 1}, {"type": "array", "minItems": 1}, [], "1 or more items, got [] (array)."),
    ({"max_length": 1}, {"type": "array", "maxItems": 1}, [1, 2], "1 or fewer items, got [1, 2] (array)."),
]


@promise("call:validate")
@pytest.mark.parametrize(("constraint", "schema", "given", "said"), LIMITS)
def test_every_limit_is_said_in_the_same_words(
    constraint: dict[str, Any], schema: dict[str, Any], given: Any, said: str
) -> None:
    def use(value: Any) -> None: ...

    kind: Any = {int: int, str: str, list: list[int]}[type(given)]
    use.__annotations__["value"] = Annotated[kind, Field(**constraint)]
    raw = from_json_schema({"type": "object", "properties": {"value": schema}})
    assert refused(from_function(use), {"value": given}) == f"value: expected {said}"
    assert refused(raw, {"value": given}) == f"value: expected {said}"


@promise("call:validate")
@pytest.mark.parametrize(
    ("schema", "given", "said"),
    [
        ({"enum": ["a", "b", 3]}, "c", 'expected "a", "b" or 3, got \'c\' (string).'),
        ({"const": 3}, 4, "expected 3, got 4."),
        ({"minProperties": 1}, {}, "expected 1 or more keys, got {} (object)."),
        ({"uniqueItems": True}, [1, 1], "expected items that are all different, got [1, 1] (array)."),
        ({"type": "string", "format": "ipv4"}, "x", "expected the format ipv4, got 'x' (string)."),
        ({"not": {"const": 3}}, 3, '{"const":3} is not allowed for 3.'),
        ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 3, "3 is valid under more than one of the schemas"),
    ],
)
def test_other_keywords_of_a_raw_schema_are_said_too(schema: dict[str, Any], given: Any, said: str) -> None:
    reader = from_json_schema({"type": "object", "properties": {"value": schema}})
    assert refused(reader, {"value": given}).startswith(f"value: {said}")


@promise("call:validate")
@pytest.mark.parametrize("keyword", ["additionalProperties", "unevaluatedProperties"])
def test_a_raw_schema_that_ignores_drops_unknown_keys_inside_too(keyword: str) -> None:
    inner: dict[str, Any] = {"type": "object", "properties": {"b": {}}, keyword: False}
    reader = from_json_schema({"type": "object", "properties": {"a": inner}}, extra="ignore")
    result = accepted(reader, {"a": {"b": 1, "c": 2}})
    assert (result.values, result.flags) == ({"a": {"b": 1}}, ("extra_dropped",))


@promise("call:validate")
def test_property_patterns_that_python_cannot_read_are_left_to_the_validator() -> None:
    reader = from_json_schema({"type": "object", "patternProperties": {r"^\p{L}+$": {"type": "integer"}}})
    assert accepted(reader, {"größe": 1}).values == {"größe": 1}
    assert refused(reader, {"größe": "x"}) == "größe: expected an integer, got 'x' (string)."


@promise("call:validate")
def test_a_value_that_a_validator_changed_is_still_named_by_its_field() -> None:
    def strip(value: Any) -> Any:
        return value.strip()

    def use(codes: list[Annotated[int, BeforeValidator(strip)]]) -> None: ...

    use.__annotations__["codes"] = list[Annotated[int, BeforeValidator(strip)]]
    assert refused(from_function(use), {"codes": [" x "]}) == "codes[0]: expected an integer, got 'x' (string)."


# -- what the handler gets


@promise("tool:model")
def test_a_model_reader_gives_the_instance_and_its_fields() -> None:
    result = accepted(from_model(Size), {"width": "3"})
    assert result.model == Size(width=3)
    assert result.values == result.effective == {"width": 3, "height": 1.0}
    assert result.flags == ("coerced:width",)


@promise("call:validate")
def test_effective_arguments_are_plain_json_that_reads_back_to_the_same_values() -> None:
    given = {
        "size": {"width": 3},
        "names": ["b", "a"],
        "day": "2026-01-31",
        "moment": "2026-01-31T12:00:00Z",
        "amount": "1.50",
        "pet": {"kind": "dog", "name": "Rex"},
        "pair": [1, "a"],
        "grade": 1,
        "days": {"2026-01-31": 1},
    }
    first = accepted(EVERYTHING, given)
    again = accepted(EVERYTHING, json.dumps(first.effective, allow_nan=False))
    assert again.values == first.values
    assert again.effective == first.effective
    assert first.effective["text"] == ""


@promise("call:validate")
def test_sets_have_one_order_in_every_process() -> None:
    code = (
        "import json\nfrom toolrail.arguments.typed import from_function\n"
        "def f(names: set[str]) -> None: ...\n"
        "data = {'names': ['c', 'a', 'b', 'd']}\n"
        "print(json.dumps(from_function(f).read(json.dumps(data), data).effective))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert said == {b'{"names": ["a", "b", "c", "d"]}\n'}


@promise("call:validate")
def test_an_infinite_default_never_reaches_json() -> None:
    def find(ceiling: float = float("inf")) -> None: ...

    result = accepted(from_function(find), {})
    assert result.values == {"ceiling": float("inf")}
    assert result.effective == {}


@promise("call:validate")
def test_reading_never_changes_what_was_parsed() -> None:
    data = {"numbers": ["1"], "count": 5.0}
    for reader in (EVERYTHING, RAW):
        reader.read(json.dumps(data), data)
        assert data == {"numbers": ["1"], "count": 5.0}
        assert type(data["count"]) is float


# -- validators of the user


def raising(error: BaseException) -> Callable[[Any], Any]:
    def validator(value: Any) -> Any:
        raise error

    return validator


@promise("call:validate")
@pytest.mark.parametrize("kind", [AfterValidator, BeforeValidator])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("the code has 8 letters"), "code: the code has 8 letters."),
        (AssertionError("no such code"), "code: no such code."),
        (KeyError("s3cret"), "could not be checked."),
        (RuntimeError("s3cret"), "could not be checked."),
        (RecursionError("s3cret"), "could not be checked."),
        (SystemExit("s3cret"), "could not be checked."),
        (asyncio.CancelledError("s3cret"), "could not be checked."),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, BaseException) else "",
)
def test_a_validator_may_raise_anything(kind: Any, error: BaseException, said: str) -> None:
    def use(code: str, count: int = 0) -> None: ...

    use.__annotations__["code"] = Annotated[str, kind(raising(error))]
    reader = from_function(use)
    assert refused(reader, {"code": "x"}) == said
    assert said in refused(reader, {"code": "x", "count": "5"})


@promise("call:validate")
def test_a_validator_over_the_whole_model_may_refuse() -> None:
    class Range(BaseModel):
        low: int
        high: int

        @model_validator(mode="after")
        def ordered(self) -> Range:
            if self.low > self.high:
                raise ValueError("low is over high")
            return self

    assert refused(from_model(Range), {"low": "3", "high": 1}) == "low is over high."


@promise("call:validate")
def test_a_value_error_that_cannot_say_its_text_is_contained() -> None:
    class Mute(ValueError):
        def __str__(self) -> str:
            raise RuntimeError("s3cret")

    def use(code: Annotated[str, AfterValidator(raising(Mute()))]) -> None: ...

    use.__annotations__["code"] = Annotated[str, AfterValidator(raising(Mute()))]
    assert refused(from_function(use), {"code": "x"}) == "could not be checked."


@promise("call:validate")
def test_a_serialiser_that_fails_leaves_what_the_model_wrote() -> None:
    from pydantic import PlainSerializer

    class Odd(BaseModel):
        model_config = ConfigDict(extra="forbid")
        code: Annotated[str, PlainSerializer(raising(RuntimeError("s3cret")))]

    assert accepted(from_model(Odd), {"code": "x"}).effective == {"code": "x"}


# -- the message


@promise("call:validate")
def test_a_message_shows_five_faults_and_six_hundred_characters() -> None:
    def many(a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> None: ...

    result = check(from_function(many), dict.fromkeys("abcdefg", "x" * 500))
    assert isinstance(result, Invalid)
    assert len(result.faults) == 7
    assert len(result.message) <= 600
    assert result.message.endswith(" And 2 more.")
    assert "f: " not in result.message
    assert "x" * 61 not in result.message


@promise("call:validate")
@pytest.mark.parametrize("reader", [EVERYTHING, RAW], ids=["typed", "raw"])
def test_a_message_stays_short_whatever_came(reader: ArgumentReader) -> None:
    result = check(
        reader, {"x" * 5000: 1, "flag": "y" * 5000, "size": {"z" * 5000: [1] * 5000}, "numbers": ["q"] * 500}
    )
    assert isinstance(result, Invalid)
    assert len(result.message) <= 600
    assert all(len(fault.message) <= 200 for fault in result.faults)
    assert "pydantic" not in result.message


@promise("call:json")
@pytest.mark.parametrize("reader", [EVERYTHING, RAW, SEARCH, from_model(Size)], ids=["all", "raw", "search", "model"])
@given(text=st.text() | st.text(st.sampled_from('{}[]":,\\u0123456789eE-NaInf'), max_size=40))
def test_no_text_ever_raises(reader: ArgumentReader, text: str) -> None:
    assert isinstance(validate(reader, text, tool="t"), (Validated, Invalid))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*EVERYTHING.schema["properties"], "unknown"])


@promise("call:validate")
@pytest.mark.parametrize("reader", [EVERYTHING, RAW], ids=["typed", "raw"])
@given(arguments=st.dictionaries(names, json_values, max_size=4))
def test_whatever_object_comes_is_accepted_as_json_or_refused_in_words(reader: ArgumentReader, arguments: Any) -> None:
    result = check(reader, arguments)
    if isinstance(result, Invalid):
        assert len(result.message) <= 600
    else:
        json.dumps(result.effective, allow_nan=False)


@promise("call:json")
def test_arguments_at_the_greatest_depth_pass_every_reader() -> None:
    def deep(value: Any) -> None: ...

    text = '{"value":' + "[" * 199 + "]" * 199 + "}"
    parsed = parse(text)
    for reader in (from_function(deep), from_json_schema({"type": "object", "properties": {"value": {}}})):
        assert accepted(reader, text).effective == getattr(parsed, "data", None)
