"""What holds for every schema: strict ones keep the provider's rules, admit nothing new, and nothing ever raises."""

from __future__ import annotations

import copy
import json
import re
from typing import Any, get_args

import jsonschema_rs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.promises import promise
from toolrail.dialects import Dialect, compile_schema

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
JsonDict = dict[str, Any]
NAMES = st.sampled_from(["a", "b", "c", "kind"])
many = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


# -- an independent reading of the providers' rules


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPENAI_KEYS = words(
    "type description properties required additionalProperties items enum const anyOf $ref $defs pattern format "
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems"
)
ANTHROPIC_KEYS = OPENAI_KEYS - words("pattern minimum maximum exclusiveMinimum exclusiveMaximum multipleOf maxItems")


def broken_rules(schema: JsonDict, dialect: Dialect) -> list[str]:
    """What a provider would refuse in a strict schema."""
    root = [] if schema.get("type") == "object" and "anyOf" not in schema else ["root"]
    return root + [f"{rule} in {node}" for node in every(schema) for rule in broken_in(node, dialect, schema)]


def broken_in(node: JsonDict, dialect: Dialect, root: JsonDict) -> list[str]:
    openai = dialect == "openai_strict"
    properties = list(node.get("properties", ()))
    found = {
        "keyword": bool(set(node) - (OPENAI_KEYS if openai else ANTHROPIC_KEYS)),
        "no type": not {"type", "anyOf", "$ref"} & set(node),
        "open": node.get("type") == "object" and node.get("additionalProperties") is not False,
        "not required": openai and properties != node.get("required", []),
        "unknown required": not set(node.get("required", [])) <= set(properties),
        "reference with siblings": "$ref" in node and len(node) > 1,
        "dangling": "$ref" in node and node["$ref"] != "#" and node["$ref"][8:] not in root.get("$defs", {}),
        "no items": node.get("type") == "array" and "items" not in node,
        "look-around": "(?" in node.get("pattern", ""),
        "minItems": not openai and node.get("minItems", 0) > 1,
    }
    return [rule for rule, is_broken in found.items() if is_broken]


def every(node: JsonDict) -> list[JsonDict]:
    children = [*node.get("properties", {}).values(), *node.get("anyOf", []), *node.get("$defs", {}).values()]
    children += [node["items"]] if "items" in node else []
    return [node] + [each for child in children for each in every(child)]


# -- schemas as people write them


def some(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonDict]:
    return st.fixed_dictionaries({}, optional=choices)


def joined(*parts: st.SearchStrategy[JsonDict]) -> st.SearchStrategy[JsonDict]:
    return st.tuples(*parts).map(lambda dicts: {key: value for each in dicts for key, value in each.items()})


def keyed(keys: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonDict]:
    return st.dictionaries(keys, values, min_size=1, max_size=1)


TOLD = some(
    description=st.sampled_from(["", "Words."]), title=st.just("T"), default=st.sampled_from([None, 1, "x", []])
)
TEXTS = joined(
    keyed(st.just("type"), st.sampled_from(["string", ["string", "null"], ["integer", "string"]])),
    some(
        pattern=st.sampled_from(["^a+$", "^(?!b)"]),
        format=st.sampled_from(["date", "uri"]),
        minLength=st.integers(0, 2),
        maxLength=st.integers(2, 4),
        enum=st.sampled_from([["a", "aa"], ["x", None], ["2020-01-01"]]),
    ),
)
NUMBERS = joined(
    keyed(st.just("type"), st.sampled_from(["integer", "number", ["null", "number"]])),
    some(minimum=st.integers(0, 3), maximum=st.integers(3, 9), exclusiveMaximum=st.just(9), multipleOf=st.just(3)),
)
OTHERS: list[JsonDict] = [{"type": "boolean"}, {"type": "null"}, {"const": "a"}, {"const": 1}, {"enum": [1, 2]}]
CLOSING: list[JsonDict] = [{}, {}, {"additionalProperties": False}, {"minProperties": 1}, {"not": {"required": ["z"]}}]


def objects(inner: st.SearchStrategy[JsonDict]) -> st.SearchStrategy[JsonDict]:
    @st.composite
    def build(draw: st.DrawFn) -> JsonDict:
        properties = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=3))
        required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
        return {"type": "object", "properties": properties, "required": required, **draw(st.sampled_from(CLOSING))}

    return build()


def composed(inner: st.SearchStrategy[JsonDict]) -> st.SearchStrategy[JsonDict]:
    alternatives = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        objects(inner),
        joined(st.just({"type": "array"}), keyed(st.just("items"), inner), some(minItems=st.integers(0, 2))),
        joined(keyed(st.sampled_from(["anyOf", "oneOf", "allOf"]), alternatives), TOLD),
        joined(inner, TOLD),
        joined(keyed(st.just("$ref"), NAMES.map("#/$defs/{}".format)), TOLD),
    )


SCHEMAS = st.recursive(TEXTS | NUMBERS | joined(st.sampled_from(OTHERS), TOLD), composed, max_leaves=6)
DEFS = st.fixed_dictionaries(dict.fromkeys(("a", "b", "c", "kind"), SCHEMAS))
TOOLS = joined(objects(SCHEMAS), keyed(st.just("$defs"), DEFS))


