"""The record: a closed union of frozen events. Logs, metrics, traces and the store's views are projections of it.

Events carry sizes, labels, codes and references, never content: arguments, results and exception texts stay out. They
are named tuples, because a call makes several: these cost a third of a frozen dataclass to make, and a fifth to define.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, cast

from toolrail.codes import Code, Status
from toolrail.messages import Usage

NOTHING: Mapping[str, object] = MappingProxyType({})


made: Any = cast("Any", tuple).__new__
"""Makes a named tuple without its own constructor, in half the time, where each call needs one:
`made(CallDecided, (head, call, "allow", rule, ""))`. All fields must be given, in their order."""


class Head(NamedTuple):
    """Where and when: common to all events."""

    seq: int
    """Counts within the run, from 1, without gaps; from 1 again in each handle of a run that is restored."""
    wall: float
    """Seconds since the epoch."""
    mono: float
    """Seconds on the event loop's clock; differences are durations."""
    tenant: str
    session: str | None
    run: str
    turn: int
    principal: str
    trace: str | None = None


class CallRef(NamedTuple):
    """Which call: common to all events about one."""

    key: str
    """`call_key`: unique for all time."""
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    """Position in the model's response."""
    call_id: str
    """The provider's id, not unique."""
    tool: str
    digest: str
    """Digest of name, description and schema, so that versions can be told apart. Empty for an unknown tool."""


class RunStarted(NamedTuple):
    head: Head
    offered: tuple[str, ...]
    resumed: bool = False
    limits: Mapping[str, object] = NOTHING
    """Those of its `RunLimits` that are set."""
    model: str = ""
    """Empty where the loop is the user's own."""


class RunSuspended(NamedTuple):
    head: Head
    pending: int


class RunEnded(NamedTuple):
    head: Head
    reason: str
    turns: int
    calls: int
    usage: Usage
    seconds: float


class RunRepaired(NamedTuple):
    head: Head
    notes: tuple[str, ...]


class ModelStarted(NamedTuple):
    head: Head
    model: str
    messages: int
    """How many the request carries."""


class ModelAttemptEnded(NamedTuple):
    """One failed request that is tried again (or was the last)."""

    head: Head
    model: str
    attempt: int
    error: str
    """A closed label such as `http_429`, never the error's text."""
    wait: float
    """Seconds until the next attempt; negative when there is none."""


class ModelSettled(NamedTuple):
    head: Head
    model: str
    stop: str
    usage: Usage
    seconds: float | None
    """None where the loop is the user's own: only the response is known then."""
    attempts: int
    calls: int
    cost: Decimal | None = None
    """By the prices that the run has: its agent's, then its rail's. None: they do not know it."""
    currency: str = "USD"


class CallRequested(NamedTuple):
    head: Head
    call: CallRef
    argument_bytes: int


class CallDecided(NamedTuple):
    head: Head
    call: CallRef
    decision: Literal["allow", "deny", "ask"]
    rule: str
    reason: str


class CallClaimed(NamedTuple):
    head: Head
    call: CallRef
    effect: str
    effect_key: str | None


class AttemptEnded(NamedTuple):
    head: Head
    call: CallRef
    attempt: int
    failure: str | None
    """A closed label, or None when it returned."""
    error_type: str | None
    """The exception's class, never its text."""
    seconds: float
    wait: float | None
    """Seconds until the next attempt; None when there is none."""


class CallSuspended(NamedTuple):
    head: Head
    call: CallRef
    digest: str


class CallSettled(NamedTuple):
    """A call has its one result."""

    head: Head
    call: CallRef
    status: Status
    code: Code | None
    attempts: int
    argument_bytes: int
    result_bytes: int
    seconds: float
    """From request to result, waiting included."""
    handler_seconds: float
    """In the handler, all attempts and back-off."""
    flags: tuple[str, ...]
    replayed: bool
    started: bool
    reference: str | None = None
    """The reference id that the model was shown for an unexpected error; the log has it too."""
    dependency: str = ""
    """What the tool stands on: its `dependency`, or its name. Empty for an unknown tool."""


class ApprovalDecided(NamedTuple):
    head: Head
    call: CallRef
    approved: bool
    approver: str


class OutcomeSettled(NamedTuple):
    """What an earlier result left open is known now."""

    head: Head
    call: CallRef
    status: Status
    how: Literal["late", "verify", "hand"]


class CircuitChanged(NamedTuple):
    head: Head
    dependency: str
    state: Literal["closed", "open", "half-open"]


class BudgetNear(NamedTuple):
    head: Head
    budget: str
    left: float


class LoopBlocked(NamedTuple):
    """An async tool holds the event loop, and every other call with it. Given to the sinks while it still does, so from
    a thread of its own; once for each block."""

    head: Head
    call: CallRef
    seconds: float
    """So far, at least."""


Event = (
    RunStarted
    | RunSuspended
    | RunEnded
    | RunRepaired
    | ModelStarted
    | ModelAttemptEnded
    | ModelSettled
    | CallRequested
    | CallDecided
    | CallClaimed
    | AttemptEnded
    | CallSuspended
    | CallSettled
    | ApprovalDecided
    | OutcomeSettled
    | CircuitChanged
    | BudgetNear
    | LoopBlocked
)


class Sink(Protocol):
    """Takes events, at once and cheaply. What it raises is counted and goes no further. Events come from the loop that
    the run is on, except `LoopBlocked`. A sink with `ends_only = True` needs to hear no more than `CallSettled`,
    `ModelSettled` and `RunEnded`: where all sinks are such, no other events are made.

    Example:

        class Count:
            def __init__(self) -> None:
                self.calls = 0

            def emit(self, event: Event) -> None:
                self.calls += isinstance(event, CallSettled)
    """

    def emit(self, event: Event, /) -> None: ...


class Content(NamedTuple):
    """What was written in a run. No event: only sinks that ask for content are given it."""

    head: Head
    """That of the event it belongs to: `CallRequested`, `CallSettled`, `ModelStarted`, `ModelSettled` or `RunEnded`."""
    kind: Literal["arguments", "result", "messages"]
    call: CallRef | None
    text: str
    """The model's own text of the arguments, the result as the model reads it, or a JSON list of the messages that are
    new. The rail's `redact` has seen it."""


class Reader(Protocol):
    """A sink that takes content, too. Where there is none, no content is built.

    Example: a sink with `wants_content = True` and `def take(self, content: Content) -> None: ...`
    """

    @property
    def wants_content(self) -> bool:
        """Asked once, when the rail is made."""
        ...

    def emit(self, event: Event, /) -> None: ...

    def take(self, content: Content, /) -> None: ...
