"""Gemini's `parameters`: an OpenAPI subset without references. What does not fit goes as `parametersJsonSchema`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolrail.dialects.compiled import Compiled, JsonDict
from toolrail.dialects.normal import Normal, recursive_names, target
from toolrail.dialects.shapes import disjoint, is_plain_pattern, merged, type_of, values_of, without_single
from toolrail.dialects.vocabulary import BARE, is_annotation, one_or_more
from toolrail.dialects.words import describe

_NUMBERS = ("minimum", "maximum")
_KEPT = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "integer": (*_NUMBERS, "format"),
    "number": (*_NUMBERS, "format"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}
_MOVED = {
    "integer": ("exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("uniqueItems",),
}
_FORMATS = {
    "string": frozenset({"date-time"}),
    "integer": frozenset({"int32", "int64"}),
    "number": frozenset({"float", "double"}),
}
_MAX_NODES = 5_000


def compile_gemini(normal: Normal, plain: Compiled) -> Compiled:
    """The `parameters` form, or the plain schema in the `parametersJsonSchema` form with the reasons."""
    writer = _Writer(normal, recursive_names(normal))
    root = {key: value for key, value in plain.schema.items() if key != "$defs"}
    schema = writer.write(root, "")
    moved = tuple(dict.fromkeys((*plain.moved, *writer.moved)))
    reasons = tuple(dict.fromkeys((*plain.reasons, *writer.reasons)))
    if writer.reasons:
        return Compiled(
            plain.schema, False, moved=plain.moved, reasons=reasons, dialect="gemini", form="parametersJsonSchema"
        )
    return Compiled(schema, False, moved=moved, reasons=reasons, dialect="gemini")


@dataclass(slots=True)
class _Writer:
    """Writes one document without references, and keeps the books."""

    normal: Normal
    recursive: frozenset[str]
    moved: list[str] = field(default_factory=list[str])
    reasons: list[str] = field(default_factory=list[str])
    nodes: int = 0

    def no(self, path: str, reason: str) -> JsonDict:
        self.reasons.append(f"{path}: {reason}" if path else reason)
        return {}

    def write(self, node: JsonDict, path: str) -> JsonDict:
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            return self.no("", "too large without references")
        node = without_single(node)
        if "$ref" in node:
            return self.inlined(node, path)
        if refused := sorted(BARE & set(node)):
            return self.no(path, f"{', '.join(refused)} has no form in parameters")
        if "anyOf" in node or "oneOf" in node:
            return self.union(node, path)
        return self.typed(node, path)

    def inlined(self, node: JsonDict, path: str) -> JsonDict:
        if node["$ref"] in self.recursive:
            return self.no(path, "refers to itself")
        rest = {key: value for key, value in node.items() if key != "$ref"}
        both = merged(rest, target(self.normal, node["$ref"]))
        return (
            self.no(path, "$ref beside constraints has no form in parameters")
            if both is None
            else self.write(both, path)
        )

    def union(self, node: JsonDict, path: str) -> JsonDict:
        key = "anyOf" if "anyOf" in node else "oneOf"
        if any(not is_annotation(name) for name in node if name != key):
            return self.no(path, f"{key} beside other constraints has no form in parameters")
        branches: list[JsonDict] = node[key]
        pairs = ((left, right) for i, left in enumerate(branches) for right in branches[i + 1 :])
        if key == "oneOf" and not all(disjoint(left, right, self.normal) for left, right in pairs):
            self.moved.append(f"{path or 'arguments'}: oneOf")
        outside = {name: value for name, value in node.items() if name != key}
        return self.alternatives(outside, branches, path)

    def alternatives(self, outside: JsonDict, branches: list[JsonDict], path: str) -> JsonDict:
        """`anyOf` may have no siblings there, so what describes the whole goes to each alternative."""
        rest = [each for each in branches if each.get("type") != "null"]
        if not rest:
            return self.no(path, "is always null")
        told = [{**each, **_told(each, outside)} for each in rest]
        written = [each for branch in told for each in _flat(self.write(branch, path))]
        nullable = {"nullable": True} if len(rest) < len(branches) else {}
        if len(written) == 1:
            return {**written[0], **nullable}
        return {"anyOf": [{**each, **nullable} for each in written]}

    def typed(self, node: JsonDict, path: str) -> JsonDict:
        types = _types(node)
        if len(types) > 1 or types == ["null"]:
            inside = {key: value for key, value in node.items() if not is_annotation(key)}
            outside = {key: value for key, value in node.items() if is_annotation(key)}
            return self.alternatives(outside, [{**inside, "type": each} for each in types], path)
        if not types:
            return self.no(path, "takes any value")
        kind = types[0]
        out: JsonDict = {"type": kind}
        words = self.values(node, kind, out, path)
        match kind:
            case "array":
                out["items"] = self.write(node.get("items", {}), f"{path}[]")
            case "object":
                self.fields(node, out, path)
            case _:
                pass
        return self.told(out, node, words, path)

    def values(self, node: JsonDict, kind: str, out: JsonDict, path: str) -> JsonDict:
        """An enum there is a list of strings; others are said in words."""
        values = values_of(node)
        if values is None:
            return {}
        if kind == "string":
            out["enum"] = [value for value in values if isinstance(value, str)]
            if None not in values:
                return {}
            out["nullable"] = "null" in one_or_more(node.get("type", "null"))
            return {}
        self.moved.append(f"{path or 'arguments'}: enum")
        return {"enum": values}

    def fields(self, node: JsonDict, out: JsonDict, path: str) -> None:
        properties: dict[str, JsonDict] = node.get("properties", {})
        if not properties:
            self.no(path, "is an object without fields")
        if isinstance(node.get("additionalProperties"), dict):
            self.no(path, "takes any further fields")
        out["properties"] = {
            name: self.write(each, f"{path}.{name}" if path else name) for name, each in properties.items()
        }
        required: list[str] = node.get("required", [])
        self.moved += [f"{path}.{name}: required".lstrip(".") for name in required if name not in properties]
        if any(name in properties for name in required):
            out["required"] = [name for name in required if name in properties]

    def told(self, out: JsonDict, node: JsonDict, words: JsonDict, path: str) -> JsonDict:
        kind: str = out["type"]
        for key in (*_KEPT.get(kind, ()), *_MOVED.get(kind, ())):
            if key not in node:
                continue
            if key in _KEPT.get(kind, ()) and _says(key, node[key], kind):
                out[key] = node[key]
            elif node[key] is not False:
                words[key] = node[key]
                self.moved.append(f"{path or 'arguments'}: {key}")
        words |= {key: node[key] for key in ("examples", "default") if key in node}
        text = describe(node.get("description"), words)
        title = {"title": node["title"]} if "title" in node else {}
        return {**out, **title, "description": text} if text else {**out, **title}


def _says(key: str, value: Any, kind: str) -> bool:
    match key:
        case "format":
            return value in _FORMATS.get(kind, ())
        case "pattern":
            return is_plain_pattern(value)
        case _:
            return True


def _flat(written: JsonDict) -> list[JsonDict]:
    """Alternatives inside an alternative are alternatives of the whole."""
    return written.get("anyOf", [written])


def _told(branch: JsonDict, outside: JsonDict) -> JsonDict:
    texts = [each["description"] for each in (outside, branch) if each.get("description")]
    rest = {key: value for key, value in outside.items() if key not in ("title", "description", "discriminator")}
    return {**rest, "description": " ".join(texts)} if texts else rest


def _types(node: JsonDict) -> list[str]:
    if "type" in node:
        return one_or_more(node["type"])
    values = values_of(node)
    if values:
        return list(dict.fromkeys(type_of(value) for value in values))
    return ["object"] if "properties" in node else []
