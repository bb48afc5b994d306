"""When a share is over its threshold, and when it is back: Wilson bounds, looked at call after call, with hysteresis.

The figures here were found by simulation; `tests/records/test_alert_mathematics.py` repeats it.
"""

from __future__ import annotations

import math
from collections import deque
from functools import cache
from typing import NamedTuple


def wilson(events: int, calls: int, z: float) -> tuple[float, float]:
    """The lower and upper bound of a share that was seen as `events` of `calls` (Wilson, 1927): `(0, 1)` of no calls.

    Args:
        z: how sure, in standard deviations: 2.5 is wrong on one side in 0.6 % of looks.

    Example: `wilson(9, 80, 2.5)` is about `(0.050, 0.234)`.
    """
    if calls <= 0:
        return 0.0, 1.0
    share, square = events / calls, z * z
    middle = share + square / (2 * calls)
    reach = z * math.sqrt(share * (1 - share) / calls + square / (4 * calls * calls))
    whole = 1 + square / calls
    return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)


class Judge(NamedTuple):
    """When a share counts as too high, and when as good again. Between the two nothing changes: hysteresis.

    At a true rate of 2 % these figures raise a false alarm in 0.4 % of series of 1,000 calls, though they look at every
    call; a rate that rises to 15 % is found within 100 calls in 94 %; one that falls back to 2 % clears after 65 calls
    in half of the cases, after 170 in 95 %.
    """

    over: float = 0.05
    """The threshold of the true rate, 0 to 1."""
    calls: int = 80
    """It fires by the newest so many: more find a small excess, fewer find a change sooner."""
    least: int = 20
    """It never fires on fewer."""
    z: float = 2.5
    """It fires when the lower bound at this z is over the threshold."""
    clear_calls: int = 100
    """It clears by the newest so many, all of them made since it fired."""
    clear_least: int = 40
    """It never clears on fewer."""
    clear_z: float = 1.28
    """It clears when the upper bound at this z is under the threshold."""

    def fires(self, events: int, calls: int) -> bool:
        """Whether so many events among the newest calls are too many."""
        return calls >= self.least and wilson(events, calls, self.z)[0] > self.over

    def clears(self, events: int, calls: int) -> bool:
        """Whether so few events among the calls since it fired are good again."""
        return calls >= self.clear_least and wilson(events, calls, self.clear_z)[1] < self.over


@cache
def fire_table(judge: Judge) -> tuple[int, ...]:
    """By the number of calls: from how many events on it fires."""
    return tuple(
        next((events for events in range(calls + 1) if judge.fires(events, calls)), calls + 1)
        for calls in range(judge.calls + 1)
    )


@cache
def clear_table(judge: Judge) -> tuple[int, ...]:
    """By the number of calls: up to how many events it clears; -1 where it does not."""
    return tuple(
        max((events for events in range(calls + 1) if judge.clears(events, calls)), default=-1)
        for calls in range(judge.clear_calls + 1)
    )


class Watch:
    """One share, judged at every call. It keeps the positions of events only, so a call without one costs a comparison.

    Example: `Watch(Judge()).add(position=1, event=True)`
    """

    __slots__ = ("_base", "_clears", "_events", "_fires", "_least", "firing")

    def __init__(self, judge: Judge, base: int = 0) -> None:
        self.firing = False
        self._base = base
        self._least = judge.least
        self._events: deque[int] = deque()
        self._fires = fire_table(judge)
        self._clears = clear_table(judge)

    def add(self, position: int, *, event: bool) -> bool:
        """Takes one call, whose position counts all calls from 1; says whether the state changed."""
        if event:
            self._events.append(position)
        elif not self.firing and position - self._base != self._least:
            return False  # one good call more never fires, but the one that makes them enough
        table = self._clears if self.firing else self._fires
        seen = min(position - self._base, len(table) - 1)
        while self._events and self._events[0] <= position - seen:
            self._events.popleft()
        events = len(self._events)
        if (events > table[seen]) if self.firing else (events < table[seen]):
            return False
        self.firing, self._base = not self.firing, position
        self._events.clear()
        return True

    def seen(self, position: int) -> tuple[int, int]:
        """Events and calls that it judges by now."""
        table = self._clears if self.firing else self._fires
        calls = min(position - self._base, len(table) - 1)
        return sum(1 for at in self._events if at > position - calls), calls
