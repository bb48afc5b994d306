"""Older drafts of JSON Schema said in today's keywords, without the forms that providers refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from toolrail.dialects.compiled import JsonDict
from toolrail.dialects.vocabulary import (
    MANY,
    NAMED,
    ONE,
    each_schema,
    is_annotation,
    is_dict,
    is_list,
    map_subschemas,
    one_or_more,
)

_REF_SIBLINGS_COUNT = ("2019-09", "2020-12")


def draft_of(schema: Mapping[Any, Any]) -> str:
    """The draft that `$schema` names, by its number or year; 2020-12 where it names none."""
    uri = schema.get("$schema")
    found = re.search(r"draft-?0?\d+|20\d\d-\d\d", uri) if isinstance(uri, str) else None
    return found.group() if found else "2020-12"


def upgraded(schema: JsonDict, draft: str) -> JsonDict:
    """Say the older drafts' keywords in today's. Tolerant: what has the wrong shape is left for the check."""
    siblings_count = draft in _REF_SIBLINGS_COUNT
    return _walk_all(schema, lambda node: _upgrade_node(node, siblings_count=siblings_count))


def _upgrade_node(node: JsonDict, *, siblings_count: bool) -> JsonDict:
    if isinstance(node.get("$ref"), str) and not siblings_count:
        kept = ("$ref", "$defs", "definitions")
        node = {key: value for key, value in node.items() if key in kept or is_annotation(key)}
    out = dict(node)
    if isinstance(out.get("items"), list):
        out["prefixItems"] = out.pop("items")
        if "additionalItems" in out:
            out["items"] = out["additionalItems"]
    out.pop("additionalItems", None)
    _split_dependencies(out)
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(out.get(exclusive), bool):
            is_exclusive = out.pop(exclusive)
            if is_exclusive and limit in out:
                out[exclusive] = out.pop(limit)
    return _without_traps(out)


def _split_dependencies(node: JsonDict) -> None:
    dependencies = node.pop("dependencies", None)
    if not is_dict(dependencies):
        return
    names = {key: value for key, value in dependencies.items() if is_list(value)}
    schemas = {key: value for key, value in dependencies.items() if not is_list(value)}
    if names:
        node.setdefault("dependentRequired", names)
    if schemas:
        node.setdefault("dependentSchemas", schemas)


def _without_traps(node: JsonDict) -> JsonDict:
    """What is valid, but refused by a provider: boolean schemas, arrays without items, an empty enum, double names."""
    out = map_subschemas(_plain_booleans(node), lambda child: child)
    if "array" in one_or_more(out.get("type")) and "items" not in out:
        out["items"] = {}
    if out.get("enum") == []:
        out["not"] = {}
        del out["enum"]
    if isinstance(out.get("required"), list) and all(isinstance(name, str) for name in out["required"]):
        out["required"] = list(dict.fromkeys(out["required"]))
    return out


def _plain_booleans(node: JsonDict) -> JsonDict:
    out: JsonDict = {}
    for key, value in node.items():
        if key in ONE and key not in ("additionalProperties", "unevaluatedProperties", "unevaluatedItems"):
            out[key] = _plain_boolean(value)
        elif key in MANY and is_list(value):
            out[key] = [_plain_boolean(each) for each in value]
        elif (key in NAMED or key in ("$defs", "definitions")) and is_dict(value):
            out[key] = {name: _plain_boolean(each) for name, each in value.items()}
        else:
            out[key] = value
    return out


def _plain_boolean(value: Any) -> Any:
    return {} if value is True else {"not": {}} if value is False else value


def _walk_all(node: JsonDict, change: Callable[[JsonDict], JsonDict]) -> JsonDict:
    """Apply `change` to a schema and all below it, definitions too, the outer one first."""
    out = map_subschemas(change(node), lambda child: _walk_all(child, change))
    for key in ("$defs", "definitions"):
        if is_dict(out.get(key)):
            out[key] = {
                name: each_schema(each, lambda child: _walk_all(child, change)) for name, each in out[key].items()
            }
    return out
