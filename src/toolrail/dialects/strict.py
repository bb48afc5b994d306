"""The strict subsets of OpenAI and Anthropic: a schema that the provider enforces while the model writes.

Sound by construction: what is valid under the strict schema, with the nulls that it added dropped, is valid under the
original, except for the constraints named in `moved`. Where that cannot be kept, the result is a reason, not a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolrail.dialects.compiled import Compiled, Dialect, JsonDict
from toolrail.dialects.limits import over_openai_limits
from toolrail.dialects.normal import Normal, recursive_names, target
from toolrail.dialects.shapes import disjoint, is_plain_pattern, merged, type_of, types_of, values_of, without_single
from toolrail.dialects.vocabulary import BARE, is_annotation, references
from toolrail.dialects.words import describe

_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_BY_TYPE = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "integer": _NUMBERS,
    "number": _NUMBERS,
    "array": ("minItems", "maxItems", "uniqueItems"),
    "object": ("minProperties", "maxProperties"),
}
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_MAX_INLINED = 2_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What one provider's strict subset can say."""

    keeps: frozenset[str]
    formats: frozenset[str]
    all_required: bool
    """Every property must be required: an optional one becomes a union with null."""
    recursion: bool


OPENAI = Rules(
    keeps=frozenset({*_NUMBERS, "pattern", "format", "minItems", "maxItems"}),
    formats=_FORMATS,
    all_required=True,
    recursion=True,
)
ANTHROPIC = Rules(
    keeps=frozenset({"format", "minItems"}), formats=_FORMATS | {"uri"}, all_required=False, recursion=False
)


def compile_strict(normal: Normal, plain: Compiled, *, dialect: Dialect) -> Compiled:
    """The strict form, or `plain` with the reasons why there is none."""
    rules = OPENAI if dialect == "openai_strict" else ANTHROPIC
    writer = _Writer(normal, rules, recursive_names(normal))
    schema = writer.document()
    reasons = [*plain.reasons, *writer.reasons]
    if not reasons and rules is OPENAI:
        reasons += over_openai_limits(schema)
    if reasons:
        return _not_strict(plain, tuple(dict.fromkeys(reasons)), dialect=dialect)
    nulls, moved = frozenset(writer.nulls), tuple(dict.fromkeys(writer.moved))
    return Compiled(schema, True, nulls, moved, dialect=dialect, fallback=plain)


def _not_strict(plain: Compiled, reasons: tuple[str, ...], *, dialect: Dialect) -> Compiled:
    return Compiled(plain.schema, False, moved=plain.moved, reasons=reasons, dialect=dialect)


