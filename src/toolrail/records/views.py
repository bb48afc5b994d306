"""What the record says, as values: the dashboard, the command line, alerts and /metrics read these and nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from toolrail.messages import Usage
from toolrail.records.metrics import Distribution

RunState = Literal["running", "pending", "ended"]
FaultClass = Literal["argument", "dependency", "policy", "limit", "bug", "none"]
"""`codes.CODES[code].alert`: who has to look."""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of wall time, in seconds since the epoch; `until` is not part of it."""

    since: float
    until: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.until - self.since


def last(*, days: float = 0.0, hours: float = 0.0, minutes: float = 0.0, now: float | None = None) -> Window:
    """The window that ends now (or at `now`, seconds since the epoch).

    Example: `last(hours=1)`
    """
    until = time.time() if now is None else now
    return Window(until - 86400.0 * days - 3600.0 * hours - 60.0 * minutes, until)


@dataclass(frozen=True, slots=True)
class Money:
    """What responses cost. With any `unpriced` ones, `amount` is what is known, and the whole is unknown."""

    amount: float = 0.0
    currency: str = "USD"
    unpriced: int = 0
    """Responses whose price nobody stated."""

    @property
    def known(self) -> bool:
        """Whether each response had a price."""
        return self.unpriced == 0


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds, within 1 %. None where nothing was counted."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Spark:
    """One step of a spark line."""

    start: float
    calls: int
    errors: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a tool's history."""

    start: float
    calls: int
    errors: int
    latency: Quantiles


@dataclass(frozen=True, slots=True)
class Minute:
    """One tool within one minute, over all its versions."""

    start: float
    calls: int
    by_class: Mapping[FaultClass, int]
    """Calls that did not succeed, by who has to look."""


@dataclass(frozen=True, slots=True)
class ToolStats:
    """One tool within a window."""

    tool: str
    dependency: str
    versions: tuple[str, ...]
    """Digests that were called."""
    calls: int
    errors: int
    """Calls that ended in an error or an unknown outcome."""
    by_class: Mapping[FaultClass, int]
    """Calls that did not succeed, by who has to look."""
    codes: Mapping[str, int]
    attempts: int
    argument_bytes: int
    result_bytes: int
    replayed: int
    latency: Quantiles
    circuit: str = "closed"
    """The worst of all processes: `closed`, `half-open` or `open`."""
    spark: tuple[Spark, ...] = ()

    @property
    def error_rate(self) -> float:
        """Errors over calls, 0 to 1."""
        return self.errors / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Calls of one tool, of one version, that fail with one code: what broke, and since when."""

    tool: str
    code: str
    digest: str
    dependency: str
    kind: FaultClass
    since: float
    """Wall time of the first since it was last quiet for half an hour."""
    last: float
    calls: int
    """Since then."""
    tenant: str
    key: str
    """The newest such call."""
    error_type: str | None
    """The class of the exception, where there was one."""
    versions: int = 1
    """How many versions of the tool were called since `since`; with more than one, this may be the new one's."""


@dataclass(frozen=True, slots=True)
class DependencyStats:
    """All tools that stand on one dependency."""

    dependency: str
    tools: tuple[str, ...]
    calls: int
    errors: int
    """Of class `dependency`."""
    circuit: str
    since: float | None
    """When its circuit changed last."""
    latency: Quantiles


@dataclass(frozen=True, slots=True)
class ModelStats:
    """One model within a window."""

    model: str
    requests: int
    attempts: int
    usage: Usage
    cost: Money
    latency: Quantiles


@dataclass(frozen=True, slots=True)
class Overview:
    """The front page's figures within a window."""

    window: Window
    calls: int
    errors: int
    runs: int
    reasons: Mapping[str, int]
    """Runs by stop reason."""
    latency: Quantiles
    calls_per_run: Distribution
    cost: tuple[Money, ...]
    """By currency."""
    cost_before: tuple[Money, ...]
    """The same span, a day earlier."""
    running: int
    """Runs that neither ended nor wait, but for those of `silent`."""
    silent: int
    """Runs that neither ended nor wait, and of which nothing was heard for 15 minutes: their process may have died."""
    pending: int
    """Runs that wait."""
    unknown: int
    """Calls whose outcome is unknown and not settled since, whenever they were made."""
    lost: int
    """Events that no row was written for, ever."""
    spark: tuple[Spark, ...]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; the newest first."""

    window: Window | None = None
    tenant: str | None = None
    session: str | None = None
    principal: str | None = None
    tool: str | None = None
    """Runs that called it."""
    only: Literal["all", "failed", "looping", "expensive", "pending", "running", "unknown"] = "all"
    """`expensive`: those that cost something, the dearest first."""
    text: str = ""
    """A part of the run's id, from its beginning or its end."""
    before: tuple[float, str] | None = None
    """Where the page before ended: `RunPage.next`."""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run in a list."""

    tenant: str
    run: str
    session: str | None
    principal: str
    model: str
    started: float
    ended: float | None
    reason: str | None
    state: RunState
    turns: int
    calls: int
    failed: int
    repeats: int
    """Calls refused as repetitions."""
    pending: int
    unknown: int
    seconds: float
    usage: Usage
    cost: Money
    trace: str | None = None
    updated: float = 0.0
    """When something of it was heard last. A run whose process died stays `running`: this tells how old it is."""

    @property
    def took(self) -> float | None:
        """Seconds that it was open; of one that never ended by itself (a batch without a run, a run left open), from
        its first event to its last. None: it is under way, or one event says nothing of time."""
        if self.ended is None:
            return None
        return self.seconds or max(0.0, self.ended - self.started) or None


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of runs."""

    runs: tuple[RunLine, ...]
    next: tuple[float, str] | None
    """For `RunFilter.before`; None at the end."""


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One attempt of a call's handler."""

    attempt: int
    seq: int
    ended_mono: float
    seconds: float
    failure: str | None
    error_type: str | None
    wait: float | None


