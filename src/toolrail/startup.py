"""What a rail says when it is made: mistakes that span tools and store, and tools whose effect nobody declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from toolrail.errors import DefinitionError
from toolrail.events import Sink
from toolrail.limits import Budgets, RailLimits
from toolrail.money import PriceBook
from toolrail.ports import log
from toolrail.records.alerts.live import AlertSink
from toolrail.records.database import records_url, same_place
from toolrail.records.logging import LogSink
from toolrail.records.metrics import Metrics
from toolrail.settings import instance, near
from toolrail.store import Store
from toolrail.toolset import Toolset

if TYPE_CHECKING:
    from toolrail.records.recorder import Recorder

T = TypeVar("T")


def listed(name: str, given: Sequence[T]) -> tuple[T, ...]:
    """A port that takes several, as a tuple.

    Raises:
        TypeError: one was given in place of a list.
    """
    if not isinstance(given, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"Rail({name}=...) takes a list. Write {name}=[...].")
    return tuple(given)


def recorder_of(
    given: str | Recorder | None, store: str | Store | None, *, sinks: Sequence[Sink] | None, prices: PriceBook
) -> Recorder | None:
    """What `records=` asks for; without it, a recorder beside a store that a URL names, unless there are other sinks.

    Raises:
        DefinitionError: TR311.
    """
    if given is None:
        given = records_url(store) if sinks is None and isinstance(store, str) else None
    others = [sink for sink in sinks or () if hasattr(sink, "url")]
    if given is None and not others:
        return None
    from toolrail.records.recorder import Recorder  # only those who record load what writes

    recorder = Recorder(given) if isinstance(given, str) else given
    recorders = [*([] if recorder is None else [recorder]), *[sink for sink in others if isinstance(sink, Recorder)]]
    for at, one in enumerate(recorders):
        _check_place(one.url, store, [other.url for other in recorders[:at]])
    for one in recorders:
        one.adopt(prices)
    return recorder


def _check_place(url: str, store: str | Store | None, others: Sequence[str]) -> None:
    """A record has a place of its own.

    Raises:
        DefinitionError: TR311.
    """
    where = f"Recorder({url!r})" if "@" not in url else "Recorder(...)"  # there may be a password before it
    kept = f"sqlite:///{path}" if isinstance(path := getattr(store, "path", None), str) else store
    if isinstance(kept, str) and same_place(kept, url):
        mend = "Leave records= out, and it stands beside the store; or name another file."
        raise DefinitionError("TR311", where, "the store is in this file, and each would lock out the other.", mend)
    if any(other == url or same_place(other, url) for other in others):
        mend = "Give one of them, by records= or among sinks=."
        raise DefinitionError("TR311", where, "the rail has it twice: all would be recorded twice.", mend)


def default_sinks(recorder: Recorder | None) -> tuple[Sink, ...]:
    """Metrics in memory and the log; and where nothing is recorded, alerts on this process alone."""
    return (Metrics(), LogSink()) if recorder is not None else (Metrics(), LogSink(), AlertSink())


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