@dataclass(slots=True)
class _Writer:
    """Writes one strict document and keeps the books: what moved, what cannot be said, where null was added."""

    normal: Normal
    rules: Rules
    recursive: frozenset[str]
    moved: list[str] = field(default_factory=list[str])
    reasons: list[str] = field(default_factory=list[str])
    nulls: list[str] = field(default_factory=list[str])
    inlined: int = 0

    def document(self) -> JsonDict:
        if self.recursive and not self.rules.recursion:
            return self.no("", "refers to itself")
        root = self.root()
        if root.get("type") != "object":
            return self.no("", "the root is not one object")
        out = self.object(root, "", root=True)
        defs = self.definitions(out)
        return {**out, "$defs": defs} if defs else out

    def definitions(self, out: JsonDict) -> JsonDict:
        """Those that the written document still points to, in the schema's own order."""
        defs: JsonDict = {}
        todo = list(references(out))
        while todo:
            name = todo.pop().removeprefix("#/$defs/")
            if name != "#" and name not in defs:
                defs[name] = self.write(self.normal.defs[name], f"$defs.{name}")
                todo.extend(references(defs[name]))
        return {name: defs[name] for name in self.normal.defs if name in defs}

    def root(self) -> JsonDict:
        """The root itself, behind references and lists of one."""
        root = self.simple(self.normal.root, "")
        for _ in range(8):
            if "$ref" not in root or root["$ref"] == "#":
                break
            root = self.simple({**target(self.normal, root["$ref"])}, "")
        return {**root, "type": "object"} if all(is_annotation(key) for key in root) else _with_type(root)

    def no(self, path: str, reason: str) -> JsonDict:
        """Give up on strictness, with the reason, and go on: the other reasons help, too."""
        self.reasons.append(f"{path}: {reason}" if path else reason)
        return {}

    def write(self, node: JsonDict, path: str) -> JsonDict:
        node = _with_type(self.simple(node, path))
        if refused := sorted(BARE & set(node)):
            return self.no(path, f"{', '.join(refused)} has no strict form")
        if "$ref" in node:
            return self.reference(node, path)
        if "anyOf" in node or "oneOf" in node:
            return self.union(node, path)
        match node.get("type"):
            case None:
                return self.no(path, "takes any value")
            case [*types] if len(types) != 1 and {"object", "array"} & set(types):
                return self.union(_split(node, types), path)
            case "object" | ["object"]:
                return self.object(node, path)
            case "array" | ["array"]:
                return self.array(node, path)
            case _:
                return self.scalar(node, path)

    def simple(self, node: JsonDict, path: str) -> JsonDict:
        """Lists of one merged, and a reference with siblings replaced by both in one."""
        node = without_single(node)
        if "$ref" not in node or not set(node) - {"$ref", "title", "examples", "deprecated"}:
            return node
        ref = node["$ref"]
        rest = {key: value for key, value in node.items() if key != "$ref"}
        if ref in self.recursive:
            return node if not set(rest) - {"title", "description", "default"} else {"allOf": [{"$ref": ref}, rest]}
        self.inlined += 1
        both = merged(rest, target(self.normal, ref)) if self.inlined < _MAX_INLINED else None
        return {"allOf": [{"$ref": ref}, rest]} if both is None else self.simple(both, path)

    def reference(self, node: JsonDict, path: str) -> JsonDict:
        """A reference may have no siblings: a description goes around it."""
        alone = {"$ref": node["$ref"]}
        return self.told({"anyOf": [alone]}, node, path) if {"description", "default"} & set(node) else alone

    def union(self, node: JsonDict, path: str) -> JsonDict:
        key = "anyOf" if "anyOf" in node else "oneOf"
        branches: list[JsonDict] = node[key]
        if any(not is_annotation(name) for name in node if name != key):
            return self.no(path, f"{key} beside other constraints has no strict form")
        if key == "oneOf" and not _all_disjoint(branches, self.normal):
            return self.no(path, "oneOf with alternatives that may overlap has no strict form")
        return self.told({"anyOf": [self.write(each, path) for each in branches]}, node, path)

    def scalar(self, node: JsonDict, path: str) -> JsonDict:
        values = values_of(node) or []
        if any(isinstance(value, (list, dict)) for value in values):
            return self.no(path, "an enum of lists or objects has no strict form")
        kept = {key: node[key] for key in ("type", "enum", "const") if key in node}
        return self.told(kept, node, path)

    def array(self, node: JsonDict, path: str) -> JsonDict:
        if "enum" in node or "const" in node:
            return self.no(path, "an enum of lists or objects has no strict form")
        return self.told({"type": "array", "items": self.write(node.get("items", {}), f"{path}[]")}, node, path)

    def object(self, node: JsonDict, path: str, *, root: bool = False) -> JsonDict:
        properties: dict[str, JsonDict] = node.get("properties", {})
        required: list[str] = node.get("required", [])
        if any(key in node for key in ("enum", "const", "anyOf", "oneOf", *BARE)):
            return self.no(path, "an object with further conditions has no strict form")
        if node.get("additionalProperties", False) is not False or not (properties or root or _closed(node)):
            return self.no(path, "takes any further fields")
        if any(name not in properties for name in required):
            return self.no(path, "requires a field that it does not describe")
        nested = not root or "#" in set(references(self.normal.root)) | _defs_references(self.normal)
        written = {
            name: self.property(name, each, path, optional=name not in required, nested=nested)
            for name, each in properties.items()
        }
        names = list(written) if self.rules.all_required else [name for name in written if name in required]
        return self.told(
            {"type": "object", "properties": written, "required": names, "additionalProperties": False}, node, path
        )

    def property(self, name: str, schema: JsonDict, path: str, *, optional: bool, nested: bool) -> JsonDict:
        where = f"{path}.{name}" if path else name
        out = self.write(schema, where)
        if not optional or not self.rules.all_required or not out:
            return out
        schema = self.simple(schema, where)
        if "null" in types_of(schema, self.normal):
            return out if self.null_is_default(schema, where) else {}
        if nested:
            return self.no(where, "is optional inside another object, where an added null could not be told apart")
        self.nulls.append(name)
        return _or_null(out)

    def null_is_default(self, schema: JsonDict, path: str) -> bool:
        """Where null is a value of the caller's own, it must mean what leaving the argument out means."""
        default = schema.get("default", _MISSING)
        if default is None:
            return True
        missing = default is _MISSING
        self.no(
            path,
            "allows null, " + ("and leaving it out may mean another thing" if missing else "but has another default"),
        )
        return False

    def told(self, out: JsonDict, node: JsonDict, path: str) -> JsonDict:
        """Add what the subset can say of the rest, and put the other constraints into the description."""
        words: JsonDict = {}
        for key in _constraints(out):
            if key in node and self.keeps(key, node[key]):
                out[key] = node[key]
            elif key in node and not _empty(key, node[key]):
                words[key] = node[key]
                self.moved.append(f"{path or 'arguments'}: {key}")
        words |= {key: node[key] for key in ("examples", "default") if key in node}
        text = describe(node.get("description"), words)
        return {**out, "description": text} if text else out

    def keeps(self, key: str, value: Any) -> bool:
        match key:
            case "format":
                return value in self.rules.formats
            case "pattern":
                return key in self.rules.keeps and is_plain_pattern(value)
            case "minItems" if self.rules is ANTHROPIC:
                return value in (0, 1)
            case _:
                return key in self.rules.keeps


