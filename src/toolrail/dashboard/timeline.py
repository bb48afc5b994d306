"""Times of a run on one line, though several processes may have worked on it, and an axis that leaves out its waiting.

A monotonic clock means nothing outside its process, and a wall clock may be set back within one. So the times of one
handle (one process that held the run) stand at their monotonic distance from its start, and handles stand at their
wall times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolrail.records.views import CallLine, RunDetail

LONG = 0.2
"""Waiting that is longer than this share of the work is cut out of the axis."""
BREAK = 0.05
"""What a cut takes of the width, and `BREAKS` what all of them take at most."""
BREAKS = 0.3
_SLACK = 1e-3
"""Seconds by which two readings of clocks may differ and still be of the same moment."""
_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Handle:
    """One process that held the run, from here on."""

    wall: float
    mono: float


@dataclass(frozen=True, slots=True)
class Break:
    """A span that is cut out of the axis, in seconds since the run's start."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it is in truth."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of the axis: seconds since the beginning, or since the end of the last cut."""

    x: float
    seconds: float
    after_break: bool


class Timeline:
    """Where the times of one run stand, in seconds since it began; never before that.

    Example: `line = Timeline(detail, now=time.time()); start = line.at(call.wall, call.mono)`
    """

    def __init__(self, detail: RunDetail, *, now: float) -> None:
        self.handles = _handles(detail)
        self.zero = min(self.handles[0].wall, detail.run.started)
        self.last = max(self._points(detail), default=0.0)
        """The newest thing that is known."""
        over = detail.run.state == "ended"
        self.end = self.last if over else max(self.last, now - self.zero)

    def at(self, wall: float, mono: float) -> float:
        """Where something stands whose wall time is known too. Its clock tells in whose process it was."""
        here = min(reversed(self.handles), key=lambda one: abs((wall - mono) - (one.wall - one.mono)))
        return max(0.0, here.wall - self.zero + mono - here.mono)

    def within(self, mono: float, low: float, high: float) -> float:
        """Where something stands of which only the monotonic time is known, and between what it was."""
        places = [one.wall - self.zero + mono - one.mono for one in reversed(self.handles)]
        fits = (place for place in places if low - _SLACK <= place <= high + _SLACK)
        nearest = next(fits, None)
        if nearest is None:
            nearest = min(places, key=lambda place: max(low - place, place - high))
        return min(max(nearest, low), high)

    def span(self, call: CallLine) -> tuple[float, float | None, float | None]:
        """When a call was requested, when it went on after it had waited (None: it never did), when it was settled."""
        start = self.at(call.wall, call.mono)
        if call.settled is None or call.seconds is None:
            return start, None, None
        if any(call.wall < one.wall <= call.settled for one in self.handles):  # another process answered it
            end = max(start, call.settled - self.zero)
            return start, max(start, end - call.seconds), end
        return start, None, start + max(0.0, call.seconds)

    def _points(self, detail: RunDetail) -> Iterator[float]:
        yield from (max(0.0, one.wall - self.zero) for one in self.handles)
        for call in detail.calls:
            start, _, end = self.span(call)
            yield start if end is None else end
        yield from (self.at(one.wall, one.mono) for one in detail.models)
        yield from (self.at(one.wall, one.mono) for one in detail.moments)


def _handles(detail: RunDetail) -> tuple[Handle, ...]:
    started = [Handle(one.wall, one.mono) for one in detail.moments if one.kind == "RunStarted"]
    everything = [
        *(Handle(one.wall, one.mono) for one in detail.calls),
        *(Handle(one.wall, one.mono) for one in detail.moments),
        *(Handle(one.wall - (one.seconds or 0.0), one.mono - (one.seconds or 0.0)) for one in detail.models),
    ]
    first = min(everything, key=lambda one: one.wall, default=Handle(detail.run.started, 0.0))
    found = sorted(started, key=lambda one: one.wall)
    # A batch beside the loop has no start of its own, and the row of one may be lost.
    return tuple(found) if found and found[0].wall <= first.wall + _SLACK else (first, *found)


class Axis:
    """Seconds since the run's start as a share of the width, 0 to 1. Long waiting is cut to a narrow mark.

    Example: `Axis(40.0, [Break(3.0, 38.0)]).x(39.0)`
    """

    def __init__(self, end: float, idle: Iterable[Break] = ()) -> None:
        self.end = max(0.0, end)
        gaps = [one for one in _apart(idle, self.end) if one.seconds > 0.0]
        work = self.end - sum(one.seconds for one in gaps)
        self.breaks = tuple(one for one in gaps if one.seconds > LONG * work)
        self._shown = self.end - sum(one.seconds for one in self.breaks)
        self._cut = min(BREAK, BREAKS / len(self.breaks)) if self.breaks else 0.0
        self._times, self._places = self._knots()

    def x(self, at: float) -> float:
        """The place of a time."""
        at = min(max(at, 0.0), self.end)
        after = min(max(bisect_right(self._times, at), 1), len(self._times) - 1)
        low, high = self._times[after - 1], self._times[after]
        left, right = self._places[after - 1], self._places[after]
        return min(1.0, left if high <= low else left + (right - left) * (at - low) / (high - low))

    def ticks(self, most: int = 6) -> tuple[Tick, ...]:
        """Round times, at most about so many."""
        step = _round_up(self._shown / most) if self._shown > 0.0 else 0.0
        found: list[Tick] = []
        for first, (low, high) in enumerate(self._stretches()):
            number = 0
            while step and low + number * step < high - step * 0.3:
                if number or not first:
                    found.append(Tick(self.x(low + number * step), number * step, bool(first)))
                number += 1
        return tuple(found) or (Tick(0.0, 0.0, False),)

    def _stretches(self) -> Sequence[tuple[float, float]]:
        starts = [0.0, *(one.end for one in self.breaks)]
        return list(zip(starts, [*(one.start for one in self.breaks), self.end], strict=True))

    def _knots(self) -> tuple[list[float], list[float]]:
        times, places = [0.0], [0.0]
        scale = (1.0 - self._cut * len(self.breaks)) / self._shown if self._shown > 0.0 else 0.0
        for one in self.breaks:
            times += [one.start, one.end]
            before = places[-1] + (one.start - times[-3]) * scale
            places += [before, before + self._cut]
        times.append(self.end)
        places.append(min(1.0, places[-1] + (self.end - times[-2]) * scale))
        return times, places


def _apart(idle: Iterable[Break], end: float) -> list[Break]:
    """Within the run, in order, without overlap."""
    found: list[Break] = []
    for one in sorted(idle, key=lambda one: one.start):
        low = max(0.0, one.start, found[-1].end if found else 0.0)
        high = min(end, one.end)
        if high > low:
            found.append(Break(low, high))
    return found


def _round_up(seconds: float) -> float:
    size = 1e-6
    while size * 10.0 < seconds:
        size *= 10.0
    return next((size * one for one in _STEPS if size * one >= seconds), size * 10.0)
