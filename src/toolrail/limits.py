"""Every default limit, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple, cast

from toolrail.frozen import frozen
from toolrail.settings import counts, flags, instance, money, not_negative, positive, share, texts, wrong


class Rate(NamedTuple):
    """So many calls in so many seconds: `Rate(10, per=60.0)`. Times in seconds.

    In any span of `t` seconds no more than `burst + calls * t / per` calls begin.
    """

    calls: float
    per: float = 1.0
    burst: int | None = None
    """How many may come at once after a pause. None: `calls`, rounded down, at least one."""


class Circuit(NamedTuple):
    """When a dependency that fails is no longer called, and when it is tried again. Times in seconds.

    Counted are calls whose handler ran to its end: passing failures with all attempts spent and deadlines are failures,
    results and permanent `ToolError`s are answers. Bugs, refusals and cancellations say nothing about a dependency.
    """

    failures: float = 0.5
    """The share of failures at which the circuit opens."""
    volume: int = 20
    """At least so many calls within the window, or it stays closed."""
    window: float = 30.0
    open_for: float = 10.0
    """Until one call, alone, may try; doubled each time that such a probe fails."""
    open_max: float = 120.0


class RetryBudget(NamedTuple):
    """How much of a dependency's load may be second attempts, so that retries do not keep down what is down."""

    share: float = 0.1
    """Of the calls that ended within the window."""
    floor: int = 10
    """So many within the window are always allowed; with few calls a share of them is nothing."""
    window: float = 30.0
    """Seconds."""


@frozen
class CallLimits:
    """The limits of one call of one tool. Times in seconds."""

    timeout: float = 30.0
    """The deadline over all attempts and the waiting between them."""
    attempt_timeout: float | None = None
    """The deadline of one attempt. None: the call's own."""
    attempts: int = 3
    concurrency: int | None = None
    """How many calls of this tool may run at once in one rail."""
    resource_concurrency: int | None = None
    """How many calls that name the same `Order(resource=...)` may run at once, over all runs of one tenant."""
    rate: Rate | None = None
    """Of this tool, whoever asks."""
    principal_rate: Rate | None = None
    """Of this tool, for each principal."""
    wait: float | None = None
    """The longest wait for a rate, and again for a place; then RATE_LIMITED. None: the rail's own."""
    hedge: float | None = None
    """A read that has no answer after so long is asked a second time; the first success wins."""

    def __post_init__(self) -> None:
        positive("CallLimits", must=True, timeout=self.timeout)
        counts("CallLimits", must=True, attempts=self.attempts)
        positive("CallLimits", attempt_timeout=self.attempt_timeout, hedge=self.hedge)
        counts("CallLimits", concurrency=self.concurrency, resource_concurrency=self.resource_concurrency)
        not_negative("CallLimits", wait=self.wait)
        _rates("CallLimits", rate=self.rate, principal_rate=self.principal_rate)


@frozen
class RunLimits:
    """The hard limits of one run. None means no limit."""

    turns: int | None = 10
    calls: int | None = None
    calls_per_tool: int | None = None
    tokens: int | None = None
    """Input and output together; exact to one response. Counts only the usage that responses carry."""
    seconds: float | None = None
    """Wall time of the run."""
    money: Decimal | None = None
    """What model requests may cost, in the currency of the prices; exact to one response. Needs `prices=`: a run of a
    model without a price ends before its first request."""
    parallel: int = 32
    """Calls of one run that run at the same time."""
    repeat_hint: int | None = 3
    """The same call with the same result so often in a row, or one error of a tool in so many turns: the model is
    told."""
    repeat_refuse: int | None = 5
    """After so many, further ones are refused. Tools with `polling=True` are exempt from both."""
    end_on_loop: bool = False
    """End the run (`limit:repeats`) with the turn in which a call was refused as a loop."""

    def __post_init__(self) -> None:
        counts("RunLimits", must=True, parallel=self.parallel)
        counts(
            "RunLimits",
            turns=self.turns,
            calls=self.calls,
            calls_per_tool=self.calls_per_tool,
            tokens=self.tokens,
            repeat_hint=self.repeat_hint,
            repeat_refuse=self.repeat_refuse,
        )
        positive("RunLimits", seconds=self.seconds)
        money("RunLimits", self.money)
        flags("RunLimits", end_on_loop=self.end_on_loop)
        self._check_repeats()

    def _check_repeats(self) -> None:
        hint, refuse = self.repeat_hint, self.repeat_refuse
        for name, times in (("repeat_hint", hint), ("repeat_refuse", refuse)):
            if times is not None and times < 2:
                problem = "must be at least 2: one result is no repetition."
                wrong("RunLimits", name, times, problem=problem, mend="Give 2 or more, or None.")
        if hint is not None and refuse is not None and hint > refuse:
            problem = f"is more than repeat_refuse={refuse}: the call is refused before the model is told."
            wrong(
                "RunLimits", "repeat_hint", hint, problem=problem, mend=f"Give repeat_hint={refuse} or less, or None."
            )


class Budget(NamedTuple):
    """What several runs may spend together. None means no limit."""

    calls: int | None = None
    calls_per_tool: int | Mapping[str, int] | None = None
    """For every tool the same, or by name."""
    tokens: int | None = None
    """Input and output together; exact to one response of each run that is under way."""
    money: Decimal | None = None
    """What model requests may cost; needs prices in this currency."""
    currency: str = "USD"

    def calls_of(self, tool: str) -> int | None:
        """How many calls of one tool."""
        per_tool = self.calls_per_tool
        return per_tool.get(tool) if isinstance(per_tool, Mapping) else per_tool


