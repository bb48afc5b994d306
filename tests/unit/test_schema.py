"""What becomes a tool's schema: typed functions, Pydantic models, raw JSON Schemas; what is refused at start-up."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr
from typing_extensions import TypedDict

from tests.promises import promise
from toolrail.arguments.typed import describe, from_function, from_json_schema, from_model, resolve_hints
from toolrail.arguments.values import Accepted
from toolrail.errors import DefinitionError

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(BaseModel):
    width: int
    height: int = 1


class Tree(BaseModel):
    name: str
    below: list[Tree] = []


class Vault(BaseModel):
    key: SecretStr


@dataclass
class Point:
    x: int


class Row(TypedDict):
    z: int


class Plain:
    pass


def text(value: str) -> None: ...
def limited(value: Annotated[int, Field(ge=1, le=20, description="How many.")] = 5) -> None: ...
def optional(value: str | None = None) -> None: ...
def literal(value: Literal["a", "b"]) -> None: ...
def enumerated(value: Colour) -> None: ...
def union(value: int | list[str]) -> None: ...
def model(value: Size) -> None: ...
def record(value: Point) -> None: ...
def typed_dict(value: Row) -> None: ...
def date(value: dt.date) -> None: ...
def moment(value: dt.datetime) -> None: ...
def identifier(value: uuid.UUID) -> None: ...
def amount(value: Decimal) -> None: ...
def infinite(value: float = float("inf")) -> None: ...
def field_default(value: int = Field(3, ge=1)) -> None: ...
def anything(value: Any) -> None: ...


SIZE = {
    "type": "object",
    "properties": {"width": {"type": "integer"}, "height": {"type": "integer", "default": 1}},
    "required": ["width"],
    "additionalProperties": False,
}


@promise("tool:schema")
@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (text, {"type": "string"}),
        (limited, {"type": "integer", "minimum": 1, "maximum": 20, "default": 5, "description": "How many."}),
        (optional, {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
        (literal, {"type": "string", "enum": ["a", "b"]}),
        (enumerated, {"$ref": "#/$defs/Colour"}),
        (union, {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]}),
        (model, {"$ref": "#/$defs/Size"}),
        (record, {"$ref": "#/$defs/Point"}),
        (typed_dict, {"$ref": "#/$defs/Row"}),
        (date, {"type": "string", "format": "date"}),
        (moment, {"type": "string", "format": "date-time"}),
        (identifier, {"type": "string", "format": "uuid"}),
        (infinite, {"type": "number"}),
        (field_default, {"type": "integer", "minimum": 1, "default": 3}),
        (anything, {}),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_an_annotation_becomes_json_schema(fn: Callable[..., Any], expected: dict[str, Any]) -> None:
    schema = from_function(fn).schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {"value": expected}
    json.dumps(schema, allow_nan=False)


@promise("tool:schema")
def test_nested_models_are_closed_and_say_no_title_that_repeats_a_name() -> None:
    assert from_function(model).schema["$defs"] == {"Size": SIZE}


@promise("tool:schema")
def test_a_property_named_title_stays() -> None:
    def book(title: str) -> None: ...

    assert from_function(book).schema["properties"] == {"title": {"type": "string"}}


@promise("tool:schema")
def test_what_has_a_default_is_not_required() -> None:
    def find(query: str, limit: int = 5) -> None: ...

    reader = from_function(find)
    assert reader.schema["required"] == ["query"]
    assert not reader.takes_nothing_required
    assert from_function(optional).takes_nothing_required


@promise("tool:schema")
@pytest.mark.parametrize("skip", [2, ["self", "ctx"]])
def test_parameters_that_the_model_does_not_fill_in_are_not_in_the_schema(skip: int | list[str]) -> None:
    def find(self: Any, ctx: Plain, query: str) -> None: ...

    assert list(from_function(find, skip=skip).schema["properties"]) == ["query"]


@promise("tool:schema")
@pytest.mark.parametrize("name", ["_private", "copy", "json", "schema", "model_config", "model_fields"])
def test_a_parameter_may_have_a_name_that_pydantic_keeps_for_itself(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def fn({name}: int = 3): ...", scope)
    reader = from_function(scope["fn"])
    assert list(reader.schema["properties"]) == [name]
    read = reader.read(f'{{"{name}": 4}}', {name: 4})
    assert isinstance(read, Accepted)
    assert read.values == read.effective == {name: 4}


@promise("tool:schema")
def test_an_alias_is_what_the_model_writes_and_the_parameter_what_the_handler_gets() -> None:
    def mail(from_: Annotated[str, Field(alias="from")]) -> None: ...

    read = from_function(mail).read('{"from": "a"}', {"from": "a"})
    assert isinstance(read, Accepted)
    assert read.values == {"from_": "a"}
    assert read.effective == {"from": "a"}


@promise("tool:schema")
def test_async_functions_methods_partials_and_callable_objects_have_schemas() -> None:
    class Shop:
        async def find(self, query: str) -> None: ...
        def __call__(self, query: str) -> None: ...

    for fn in (Shop().find, Shop(), functools.partial(text)):
        assert list(from_function(fn).schema["properties"].values()) == [{"type": "string"}]


GOOGLE = """Finds products.

    By name only.

    Args:
        query: What to look for,
            in words.
        limit (int): How many.

    Returns:
        The products.
    """
NUMPY = """Finds products.

    By name only.

    Parameters
    ----------
    query : str
        What to look for,
        in words.
    limit
        How many.

    Returns
    -------
    list
        The products.
    """
SPHINX = """Finds products.

    By name only.

    :param query: What to look for,
        in words.
    :param int limit: How many.
    :type query: str
    :returns: The products.
    """


@promise("tool:schema")
@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX], ids=["Google", "NumPy", "Sphinx"])
def test_parameters_are_described_by_the_docstring(docstring: str, capfd: pytest.CaptureFixture[str]) -> None:
    def find(query: str, limit: int = 5) -> None: ...

    find.__doc__ = docstring
    description, parameters = describe(find)
    assert parameters == {"query": "What to look for, in words.", "limit": "How many."}
    assert description.startswith("Finds products.\n\nBy name only.\n\n")
    assert "The products." in description
    assert "How many" not in description
    properties = from_function(find).schema["properties"]
    assert properties["query"]["description"] == "What to look for, in words."
    assert capfd.readouterr() == ("", "")


@promise("tool:schema")
def test_field_descriptions_win_over_the_docstring() -> None:
    def find(query: Annotated[str, Field(description="From Field.")]) -> None:
        """Finds.

        Args:
            query: From the docstring.
        """

    assert from_function(find).schema["properties"]["query"]["description"] == "From Field."


@promise("tool:schema")
@pytest.mark.parametrize("docstring", [None, "", "   "])
def test_no_docstring_is_no_description(docstring: str | None) -> None:
    def find() -> None: ...

    find.__doc__ = docstring
    assert describe(find) == ("", {})


@promise("tool:model")
def test_a_model_without_docstring_does_not_inherit_pydantics() -> None:
    assert describe(Size) == ("", {})


# -- wrong definitions


def untyped(value) -> None: ...  # type: ignore[no-untyped-def]
def star(*value: int) -> None: ...
def stars(**value: int) -> None: ...
def positional(value: int, /) -> None: ...
def a_callable(value: Callable[[], int]) -> None: ...
def arbitrary(value: Plain) -> None: ...
def inside(other: int, value: list[Plain]) -> None: ...
def unresolved(value: Nowhere) -> None: ...  # pyright: ignore  # noqa: F821
def misfit(value: Annotated[str, Field(pattern="(")]) -> None: ...
def secret(value: SecretStr) -> None: ...
def deep_secret(value: list[Vault] | None = None) -> None: ...
def other_alias(value: Annotated[int, Field(validation_alias="v")]) -> None: ...


WRONG: list[tuple[Callable[..., Any], str]] = [
    (untyped, "TR201"),
    (unresolved, "TR201"),
    (a_callable, "TR202"),
    (arbitrary, "TR202"),
    (inside, "TR202"),
    (misfit, "TR202"),
    (other_alias, "TR202"),
    (star, "TR203"),
    (stars, "TR203"),
    (positional, "TR203"),
    (secret, "TR206"),
    (deep_secret, "TR206"),
]


@promise("tool:schema")
@promise("auth:secrets")
@pytest.mark.parametrize(
    ("fn", "rule"),
    WRONG,
    ids=lambda case: getattr(case, "__name__", case),
)
def test_a_function_that_cannot_be_a_tool_says_which_parameter_and_why(fn: Callable[..., Any], rule: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        from_function(fn)
    assert caught.value.rule == rule
    assert caught.value.where.startswith("test_schema.py:")
    assert caught.value.where.endswith(f" {fn.__name__}()")
    assert "value'" in caught.value.message
    assert caught.value.mend.endswith(".")
    assert "errors.pydantic.dev" not in str(caught.value)


def test_hints_that_cannot_be_resolved_are_left_out() -> None:
    assert resolve_hints(unresolved) == {}  # pyright: ignore[reportUnknownArgumentType]
    assert resolve_hints(inside) == {"other": int, "value": list[Plain]}


class Rooted(RootModel[list[int]]):
    pass


class WithPlain(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    value: Plain


@promise("tool:model")
@pytest.mark.parametrize(
    ("given", "rule"), [(Rooted, "TR202"), (WithPlain, "TR202"), (Plain, "TR202"), (Vault, "TR206")]
)
def test_a_model_that_cannot_be_arguments_is_refused(given: Any, rule: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        from_model(given)
    assert caught.value.rule == rule


@promise("tool:model")
def test_a_model_that_contains_itself_has_an_object_at_its_root() -> None:
    schema = from_model(Tree).schema
    assert schema["type"] == "object"
    assert schema["properties"]["below"]["items"] == {"$ref": "#/$defs/Tree"}
    read = from_model(Tree).read('{"name": "a", "below": [{"name": "b"}]}', {})
    assert isinstance(read, Accepted)
    assert read.model == Tree(name="a", below=[Tree(name="b")])


@promise("tool:model")
def test_a_model_says_by_its_own_configuration_that_it_is_open() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        a: int = 1

    read = from_model(Open).read('{"b": 2}', {"b": 2})
    assert from_model(Open).schema["additionalProperties"] is True
    assert isinstance(read, Accepted)
    assert read.values == read.effective == {"a": 1, "b": 2}


# -- raw schemas


def field(**schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"value": schema}}


@promise("tool:model")
def test_a_raw_schema_stays_as_it_is_and_is_copied() -> None:
    given = field(type="string", title="Value", description="d", examples=["x"])
    reader = from_json_schema(given)
    assert reader.schema == given
    given["properties"].clear()
    assert reader.schema["properties"]


@promise("tool:model")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (field(**{"$ref": "https://example.com/x.json"}), "example.com"),
        (field(**{"$ref": "file:///etc/passwd"}), "passwd"),
        (field(**{"$ref": "other.json"}), "other.json"),
        (field(**{"$ref": "#/$defs/nowhere"}), "nowhere"),
        ({"$schema": "https://example.com/own", **field()}, "example.com/own"),
        (field(type="intger"), "intger"),
        (field(type="string", pattern="("), "regex"),
        ({"type": "array"}, "array"),
        ({"type": ["object", "null"]}, "null"),
        (field(default=float("nan")), "not JSON"),
        (field(default=Plain()), "not JSON"),
    ],
)
def test_a_broken_or_remote_schema_is_refused_at_start_up(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        from_json_schema(given, where="app.py:3 find()")
    assert caught.value.rule == "TR204"
    assert caught.value.where == "app.py:3 find()"
    assert said in caught.value.message
    assert "\n" not in str(caught.value)


@promise("tool:model")
def test_the_declared_dialect_is_honoured() -> None:
    """`items` as a list means a tuple in draft-07, and is no schema at all in 2020-12."""
    pair = field(type="array", items=[{"type": "integer"}, {"type": "string"}])
    assert isinstance(from_json_schema({"$schema": DRAFT_7, **pair}).read("", {"value": [1, "a"]}), Accepted)
    assert isinstance(from_json_schema({"$schema": DRAFT_7, **pair}).read("", {"value": ["a", 1]}), list)
    with pytest.raises(DefinitionError):
        from_json_schema(pair)


@promise("tool:model")
def test_a_schema_without_a_type_describes_an_object() -> None:
    assert from_json_schema({}).schema == {"type": "object"}


@promise("auth:secrets")
def test_a_raw_schema_has_no_secret_argument_either() -> None:
    with pytest.raises(DefinitionError, match="TR206"):
        from_json_schema(field(type="string", format="password", writeOnly=True))


def test_docstring_and_json_schema_libraries_load_only_when_they_are_needed() -> None:
    code = (
        "import sys; from toolrail.arguments.typed import from_function\n"
        "def f(a: int = 1) -> None:\n  'Plain.'\n"
        "from_function(f); print(sorted({'griffe', 'jsonschema_rs'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
