"""Sizes that providers refuse: of one strict schema (OpenAI), and of all strict schemas in one request (Anthropic)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolrail.dialects.compiled import Compiled, JsonDict
from toolrail.dialects.vocabulary import subschemas

OPENAI_PROPERTIES = 5_000
OPENAI_LEVELS = 10
OPENAI_CHARACTERS = 120_000
OPENAI_ENUM_VALUES = 1_000
OPENAI_LONG_ENUM = 250
OPENAI_LONG_ENUM_CHARACTERS = 15_000

ANTHROPIC_TOOLS = 20
ANTHROPIC_OPTIONAL = 24
ANTHROPIC_UNIONS = 16


def over_openai_limits(schema: JsonDict) -> list[str]:
    """Why OpenAI would refuse this strict schema for its size; empty when it would not."""
    nodes = list(_nodes(schema))
    names = [name for node in nodes for name in node.get("properties", ())]
    enums = [_values(node) for node in nodes]
    text = [*names, *schema.get("$defs", ()), *(value for values in enums for value in values)]
    long = max((sum(map(_length, each)) for each in enums if len(each) > OPENAI_LONG_ENUM), default=0)
    return [
        f"over {limit:,} {what}"
        for count, limit, what in (
            (len(names), OPENAI_PROPERTIES, "properties"),
            (_levels(schema, schema.get("$defs", {}), {}), OPENAI_LEVELS, "levels"),
            (sum(map(_length, text)), OPENAI_CHARACTERS, "characters in names and enums"),
            (sum(map(len, enums)), OPENAI_ENUM_VALUES, "enum values"),
            (long, OPENAI_LONG_ENUM_CHARACTERS, "characters in one long enum"),
        )
        if count > limit
    ]


def fit_request(tools: Sequence[Compiled]) -> list[Compiled]:
    """Keep one request inside Anthropic's limits: tools past a limit fall back to their plain form, with a reason.

    Earlier tools go first, so that the same tools give the same request byte for byte. Other dialects pass unchanged.
    """
    used = _Load()
    fitted: list[Compiled] = []
    for tool in tools:
        if not tool.strict or tool.dialect != "anthropic_strict" or tool.fallback is None:
            fitted.append(tool)
            continue
        load = used.plus(tool.schema)
        reason = load.over()
        if reason is None:
            used = load
            fitted.append(tool)
        else:
            plain = tool.fallback
            fitted.append(replace(plain, dialect=tool.dialect, reasons=(*plain.reasons, reason)))
    return fitted


@dataclass(frozen=True, slots=True)
class _Load:
    """What the strict tools of one request add up to."""

    tools: int = 0
    optional: int = 0
    unions: int = 0

    def plus(self, schema: JsonDict) -> _Load:
        nodes = list(_nodes(schema))
        optional = sum(len(node.get("properties", ())) - len(node.get("required", ())) for node in nodes)
        unions = sum("anyOf" in node or isinstance(node.get("type"), list) for node in nodes)
        return _Load(self.tools + 1, self.optional + optional, self.unions + unions)

    def over(self) -> str | None:
        limits = (
            (self.tools, ANTHROPIC_TOOLS, "strict tools"),
            (self.optional, ANTHROPIC_OPTIONAL, "optional parameters of strict tools"),
            (self.unions, ANTHROPIC_UNIONS, "parameters with several types in strict tools"),
        )
        over = next(((limit, what) for count, limit, what in limits if count > limit), None)
        return f"one request takes at most {over[0]} {over[1]}" if over else None


def _nodes(schema: JsonDict) -> Iterator[JsonDict]:
    yield schema
    for _, child in subschemas(schema):
        yield from _nodes(child)
    for child in schema.get("$defs", {}).values():
        yield from _nodes(child)


def _values(node: JsonDict) -> list[Any]:
    return [node["const"]] if "const" in node else node.get("enum", [])


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


def _levels(node: JsonDict, defs: JsonDict, known: dict[str, int]) -> int:
    """How deep objects and lists are nested, references followed once."""
    ref = node.get("$ref")
    if isinstance(ref, str):
        if ref not in known:
            known[ref] = 0
            known[ref] = _levels(defs.get(ref.removeprefix("#/$defs/"), {}), defs, known)
        return known[ref]
    own = 1 if node.get("type") in ("object", "array") else 0
    return own + max((_levels(child, defs, known) for _, child in subschemas(node)), default=0)
