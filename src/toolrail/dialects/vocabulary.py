"""The vocabulary of JSON Schema: which keywords hold schemas, which constrain, and how to walk them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from toolrail.dialects.compiled import JsonDict

ONE = frozenset(
    {"additionalProperties", "unevaluatedProperties", "propertyNames", "items", "unevaluatedItems", "contains"}
    | {"not", "if", "then", "else"}
)
"""Keywords whose value is a schema."""
MANY = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
"""Keywords whose value is a list of schemas."""
NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
"""Keywords whose value holds schemas by name."""
BARE = frozenset({"allOf", "not", "if", "then", "else", "prefixItems", "contains", "propertyNames"}) | {
    *("dependentSchemas", "dependentRequired", "patternProperties", "unevaluatedItems", "unevaluatedProperties")
}
"""Keywords that no provider's own subset has."""
_OTHERS = frozenset(
    {"$ref", "type", "enum", "const", "required", "dependentRequired", "format", "pattern", "uniqueItems", "multipleOf"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"}
    | {"minItems", "maxItems", "minContains", "maxContains", "minProperties", "maxProperties"}
)
_CONSTRAINING = ONE | MANY | NAMED | _OTHERS


def is_annotation(key: str) -> bool:
    """Whether a keyword only tells, and does not constrain. Unknown keywords only tell."""
    return key not in _CONSTRAINING


def is_dict(value: object) -> TypeGuard[JsonDict]:
    """`isinstance`, with JSON's type."""
    return isinstance(value, dict)


def as_dict(value: object) -> JsonDict:
    """The value, if it is a dict; else an empty one."""
    return value if is_dict(value) else {}


def is_list(value: object) -> TypeGuard[list[Any]]:
    """`isinstance`, with JSON's type."""
    return isinstance(value, list)


def one_or_more(value: object) -> list[Any]:
    """`type` may be one name or a list of them."""
    return value if is_list(value) else [value]


def subschemas(schema: JsonDict) -> Iterator[tuple[str, JsonDict]]:
    """The direct subschemas, each with the keyword (and name) that holds it."""
    for key, value in schema.items():
        if key in ONE and is_dict(value):
            yield key, value
        elif key in MANY and is_list(value):
            yield from ((key, each) for each in value if is_dict(each))
        elif key in NAMED:
            yield from ((f"{key}/{name}", each) for name, each in as_dict(value).items() if is_dict(each))


def map_subschemas(schema: JsonDict, change: Callable[[JsonDict], JsonDict]) -> JsonDict:
    """A copy with `change` applied to each direct subschema, in the schema's own order."""
    out: JsonDict = {}
    for key, value in schema.items():
        if key in ONE:
            out[key] = each_schema(value, change)
        elif key in MANY and is_list(value):
            out[key] = [each_schema(item, change) for item in value]
        elif key in NAMED and is_dict(value):
            out[key] = {name: each_schema(item, change) for name, item in value.items()}
        else:
            out[key] = value
    return out


def references(schema: JsonDict) -> Iterator[str]:
    """Each `$ref` inside, with repetitions."""
    if isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
    for _, child in subschemas(schema):
        yield from references(child)


def each_schema(value: Any, change: Callable[[JsonDict], JsonDict]) -> Any:
    """`change` applied, if it is a schema and not a boolean or something broken."""
    return change(value) if is_dict(value) else value
