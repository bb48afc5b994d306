"""One tool's JSON Schema and name in each provider's own subset. Start at `compile_schema` and `NameMap`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from toolrail.dialects.compiled import Compiled, Dialect, Form
from toolrail.dialects.gemini import compile_gemini
from toolrail.dialects.limits import fit_request
from toolrail.dialects.names import NameMap, NameRule, name_rule
from toolrail.dialects.normal import normalise
from toolrail.dialects.plain import compile_plain
from toolrail.dialects.strict import compile_strict

__all__ = ["Compiled", "Dialect", "Form", "NameMap", "NameRule", "compile_schema", "fit_request", "name_rule"]


def compile_schema(schema: Mapping[str, Any], dialect: Dialect) -> Compiled:
    """Compile one tool's JSON Schema to a provider's subset. Never raises, whatever the dict; never changes it.

    What the subset cannot say moves into descriptions (`moved`); where a strict form is impossible the plain one comes
    back, with `reasons`. The same schema gives the same bytes each time.

    Example:
        >>> city = {"type": "object", "properties": {"limit": {"type": "integer", "default": 5}}}
        >>> compile_schema(city, "openai_strict").schema["properties"]
        {'limit': {'type': ['integer', 'null'], 'description': '(default: 5) (null to leave out)'}}
    """
    normal = normalise(schema)
    plain = compile_plain(normal, dialect=dialect)
    match dialect:
        case "openai" | "anthropic":
            return plain
        case "openai_strict" | "anthropic_strict":
            return compile_strict(normal, plain, dialect=dialect)
        case "gemini":
            return compile_gemini(normal, plain)
        case _:
            assert_never(dialect)
