"""TR2xx: rules about arguments and schemas."""

from __future__ import annotations

from toolrail.rules.rule import Rule

ARGUMENTS = (
    Rule(
        "TR201",
        "Each argument has an annotation that can be resolved.",
        "The schema that the model reads, and the check of what it sends, are made from the annotations.",
        """
from toolrail import tool

@tool
def find(order):
    return order
""",
        """
from toolrail import tool

@tool
def find(order: str) -> str:
    return order
""",
    ),
    Rule(
        "TR202",
        "Each argument has a type that JSON can say.",
        "A model writes JSON. A connection, a callable or a file is no argument: it belongs into the run's `deps`.",
        """
from collections.abc import Callable

from toolrail import tool

@tool
def find(order: str, notify: Callable[[str], None]) -> str:
    return order
""",
        """
from collections.abc import Callable

from toolrail import RunContext, tool

@tool
def find(ctx: RunContext[Callable[[str], None]], order: str) -> str:
    ctx.deps(order)
    return order
""",
    ),
    Rule(
        "TR203",
        "Each argument is a parameter with a name of its own.",
        "A model names its arguments, so positional-only parameters cannot be filled; behind `*args` and `**kwargs` a "
        "model could send anything, unchecked.",
        """
from toolrail import tool

@tool
def find(**filters: str) -> str:
    return str(filters)
""",
        """
from toolrail import tool

@tool
def find(filters: dict[str, str]) -> str:
    return str(filters)
""",
    ),
    Rule(
        "TR204",
        "A raw schema is a valid JSON Schema of an object, whole in itself.",
        "Arguments are an object with names. A reference to another document is never fetched, so it is unchecked.",
        """
from toolrail import tool_from_schema

tool_from_schema({"type": "array"}, lambda: "found", name="find")
""",
        """
from toolrail import tool_from_schema

tool_from_schema({"type": "object", "properties": {}}, lambda: "found", name="find")
""",
    ),
    Rule(
        "TR205",
        "The handler of a model takes its fields, or the model itself.",
        "Otherwise each call would fail after its arguments were found valid.",
        """
from pydantic import BaseModel

from toolrail import tool_from_model

class Find(BaseModel):
    order: str

def find(number: str) -> str:
    return number

tool_from_model(Find, find)
""",
        """
from pydantic import BaseModel

from toolrail import tool_from_model

class Find(BaseModel):
    order: str

def find(order: str) -> str:
    return order

tool_from_model(Find, find)
""",
    ),
    Rule(
        "TR206",
        "No argument is a secret.",
        "The model wrote it, so its provider has read it already. Secrets come from the run's `deps`.",
        """
from pydantic import SecretStr

from toolrail import tool

@tool
def log_in(password: SecretStr) -> str:
    return "done"
""",
        """
from pydantic import SecretStr

from toolrail import RunContext, tool

@tool
def log_in(ctx: RunContext[SecretStr]) -> str:
    return "done" if ctx.deps.get_secret_value() else "no password"
""",
    ),
)
