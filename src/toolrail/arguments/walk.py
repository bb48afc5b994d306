"""Walking a JSON Schema: its subschemas, and the properties that stand at a path of the data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

Schema = dict[str, Any]

_NAMED = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_IN_PLACE = ("anyOf", "oneOf", "allOf")
_CONDITIONS = ("if", "then", "else")
_CLOSING = ("additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems")
_SINGLE = ("items", "not", "contains", "propertyNames", *_CONDITIONS, *_CLOSING)


def every(schema: Schema) -> Iterator[Schema]:
    """The schema and all below it, definitions too. References are not followed."""
    yield schema
    for _, child in children(schema):
        yield from every(child)


def children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The direct subschemas, each with its property's or definition's name, or an empty one."""
    for key in _NAMED:
        for name, child in as_object(schema.get(key)).items():
            if isinstance(child, dict):
                yield name, cast(Schema, child)
    for key in _LISTED:
        listed = schema.get(key)
        for child in cast("list[Any]", listed) if isinstance(listed, list) else ():
            if isinstance(child, dict):
                yield "", cast(Schema, child)
    for key in _SINGLE:
        child = schema.get(key)
        if isinstance(child, dict):
            yield "", cast(Schema, child)


def as_object(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def in_place(root: Schema, schema: Schema) -> list[Schema]:
    """The schema and all that apply to the same value: local references, branches and conditions."""
    found: list[Schema] = []
    todo = [schema]
    while todo:
        node = todo.pop(0)
        if any(node is seen for seen in found):
            continue
        found.append(node)
        target = resolve(root, node.get("$ref"))
        todo += [target] if target is not None else []
        for key in _IN_PLACE:
            branches = node.get(key)
            todo += (
                [b for b in cast("list[Any]", branches) if isinstance(b, dict)] if isinstance(branches, list) else []
            )
        todo += [cast(Schema, node[key]) for key in _CONDITIONS if isinstance(node.get(key), dict)]
        todo += [cast(Schema, s) for s in as_object(node.get("dependentSchemas")).values() if isinstance(s, dict)]
    return found


def resolve(root: Schema, reference: Any) -> Schema | None:
    """What a local reference, `#` or `#/...`, points to."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    node: Any = root
    for part in reference[1:].split("/")[1:]:
        node = as_object(node).get(part.replace("~1", "/").replace("~0", "~"))
    return cast(Schema, node) if isinstance(node, dict) else None


def names_at(root: Schema, path: tuple[str | int, ...]) -> list[str]:
    """The names of the properties that the schema knows at a path of the data."""
    return list(dict.fromkeys(name for node in nodes_at(root, path) for name in as_object(node.get("properties"))))


def types_at(root: Schema, path: tuple[str | int, ...]) -> set[str]:
    """The JSON types that the schema names at a path of the data."""
    found: set[str] = set()
    for node in nodes_at(root, path):
        named = node.get("type")
        found |= {named} if isinstance(named, str) else set(cast("list[str]", named) if isinstance(named, list) else ())
    return found


def nodes_at(root: Schema, path: tuple[str | int, ...]) -> list[Schema]:
    """All schemas that may apply to the value at a path of the data."""
    nodes = in_place(root, root)
    for step in path:
        below = [child for node in nodes for child in _step(node, step)]
        nodes = [found for child in below for found in in_place(root, child)]
    return nodes


def is_json(value: Any) -> bool:
    """Whether the value can stand in a JSON text: no infinity, no objects of Python."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _step(node: Schema, step: str | int) -> list[Schema]:
    if isinstance(step, str):
        found = as_object(node.get("properties")).get(step, node.get("additionalProperties"))
        return [cast(Schema, found)] if isinstance(found, dict) else []
    prefix = node.get("prefixItems")
    if isinstance(prefix, list) and step < len(cast("list[Any]", prefix)):
        return [cast(Schema, prefix[step])] if isinstance(prefix[step], dict) else []
    items = node.get("items")
    return [cast(Schema, items)] if isinstance(items, dict) else []
