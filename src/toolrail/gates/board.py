"""All rules of one rail: one `Line` for each tool, made at its first call; tools of one dependency share its state."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from toolrail.gates.breaker import PROBE, Breaker, State
from toolrail.gates.places import OVER_ALL, Need, Places
from toolrail.gates.traffic import Traffic
from toolrail.limits import CallLimits, RailLimits, Rate, RetryBudget

if TYPE_CHECKING:
    from toolrail.gates.rates import Buckets


class Dependency:
    """What several tools may stand on: its circuit, its traffic, its retry budget."""

    __slots__ = ("breaker", "budget", "name", "spent", "traffic")

    def __init__(self, name: str, limits: RailLimits) -> None:
        self.name = name
        self.breaker = Breaker(limits.circuit)
        self.budget: RetryBudget | None = limits.retries
        self.spent = self.traffic = self.breaker.traffic
        """What the budget is held against, and the circuit: the same where their windows are the same."""
        if limits.retries is not None and limits.retries.window != self.traffic.seconds:
            self.spent = Traffic(limits.retries.window)

    def leave(self, ticket: int, answered: bool | None, now: float) -> State | None:
        """Hears how a call ended that had this ticket. Gives the circuit's new state, if it changed."""
        if self.spent is not self.traffic and answered is not None and ticket != PROBE:
            self.spent.answered(now)
        return self.breaker.leave(ticket, answered, now)

    def may_retry(self, now: float) -> bool:
        """Takes one retry from the budget. False when it is spent, or the circuit is not closed."""
        if not self.breaker.closed:
            return False
        if self.budget is None:
            return True
        calls, _, retries = self.spent.totals(now)
        if retries >= self.budget.floor + self.budget.share * calls:
            return False
        self.spent.retried()
        return True


_ALWAYS_OVER = Traffic(1.0)
_ALWAYS_OVER.ends = float("-inf")


class Line:
    """The rules that one tool stands under. `plain`: nothing but the default circuit and retry budget."""

    __slots__ = ("breaker", "dependency", "plain", "rates", "resource", "sizes", "sync", "traffic", "wait")

    def __init__(self, dependency: Dependency, *, sync: bool, wait: float) -> None:
        self.dependency = dependency
        self.breaker = dependency.breaker
        self.traffic = dependency.traffic if dependency.spent is dependency.traffic else _ALWAYS_OVER
        """Where a success is a single addition, as long as its slot is not over."""
        self.sync = sync
        """Its handler runs in a thread."""
        self.wait = wait
        self.rates: tuple[tuple[Buckets, bool], ...] = ()
        """With whether each principal has a bucket of its own. In this order: the tool's own comes last."""
        self.sizes: tuple[Need, ...] = ()
        """Places that each call needs, besides those of its tenant and its resource."""
        self.resource: int | None = None
        self.plain = True


class Board:
    """The rules of one rail. Nothing here waits, and everything is on the loop's clock."""

    __slots__ = ("_limits", "_principals", "dependencies", "lines", "now", "places")

    def __init__(self, limits: RailLimits) -> None:
        self._limits = limits
        self._principals = _buckets(limits.principal_rate)
        self.dependencies: dict[str, Dependency] = {}
        self.lines: dict[str, Line] = {}
        self.places = Places(limits.calls)
        self.now: Callable[[], float] | None = None
        """The clock of the loop that calls are made on, once there was one."""

    def line(self, tool: str, limits: CallLimits, *, dependency: str, sync: bool, now: Callable[[], float]) -> Line:
        """The line of a tool that has none yet."""
        self.now = now
        wait = self._limits.wait if limits.wait is None else limits.wait
        line = self.lines[tool] = Line(self._dependency(dependency or tool), sync=sync, wait=wait)
        line.rates = self._rates(limits)
        line.resource = limits.resource_concurrency
        line.sizes = self._sizes(tool, limits, sync=sync)
        line.plain = not (line.rates or line.sizes or line.resource or self._limits.tenant_calls)
        return line

    def needs(self, line: Line, tenant: str, resource: str | None) -> tuple[tuple[Need, ...], Hashable]:
        """The places that a call needs, and what tells calls that need the same ones."""
        needs = line.sizes
        if self._limits.tenant_calls is not None:
            needs = (*needs, (("tenant", tenant), self._limits.tenant_calls))
        if line.resource is not None and resource is not None:
            needs = (*needs, (("resource", tenant, resource), line.resource))
        return needs, needs

    def shut(self, dependency: str, now: float) -> bool:
        """Whether the circuit of a dependency is open now."""
        known = self.dependencies.get(dependency)
        return known is not None and known.breaker.shut(now)

    def refuses(self, dependency: str, now: float) -> float | None:
        """Seconds until to come back to a dependency, or None when its circuit would let a call in."""
        known = self.dependencies.get(dependency)
        return None if known is None else known.breaker.refuses(now)

    @property
    def troubled(self) -> bool:
        """Whether any circuit is not closed."""
        return any(not one.breaker.closed for one in self.dependencies.values())

    def _dependency(self, name: str) -> Dependency:
        known = self.dependencies.get(name)
        if known is None:
            known = self.dependencies[name] = Dependency(name, self._limits)
        return known

    def _rates(self, limits: CallLimits) -> tuple[tuple[Buckets, bool], ...]:
        # The tool's own bucket protects what is behind it, so it is asked last, nearest to the call.
        found = ((_buckets(limits.principal_rate), True), (self._principals, True), (_buckets(limits.rate), False))
        return tuple((buckets, each) for buckets, each in found if buckets is not None)

    def _sizes(self, tool: str, limits: CallLimits, *, sync: bool) -> tuple[Need, ...]:
        rail = self._limits
        needs: tuple[Need, ...] = ()
        if rail.calls is not None:
            needs = (*needs, (OVER_ALL, rail.calls))
        if sync and (rail.calls is not None or rail.tenant_calls is not None):
            # Threads are given in turn too: whoever held a place while waiting for one would keep others out.
            needs = (*needs, ("threads", rail.threads))
        if limits.concurrency is not None:
            needs = (*needs, (("tool", tool), limits.concurrency))
        return needs


def _buckets(rate: Rate | None) -> Buckets | None:
    if rate is None:
        return None
    from toolrail.gates.rates import Buckets  # most rails limit no rate

    return Buckets(rate)
