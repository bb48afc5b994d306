"""What compiling a schema gives: the provider's form of it, and what was lost, moved or added on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

JsonDict = dict[str, Any]

Dialect = Literal["openai", "openai_strict", "anthropic", "anthropic_strict", "gemini"]
Form = Literal["parameters", "parametersJsonSchema"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One tool's JSON Schema in a provider's subset."""

    schema: JsonDict
    """Ready for the wire. Its root is always an object schema."""
    strict: bool
    """Whether the provider may be asked to enforce it. False where the strict form is impossible: see `reasons`."""
    null_means_default: frozenset[str] = frozenset()
    """Optional arguments for which the dialect itself added null: a null there is the same as leaving them out."""
    moved: tuple[str, ...] = ()
    """Constraints that the subset cannot say (`limit: maximum`). Descriptions name them; we still validate them."""
    reasons: tuple[str, ...] = ()
    """Why the schema is not strict, and what of a broken schema was left out."""
    dialect: Dialect = "openai"
    """The dialect that was asked for."""
    form: Form = "parameters"
    """The field that carries it, for Gemini: its own subset, or full JSON Schema."""
    fallback: Compiled | None = None
    """The same tool in the plain dialect, for a request that is over its limit of strict tools."""