def value_for(schema: JsonDict, root: JsonDict, data: st.DataObject, *, depth: int = 0) -> Any:
    """A value that a strict schema admits, drawn from its own few keywords."""
    assume(depth < 12)
    if "$ref" in schema:
        target = root if schema["$ref"] == "#" else root["$defs"][schema["$ref"][8:]]
        return value_for(target, root, data, depth=depth + 1)
    if "anyOf" in schema:
        return value_for(data.draw(st.sampled_from(schema["anyOf"])), root, data, depth=depth + 1)
    if "const" in schema or "enum" in schema:
        return data.draw(st.sampled_from([schema["const"]] if "const" in schema else schema["enum"]))
    kind = schema["type"] if isinstance(schema["type"], str) else data.draw(st.sampled_from(schema["type"]))
    match kind:
        case "object":
            chosen = [name for name in schema["properties"] if name in schema["required"] or data.draw(st.booleans())]
            return {name: value_for(schema["properties"][name], root, data, depth=depth + 1) for name in chosen}
        case "array":
            size = data.draw(st.integers(schema.get("minItems", 0), 3))
            return [value_for(schema["items"], root, data, depth=depth + 1) for _ in range(size)]
        case "string":
            return data.draw(st.sampled_from(["", "a", "aa", "b", "2020-01-01", "xyz"]))
        case "null":
            return None
        case "boolean":
            return data.draw(st.booleans())
        case _:
            return data.draw(st.integers(-1, 10) | (st.just(4.5) if kind == "number" else st.nothing()))


def validator(schema: JsonDict) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema)


@promise("tool:dialect")
@many
@given(TOOLS, st.sampled_from(["openai_strict", "anthropic_strict"]))
def test_a_strict_schema_keeps_the_rules_of_its_provider(schema: JsonDict, dialect: Dialect) -> None:
    compiled = compile_schema(schema, dialect)
    assume(compiled.strict)
    assert broken_rules(compiled.schema, dialect) == []


@promise("tool:dialect")
@many
@given(TOOLS, st.sampled_from(["openai_strict", "anthropic_strict"]), st.data())
def test_what_a_strict_schema_admits_is_valid_under_the_original(
    schema: JsonDict, dialect: Dialect, data: st.DataObject
) -> None:
    compiled = compile_schema(schema, dialect)
    assume(compiled.strict and not compiled.moved)
    value = value_for(compiled.schema, compiled.schema, data)
    assume(validator(compiled.schema).is_valid(value))
    kept = {name: each for name, each in value.items() if each is not None or name not in compiled.null_means_default}
    assert validator(schema).is_valid(kept)


@promise("tool:dialect")
@many
@given(TOOLS, st.data())
def test_an_argument_to_which_null_was_added_could_not_be_null_before(schema: JsonDict, data: st.DataObject) -> None:
    compiled = compile_schema(schema, "openai_strict")
    assume(compiled.null_means_default)
    name = data.draw(st.sampled_from(sorted(compiled.null_means_default)))
    alone = {**schema["properties"][name], "$defs": schema["$defs"]}
    assert name not in schema["required"]
    assert not validator(alone).is_valid(None)
    assert validator({**compiled.schema["properties"][name], "$defs": compiled.schema.get("$defs", {})}).is_valid(None)


@promise("tool:dialect")
@many
@given(TOOLS)
def test_geminis_parameters_have_no_references_and_one_type_each(schema: JsonDict) -> None:
    compiled = compile_schema(schema, "gemini")
    assume(compiled.form == "parameters")
    text = json.dumps(compiled.schema)
    assert not re.search(r'"(\$ref|\$defs|oneOf|allOf|const|additionalProperties|default)": ', text)
    assert all(isinstance(node.get("type", ""), str) for node in every(compiled.schema))
    assert all(set(node) == {"anyOf"} for node in every(compiled.schema) if "anyOf" in node)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYWORDS = st.sampled_from(
    sorted(
        words(
            "type properties required items anyOf oneOf allOf not $ref $defs definitions enum const default "
            "pattern minimum additionalProperties prefixItems dependencies exclusiveMinimum $schema $id "
            "description if then uniqueItems patternProperties format title examples"
        )
    )
)
SHARDS = JSON | st.sampled_from(
    ["object", "string", "#", "#/$defs/a", "http://json-schema.org/draft-07/schema#", "(", True]
)
GARBAGE = st.recursive(
    st.dictionaries(KEYWORDS, SHARDS, max_size=4),
    lambda inner: st.dictionaries(
        KEYWORDS, inner | st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner), max_size=4
    ),
    max_leaves=6,
)


@promise("tool:dialect")
@settings(many, max_examples=200)
@given(GARBAGE | st.dictionaries(st.text(max_size=3) | st.integers(), SHARDS) | TOOLS, st.sampled_from(DIALECTS))
def test_no_dict_raises_or_is_changed_and_each_gives_a_sendable_object_schema(
    schema: JsonDict, dialect: Dialect
) -> None:
    before = copy.deepcopy(schema)
    compiled = compile_schema(schema, dialect)
    assert repr(schema) == repr(before)
    assert compiled.schema["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf", "not", "enum", "$ref"} & set(compiled.schema)
    assert json.dumps(compiled.schema, allow_nan=False).encode()
    assert jsonschema_rs.meta.is_valid(compiled.schema)
    assert compiled == compile_schema(schema, dialect)
