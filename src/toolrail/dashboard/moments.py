"""A run at any of its events: what was said and under way, what was left of its budgets, which circuits were open.

Pure: the events of a `RunDetail` in order, and the state after each. Rows are numbered through over all processes that
worked on the run (`seq`), and content has the number of the event that it came with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolrail.dashboard.timeline import Timeline
from toolrail.records.meanings import MEANINGS
from toolrail.records.views import AttemptLine, CallLine, ContentLine, ModelLine, Moment, RunDetail

_BUDGETS = ("turns", "calls", "tokens", "seconds", "money")
_MOMENTS = {
    "RunStarted": "The run began",
    "RunSuspended": "The run was suspended",
    "RunEnded": "The run ended",
    "RunRepaired": "The history was mended",
    "ModelStarted": "The model was asked",
    "ModelAttemptEnded": "A request to the model failed",
    "CallSuspended": "A call waits for a person",
    "ApprovalDecided": "A person decided",
    "OutcomeSettled": "An outcome became known",
    "CircuitChanged": "A circuit changed",
    "BudgetNear": "A budget is nearly spent",
    "LoopBlocked": "A tool held the event loop",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the run, in words."""

    seq: int
    """Its number in the record. There are gaps: the first attempt's success is no event."""
    at: float
    """Seconds since the run began."""
    turn: int
    title: str
    detail: str
    """May have words from outside."""
    key: str | None
    """The call it is about."""
    bad: bool
    source: Moment | CallLine | ModelLine | AttemptLine
    what: str
    """`requested`, `decided`, `claimed`, `attempt`, `settled`, `model`, or the moment's kind."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a limit was spent."""

    name: str
    spent: float
    limit: float | None
    """None: there is none."""

    @property
    def share(self) -> float:
        """0 to 1; 0 without a limit."""
        return min(1.0, self.spent / self.limit) if self.limit else 0.0


@dataclass(frozen=True, slots=True)
class State:
    """The run after one of its events."""

    event: Event | None
    """None: nothing has happened yet."""
    budgets: tuple[Budget, ...]
    unpriced: int
    """Responses so far whose price nobody stated: what they cost is not in `money`."""
    circuits: tuple[tuple[str, str], ...]
    """As this run heard of them."""
    under_way: tuple[CallLine, ...]
    waiting: tuple[CallLine, ...]
    done: int
    failed: int
    contents: tuple[ContentLine, ...]
    """What was written in it so far, without the text."""


def events(detail: RunDetail) -> tuple[Event, ...]:
    """All events of a run that the record has, in order."""
    line = Timeline(detail, now=0.0)
    found = [*_of_moments(detail, line), *_of_models(detail, line)]
    for call in detail.calls:
        found += _of_call(call, line, detail.attempts.get(call.key, ()))
    return tuple(sorted(found, key=lambda one: one.seq))


def state_at(detail: RunDetail, found: Sequence[Event], seq: int) -> State:
    """The state after all events up to that number; 0 is before any."""
    past = [one for one in found if one.seq <= seq]
    last = past[-1] if past else None
    open_calls: dict[str, CallLine] = {}
    waiting: dict[str, CallLine] = {}
    circuits: dict[str, str] = {}
    models: list[ModelLine] = []
    done = failures = requested = 0
    for one in past:
        source = one.source
        match source:
            case CallLine() if one.what == "requested":
                requested += 1
                open_calls[source.key] = source
            case CallLine() if one.what == "settled":
                open_calls.pop(source.key, None)
                waiting.pop(source.key, None)
                if source.status == "pending":
                    waiting[source.key] = source
                done += source.status != "pending"
                failures += one.bad
            case ModelLine():
                models.append(source)
            case Moment(kind="CircuitChanged"):
                circuits[str(source.data.get("dependency", ""))] = str(source.data.get("state", ""))
            case Moment(kind="CallSuspended") if source.key in open_calls:
                waiting[source.key] = open_calls.pop(source.key)
            case _:
                pass
    return State(
        last,
        _budgets(detail, models, calls=requested, seconds=_held(past)),
        sum(one.cost is None for one in models),
        tuple(sorted(circuits.items())),
        tuple(open_calls.values()),
        tuple(waiting.values()),
        done,
        failures,
        _said(detail, last),
    )


def _held(past: Sequence[Event]) -> float:
    """Seconds in which a process held the run; what it waited in between does not count."""
    total, since = 0.0, past[0].at if past else 0.0
    held = True
    for one in past:
        if one.what == "RunStarted":
            since, held = one.at, True
        elif one.what in ("RunSuspended", "RunEnded") and held:
            total, held = total + one.at - since, False
    return total + max(one.at for one in past) - since if held and past else total


