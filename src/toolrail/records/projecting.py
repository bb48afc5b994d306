"""Events become facts about runs and calls, and rows: pure, so that what failed to be written is done again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from toolrail.events import (
    ApprovalDecided,
    AttemptEnded,
    BudgetNear,
    CallClaimed,
    CallDecided,
    CallRef,
    CallRequested,
    CallSettled,
    CallSuspended,
    CircuitChanged,
    Content,
    Event,
    Head,
    LoopBlocked,
    ModelAttemptEnded,
    ModelSettled,
    ModelStarted,
    OutcomeSettled,
    RunEnded,
    RunRepaired,
    RunStarted,
    RunSuspended,
)
from toolrail.logs import logger
from toolrail.messages import Usage
from toolrail.records.rollups import Sums, named, tokens

log = logger("toolrail")

Costing = Callable[[ModelSettled], "tuple[float | None, str]"]
"""What a response of a model cost, and in which currency; None: nobody stated the price."""
RunKey = tuple[str, str]
"""Tenant and run."""


@dataclass(slots=True)
class Handle:
    """A run as this process works on it. Numbers of events begin anew in each handle, those of rows go on."""

    base: int
    """Added to the events' numbers."""
    last: int = 0
    """The newest event's number, before it is added."""
    started: bool = False
    """Whether its beginning was seen: it is no batch beside runs."""
    since: float | None = None
    """When it was opened. Of the handles of one run, in whichever processes, the one opened last has the last word."""
    shared: bool = False
    """Whether there are other handles of its run."""


@dataclass(slots=True)
class CallFacts:
    """What is new about one call."""

    head: Head
    call: CallRef
    seq: int
    """Of the first event about it."""
    requested: CallRequested | None = None
    decided: CallDecided | None = None
    decided_seq: int = 0
    claimed: CallClaimed | None = None
    claimed_seq: int = 0
    settled: CallSettled | None = None
    settled_seq: int = 0
    outcome: OutcomeSettled | None = None
    error_type: str | None = None


@dataclass(slots=True)
class RunFacts:
    """What is new about one run."""

    head: Head
    """Of the first event."""
    guest: bool
    """Its beginning was never seen: a batch without a run, or a word from outside about an old one."""
    updated: float = 0.0
    seq: int = 0
    turn: int = 0
    started: RunStarted | None = None
    suspended: RunSuspended | None = None
    ended: RunEnded | None = None
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    costs: dict[str, float] = field(default_factory=dict[str, float])
    unpriced: int = 0
    since: float | None = None
    """When the handle was opened that speaks here."""

    @property
    def over(self) -> bool:
        """Whether this process is done with it."""
        return self.ended is not None or self.suspended is not None


@dataclass(slots=True)
class Facts:
    """All that a stretch of events says. Rows are tuples in the order of their table's columns."""

    handles: dict[RunKey, Handle]
    runs: dict[RunKey, RunFacts] = field(default_factory=dict[RunKey, RunFacts])
    calls: dict[tuple[str, str], CallFacts] = field(default_factory=dict[tuple[str, str], CallFacts])
    attempts: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    models: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    moments: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    contents: list[tuple[int, Content]] = field(default_factory=list[tuple[int, Content]])
    circuits: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    sums: Sums = field(default_factory=Sums)
    unread: int = 0


def project(events: Iterable[Event | Content], handles: Mapping[RunKey, Handle], costing: Costing) -> Facts:
    """What events say.

    Args:
        events: in the order in which they came.
        handles: of each run that they are of.
        costing: of responses.
    """
    facts = Facts({key: replace(handle) for key, handle in handles.items()})
    work = _Work(facts, costing)
    for event in events:
        try:
            work.take(event)
        except Exception:  # one that cannot be read must not cost all others their rows
            facts.unread += 1
            log.debug("An event could not be read.", exc_info=True)
    return facts


class _Work:
    """One projection under way. Events of one run mostly come in a row, so its facts are at hand."""

    __slots__ = ("costing", "facts", "handle", "key", "run", "seq")

    def __init__(self, facts: Facts, costing: Costing) -> None:
        self.facts = facts
        self.costing = costing
        self.key: RunKey = ("", "")
        self.run: RunFacts | None = None
        self.handle = Handle(0)
        self.seq = 0

    def take(self, event: Event | Content) -> None:
        head = event.head
        run, key = self.run, self.key
        if run is None or head.run != key[1] or head.tenant != key[0]:
            run = self._turn_to(head)
        handle = self.handle
        kind = event.__class__
        if kind is Content:
            self.facts.contents.append((handle.base + head.seq, event))  # pyright: ignore[reportArgumentType]
            return
        if head.seq <= handle.last and kind is not LoopBlocked:  # which comes from a thread of its own
            handle.base, handle.last = handle.base + handle.last, 0
        if head.seq > handle.last:
            handle.last = head.seq
        self.seq = run.seq = handle.base + head.seq
        run.updated = head.wall
        if head.turn > run.turn:
            run.turn = head.turn
        _TAKES[kind](self, run, event)

    def _turn_to(self, head: Head) -> RunFacts:
        self.key = key = (head.tenant, head.run)
        run = self.facts.runs.get(key)
        self.handle = handle = self.facts.handles.setdefault(key, Handle(0))
        if run is None:
            run = self.facts.runs[key] = RunFacts(head, not handle.started, turn=head.turn, since=handle.since)
        self.run = run
        return run

    def call(self, event: Any) -> CallFacts:
        """What is known of the event's call."""
        call, head = event.call, event.head
        key = (head.tenant, call.key)
        facts = self.facts.calls.get(key)
        if facts is None:
            facts = self.facts.calls[key] = CallFacts(head, call, self.seq)
        elif call.digest:
            facts.call = call
        return facts

    def moment(self, event: Any, data: Mapping[str, Any]) -> None:
        """Any other event."""
        head, call = event.head, getattr(event, "call", None)
        place = (head.tenant, head.run, self.seq, head.turn, head.wall, head.mono)
        kind, key = event.__class__.__name__, None if call is None else call.key
        self.facts.moments.append((*place, kind, key, written(data)))


