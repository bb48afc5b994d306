"""What the rules look at, read once a round. Long spans are read less often: they change slowly and cost more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from toolrail.records.views import CallFilter, CallLine, CircuitLine, Minute, Overview, ToolStats, Window

if TYPE_CHECKING:
    from toolrail.records.metrics import Latencies
    from toolrail.records.reading import Records

T = TypeVar("T")
FRESH, OLDEST = 60.0, 600.0
"""A span's figures may be older by this part of it, and by so many seconds at most: an hour's by a minute."""
NEWEST = 900.0
"""Seconds that are read anew at every round; more than any span may be old."""
WAITING = 1_000
"""So many unknown outcomes are looked at."""


class _Known(NamedTuple):
    at: float
    value: Any


class Facts:
    """`Records`, asked by spans before now. One is kept over the rounds, and told of each with `at`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._records: Records | None = None
        self._known: dict[tuple[Any, ...], _Known] = {}

    def at(self, records: Records, now: float) -> Facts:
        """Begins a round."""
        self._records, self.now = records, now
        self._known = {key: known for key, known in self._known.items() if now - known.at < min(key[1] / FRESH, OLDEST)}
        return self

    def minutes(self, span: float) -> Mapping[str, tuple[Minute, ...]]:
        """By tool, the newest first. Only the newest quarter of an hour is read at every round."""
        cut = (self.now - NEWEST) // 60.0 * 60.0
        new = self._once(("new", 0.0), lambda records: records.minutes(cut))
        if span <= NEWEST:
            least = self.now - span
            return {
                tool: kept for tool, found in new.items() if (kept := tuple(one for one in found if one.start >= least))
            }
        old = self._once(("old", span), lambda records: records.minutes(self.now - span))
        older = {tool: tuple(one for one in found if one.start < cut) for tool, found in old.items()}
        return {tool: (*new.get(tool, ()), *older.get(tool, ())) for tool in (*new, *(older.keys() - new.keys()))}

    def latencies(self, since: float) -> Mapping[str, Latencies]:
        """By tool, until now."""
        return self._once(
            ("latencies", 0.0, since), lambda records: records.latencies(Window(since, max(since, self.now)))
        )

    def before(self, name: str, since: float, until: float) -> Mapping[str, Latencies]:
        """By tool, in a span that has ended; `name` says which."""
        return self._once(("before", until - since, name), lambda records: records.latencies(Window(since, until)))

    def overview(self, span: float) -> Overview:
        """The front page's figures."""
        return self._once(
            ("overview", span), lambda records: records.overview(Window(self.now - span, self.now), steps=1)
        )

    def tools(self, span: float) -> tuple[ToolStats, ...]:
        """Each tool's figures."""
        return self._once(("tools", span), lambda records: records.tools(Window(self.now - span, self.now)))

    def circuits(self) -> tuple[CircuitLine, ...]:
        """As each process saw them last."""
        return self._once(("circuits", 0.0), lambda records: records.circuits())

    def waiting(self) -> tuple[CallLine, ...]:
        """Calls whose outcome is unknown."""
        return self._once(("waiting", 0.0), lambda records: records.calls(CallFilter(unsettled=True, limit=WAITING)))

    def lost(self) -> int:
        """Events that were lost, ever."""
        return self._once(("lost", 0.0), lambda records: records.lost())

    def _once(self, key: tuple[Any, ...], ask: Callable[[Records], T]) -> T:
        known = self._known.get(key)
        if known is None:
            if self._records is None:
                raise RuntimeError("at() comes first")
            known = self._known[key] = _Known(self.now, ask(self._records))
        return known.value
