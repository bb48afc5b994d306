"""Constraints and defaults said in words, for descriptions of schemas that cannot say them in JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast


def describe(description: object, constraints: Mapping[str, Any]) -> str:
    """Append the constraints in words.

    Example:
        >>> describe("How many.", {"minimum": 1, "maximum": 20})
        'How many. (from 1 to 20)'
    """
    text = description.strip() if isinstance(description, str) else ""
    added = " ".join(f"({phrase})" for phrase in phrases(constraints))
    return f"{text} {added}".strip()


def phrases(constraints: Mapping[str, Any]) -> list[str]:
    """One phrase per constraint, bounds joined in pairs, in an order that does not depend on the schema's."""
    rest = dict(constraints)
    said = [
        _range(rest.pop("minimum", None), rest.pop("maximum", None), ""),
        _only("more than {}", rest.pop("exclusiveMinimum", None)),
        _only("less than {}", rest.pop("exclusiveMaximum", None)),
        _only("a multiple of {}", rest.pop("multipleOf", None)),
        _range(rest.pop("minLength", None), rest.pop("maxLength", None), "character"),
        _only("matches the pattern {}", rest.pop("pattern", None)),
        _only("format: {}", rest.pop("format", None)),
        _range(rest.pop("minItems", None), rest.pop("maxItems", None), "item"),
        "no item twice" if rest.pop("uniqueItems", False) is True else "",
        _range(rest.pop("minProperties", None), rest.pop("maxProperties", None), "field"),
        _listed("one of", rest.pop("enum", None)),
        _listed("for example", rest.pop("examples", None)),
    ]
    default = [f"default: {compact(rest['default'])}"] if rest.get("default") is not None else []
    rest.pop("default", None)
    other = [f"{key}: {compact(rest[key])}" for key in sorted(rest)]
    return [phrase for phrase in said if phrase] + other + default


def compact(value: object) -> str:
    """JSON text on one line; text without characters that JSON would escape stands as it is in Unicode."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _only(template: str, value: object) -> str:
    return "" if value is None else template.format(value if isinstance(value, str) else compact(value))


def _range(low: Any, high: Any, unit: str) -> str:
    if low is None and high is None:
        return ""
    plural = f" {unit}" if unit and (low if high is None else high) == 1 else f" {unit}s" if unit else ""
    if high is None:
        return f"at least {compact(low)}{plural}"
    if low is None:
        return f"at most {compact(high)}{plural}"
    if low == high:
        return f"exactly {compact(low)}{plural}"
    return f"from {compact(low)} to {compact(high)}{plural}"


def _listed(lead: str, values: object) -> str:
    items = cast("list[object]", values) if isinstance(values, list) else []
    return f"{lead} " + ", ".join(compact(value) for value in items) if items else ""
