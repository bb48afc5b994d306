"""What a rail says when it is made: mistakes that span tools and store, and tools whose effect nobody declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from toolrail.errors import DefinitionError
from toolrail.ports import log
from toolrail.store import Store
from toolrail.toolset import Toolset

T = TypeVar("T")


def listed(name: str, given: Sequence[T]) -> tuple[T, ...]:
    """A port that takes several, as a tuple.

    Raises:
        TypeError: one was given in place of a list.
    """
    if not isinstance(given, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"Rail({name}=...) takes a list. Write {name}=[...].")
    return tuple(given)


def check_scopes(tools: Toolset[Any], store: str | Store | None) -> None:
    """A key that must hold beyond the run needs a store that somebody chose.

    Raises:
        DefinitionError: TR304.
    """
    if store is not None:
        return
    for tool in tools:
        if tool.effect.scope not in (None, "run"):
            raise DefinitionError(
                "TR304",
                tool.where,
                f"its effect must hold within the {tool.effect.scope}, but the default store forgets with the process.",
                'Give Rail(store="sqlite:///rail.db"), or write store="memory://" to accept that.',
            )


def warn_undeclared(tools: Toolset[Any]) -> None:
    """One warning that names the tools without a declared effect."""
    names = [tool.name for tool in tools if tool.effect.kind == "undeclared"]
    if names:
        log.warning(
            "No effect is declared for: %s. After a failure the model is told that they may have taken effect; "
            'declare effect="read", once(...) or another.',
            ", ".join(names),
        )
