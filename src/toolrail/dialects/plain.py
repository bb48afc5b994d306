"""The dialects that are not strict: full JSON Schema, with a root that every provider accepts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from toolrail.dialects.compiled import Compiled, Dialect, JsonDict
from toolrail.dialects.normal import Normal, target
from toolrail.dialects.shapes import merged, same, without_single
from toolrail.dialects.vocabulary import one_or_more, references
from toolrail.dialects.words import compact, describe

# One name outside this pattern makes Anthropic refuse the whole request.
_ANTHROPIC_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_MAX_FOLDS = 50
_NOT_AT_ROOT = ("not", "enum", "const")


def compile_plain(normal: Normal, *, dialect: Dialect) -> Compiled:
    """The schema as it is, but for its root: one object without alternatives, which are folded into it."""
    folder = _Folder(normal)
    root = folder.fold(normal.root)
    types = root.get("type", "object")
    if "object" not in one_or_more(types):
        reason = "the root is not an object"
        return Compiled({"type": "object", "properties": {}}, False, reasons=(*normal.reasons, reason), dialect=dialect)
    root = folder.tell({**root, "type": "object"})
    schema: JsonDict = {"type": "object", "properties": root.pop("properties", {})} | root
    if dialect in ("anthropic", "anthropic_strict"):
        schema = folder.with_legal_names(schema)
    defs = _reachable(schema, normal)
    reasons = tuple(dict.fromkeys((*normal.reasons, *folder.reasons)))
    return Compiled(
        {**schema, "$defs": defs} if defs else schema,
        False,
        moved=tuple(dict.fromkeys(folder.moved)),
        reasons=reasons,
        dialect=dialect,
    )


@dataclass(slots=True)
class _Folder:
    """Folds references and alternatives at the root into one object that allows all that they allow, or more."""

    normal: Normal
    moved: list[str] = field(default_factory=list[str])
    reasons: list[str] = field(default_factory=list[str])
    words: list[str] = field(default_factory=list[str])
    folds: int = 0

    def fold(self, node: JsonDict) -> JsonDict:
        self.folds += 1
        if self.folds > _MAX_FOLDS:
            self.reasons.append("the root has too many alternatives")
            return {}
        node = without_single(node)
        if "$ref" in node:
            node = self.with_reference(node)
        out = {key: value for key, value in node.items() if key not in ("allOf", "anyOf", "oneOf")}
        for part in node.get("allOf", ()):
            out = self.both(out, self.fold(part))
        for key in ("anyOf", "oneOf"):
            if key in node:
                out = self.either(out, [self.fold(part) for part in node[key]], key)
        return out

    def with_reference(self, node: JsonDict) -> JsonDict:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        found = target(self.normal, node["$ref"])
        if node["$ref"] == "#":
            return rest
        both = merged(rest, found)
        return {"allOf": [found, rest]} if both is None else both

    def both(self, left: JsonDict, right: JsonDict) -> JsonDict:
        """All of the one and of the other. Where both have a say on further fields, neither keeps it."""
        out = {**right, **left}
        if left and right and {"additionalProperties", "unevaluatedProperties"} & set(out):
            for key in ("additionalProperties", "unevaluatedProperties"):
                out.pop(key, None)
            self.moved.append("arguments: additionalProperties")
        if "properties" in left and "properties" in right:
            out["properties"] = _joined(left["properties"], right["properties"], "allOf")
        if "required" in left or "required" in right:
            out["required"] = list(dict.fromkeys([*left.get("required", ()), *right.get("required", ())]))
        return out

    def either(self, outer: JsonDict, parts: list[JsonDict], key: str) -> JsonDict:
        """All fields of all alternatives, none required but what all require; which go together is said in words."""
        self.moved.append(f"arguments: {key}")
        properties: JsonDict = {}
        for part in parts:
            properties = _joined(properties, part.get("properties", {}), "anyOf")
        required = [name for name in parts[0].get("required", ()) if all(name in p.get("required", ()) for p in parts)]
        needs = [" and ".join(part.get("required", ())) or "nothing" for part in parts]
        if len(set(needs)) > 1:
            self.words.append(f"needs {', or '.join(dict.fromkeys(needs))}")
        shared: JsonDict = {"properties": properties} if properties else {}
        return self.both(
            {k: v for k, v in outer.items() if k != "additionalProperties"}, shared | {"required": required}
        )

    def tell(self, root: JsonDict) -> JsonDict:
        """Put into the description what may not stand at the root."""
        refused = {key: root[key] for key in _NOT_AT_ROOT if key in root}
        self.moved += [f"arguments: {key}" for key in refused]
        out = {key: value for key, value in root.items() if key not in refused}
        text = describe(root.get("description"), refused)
        text = " ".join([text, *(f"({words})" for words in self.words)]).strip()
        return {**out, "description": text} if text else out

    def with_legal_names(self, schema: JsonDict) -> JsonDict:
        """Arguments whose names would be refused leave the schema, and are named in its description."""
        properties: JsonDict = schema["properties"]
        bad = [name for name in properties if not _ANTHROPIC_PROPERTY.fullmatch(name)]
        if not bad:
            return schema
        out = {**schema, "properties": {name: each for name, each in properties.items() if name not in bad}}
        out["required"] = [name for name in schema.get("required", ()) if name not in bad]
        out.pop("additionalProperties", None)
        text = "".join(f" (also takes {compact(name)}: {compact(properties[name])})" for name in bad)
        out["description"] = f"{schema.get('description', '')}{text}".strip()
        self.moved += [f"{name}: name" for name in bad]
        self.reasons.append("an argument's name is not allowed by the provider")
        return out


def _joined(left: dict[str, Any], right: dict[str, Any], key: str) -> JsonDict:
    """The fields of both; one that both describe differently is all or any of the two."""
    out = dict(left)
    for name, schema in right.items():
        out[name] = {key: [left[name], schema]} if name in left and not same(left[name], schema) else schema
    return out


def _reachable(schema: JsonDict, normal: Normal) -> JsonDict:
    seen: set[str] = set()
    todo = list(references(schema))
    while todo:
        name = todo.pop().removeprefix("#/$defs/")
        if name in normal.defs and name not in seen:
            seen.add(name)
            todo.extend(references(normal.defs[name]))
    return {name: each for name, each in normal.defs.items() if name in seen}