_MISSING = object()


def _constraints(out: JsonDict) -> list[str]:
    """The constraints that have a meaning for the type, so that a needless one is not sent."""
    types: list[str] = out["type"] if isinstance(out.get("type"), list) else [out.get("type", "")]
    return list(dict.fromkeys(key for each in types for key in _BY_TYPE.get(each, ())))


def _empty(key: str, value: Any) -> bool:
    return (key in ("minLength", "minItems", "minProperties") and value == 0) or (key == "uniqueItems" and not value)


def _with_type(node: JsonDict) -> JsonDict:
    """The type that a schema leaves to be understood, from its values or its properties."""
    if "type" in node or any(key in node for key in ("$ref", "anyOf", "oneOf", "allOf")):
        return node
    values = values_of(node)
    if values:
        types = list(dict.fromkeys(type_of(value) for value in values))
        return {**node, "type": types[0] if len(types) == 1 else types}
    if "properties" in node:
        return {**node, "type": "object"}
    return node


def _split(node: JsonDict, types: list[str]) -> JsonDict:
    """One alternative per type; what only tells stays outside."""
    outside = {key: value for key, value in node.items() if is_annotation(key)}
    inside = {key: value for key, value in node.items() if not is_annotation(key)}
    return {"anyOf": [{**inside, "type": each} for each in types], **outside}


def _closed(node: JsonDict) -> bool:
    return node.get("additionalProperties") is False


def _all_disjoint(branches: list[JsonDict], normal: Normal) -> bool:
    pairs = ((left, right) for i, left in enumerate(branches) for right in branches[i + 1 :])
    return all(disjoint(left, right, normal) for left, right in pairs)


def _or_null(out: JsonDict) -> JsonDict:
    """The schema or null, and the description says what null does."""
    text = f"{out.get('description', '')} (null to leave out)".strip()
    rest = {key: value for key, value in out.items() if key != "description"}
    if set(rest) == {"anyOf"}:
        return {"anyOf": [*rest["anyOf"], {"type": "null"}], "description": text}
    if isinstance(rest.get("type"), str) and rest["type"] not in ("object", "array") and "const" not in rest:
        enum = {"enum": [*rest["enum"], None]} if "enum" in rest else {}
        return {**rest, "type": [rest["type"], "null"], **enum, "description": text}
    return {"anyOf": [rest, {"type": "null"}], "description": text}


def _defs_references(normal: Normal) -> set[str]:
    return {ref for each in normal.defs.values() for ref in references(each)}
