"""Any dict becomes a JSON Schema of draft 2020-12 that is safe to send: a copy, self-contained, valid.

Everything that a later step would trip over is settled here, once: older drafts, references into odd places, values
that are not JSON, parts that are not valid. What had to be left out is named in the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from toolrail.dialects.compiled import JsonDict
from toolrail.dialects.drafts import draft_of, upgraded
from toolrail.dialects.plainjson import copied, not_json
from toolrail.dialects.vocabulary import as_dict, is_dict, is_list, map_subschemas, references

_DROPPED = frozenset(
    {"$schema", "$id", "id", "$comment", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"}
    | {"$defs", "definitions"}
)


@dataclass(frozen=True, slots=True)
class Normal:
    """A self-contained schema: definitions apart, each reference `#` or `#/$defs/NAME`."""

    root: JsonDict
    defs: dict[str, JsonDict]
    reasons: tuple[str, ...] = ()


def normalise(schema: Mapping[Any, Any]) -> Normal:
    """Read any dict as a JSON Schema. Never raises, never mutates; what cannot be read is left out with a reason."""
    problem = not_json(schema)
    if problem:
        return _nothing(problem)
    reading = _Reading(upgraded(copied(schema), draft_of(schema)))
    root = reading.rewrite(reading.document)
    defs = reading.lifted()
    return _checked(Normal(root, defs, tuple(reading.reasons)))


def recursive_names(normal: Normal) -> frozenset[str]:
    """The definitions (and `#`) that can reach themselves."""
    edges = {"#": set(references(normal.root))}
    edges |= {f"#/$defs/{name}": set(references(each)) for name, each in normal.defs.items()}
    return frozenset(start for start in edges if start in _reachable(edges, start))


def target(normal: Normal, ref: str) -> JsonDict:
    """What a reference of a normal schema points to."""
    return normal.root if ref == "#" else normal.defs.get(ref.removeprefix("#/$defs/"), {})


def _reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(edges[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(edges.get(name, ()))
    return seen


def _nothing(reason: str) -> Normal:
    return Normal({"type": "object", "properties": {}}, {}, (reason,))


@dataclass(slots=True)
class _Reading:
    """Rewrites references: each target in use is lifted to `$defs`, wherever it stood; the unused are dropped."""

    document: JsonDict
    names: dict[str, str] = field(default_factory=dict[str, str])
    reasons: list[str] = field(default_factory=list[str])

    def rewrite(self, node: JsonDict) -> JsonDict:
        kept = {key: value for key, value in node.items() if key not in _DROPPED}
        for key in ("$dynamicRef", "$recursiveRef"):
            if key in kept:
                del kept[key]
                self.reasons.append(f"{key} is not followed")
        if "$ref" in kept:
            self._point(kept)
        return map_subschemas(kept, self.rewrite)

    def lifted(self) -> dict[str, JsonDict]:
        defs: dict[str, JsonDict] = {}
        todo = list(self.names)
        while todo:
            for pointer in todo:
                found = _resolve(self.document, pointer)
                defs[self.names[pointer]] = self.rewrite(as_dict(found))
            todo = [pointer for pointer in self.names if self.names[pointer] not in defs]
        return defs

    def _point(self, node: JsonDict) -> None:
        ref = node.pop("$ref")
        if ref == "#":
            node["$ref"] = ref
        elif isinstance(ref, str) and is_dict(_resolve(self.document, ref)):
            node["$ref"] = f"#/$defs/{self._name(ref)}"
        else:
            self.reasons.append("a $ref points outside the schema and is not followed")

    def _name(self, pointer: str) -> str:
        if pointer not in self.names:
            base = re.sub(r"[^A-Za-z0-9_.-]", "_", unquote(pointer).rsplit("/", 1)[-1])[:64] or "definition"
            name, count = base, 2
            while name in self.names.values():
                name, count = f"{base}_{count}", count + 1
            self.names[pointer] = name
        return self.names[pointer]


def _resolve(document: Any, pointer: str) -> Any:
    """The value at a local JSON pointer, or None."""
    if not pointer.startswith("#/"):
        return None
    value = document
    for part in unquote(pointer[2:]).split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if is_list(value) and re.fullmatch(r"[0-9]{1,6}", key):
            value = next(iter(value[int(key) :]), None)
        else:
            value = value.get(key) if is_dict(value) else None
    return value


def _checked(normal: Normal) -> Normal:
    """Keep what is valid under 2020-12: all of it, else argument by argument, else nothing."""
    if _valid({**normal.root, "$defs": normal.defs}):
        return normal
    reasons = list(normal.reasons)
    defs = {name: each if _valid(each) else {} for name, each in normal.defs.items()}
    reasons += [f"$defs.{name}: not a valid JSON Schema" for name in defs if not _valid(normal.defs[name])]
    root = dict(normal.root)
    if is_dict(root.get("properties")):
        root["properties"] = {name: _salvage(name, each, reasons) for name, each in root["properties"].items()}
    if _valid(root):
        return Normal(root, defs, tuple(reasons))
    bare = {"type": "object"} | {key: root[key] for key in ("properties", "required", "description") if key in root}
    reasons.append("not a valid JSON Schema")
    return Normal(bare, defs, tuple(reasons)) if _valid(bare) else _nothing(reasons[-1])


def _salvage(name: str, schema: Any, reasons: list[str]) -> JsonDict:
    if is_dict(schema) and _valid(schema):
        return schema
    reasons.append(f"{name}: not a valid JSON Schema")
    description = as_dict(schema).get("description")
    return {"description": description} if isinstance(description, str) else {}


def _valid(schema: JsonDict) -> bool:
    import jsonschema_rs  # 0.1 s to import: only when a schema is compiled

    return jsonschema_rs.meta.is_valid({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