@dataclass(frozen=True, slots=True)
class CallLine:
    """One call. Times named `mono` are seconds on the clock of its process; only differences within a run mean
    something."""

    tenant: str
    key: str
    run: str
    session: str | None
    principal: str
    turn: int
    index: int
    call_id: str
    tool: str
    digest: str
    dependency: str
    wall: float
    """When it was requested."""
    mono: float
    seq: int
    settled: float | None
    settled_seq: int | None
    status: str | None
    """None while it is under way."""
    code: str | None
    attempts: int
    argument_bytes: int
    result_bytes: int
    seconds: float | None
    handler_seconds: float | None
    flags: tuple[str, ...]
    replayed: bool
    began: bool
    reference: str | None
    decision: str | None
    rule: str | None
    reason: str | None
    effect: str | None
    effect_key: str | None
    later: str | None
    """The status that became known after it was answered."""
    later_how: str | None
    decided_seq: int | None = None
    decided_mono: float | None = None
    claimed_seq: int | None = None
    claimed_mono: float | None = None


@dataclass(frozen=True, slots=True)
class ModelLine:
    """One model request of a run."""

    seq: int
    turn: int
    wall: float
    mono: float
    """When it was settled."""
    model: str
    stop: str
    seconds: float | None
    attempts: int
    calls: int
    usage: Usage
    cost: float | None
    """None: nobody stated the price."""
    currency: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Any other event of a run."""

    seq: int
    turn: int
    wall: float
    mono: float
    kind: str
    """The event's class, such as `RunSuspended`."""
    key: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ContentLine:
    """Content that was recorded, without its text: that is asked for by itself (`Records.text`)."""

    seq: int
    turn: int
    wall: float
    kind: Literal["arguments", "result", "messages"]
    key: str | None
    bytes: int


@dataclass(frozen=True, slots=True)
class RunDetail:
    """All that is known of one run."""

    run: RunLine
    offered: tuple[str, ...]
    limits: Mapping[str, Any]
    calls: tuple[CallLine, ...]
    attempts: Mapping[str, tuple[AttemptLine, ...]]
    """By call key."""
    models: tuple[ModelLine, ...]
    moments: tuple[Moment, ...]
    contents: tuple[ContentLine, ...]


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls: of one run in the order they were asked for, others the newest first, and only settled ones."""

    window: Window | None = None
    tenant: str | None = None
    run: str | None = None
    tool: str | None = None
    code: str | None = None
    status: str | None = None
    unsettled: bool = False
    """Only those whose outcome is unknown and not settled since."""
    limit: int = 100
    before: tuple[float, str] | None = None
    """Where the page before ended: `settled` and `key` of its last call. Not for the calls of one run."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far someone follows along (`Records.live`)."""

    wall: float
    seen: frozenset[tuple[str, str]] = frozenset()
    """Tenant and key of the calls just before, which are read again: a row may be written late."""


@dataclass(frozen=True, slots=True)
class Names:
    """What there is to choose from."""

    tenants: tuple[str, ...]
    tools: tuple[str, ...]
    models: tuple[str, ...]
    codes: tuple[str, ...]
    reasons: tuple[str, ...]
    """Stop reasons of runs."""


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One conversation over its runs."""

    tenant: str
    session: str
    principal: str
    started: float
    updated: float
    runs: int
    calls: int
    failed: int
    repeats: int
    usage: Usage
    cost: Money
    others: tuple[Money, ...] = ()
    """What was paid in further currencies, as far as its runs are kept."""


@dataclass(frozen=True, slots=True)
class CircuitLine:
    """A circuit as one process saw it last."""

    process: str
    dependency: str
    state: str
    wall: float


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert that is or was on."""

    rule: str
    subject: str
    """What it is about: a tool, a dependency, a currency."""
    state: Literal["firing", "clear"]
    since: float
    updated: float
    value: float | None
    text: str
    severity: str


@dataclass(frozen=True, slots=True)
class AlertNote:
    """One time that an alert changed."""

    wall: float
    rule: str
    subject: str
    state: str
    value: float | None
    text: str
    told: tuple[str, ...] = field(default_factory=tuple[str, ...])
    """Who was told: `log`, `webhook`."""
