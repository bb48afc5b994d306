"""Questions about a normal schema that several dialects ask: types, null, disjoint alternatives, lossless merges."""

from __future__ import annotations

import json
import re
from typing import Any

from toolrail.dialects.compiled import JsonDict
from toolrail.dialects.normal import Normal, target
from toolrail.dialects.vocabulary import is_annotation, is_dict, is_list, one_or_more

TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
_MAX_LOOK = 8

# Keywords whose meaning hangs on their neighbours: two schemas that both use one group cannot be merged.
_GROUPS = (
    frozenset({"properties", "patternProperties", "additionalProperties", "unevaluatedProperties"}),
    frozenset({"items", "prefixItems", "unevaluatedItems"}),
    frozenset({"contains", "minContains", "maxContains"}),
    frozenset({"if", "then", "else"}),
)


def merged(outer: JsonDict, inner: JsonDict) -> JsonDict | None:
    """Both schemas as one, where that changes no meaning; the outer one's annotations win. Otherwise None."""
    constraints = {key for key in outer if not is_annotation(key)}
    others = {key for key in inner if not is_annotation(key)}
    clash = {key for key in constraints & others if not same(outer[key], inner[key]) or key not in _REPEATABLE}
    if clash or any(constraints & group and others & group for group in _GROUPS):
        return None
    if any(key.startswith("unevaluated") for key in constraints | others):
        return None
    return {**inner, **outer}


_REPEATABLE = frozenset({"type", "format", "pattern"})


def without_single(schema: JsonDict) -> JsonDict:
    """An `allOf`, `anyOf` or `oneOf` of one item is that item, where it can be merged."""
    for key in ("allOf", "anyOf", "oneOf"):
        if len(schema.get(key, ())) == 1:
            rest = {name: value for name, value in schema.items() if name != key}
            both = merged(rest, schema[key][0])
            if both is not None:
                return without_single(both)
    return schema


def same(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1, and 1 is 1.0."""
    return value_key(left) == value_key(right)


def value_key(value: Any) -> str:
    """Equal for equal JSON values."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if is_list(value):
        return "[" + ",".join(value_key(each) for each in value) + "]"
    if is_dict(value):
        pairs = sorted((json.dumps(key), value_key(each)) for key, each in value.items())
        return "{" + ",".join(f"{key}:{each}" for key, each in pairs) + "}"
    return json.dumps(value)


def types_of(schema: JsonDict, normal: Normal, *, look: int = _MAX_LOOK) -> frozenset[str]:
    """The types a value may have: never too few. `number` stands for integers, too."""
    found = frozenset(TYPES)
    if isinstance(schema.get("$ref"), str):
        found &= types_of(target(normal, schema["$ref"]), normal, look=look - 1) if look else found
    if "type" in schema:
        found &= _widened(one_or_more(schema["type"]))
    if "enum" in schema or "const" in schema:
        found &= _widened([type_of(value) for value in values_of(schema) or ()])
    for key in ("anyOf", "oneOf"):
        if key in schema and look:
            found &= frozenset().union(*(types_of(each, normal, look=look - 1) for each in schema[key]))
    return found


def type_of(value: Any) -> str:
    """The JSON type of a value; 5.0 is a number."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def values_of(schema: JsonDict) -> list[Any] | None:
    """The values that `enum` and `const` allow, or None where they do not limit them."""
    if "const" in schema:
        return [schema["const"]]
    return schema.get("enum")


def disjoint(left: JsonDict, right: JsonDict, normal: Normal, *, look: int = 3) -> bool:
    """Whether it is certain that no value is valid under both."""
    left, right = _followed(left, normal), _followed(right, normal)
    shared = types_of(left, normal) & types_of(right, normal)
    if not shared:
        return True
    ours, theirs = values_of(left), values_of(right)
    if ours is not None and theirs is not None:
        return not {value_key(value) for value in ours} & {value_key(value) for value in theirs}
    return shared == frozenset({"object"}) and look > 0 and _told_apart(left, right, normal, look=look)


def _told_apart(left: JsonDict, right: JsonDict, normal: Normal, *, look: int) -> bool:
    """By a property that both require, such as a discriminator."""
    required = [name for name in left.get("required", ()) if name in right.get("required", ())]
    ours, theirs = left.get("properties", {}), right.get("properties", {})
    both = [name for name in required if name in ours and name in theirs]
    return any(disjoint(ours[name], theirs[name], normal, look=look - 1) for name in both)


def _followed(schema: JsonDict, normal: Normal) -> JsonDict:
    for _ in range(_MAX_LOOK):
        if set(schema) != {"$ref"}:
            return schema
        schema = target(normal, schema["$ref"])
    return schema


def _widened(types: list[str]) -> frozenset[str]:
    """`integer` values are `number` values, too (and 5.0 is an integer)."""
    found = frozenset(types)
    return found | {"integer", "number"} if found & {"integer", "number"} else found


def is_plain_pattern(pattern: str) -> bool:
    """Whether every regular expression engine reads it alike: no look-around, nothing that does not compile."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return not re.search(r"\(\?[=!<]", pattern)
