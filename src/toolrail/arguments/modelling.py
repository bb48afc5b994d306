"""What a Pydantic model says of itself: its JSON Schema in the form that toolrail offers, and facts for the reader."""

from __future__ import annotations

import warnings
from typing import Any, cast

from pydantic import BaseModel

from toolrail.arguments.walk import Schema, as_object, children, every, in_place, is_json
from toolrail.errors import DefinitionError
from toolrail.frozen import frozen


@frozen
class Facts:
    """What of a model needs more than Pydantic's own strict reading. All false for most models."""

    dates: bool
    """A date, time or duration is in it: Pydantic reads the text "5" as five seconds past 1970."""
    decimals: bool
    """A Decimal is in it: Pydantic reads "1_0" as 10, and long fractions through a float."""
    sets: bool
    """A set is in it: its order differs from process to process."""
    infinite: bool
    """A default is infinite or NaN, which JSON cannot say."""
    open: bool
    """The model itself says `extra="allow"`."""


def facts_of(model: type[BaseModel]) -> Facts:
    """Computed once, when the tool is defined."""
    kinds = _core_types(getattr(model, "__pydantic_core_schema__", None))
    return Facts(
        dates=bool(kinds & {"date", "datetime", "time", "timedelta", "?"}),
        decimals=bool(kinds & {"decimal", "?"}),
        sets=bool(kinds & {"set", "frozenset", "?"}),
        infinite=any("default" in node and not is_json(node["default"]) for node in every(_raw_schema(model))),
        open=model.model_config.get("extra") == "allow",
    )


def model_schema(model: type[BaseModel]) -> Schema:
    """The JSON Schema of a model: 2020-12, its root an object, closed, without titles that only repeat a name."""
    schema = _raw_schema(model)
    if "$ref" in schema:  # a model that contains itself
        definition = as_object(schema.get("$defs"))[schema["$ref"].rpartition("/")[2]]
        schema = {**definition, "$defs": schema["$defs"]}
    schema.pop("description", None)  # the tool's own description says it
    closed = model.model_config.get("extra") != "allow"
    for node in every(schema):
        _tidy(node, closed=closed)
    schema.pop("title", None)
    return schema


def refuse_secrets(schema: Schema, where: str) -> None:
    """Raises TR206 for an argument that holds a secret, at any depth."""
    for name, node in as_object(schema.get("properties")).items():
        if isinstance(node, dict) and _holds_secret(schema, cast(Schema, node)):
            raise DefinitionError(
                "TR206",
                where,
                f"the argument {name!r} is a secret; a secret argument does not exist: the model wrote it.",
                "Take the secret from the context's deps.",
            )


def _raw_schema(model: type[BaseModel]) -> Schema:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a default that JSON cannot say is left out, which is what we want
        return model.model_json_schema(by_alias=True, mode="validation")


def _tidy(node: Schema, *, closed: bool) -> None:
    if closed and "properties" in node and node.get("additionalProperties") in (None, True):
        node["additionalProperties"] = False
    if "default" in node and not is_json(node["default"]):
        del node["default"]
    for name, child in children(node):
        if name and child.get("title") in (name, name.replace("_", " ").title()):
            del child["title"]


def _holds_secret(root: Schema, schema: Schema) -> bool:
    seen: list[Schema] = []
    todo = [schema]
    while todo:
        node = todo.pop()
        if any(node is known for known in seen):
            continue
        seen.append(node)
        if node.get("format") == "password" and node.get("writeOnly") is True:
            return True
        todo += [child for _, child in children(node)] + in_place(root, node)
    return False


def _core_types(core: Any) -> set[str]:
    """All `type`s in a core schema; `?` where it cannot be seen, which means: assume everything."""
    if not isinstance(core, dict):
        return {"?"}
    kinds: set[str] = set()
    seen: set[int] = set()
    todo: list[Any] = [core]
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, dict):
            mapping = cast("dict[Any, Any]", node)
            kind = mapping.get("type")
            kinds |= {kind} if isinstance(kind, str) else set()
            todo += mapping.values()
        elif isinstance(node, (list, tuple)):
            todo += cast("list[Any]", node)
    return kinds
