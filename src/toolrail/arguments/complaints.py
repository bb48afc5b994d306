"""What the validators' errors mean in words: one table for Pydantic's error types, one for JSON Schema's keywords."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from toolrail.arguments.faults import MAX_TEXT, any_of, cut, expected, got, unknown

MISSING = "is required and missing"

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's error types for a key that the schema does not have."""

PYDANTIC: Mapping[str, str] = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "an array",
    "tuple_type": "an array",
    "set_type": "an array",
    "frozen_set_type": "an array",
    "iterable_type": "an array",
    "dict_type": "an object",
    "mapping_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dataclass_type": "an object",
    "none_required": "null",
    "date_type": "a date such as '2026-01-31'",
    "date_parsing": "a date such as '2026-01-31'",
    "date_from_datetime_parsing": "a date such as '2026-01-31'",
    "date_from_datetime_inexact": "a date such as '2026-01-31'",
    "date_past": "a date in the past",
    "date_future": "a date in the future",
    "datetime_type": "a date and time such as '2026-01-31T12:00:00Z'",
    "datetime_parsing": "a date and time such as '2026-01-31T12:00:00Z'",
    "datetime_from_date_parsing": "a date and time such as '2026-01-31T12:00:00Z'",
    "datetime_object_invalid": "a date and time such as '2026-01-31T12:00:00Z'",
    "datetime_past": "a time in the past",
    "datetime_future": "a time in the future",
    "timezone_naive": "a date and time without an offset",
    "timezone_aware": "a date and time with an offset, such as '2026-01-31T12:00:00Z'",
    "time_type": "a time such as '12:30:00'",
    "time_parsing": "a time such as '12:30:00'",
    "time_delta_type": "a duration such as 'PT1H30M'",
    "time_delta_parsing": "a duration such as 'PT1H30M'",
    "uuid_type": "a UUID",
    "uuid_parsing": "a UUID",
    "url_type": "a URL",
    "url_parsing": "a URL",
    "url_syntax_violation": "a URL",
    "decimal_type": "a decimal number",
    "decimal_parsing": "a decimal number",
    "finite_number": "a finite number",
    "bytes_type": "a string",
    "int_parsing_size": "a smaller integer",
}
"""What Pydantic's error types want, where the type alone says it."""

PYDANTIC_LIMITS: Mapping[str, str] = {
    "greater_than": "{noun} > {gt}",
    "greater_than_equal": "{noun} >= {ge}",
    "less_than": "{noun} < {lt}",
    "less_than_equal": "{noun} <= {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "a string of {min_length} or more characters",
    "string_too_long": "a string of {max_length} or fewer characters",
    "string_pattern_mismatch": "a string that matches {pattern}",
    "bytes_too_short": "{min_length} or more bytes",
    "bytes_too_long": "{max_length} or fewer bytes",
    "too_short": "{min_length} or more items",
    "too_long": "{max_length} or fewer items",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "url_scheme": "a URL with scheme {expected_schemes}",
    "url_too_long": "a URL of {max_length} or fewer characters",
    "decimal_max_digits": "{max_digits} or fewer digits",
    "decimal_max_places": "{decimal_places} or fewer decimal places",
    "decimal_whole_digits": "{whole_digits} or fewer digits before the point",
    "union_tag_invalid": "{discriminator} to be one of {expected_tags}",
    "union_tag_not_found": "an object with {discriminator}",
}
"""What they want, with the limit that the error carries."""


def pydantic_text(error: Mapping[str, Any], *, known: Iterable[str], types: Collection[str]) -> str:
    """The words for one of Pydantic's errors.

    Args:
        known: the keys that are allowed where an unknown one came.
        types: the JSON types that the schema names at the place of the error.
    """
    kind, value = str(error["type"]), error.get("input")
    context: Mapping[str, Any] = error.get("ctx") or {}
    if kind == "missing" or kind == "missing_argument":
        return MISSING
    if kind in UNKNOWN_KEY:
        return unknown(str(error["loc"][-1]), known)
    if kind in PYDANTIC:
        return expected(PYDANTIC[kind], value)
    if kind in PYDANTIC_LIMITS:
        limits = {name: cut(str(limit), 100) for name, limit in context.items()}
        return expected(PYDANTIC_LIMITS[kind].format_map({"noun": noun(types), **limits}), value)
    if kind in ("value_error", "assertion_error"):
        return cut(str(context.get("error")) or "is not valid", MAX_TEXT)
    return cut(f"{error['msg']}, got {got(value)}", MAX_TEXT)


def noun(types: Collection[str]) -> str:
    """What a value with a limit is, by its schema's types."""
    if "number" in types:
        return "a number"
    return "an integer" if "integer" in types else "a value"


_TYPES = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}

_FORMATS = {
    "date": PYDANTIC["date_type"],
    "date-time": PYDANTIC["datetime_type"],
    "time": "a time such as '12:30:00Z'",
    "duration": PYDANTIC["time_delta_type"],
    "uuid": PYDANTIC["uuid_type"],
    "uri": PYDANTIC["url_type"],
    "email": "an email address",
}

_KEYWORDS: Mapping[str, str] = {
    "minimum": "{noun} >= {limit}",
    "maximum": "{noun} <= {limit}",
    "exclusiveMinimum": "{noun} > {limit}",
    "exclusiveMaximum": "{noun} < {limit}",
    "multipleOf": "a multiple of {multiple_of}",
    "minLength": "a string of {limit} or more characters",
    "maxLength": "a string of {limit} or fewer characters",
    "pattern": "a string that matches {pattern}",
    "minItems": "{limit} or more items",
    "maxItems": "{limit} or fewer items",
    "minProperties": "{limit} or more keys",
    "maxProperties": "{limit} or fewer keys",
    "uniqueItems": "items that are all different",
    "const": "{expected_value}",
}
"""What a failed keyword wants, with the limit that the error carries."""


def json_schema_text(keyword: str, limits: Mapping[str, Any], *, value: Any, types: Collection[str], said: str) -> str:
    """The words for one failed keyword of a JSON Schema.

    Args:
        limits: what the error carries of the keyword.
        types: the JSON types that the schema names at the place of the error.
        said: the validator's own words, for keywords that this table does not have.
    """
    if keyword == "type":
        names: list[str] = limits["types"]
        return expected(any_of([_TYPES.get(name, name) for name in names]), value)
    if keyword == "enum":
        options = [json.dumps(option, ensure_ascii=False) for option in limits["options"]]
        return expected(cut(any_of(options), 100), value)
    if keyword == "format":
        return expected(_FORMATS.get(limits["format"], f"the format {limits['format']}"), value)
    if keyword in _KEYWORDS:
        shown = {name: cut(str(limit), 100) for name, limit in limits.items()}
        return expected(_KEYWORDS[keyword].format_map({"noun": noun(types), **shown}), value)
    return cut(said, MAX_TEXT)
