"""What a rail says when it is made: mistakes that span tools and store, and tools whose effect nobody declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from toolrail.errors import DefinitionError
from toolrail.limits import Budgets, RailLimits
from toolrail.ports import log
from toolrail.settings import instance, near
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


def limits_of(given: RailLimits | None) -> RailLimits:
    """The rail's limits, or the defaults.

    Raises:
        DefinitionError: TR301.
    """
    if given is not None:
        instance("Rail", "limits", given, of=RailLimits, mend="Write limits=RailLimits(...).")
    return given or RailLimits()


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


def check_budgeted(tools: Toolset[Any], budgets: Budgets) -> None:
    """A budget of a tool that is not there would be none of the tool that was meant.

    Raises:
        DefinitionError: TR308.
    """
    for budget in (budgets.session, budgets.principal_day):
        per_tool = budget.calls_per_tool if budget is not None else None
        for name, calls in per_tool.items() if isinstance(per_tool, Mapping) else ():
            if name not in tools:
                longer = [known for known in tools.names if known.endswith(str(name))]  # it was prefixed since
                meant = longer[0] if longer else near(name, tools.names)
                mend = f"Did you mean {meant!r}?" if meant else f"Name tools of the rail: {', '.join(tools.names)}."
                where = f"Budget(calls_per_tool={{{name!r}: {calls!r}}})"
                raise DefinitionError("TR308", where, f"the rail has no tool {name!r}.", mend)


def check_isolated(tools: Toolset[Any]) -> None:
    """A handler that a process of its own could not call would fail at its first call.

    Raises:
        DefinitionError: TR114 or TR115.
    """
    for tool in tools:
        if tool.isolate is not None:
            tool.isolate.check(tool.fn, takes_context=tool.takes_context, where=tool.where)


def check_transactions(tools: Toolset[Any], store: Store) -> None:
    """A tool whose effect is a transaction of the store's needs a store that has some.

    Raises:
        DefinitionError: TR307.
    """
    for tool in tools:
        if tool.effect.transactional:
            from toolrail.stages.transact import writable  # most programs have no such tool

            writable(tool, store)


def warn_undeclared(tools: Toolset[Any]) -> None:
    """One warning that names the tools without a declared effect."""
    names = [tool.name for tool in tools if tool.effect.kind == "undeclared"]
    if names:
        log.warning(
            "No effect is declared for: %s. After a failure the model is told that they may have taken effect; "
            'declare effect="read", once(...) or another.',
            ", ".join(names),
        )


def warn_unasked(tools: Toolset[Any]) -> None:
    """One warning that names the tools which a person has to approve, on a rail that asks nobody."""
    names = [tool.name for tool in tools if tool.access.approve is not False]
    if names:
        log.warning(
            "Nobody can say yes to calls of: %s. They have approve=, but the rail has no approver, so those calls are "
            "refused. Mend: give Rail(approver=...), such as deferred of toolrail.approvers.",
            ", ".join(names),
        )
