"""Where a run's time went: each moment is given to the one thing that the run waited for then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from toolrail.dashboard.waterfall import Bar, Waterfall, What

On = Literal["tool", "failed", "backoff", "checks", "person", "suspended", "model", "own", "outside"]
"""What was waited for: a handler, an attempt of it that failed, the pause before its next attempt, its turn (checks,
rates, places), a person while
the process stood by, whoever the suspended run waited for, the model, toolrail's own writing, anything outside."""

_RANK: dict[What, tuple[int, On]] = {
    "attempt": (0, "tool"),
    "failed": (0, "failed"),
    "open": (0, "tool"),
    "backoff": (1, "backoff"),
    "person": (2, "person"),
    "checks": (3, "checks"),
    "model": (4, "model"),
    "after": (5, "own"),
    "waits": (6, "suspended"),
}
_SMALL = 0.005
"""A share under this is put together with others."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One share of a run's time."""

    on: On
    name: str
    """The tool or the model; empty for the others."""
    seconds: float
    share: float
    """Of the whole, 0 to 1."""
    calls: int
    """How many calls or requests it was."""
    attempts: int


@dataclass(slots=True)
class _Sum:
    seconds: float
    keys: set[str]
    attempts: set[tuple[str, int]]


def spent(chart: Waterfall) -> tuple[Spent, ...]:
    """The shares of a run's time, the largest first. They add up to the whole.

    Of calls at the same time it was the one that ended last that the run waited for.
    """
    sums: dict[tuple[On, str], _Sum] = {}
    for seconds, found in _stretches(chart):
        on, name, key, number = found
        one = sums.setdefault((on, name), _Sum(0.0, set(), set()))
        one.seconds += seconds
        if key is not None:
            one.keys.add(key)
            one.attempts.add((key, number))
    whole = sum(one.seconds for one in sums.values())
    shares = (
        Spent(on, name, one.seconds, one.seconds / whole if whole else 0.0, len(one.keys), len(one.attempts))
        for (on, name), one in sums.items()
    )
    return tuple(sorted(shares, key=lambda one: -one.seconds))


def main_shares(shares: Iterable[Spent], most: int = 6) -> tuple[tuple[Spent, ...], float]:
    """Those that are worth a word, and the seconds of all others."""
    listed = list(shares)
    work = sum(one.seconds for one in listed if one.on != "suspended")  # a night of waiting makes nothing else small
    kept = [one for one in listed[:most] if one.seconds >= _SMALL * work]
    return tuple(kept), sum(one.seconds for one in listed if one not in kept)


_Found = tuple[On, str, str | None, int]


def _stretches(chart: Waterfall) -> Iterator[tuple[float, _Found]]:
    """Spans in which the same parts were under way, each with what it is given to."""
    edges = sorted(_edges(chart.bars), key=lambda one: one[0])
    active: dict[int, tuple[tuple[int, float], _Found]] = {}
    place, before = 0, 0.0
    while place < len(edges):
        now = edges[place][0]
        if now > before:
            yield now - before, _given(chart, active, before)
        while place < len(edges) and edges[place][0] == now:
            _, opens, number, entry = edges[place]
            if opens:
                active[number] = entry
            else:
                active.pop(number, None)
            place += 1
        before = max(before, now)
    if chart.seconds > before:
        yield chart.seconds - before, _given(chart, {}, before)


_Entry = tuple[tuple[int, float], _Found]


def _edges(bars: Iterable[Bar]) -> Iterator[tuple[float, bool, int, _Entry]]:
    number = 0
    for bar in bars:
        for part in bar.parts:
            rank, on = (4, "model") if bar.call is None else _RANK[part.what]
            name = bar.name if on in ("tool", "failed", "backoff", "model", "checks") else ""
            entry: _Entry = ((rank, -bar.end), (on, name, bar.key, part.number))
            yield part.start, True, number, entry
            yield part.end, False, number, entry
            number += 1


def _given(chart: Waterfall, active: dict[int, _Entry], at: float) -> _Found:
    if active:
        return min(active.values(), key=lambda one: one[0])[1]
    return ("suspended", "", None, 0) if _cut(chart, at) else ("outside", "", None, 0)


def _cut(chart: Waterfall, at: float) -> bool:
    return any(one.start <= at < one.end for one in chart.idle)