def _budgets(detail: RunDetail, models: Sequence[ModelLine], *, calls: int, seconds: float) -> tuple[Budget, ...]:
    spent: Mapping[str, float] = {
        "turns": len(models),
        "calls": calls,
        "tokens": sum(one.usage.total_tokens for one in models),
        "seconds": seconds,
        "money": sum(one.cost or 0.0 for one in models),
    }
    return tuple(Budget(name, float(spent[name]), _number(detail.limits.get(name))) for name in _BUDGETS)


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _said(detail: RunDetail, last: Event | None) -> tuple[ContentLine, ...]:
    """Content up to an event. It stands at the number of the event that it came with."""
    if last is None:
        return ()
    return tuple(one for one in detail.contents if one.seq <= last.seq)


def _of_moments(detail: RunDetail, line: Timeline) -> Iterator[Event]:
    calls = {call.key: call for call in detail.calls}
    for one in detail.moments:
        tool = calls[one.key].tool if one.key in calls else ""
        said = [tool, *(f"{name}: {_plain(value)}" for name, value in one.data.items() if name not in ("offered",))]
        bad = one.kind in ("ModelAttemptEnded", "LoopBlocked") or one.data.get("state") == "open"
        title = _MOMENTS.get(one.kind, one.kind)
        if one.kind == "RunStarted" and one.data.get("resumed"):
            title = "The run went on"
        words = ", ".join(word for word in said if word)
        yield Event(one.seq, line.at(one.wall, one.mono), one.turn, title, words, one.key, bad, one, one.kind)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_plain(one)}" for name, one in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return " ".join(_plain(one) for one in value)  # pyright: ignore[reportUnknownVariableType]
    return str(value)


def _of_models(detail: RunDetail, line: Timeline) -> Iterator[Event]:
    for one in detail.models:
        calls = f"asked for {one.calls} call{'s' if one.calls != 1 else ''}" if one.calls else f"stopped: {one.stop}"
        words = f"{one.model}, {one.usage.total_tokens:,} tokens, {calls}"
        at = line.at(one.wall, one.mono)
        yield Event(one.seq, at, one.turn, "The model answered", words, None, False, one, "model")


def _of_call(call: CallLine, line: Timeline, attempts: Sequence[AttemptLine]) -> Iterator[Event]:
    start, resumed, settled = line.span(call)
    begun, high = start if resumed is None else resumed, line.end if settled is None else settled
    place = (call.turn, call.key)
    words = f"{call.tool}, {call.argument_bytes:,} bytes"
    yield _event(call.seq, start, place, ("A call was requested", words), call, "requested")
    if call.decided_seq is not None and call.decided_mono is not None:
        at = line.within(call.decided_mono, start, high)
        words = ", ".join(word for word in (call.tool, call.rule, call.reason) if word)
        title = (f"Decided: {call.decision}", words)
        yield _event(call.decided_seq, at, place, title, call, "decided", bad=call.decision == "deny")
    if call.claimed_seq is not None and call.claimed_mono is not None:
        at = line.within(call.claimed_mono, start, high)
        title = ("Its start was written", f"{call.tool}, {call.effect}")
        yield _event(call.claimed_seq, at, place, title, call, "claimed")
    for one in attempts:
        at = line.within(one.ended_mono, begun, high)
        title = ("An attempt ended", _tried(call, one))
        yield _event(one.seq, at, place, title, one, "attempt", bad=one.failure is not None)
    if settled is not None and call.settled_seq is not None:
        means = next((text for code, text in MEANINGS.items() if code == call.code), "")
        words = f"{call.tool}: {call.code or call.status}{f' ({means})' if means else ''}"
        bad = call.status not in ("ok", "pending")
        yield _event(call.settled_seq, settled, place, ("A call was answered", words), call, "settled", bad=bad)


def _event(
    seq: int,
    at: float,
    place: tuple[int, str],
    words: tuple[str, str],
    source: CallLine | AttemptLine,
    what: str,
    *,
    bad: bool = False,
) -> Event:
    return Event(seq, at, place[0], *words, place[1], bad, source, what)


def _tried(call: CallLine, one: AttemptLine) -> str:
    how = "returned" if one.failure is None else " ".join(word for word in (one.failure, one.error_type) if word)
    wait = f", next in {one.wait:.3g} s" if one.wait is not None else ""
    return f"{call.tool}, attempt {one.attempt}: {how} after {one.seconds:.3g} s{wait}"
