"""Figures of a window out of the rollups: whole hours from the rows of hours, the edges from those of minutes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from toolrail.codes import CODES
from toolrail.messages import Usage
from toolrail.records.database import Database
from toolrail.records.metrics import Distribution, Latencies
from toolrail.records.rollups import add_counts, merge_bins
from toolrail.records.schema import GRAINS, TOTAL
from toolrail.records.views import (
    FaultClass,
    Minute,
    ModelStats,
    Money,
    Quantiles,
    Spark,
    Step,
    ToolStats,
    Window,
)

MINUTE, HOUR = GRAINS
STEPS = (60, 120, 300, 600, 900, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR)
"""Seconds of one step of a line. Half an hour is none: minutes of more than 15 hours would take too long to read."""
_SUMS = "calls, attempts, argument_bytes, result_bytes, replayed, seconds, codes, bins"
_CLASS: dict[str, FaultClass] = {code.value: CODES[code].alert for code in CODES}
_FAILING = frozenset(code.value for code in CODES if CODES[code].status in ("error", "unknown"))


class Span(NamedTuple):
    """Rows of one grain, `until` not included."""

    grain: int
    since: int
    until: int


def spans_of(db: Database, window: Window, *, table: str = "tool_rollups") -> tuple[Span, ...]:
    """The rows that make up a window, in whole minutes; in whole hours where the minutes are not kept any more."""
    since = int(window.since // MINUTE * MINUTE)
    until = int(-(-window.until // MINUTE) * MINUTE)
    kept = _kept_since(db, table)
    if since < kept:
        since = since // HOUR * HOUR
    if until <= kept:
        until = -(-until // HOUR) * HOUR
    return tuple(_parted(since, until))


def _kept_since(db: Database, table: str) -> float:
    """The hour from which on there are minutes: retention takes them earlier than the hours. 0: it took none yet."""
    sql = f"SELECT min(start) FROM {table} WHERE grain = ?"
    ((minute,),), ((hour,),) = db.select(sql, (MINUTE,)), db.select(sql, (HOUR,))
    if minute is None:
        return 0 if hour is None else float("inf")
    return minute // HOUR * HOUR if hour is not None and hour < minute // HOUR * HOUR else 0


def _parted(since: int, until: int) -> Iterator[Span]:
    first, end = -(-since // HOUR) * HOUR, until // HOUR * HOUR
    if first > end:
        yield Span(MINUTE, since, until)
        return
    for span in (Span(MINUTE, since, first), Span(HOUR, first, end), Span(MINUTE, end, until)):
        if span.since < span.until:
            yield span


TOTALS = (Span(TOTAL, 0, 1),)
"""Since the beginning."""


@dataclass(slots=True)
class ToolSum:
    """One tool over all its rows."""

    dependency: str = ""
    versions: dict[str, None] = field(default_factory=dict[str, None])
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0, 0])
    """Calls, attempts, bytes of arguments and of results, replays."""
    seconds: float = 0.0
    codes: dict[str, int] = field(default_factory=dict[str, int])
    packs: list[bytes] = field(default_factory=list[bytes])

    @property
    def errors(self) -> int:
        """Those that ended in an error or an unknown outcome."""
        return errors_of(self.codes)

    def stats(self, tool: str, *, spark: tuple[Spark, ...], circuit: str) -> ToolStats:
        """As it is shown."""
        calls, attempts, argument_bytes, result_bytes, replayed = self.counts
        return ToolStats(
            tool=tool,
            dependency=self.dependency,
            versions=tuple(filter(None, self.versions)),
            calls=calls,
            errors=self.errors,
            by_class=by_class(self.codes),
            codes=self.codes,
            attempts=attempts,
            argument_bytes=argument_bytes,
            result_bytes=result_bytes,
            replayed=replayed,
            latency=quantiles(merge_bins(self.packs)),
            circuit=circuit,
            spark=spark,
        )


def tool_sums(db: Database, spans: Iterable[Span]) -> dict[str, ToolSum]:
    """By tool, over all versions."""
    found: dict[str, ToolSum] = {}
    for span in spans:
        sql = f"SELECT tool, digest, dependency, {_SUMS} FROM tool_rollups WHERE grain = ? AND start >= ? AND start < ?"
        for tool, digest, dependency, *counts, seconds, codes, packed in db.select(sql, span):
            known = found.get(tool)
            if known is None:
                known = found[tool] = ToolSum()
            known.dependency = dependency or known.dependency
            known.versions[digest] = None
            known.counts = [mine + more for mine, more in zip(known.counts, counts, strict=True)]
            known.seconds += seconds
            known.packs.append(packed)
            if codes != "{}":
                add_counts(known.codes, counts_in(codes))
    return found


def stats_of(
    found: Mapping[str, ToolSum], *, sparks: Mapping[str, tuple[Spark, ...]], circuits: Mapping[str, str]
) -> tuple[ToolStats, ...]:
    """The busiest first."""
    lines = (
        known.stats(tool, spark=sparks.get(tool, ()), circuit=circuits.get(known.dependency, "closed"))
        for tool, known in found.items()
    )
    return tuple(sorted(lines, key=lambda line: (-line.calls, line.tool)))


def latencies_of(bins: Mapping[int, int], seconds: float = 0.0) -> Latencies:
    """Bins as a sketch, with the sum of all that they count."""
    return Latencies(dict(bins), sum(bins.values()), seconds)


def quantiles(bins: Mapping[int, int]) -> Quantiles:
    """Within 1 %; None where nothing was counted."""
    if not bins:
        return Quantiles()
    sketch = latencies_of(bins)
    return Quantiles(sketch.quantile(0.5), sketch.quantile(0.95), sketch.quantile(0.99))


@lru_cache(maxsize=1024)
def _counts(text: str) -> tuple[tuple[str, int], ...]:
    return tuple(json.loads(text).items())


def counts_in(text: str) -> dict[str, int]:
    """A JSON object of counts. Most rows have the same few."""
    return dict(_counts(text))


def errors_of(codes: Mapping[str, int]) -> int:
    """Calls that ended in an error or an unknown outcome: refusals are none."""
    return sum(count for code, count in codes.items() if code in _FAILING)


def by_class(codes: Mapping[str, int]) -> dict[FaultClass, int]:
    """Calls that did not succeed, by who has to look."""
    found: dict[FaultClass, int] = {}
    for code, count in codes.items():
        kind: FaultClass = _CLASS.get(code, "none")
        found[kind] = found.get(kind, 0) + count
    return found


# Lines over time.


def step_of(window: Window, steps: int) -> int:
    """Seconds of each step, so that there are at most so many."""
    wanted = window.seconds / max(1, steps)
    day = STEPS[-1]
    return next((step for step in STEPS if step >= wanted), int(-(-wanted // day) * day))


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps of a line, and the rows that are in them: just those of the window, so that steps add up to it."""

    since: int
    until: int
    step: int
    spans: tuple[Span, ...]

    @property
    def places(self) -> range:
        """The steps, counted from 0."""
        return range((self.until - self.since) // self.step)

    def start(self, place: int) -> float:
        """When a step begins."""
        return float(self.since + place * self.step)


def _grid(db: Database, window: Window, steps: int) -> Grid:
    step, kept = step_of(window, steps), _kept_since(db, "tool_rollups")
    spans = spans_of(db, window)
    if step < HOUR and window.since // MINUTE * MINUTE >= kept:
        spans = (Span(MINUTE, spans[0].since, spans[-1].until),) if spans else ()
    else:
        step = max(step, HOUR)
    since = spans[0].since if spans else window.since
    until = spans[-1].until if spans else window.until
    return Grid(int(since // step * step), int(-(-until // step) * step), step, spans)


def sparks(db: Database, window: Window, steps: int) -> dict[str, tuple[Spark, ...]]:
    """Calls and errors by tool, each step of the window; the key "" is all tools together."""
    grid = _grid(db, window, steps)
    calls: dict[str, dict[int, int]] = {"": {}}
    errors: dict[str, dict[int, int]] = {"": {}}
    where = "FROM tool_rollups WHERE grain = ? AND start >= ? AND start < ?"
    for span in grid.spans:
        sums = f"SELECT tool, (start - {grid.since}) / {grid.step}, sum(calls) {where} GROUP BY 1, 2"
        for tool, place, count in db.select(sums, span):
            add_counts(calls.setdefault(tool, {}), {place: count})
            add_counts(calls[""], {place: count})
        for tool, start, codes in db.select(f"SELECT tool, start, codes {where} AND codes <> '{{}}'", span):
            place, count = (start - grid.since) // grid.step, errors_of(counts_in(codes))
            add_counts(errors.setdefault(tool, {}), {place: count})
            add_counts(errors[""], {place: count})
    return {
        tool: tuple(
            Spark(grid.start(place), counts.get(place, 0), errors.get(tool, {}).get(place, 0)) for place in grid.places
        )
        for tool, counts in calls.items()
    }


def history(db: Database, tool: str, window: Window, steps: int) -> tuple[Step, ...]:
    """One tool over time, with its latency."""
    grid = _grid(db, window, steps)
    sql = "SELECT start, calls, codes, bins FROM tool_rollups WHERE grain = ? AND start >= ? AND start < ? AND tool = ?"
    rows: dict[int, list[tuple[Any, ...]]] = {}
    for span in grid.spans:
        for start, *row in db.select(sql, (*span, tool)):
            rows.setdefault((start - grid.since) // grid.step, []).append(tuple(row))
    return tuple(
        Step(
            grid.start(place),
            sum(row[0] for row in rows.get(place, ())),
            sum(errors_of(counts_in(row[1])) for row in rows.get(place, ())),
            quantiles(merge_bins(row[2] for row in rows.get(place, ()))),
        )
        for place in grid.places
    )


def minutes(db: Database, since: float) -> dict[str, tuple[Minute, ...]]:
    """By tool: the minutes with calls that began at `since` or later, the newest first."""
    sql = "SELECT start, tool, calls, codes FROM tool_rollups WHERE grain = ? AND start >= ? ORDER BY start DESC"
    calls: dict[tuple[str, int], int] = {}
    codes: dict[tuple[str, int], dict[str, int]] = {}
    for start, tool, count, said in db.select(sql, (MINUTE, int(-(-since // 1)))):
        calls[tool, start] = calls.get((tool, start), 0) + count
        add_counts(codes.setdefault((tool, start), {}), counts_in(said))
    found: dict[str, list[Minute]] = {}
    for (tool, start), count in calls.items():
        found.setdefault(tool, []).append(Minute(float(start), count, by_class(codes[tool, start])))
    return {tool: tuple(lines) for tool, lines in found.items()}


# Runs and models.


class RunFigures(NamedTuple):
    """Runs that ended within a window."""

    runs: int
    reasons: dict[str, int]
    calls_per_run: Distribution


def run_figures(db: Database, spans: Iterable[Span]) -> RunFigures:
    """Sums over spans of `run_rollups`."""
    runs = calls = 0
    reasons: dict[str, int] = {}
    sizes: dict[int, int] = {}
    for span in spans:
        sql = "SELECT runs, calls, reasons, sizes FROM run_rollups WHERE grain = ? AND start >= ? AND start < ?"
        for more_runs, more_calls, more_reasons, more_sizes in db.select(sql, span):
            runs += more_runs
            calls += more_calls
            add_counts(reasons, counts_in(more_reasons))
            add_counts(sizes, {int(size): count for size, count in counts_in(more_sizes).items()})
    return RunFigures(runs, reasons, Distribution(runs, calls, sizes))


_TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")


def models(db: Database, spans: Iterable[Span]) -> tuple[ModelStats, ...]:
    """By model, the dearest first; a model that was paid in two currencies stands there twice."""
    counts: dict[tuple[str, str], list[Any]] = {}
    packs: dict[tuple[str, str], list[bytes]] = {}
    sums = ", ".join(("requests", "attempts", *_TOKENS, "cost", "unpriced"))
    for span in spans:
        sql = f"SELECT model, currency, {sums}, bins FROM model_rollups WHERE grain = ? AND start >= ? AND start < ?"
        for model, currency, *row, packed in db.select(sql, span):
            known = counts.setdefault((model, currency), [0] * len(row))
            counts[model, currency] = [mine + more for mine, more in zip(known, row, strict=True)]
            packs.setdefault((model, currency), []).append(packed)
    lines = [
        ModelStats(
            model=key[0],
            requests=row[0],
            attempts=row[1],
            usage=Usage(*row[2:7]),
            cost=Money(float(row[7]), key[1], row[8]),
            latency=quantiles(merge_bins(packs[key])),
        )
        for key, row in counts.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.cost.amount, -line.requests, line.model)))


def cost_in(db: Database, window: Window) -> tuple[Money, ...]:
    """What all models cost in a window, by currency."""
    found: list[tuple[str, float, int]] = []
    for span in spans_of(db, window, table="model_rollups"):
        sql = """SELECT currency, sum(cost), sum(unpriced) FROM model_rollups
            WHERE grain = ? AND start >= ? AND start < ? GROUP BY currency"""
        found += [(currency, cost, unpriced) for currency, cost, unpriced in db.select(sql, span)]
    return money(found)


def money(rows: Sequence[tuple[str, float, int]]) -> tuple[Money, ...]:
    """Sums by currency, the largest first. What has no price has no currency either: it is counted with the first."""
    amounts: dict[str, float] = {}
    unpriced: dict[str, int] = {}
    for currency, cost, count in rows:
        amounts[currency] = amounts.get(currency, 0.0) + cost
        unpriced[currency] = unpriced.get(currency, 0) + count
    paid = sorted((currency for currency in amounts if amounts[currency] > 0), key=lambda each: -amounts[each])
    shown = paid or list(amounts)[:1]
    rest = sum(count for currency, count in unpriced.items() if currency not in shown)
    return tuple(
        Money(amounts[each], each, unpriced[each] + (rest if place == 0 else 0)) for place, each in enumerate(shown)
    )