class Budgets(NamedTuple):
    """The budgets that runs share. Their counters are in the store: over all processes that share it, exact.

    Example: `Rail(tools, store="sqlite:///rail.db", budgets=Budgets(principal_day=Budget(calls=500)))`
    """

    session: Budget | None = None
    """Of one conversation, for as long as it lasts; of a run without a session, for itself."""
    principal_day: Budget | None = None
    """Of one principal on one day, from midnight to midnight UTC. Those that are nobody share one."""


@frozen
class RailLimits:
    """The limits of one rail, over all its runs."""

    threads: int = 32
    abandoned: int = 64
    """Threads past their deadline that are replaced; beyond it the pool shrinks until some return."""
    backoff: float = 0.1
    """Seconds before the second attempt, doubled for each further one, with full jitter."""
    backoff_max: float = 5.0
    grace: float = 0.05
    """Seconds between cancelling a tool and closing it."""
    lag: float | None = 0.5
    """Seconds after which an async tool that blocks the event loop has been found and named. None: nobody looks."""
    result_bytes: int = 32 * 1024
    """Results over this are shown as a preview."""
    result_share: float | None = 0.1
    """No result takes more than this share of the model's context, where the agent knows its size. None: no limit."""
    circuit: Circuit | None = Circuit()
    """Of each dependency. None: never opens."""
    retries: RetryBudget | None = RetryBudget()
    """Of each dependency. None: bounded only by each call's own attempts."""
    principal_rate: Rate | None = None
    """Of all calls of one principal."""
    calls: int | None = None
    """Calls that run at once, over all. Those that wait are let in by tenant, in turn."""
    tenant_calls: int | None = None
    """Calls of one tenant that run at once."""
    wait: float = 1.0
    """The longest wait for a rate, and again for a place; then RATE_LIMITED. A tool may have its own."""

    def __post_init__(self) -> None:
        counts("RailLimits", must=True, threads=self.threads, result_bytes=self.result_bytes)
        positive("RailLimits", must=True, backoff_max=self.backoff_max, grace=self.grace)
        not_negative("RailLimits", must=True, backoff=self.backoff, wait=self.wait)
        not_negative("RailLimits", must=True, whole=True, abandoned=self.abandoned)
        counts("RailLimits", calls=self.calls, tenant_calls=self.tenant_calls)
        positive("RailLimits", lag=self.lag)
        share("RailLimits", result_share=self.result_share)
        _rates("RailLimits", principal_rate=self.principal_rate)
        if self.circuit is not None:
            _check_circuit(self.circuit)
        if self.retries is not None:
            _check_retries(self.retries)


def check_budgets(budgets: Budgets) -> None:
    """What a rail is given must allow something.

    Raises:
        DefinitionError: TR301.
    """
    mend = "Write budgets=Budgets(session=Budget(...)) or Budgets(principal_day=Budget(...))."
    instance("Rail", "budgets", budgets, of=Budgets, mend=mend)
    for name, budget in budgets._asdict().items():
        if budget is not None:
            instance("Budgets", name, budget, of=Budget, mend=f"Write {name}=Budget(...).")
            _check_budget(budget)


def _check_budget(budget: Budget) -> None:
    per_tool = budget.calls_per_tool
    counts("Budget", calls=budget.calls, tokens=budget.tokens)
    if isinstance(per_tool, Mapping):
        for tool, calls in per_tool.items():
            counts(f"Budget.calls_per_tool[{tool!r}]", must=True, calls=calls)
    else:
        counts("Budget", calls_per_tool=per_tool)
    money("Budget", budget.money)
    texts("Budget", currency=budget.currency)


def _check_circuit(circuit: Circuit) -> None:
    mend = "Write circuit=Circuit(...), or None for a circuit that never opens."
    instance("RailLimits", "circuit", circuit, of=Circuit, mend=mend)
    counts("Circuit", must=True, volume=circuit.volume)
    positive("Circuit", must=True, window=circuit.window, open_for=circuit.open_for, open_max=circuit.open_max)
    positive("Circuit", must=True, failures=circuit.failures)
    share("Circuit", failures=circuit.failures)


def _check_retries(retries: RetryBudget) -> None:
    mend = "Write retries=RetryBudget(share=...), or None."
    instance("RailLimits", "retries", retries, of=RetryBudget, mend=mend)
    positive("RetryBudget", must=True, window=retries.window)
    not_negative("RetryBudget", must=True, share=retries.share, floor=retries.floor)


def _rates(owner: str, **rates: Rate | None) -> None:
    for name, rate in rates.items():
        if rate is None:
            continue
        given: Any = cast(Any, rate)
        plain = cast("tuple[Any, ...]", given if type(given) is tuple else (given,))
        said = ", per=".join(repr(one) for one in plain[:2])
        instance(owner, name, rate, of=Rate, mend=f"Write {name}=Rate({said}).")
        positive("Rate", must=True, calls=rate.calls, per=rate.per)
        counts("Rate", burst=rate.burst)


DEFAULT_LIMITS = CallLimits()