def _run_started(work: _Work, run: RunFacts, event: RunStarted) -> None:
    run.started, run.guest, run.suspended, run.ended = event, False, None, None
    work.handle.started, work.handle.since = True, event.head.wall
    run.since = event.head.wall
    run.model = event.model or run.model
    work.moment(event, {"resumed": event.resumed})


def _run_suspended(work: _Work, run: RunFacts, event: RunSuspended) -> None:
    run.suspended = event
    work.moment(event, {"pending": event.pending})


def _run_ended(work: _Work, run: RunFacts, event: RunEnded) -> None:
    run.ended = event
    work.moment(event, {"reason": event.reason, "turns": event.turns, "calls": event.calls, "seconds": event.seconds})


def _model_started(work: _Work, run: RunFacts, event: ModelStarted) -> None:
    run.model = run.model or event.model
    work.moment(event, {"model": named(event.model), "messages": event.messages})


def _model_settled(work: _Work, run: RunFacts, event: ModelSettled) -> None:
    head, usage = event.head, event.usage
    cost, currency = work.costing(event)
    run.model = run.model or event.model
    run.usage = run.usage + usage
    if cost is None:
        run.unpriced += 1
    else:
        run.costs[currency] = run.costs.get(currency, 0.0) + cost
    place = (head.tenant, head.run, work.seq, head.turn, head.wall, head.mono)
    said = (named(event.model), event.stop, event.seconds, event.attempts, event.calls)
    work.facts.models.append((*place, *said, *tokens(usage), cost, currency))
    work.facts.sums.model(event, cost, currency)


def _call_requested(work: _Work, _: RunFacts, event: CallRequested) -> None:
    work.call(event).requested = event


def _call_decided(work: _Work, _: RunFacts, event: CallDecided) -> None:
    facts = work.call(event)
    facts.decided, facts.decided_seq = event, work.seq


def _call_claimed(work: _Work, _: RunFacts, event: CallClaimed) -> None:
    facts = work.call(event)
    facts.claimed, facts.claimed_seq = event, work.seq


def _attempt_ended(work: _Work, _: RunFacts, event: AttemptEnded) -> None:
    head = event.head
    work.call(event).error_type = event.error_type
    place = (head.tenant, event.call.key, event.attempt, work.seq, head.mono)
    work.facts.attempts.append((*place, event.seconds, event.failure, event.error_type, event.wait))


def _call_settled(work: _Work, _: RunFacts, event: CallSettled) -> None:
    facts = work.call(event)
    facts.settled, facts.settled_seq = event, work.seq


def _outcome_settled(work: _Work, _: RunFacts, event: OutcomeSettled) -> None:
    work.call(event).outcome = event
    work.moment(event, {"status": event.status, "how": event.how})


def _circuit_changed(work: _Work, _: RunFacts, event: CircuitChanged) -> None:
    work.facts.circuits[event.dependency] = (event.state, event.head.wall)
    work.moment(event, {"dependency": event.dependency, "state": event.state})


def _other(work: _Work, _: RunFacts, event: Event) -> None:
    work.moment(event, {name: getattr(event, name) for name in event._fields if name not in ("head", "call")})


_TAKES: Final[Mapping[type, Callable[[_Work, RunFacts, Any], None]]] = {
    RunStarted: _run_started,
    RunSuspended: _run_suspended,
    RunEnded: _run_ended,
    RunRepaired: _other,
    ModelStarted: _model_started,
    ModelAttemptEnded: _other,
    ModelSettled: _model_settled,
    CallRequested: _call_requested,
    CallDecided: _call_decided,
    CallClaimed: _call_claimed,
    AttemptEnded: _attempt_ended,
    CallSuspended: _other,
    CallSettled: _call_settled,
    ApprovalDecided: _other,
    OutcomeSettled: _outcome_settled,
    CircuitChanged: _circuit_changed,
    BudgetNear: _other,
    LoopBlocked: _other,
}


def written(data: Any) -> str:
    """As JSON text. What JSON does not know, such as an amount of money, is written as text."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else repr(value)[:64]
