"""One JSON Schema in each provider's subset: golden tables of what is written, moved, refused and left out."""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

import jsonschema_rs
import pytest

from tests.promises import promise
from toolrail.dialects import Compiled, Dialect, compile_schema, fit_request

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
JsonDict = dict[str, Any]


def arguments(properties: JsonDict, *required: str, **rest: Any) -> JsonDict:
    return {"type": "object", "properties": properties, "required": list(required), **rest}


def strict(properties: JsonDict, *required: str, **rest: Any) -> JsonDict:
    return {**arguments(properties, *required), "additionalProperties": False, **rest}


LIMIT = {"type": "integer", "description": "How many.", "minimum": 1, "maximum": 20, "default": 5}
TREE = arguments(
    {"tree": {"$ref": "#/$defs/Node"}},
    "tree",
    **{"$defs": {"Node": arguments({"kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}, "kids")}},
)
CARD = arguments({"kind": {"const": "card"}, "number": {"type": "string"}}, "kind", "number")
CASH = arguments({"kind": {"const": "cash"}}, "kind")


@promise("tool:dialect")
@pytest.mark.parametrize(
    ("dialect", "given", "written", "moved"),
    [
        pytest.param(
            "openai_strict",
            arguments({"limit": LIMIT}),
            strict(
                {
                    "limit": {
                        "type": ["integer", "null"],
                        "minimum": 1,
                        "maximum": 20,
                        "description": "How many. (default: 5) (null to leave out)",
                    }
                },
                "limit",
            ),
            (),
            id="openai: optional becomes a union with null, the default is told",
        ),
        pytest.param(
            "anthropic_strict",
            arguments({"limit": LIMIT}),
            strict({"limit": {"type": "integer", "description": "How many. (from 1 to 20) (default: 5)"}}),
            ("limit: minimum", "limit: maximum"),
            id="anthropic: optional stays, bounds are told",
        ),
        pytest.param(
            "gemini",
            arguments({"limit": LIMIT}, "limit"),
            arguments(
                {"limit": {"type": "integer", "minimum": 1, "maximum": 20, "description": "How many. (default: 5)"}},
                "limit",
            ),
            (),
            id="gemini: keeps bounds",
        ),
        pytest.param(
            "openai_strict",
            arguments({"code": {"type": "string", "pattern": "^(?!x)", "minLength": 1, "maxLength": 1}}, "code"),
            strict(
                {"code": {"type": "string", "description": "(exactly 1 character) (matches the pattern ^(?!x))"}},
                "code",
            ),
            ("code: minLength", "code: maxLength", "code: pattern"),
            id="openai: lengths and look-around are told",
        ),
        pytest.param(
            "openai_strict",
            arguments(
                {"at": {"type": "string", "format": "date-time"}, "u": {"type": "string", "format": "uri"}}, "at", "u"
            ),
            strict(
                {
                    "at": {"type": "string", "format": "date-time"},
                    "u": {"type": "string", "description": "(format: uri)"},
                },
                "at",
                "u",
            ),
            ("u: format",),
            id="openai: a format that it does not know is told",
        ),
        pytest.param(
            "anthropic_strict",
            arguments({"tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3}}, "tags"),
            strict(
                {
                    "tags": {
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": 1,
                        "description": "(at most 3 items)",
                    }
                },
                "tags",
            ),
            ("tags: maxItems",),
            id="anthropic: minItems 0 and 1 stay",
        ),
        pytest.param(
            "openai_strict",
            arguments({"note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}),
            strict({"note": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "note"),
            (),
            id="openai: null that is the default needs nothing",
        ),
        pytest.param(
            "openai_strict",
            arguments({"mode": {"enum": ["a", "b"], "default": "a"}}),
            strict(
                {
                    "mode": {
                        "type": ["string", "null"],
                        "enum": ["a", "b", None],
                        "description": '(default: "a") (null to leave out)',
                    }
                },
                "mode",
            ),
            (),
            id="openai: null joins an enum",
        ),
        pytest.param(
            "openai_strict",
            arguments({"pay": {"oneOf": [CARD, CASH], "discriminator": {"propertyName": "kind"}}}, "pay"),
            strict(
                {
                    "pay": {
                        "anyOf": [
                            strict(
                                {"kind": {"type": "string", "const": "card"}, "number": {"type": "string"}},
                                "kind",
                                "number",
                            ),
                            strict({"kind": {"type": "string", "const": "cash"}}, "kind"),
                        ]
                    }
                },
                "pay",
            ),
            (),
            id="openai: oneOf that a discriminator tells apart is anyOf",
        ),
        pytest.param(
            "openai_strict",
            arguments(
                {"size": {"allOf": [{"$ref": "#/$defs/Size"}], "description": "Of the box.", "default": "S"}},
                **{"$defs": {"Size": {"type": "string", "enum": ["S", "L"], "title": "Size"}}},
            ),
            strict(
                {
                    "size": {
                        "type": ["string", "null"],
                        "enum": ["S", "L", None],
                        "description": 'Of the box. (default: "S") (null to leave out)',
                    }
                },
                "size",
            ),
            (),
            id="openai: allOf of one and a reference with siblings are merged",
        ),
        pytest.param(
            "openai_strict",
            TREE,
            strict(
                {"tree": {"$ref": "#/$defs/Node"}},
                "tree",
                **{"$defs": {"Node": strict({"kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}, "kids")}},
            ),
            (),
            id="openai: recursion stays",
        ),
        pytest.param(
            "openai_strict",
            arguments(
                {"a": {"$ref": "#/definitions/A", "description": "of draft-07"}},
                "a",
                **{"definitions": {"A": {"type": "integer"}}, "$schema": "http://json-schema.org/draft-07/schema#"},
            ),
            strict({"a": {"type": "integer", "description": "of draft-07"}}, "a"),
            (),
            id="openai: definitions of an older draft",
        ),
        pytest.param(
            "anthropic",
            {
                "type": "object",
                "properties": {"at": {"type": "array", "items": [{"type": "number"}]}},
                "$schema": "http://json-schema.org/draft-07/schema#",
            },
            {
                "type": "object",
                "properties": {"at": {"type": "array", "prefixItems": [{"type": "number"}], "items": {}}},
            },
            (),
            id="anthropic: a tuple of an older draft is said as 2020-12",
        ),
        pytest.param(
            "openai",
            {"anyOf": [arguments({"id": {"type": "string"}}, "id"), arguments({"name": {"type": "string"}}, "name")]},
            {
                "type": "object",
                "properties": {"id": {"type": "string"}, "name": {"type": "string"}},
                "required": [],
                "description": "(needs id, or name)",
            },
            ("arguments: anyOf",),
            id="openai: alternatives at the root are folded into one object",
        ),
        pytest.param(
            "gemini",
            arguments(
                {
                    "n": {"type": "integer", "enum": [1, 2]},
                    "who": {"anyOf": [{"$ref": "#/$defs/Who"}, {"type": "null"}], "description": "A person."},
                    "even": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 2},
                },
                **{"$defs": {"Who": {"type": "string", "format": "email"}}},
            ),
            {
                "type": "object",
                "properties": {
                    "n": {"type": "integer", "description": "(one of 1, 2)"},
                    "who": {"type": "string", "description": "A person. (format: email)", "nullable": True},
                    "even": {"type": "number", "description": "(more than 0) (a multiple of 2)"},
                },
            },
            ("n: enum", "who: format", "even: exclusiveMinimum", "even: multipleOf"),
            id="gemini: references inlined, null is nullable, the rest is told",
        ),
    ],
)
def test_a_schema_is_written_in_the_dialect(
    dialect: Dialect, given: JsonDict, written: JsonDict, moved: tuple[str, ...]
) -> None:
    compiled = compile_schema(given, dialect)
    assert compiled.schema == written
    assert compiled.moved == moved
    assert compiled.strict is dialect.endswith("strict")
    assert compiled.reasons == ()


@promise("tool:dialect")
@pytest.mark.parametrize(
    ("dialect", "given", "reason"),
    [
        ("openai_strict", arguments({"x": {}}, "x"), "x: takes any value"),
        ("openai_strict", arguments({"x": {"type": "object"}}, "x"), "x: takes any further fields"),
        (
            "openai_strict",
            arguments({"x": {"type": "object", "additionalProperties": {"type": "string"}}}, "x"),
            "x: takes any further fields",
        ),
        ("openai_strict", arguments({}, additionalProperties=True), "takes any further fields"),
        ("openai_strict", arguments({"x": {"not": {"type": "string"}}}, "x"), "x: not has no strict form"),
        (
            "openai_strict",
            arguments({"x": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}, "x"),
            "x: oneOf with alternatives that may overlap has no strict form",
        ),
        (
            "openai_strict",
            arguments({"x": {"type": ["string", "null"], "default": "all"}}),
            "x: allows null, but has another default",
        ),
        (
            "openai_strict",
            arguments({"x": {"type": ["string", "null"]}}),
            "x: allows null, and leaving it out may mean another thing",
        ),
        (
            "openai_strict",
            arguments({"x": arguments({"y": {"type": "string"}})}, "x"),
            "x.y: is optional inside another object, where an added null could not be told apart",
        ),
        ("openai_strict", arguments({}, "ghost"), "requires a field that it does not describe"),
        ("openai_strict", {"anyOf": [CARD, CASH]}, "the root is not one object"),
        (
            "openai_strict",
            arguments({"x": {"enum": [["a"]]}}, "x"),
            "x: an enum of lists or objects has no strict form",
        ),
        (
            "openai_strict",
            arguments({"x": {"$ref": "https://example.com/x.json"}}, "x"),
            "a $ref points outside the schema and is not followed",
        ),
        ("anthropic_strict", TREE, "refers to itself"),
        (
            "anthropic_strict",
            arguments({"full name": {"type": "string"}}),
            "an argument's name is not allowed by the provider",
        ),
    ],
)
def test_what_has_no_strict_form_falls_back_to_the_plain_one_with_the_reason(
    dialect: Dialect, given: JsonDict, reason: str
) -> None:
    compiled = compile_schema(given, dialect)
    plain: Dialect = "openai" if dialect == "openai_strict" else "anthropic"
    assert not compiled.strict
    assert reason in compiled.reasons
    assert compiled.schema == compile_schema(given, plain).schema
    assert compiled.null_means_default == frozenset()


@promise("tool:dialect")
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (arguments({f"p{i}": {"type": "string"} for i in range(5_001)}), "over 5,000 properties"),
        (arguments({"x": {"type": "string", "enum": [str(i) for i in range(1_001)]}}, "x"), "over 1,000 enum values"),
        (arguments({"x" * 120_001: {"type": "string"}}), "over 120,000 characters in names and enums"),
        (
            arguments({"x": {"type": "string", "enum": [f"{i:0100}" for i in range(251)]}}, "x"),
            "over 15,000 characters in one long enum",
        ),
    ],
)
def test_a_schema_over_openais_sizes_is_not_strict(given: JsonDict, reason: str) -> None:
    assert compile_schema(given, "openai_strict").reasons == (reason,)


def nested(levels: int) -> JsonDict:
    schema: JsonDict = {"type": "string"}
    for _ in range(levels):
        schema = arguments({"x": schema}, "x")
    return schema


@promise("tool:dialect")
def test_ten_levels_are_strict_and_eleven_are_not() -> None:
    assert compile_schema(nested(10), "openai_strict").strict
    assert compile_schema(nested(11), "openai_strict").reasons == ("over 10 levels",)


@promise("tool:dialect")
def test_null_means_the_default_only_where_the_dialect_added_it() -> None:
    given = arguments(
        {
            "added": {"type": "integer", "default": 1},
            "own": {"type": ["string", "null"], "default": None},
            "needed": {"type": "string"},
        },
        "needed",
    )
    assert compile_schema(given, "openai_strict").null_means_default == {"added"}
    assert compile_schema(given, "anthropic_strict").null_means_default == frozenset()


@promise("tool:dialect")
@pytest.mark.parametrize(
    "given",
    [
        TREE,
        arguments({"x": {"type": "object", "additionalProperties": {"type": "integer"}}}),
        arguments({"x": {"allOf": [{"minLength": 1}, {"maxLength": 3}]}}),
        {"type": "object"},
    ],
)
def test_what_geminis_own_subset_cannot_say_goes_as_json_schema(given: JsonDict) -> None:
    compiled = compile_schema(given, "gemini")
    assert compiled.form == "parametersJsonSchema"
    assert compiled.schema == compile_schema(given, "openai").schema
    assert compiled.reasons


@promise("tool:dialect")
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "broken",
    [
        {"type": "string"},
        {"type": "dict", "properties": {}},
        {"properties": 5},
        {"type": "object", "required": True},
        {"type": "object", "properties": {"x": {"type": "object", "properties": [1]}}},
        {"$ref": "#"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {1: 2},
        {"type": "object", "default": float("nan")},
        {"type": "object", "description": "\ud800"},
        {"type": "object", "const": {1, 2}},
        {"type": "object", "maximum": 10**5000},
    ],
)
def test_a_broken_schema_becomes_an_object_schema_with_a_reason(dialect: Dialect, broken: JsonDict) -> None:
    compiled = compile_schema(broken, dialect)
    assert compiled.schema["type"] == "object"
    assert not compiled.strict
    assert compiled.reasons or broken.get("$ref") or broken.get("anyOf")
    assert jsonschema_rs.meta.is_valid(compiled.schema)
    json.dumps(compiled.schema, allow_nan=False).encode()


@promise("tool:dialect")
def test_one_broken_argument_does_not_take_the_others_with_it() -> None:
    given = arguments({"good": {"type": "string"}, "bad": {"type": "any", "description": "Anything."}}, "good")
    compiled = compile_schema(given, "openai")
    assert compiled.schema["properties"] == {"good": {"type": "string"}, "bad": {"description": "Anything."}}
    assert compiled.reasons == ("bad: not a valid JSON Schema",)


@promise("tool:dialect")
def test_a_root_that_is_broken_keeps_its_arguments() -> None:
    compiled = compile_schema({**arguments({"city": {"type": "string"}}, "city"), "type": "dict"}, "openai")
    assert compiled.schema == arguments({"city": {"type": "string"}}, "city")
    assert compiled.reasons == ("not a valid JSON Schema",)


@promise("tool:dialect")
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_schema_that_contains_itself_ends_in_a_reason(dialect: Dialect) -> None:
    loop: JsonDict = {"type": "object"}
    loop["properties"] = {"x": loop, "y": loop}
    assert "the schema is nested over 64 levels" in compile_schema(loop, dialect).reasons


@promise("tool:dialect")
@pytest.mark.parametrize("dialect", DIALECTS)
def test_references_that_double_at_each_level_do_not_explode(dialect: Dialect) -> None:
    defs: JsonDict = {
        f"L{i}": arguments({side: {"$ref": f"#/$defs/L{i + 1}", "description": side} for side in "ab"}, "a", "b")
        for i in range(40)
    }
    defs["L40"] = {"type": "string"}
    compiled = compile_schema(arguments({"x": {"$ref": "#/$defs/L0"}}, "x", **{"$defs": defs}), dialect)
    assert len(json.dumps(compiled.schema)) < 100_000


@promise("tool:dialect")
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_input_is_not_changed_and_the_output_is_the_same_each_time(dialect: Dialect) -> None:
    given = arguments({"limit": LIMIT, "pay": {"oneOf": [CARD, CASH]}}, "pay")
    before = copy.deepcopy(given)
    first, second = compile_schema(given, dialect), compile_schema(given, dialect)
    assert given == before
    assert json.dumps(first.schema) == json.dumps(second.schema)
    first.schema["properties"].clear()
    assert given == before


def small(optional: int = 0, unions: int = 0) -> Compiled:
    properties: JsonDict = {f"o{i}": {"type": "string"} for i in range(optional)}
    properties |= {f"u{i}": {"type": ["string", "integer"]} for i in range(unions)}
    return compile_schema(arguments(properties, *(f"u{i}" for i in range(unions))), "anthropic_strict")


@promise("tool:dialect")
@pytest.mark.parametrize(
    ("tools", "is_strict", "reason"),
    [
        ([small()] * 22, [True] * 20 + [False] * 2, "one request takes at most 20 strict tools"),
        (
            [small(optional=20), small(optional=5), small(optional=4), small(optional=1)],
            [True, False, True, False],
            "one request takes at most 24 optional parameters of strict tools",
        ),
        (
            [small(unions=16), small(unions=1), small()],
            [True, False, True],
            "one request takes at most 16 parameters with several types in strict tools",
        ),
    ],
)
def test_tools_past_anthropics_limits_of_one_request_fall_back(
    tools: list[Compiled], is_strict: list[bool], reason: str
) -> None:
    fitted = fit_request(tools)
    assert [tool.strict for tool in fitted] == is_strict
    assert {why for tool in fitted for why in tool.reasons} == {reason}
    assert fit_request(fitted) == fitted


@promise("tool:dialect")
def test_the_limits_of_one_request_are_anthropics_only() -> None:
    tools = [compile_schema(arguments({}), "openai_strict")] * 30
    assert fit_request(tools) == tools
