"""What each kind of rule sees in the record: for each subject, whether it is too much, and whether it is good again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, assert_never

from toolrail.codes import Code
from toolrail.records.alerts.facts import WAITING, Facts
from toolrail.records.alerts.rules import (
    ErrorRate,
    LongRuns,
    Loops,
    LostTelemetry,
    OpenCircuit,
    Rule,
    Slower,
    Spend,
    UnknownOutcomes,
)
from toolrail.records.logging import safe
from toolrail.records.metrics import Latencies, bin_of
from toolrail.records.views import Minute, Money

QUIET = 120.0
"""Seconds without a call until a text says so."""
FORGOTTEN = 86_400.0
"""Seconds after which an open circuit that nobody has tried since is forgotten."""
ANSWERED = 20
"""Good calls by others that say an open circuit is one of a process that is gone."""
DAY = 86_400.0
CLASSES = {
    "argument": "by their arguments",
    "dependency": "by the dependency",
    "bug": "by a bug in our code",
    "policy": "by a policy",
    "limit": "by a limit",
    "none": "by being cancelled",
}


class State(NamedTuple):
    """What is remembered of one rule and one subject."""

    firing: bool = False
    since: float = 0.0
    """When it changed last: what was before does not count again."""
    met: float | None = None
    """Since when it is too much, while it does not fire yet."""
    basis: float | None = None
    """What it is compared with while it fires: a limit in seconds, or how many events were lost."""
    seen: float | None = None
    """When the last loss was seen."""


NEW = State()
States = Mapping[str, State]


class Reading(NamedTuple):
    """What a rule sees of a subject now."""

    subject: str
    high: bool
    """It is too much."""
    good: bool
    """It is good again. Between the two nothing changes."""
    value: float | None
    text: str
    basis: float | None = None
    seen: float | None = None


def readings(rule: Rule, facts: Facts, states: States) -> Iterator[Reading]:
    """Of every subject that there is anything to say about."""
    match rule:
        case ErrorRate():
            return _error_rates(rule, facts, states)
        case Slower():
            return _slower(rule, facts, states)
        case LongRuns():
            return _long_runs(rule, facts, states)
        case Loops():
            return _loops(rule, facts)
        case OpenCircuit():
            return _circuits(facts)
        case Spend():
            return _spend(rule, facts)
        case UnknownOutcomes():
            return _waiting(rule, facts, states)
        case LostTelemetry():
            return _lost(rule, facts, states)
        case _:
            assert_never(rule)


def _error_rates(rule: ErrorRate, facts: Facts, states: States) -> Iterator[Reading]:
    judge = rule.judge
    for tool, minutes in facts.minutes(rule.within).items():
        state = states.get(tool, NEW)
        most = judge.clear_calls if state.firing else judge.calls
        calls, by_class = newest(minutes, most, state.since)
        events = sum(by_class.get(one, 0) for one in rule.classes)
        split = ", ".join(f"{by_class[one]} {CLASSES[one]}" for one in rule.classes if by_class.get(one))
        share = events / calls if calls else 0.0
        which = f"{calls} calls since it fired" if state.firing else f"its last {calls} calls"
        text = f"{safe(tool)}: {events} of {which} failed ({share:.1%}, limit {rule.over:.0%})"
        if state.firing and not calls:
            text = f"{safe(tool)}: no further calls since it fired"
        yield Reading(
            tool,
            judge.fires(events, calls),
            judge.clears(events, calls),
            share if calls else None,
            f"{text}{': ' if split else ''}{split}{_quiet(minutes[:1], facts.now)}",
        )


def newest(minutes: Iterable[Minute], most: int, since: float) -> tuple[int, Mapping[str, int]]:
    """Calls, and those that failed by class, of whole minutes: the newest until there are `most` calls, none that began
    before `since`."""
    calls, by_class = 0, dict[str, int]()
    for minute in minutes:
        if minute.start < since or calls >= most:
            break
        calls += minute.calls
        for name, count in minute.by_class.items():
            by_class[name] = by_class.get(name, 0) + count
    return calls, by_class


def _slower(rule: Slower, facts: Facts, states: States) -> Iterator[Reading]:
    """A p95 is over a limit when more than 5 % of the calls are over it."""
    now, judge = facts.now, rule.judge
    for tool, minutes in facts.minutes(rule.within).items():
        state = states.get(tool, NEW)
        limit = state.basis if state.firing else _limit(rule, facts, tool)
        if limit is None:
            continue
        whole = math.ceil(state.since / 60.0) * 60.0  # the minute in which it changed does not count again
        seen = facts.latencies(max(now - rule.within, whole)).get(tool) or Latencies()
        calls, slow = sum(seen.bins.values()), over(seen, limit)
        p95 = seen.quantile(0.95)
        text = f"{safe(tool)}: p95 {p95:.3g} s in {calls} calls; it was {_was(rule, limit):.3g} s before"
        high, good = judge.fires(slow, calls), judge.clears(slow, calls)
        yield Reading(tool, high, good, p95 if calls else None, text + _quiet(minutes[:1], now), basis=limit)


def over(latencies: Latencies, limit: float) -> int:
    """Calls that took longer. Those in the limit's own bin, 2 % wide, do not count."""
    edge = bin_of(limit)
    return sum(count for index, count in latencies.bins.items() if index > edge)


def _limit(rule: Slower, facts: Facts, tool: str) -> float | None:
    """By the slower of the hours before and the same time yesterday; None where neither has enough calls."""
    end = facts.now - rule.within
    hours = facts.before("hours", end - rule.baseline, end)
    yesterday = facts.before("yesterday", facts.now - DAY - 1_800.0, facts.now - DAY + 1_800.0)
    enough = [one for name in (hours, yesterday) if (one := name.get(tool)) and one.count >= rule.baseline_least]
    if not enough:
        return None
    before = max(one.quantile(0.95) for one in enough)
    return max(before * rule.factor, before + rule.floor)


def _was(rule: Slower, limit: float) -> float:
    """The p95 that a limit was made of."""
    return min(limit / rule.factor, limit - rule.floor)


def _long_runs(rule: LongRuns, facts: Facts, states: States) -> Iterator[Reading]:
    state = states.get("runs", NEW)
    seen = facts.overview(min(rule.within, max(facts.now - state.since, 1.0)))
    runs, sizes = seen.calls_per_run.count, seen.calls_per_run.sizes
    long = sum(count for size, count in sizes.items() if size > rule.over)
    limited = sum(count for reason, count in seen.reasons.items() if reason in ("limit:calls", "limit:turns"))
    events = min(runs, max(long, limited))  # a run may be both, and the record counts each apart
    text = f"{long} of {runs} runs made more than {rule.over} calls, {limited} were ended by a limit of calls or turns"
    share = events / runs if runs else None
    yield Reading("runs", rule.judge.fires(events, runs), rule.judge.clears(events, runs), share, text)


def _loops(rule: Loops, facts: Facts) -> Iterator[Reading]:
    for tool in facts.tools(rule.within):
        count = tool.codes.get(Code.LOOP_DETECTED, 0)
        text = f"{safe(tool.tool)}: {count} calls in {_span(rule.within)} were repetitions, and refused"
        yield Reading(tool.tool, count >= rule.count, count == 0 and tool.calls > 0, float(count), text)


def _circuits(facts: Facts) -> Iterator[Reading]:
    answered: dict[str, int] = {}
    for tool in facts.tools(600.0):
        good = tool.calls - sum(tool.by_class.values())
        answered[tool.dependency] = answered.get(tool.dependency, 0) + good
    open_since: dict[str, list[float]] = {}
    for line in facts.circuits():
        gone = facts.now - line.wall > FORGOTTEN or (
            facts.now - line.wall > 600.0 and answered.get(line.dependency, 0) >= ANSWERED
        )
        found = open_since.setdefault(line.dependency, [])
        if line.state != "closed" and not gone:
            found.append(line.wall)
    for dependency, walls in open_since.items():
        last = max(walls, default=facts.now)
        quiet = f"; nobody has tried it since {clock(last)}" if facts.now - last > 600.0 else ""
        many = f"{len(walls)} {'process' if len(walls) == 1 else 'processes'}"
        text = f"{safe(dependency)}: its circuit is open in {many}{quiet}"
        yield Reading(dependency, bool(walls), not walls, float(len(walls)), text)


def _spend(rule: Spend, facts: Facts) -> Iterator[Reading]:
    seen = facts.overview(rule.within)
    before = {money.currency: money for money in seen.cost_before}
    costs = {money.currency: money for money in seen.cost}
    costs.setdefault(rule.currency, Money(currency=rule.currency))
    for currency, money in costs.items():
        limits = [rule.over] if rule.over is not None and currency == rule.currency else []
        was = before.get(currency, Money(currency=currency))
        if rule.factor is not None and was.amount > 0:
            limits.append(max(was.amount * rule.factor, was.amount + rule.floor))
        limit = min(limits, default=None)
        text = (
            f"{_money(money)} in {'an hour' if rule.per == 'hour' else 'a day'}; the same span yesterday: {_money(was)}"
        )
        high = limit is not None and money.amount > limit
        good = limit is None or money.amount < 0.9 * limit
        yield Reading(currency, high, good, money.amount, text)


def _money(money: Money) -> str:
    if money.known:
        return f"{money.amount:.2f} {money.currency}"
    return f"at least {money.amount:.2f} {money.currency} ({money.unpriced} responses have no known price)"


def _waiting(rule: UnknownOutcomes, facts: Facts, states: States) -> Iterator[Reading]:
    found: dict[str, list[float]] = {tool: [] for tool, state in states.items() if state.firing}
    for call in facts.waiting():
        found.setdefault(call.tool, []).append(facts.now - (call.settled or call.wall))
    for tool, ages in found.items():
        old = [age for age in ages if age >= rule.seconds]
        many = f"{len(old)}{' or more' if len(ages) >= WAITING else ''}"
        calls, oldest = "call" if many == "1" else "calls", _span(max(ages, default=0))
        text = f"{safe(tool)}: {many} {calls} may or may not have taken effect, the oldest for {oldest}"
        mend = "; `toolrail effects list` shows them" if old else ""
        yield Reading(tool, len(old) >= rule.count, not old, float(len(old)), text + mend)


def _lost(rule: LostTelemetry, facts: Facts, states: States) -> Iterator[Reading]:
    state, lost = states.get("telemetry", NEW), facts.lost()
    more = lost - (state.basis or 0)
    seen = facts.now if more > 0 else state.seen
    text = f"{lost} events were lost in all: the figures are too low, and other rules see less"
    good = seen is None or facts.now - seen >= rule.within
    yield Reading("telemetry", more > 0, good and more <= 0, float(lost), text, basis=float(lost), seen=seen)


def _quiet(last: tuple[Minute, ...], now: float) -> str:
    """No traffic is not good news."""
    end = max((minute.start + 60.0 for minute in last), default=now)
    return f"; no traffic since {clock(end)}" if now - end > QUIET else ""


def clock(wall: float) -> str:
    """A moment, for people anywhere."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(wall))


def _span(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200.0 else f"{seconds / 3600:.0f} h"
