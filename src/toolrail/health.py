"""How a rail is: circuits, calls under way, limits that are reached, threads, the record. For a health endpoint."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from toolrail.gates.board import Board, Dependency
from toolrail.gates.breaker import State
from toolrail.pool import Standing
from toolrail.ports import Ports


@dataclass(frozen=True, slots=True)
class CircuitHealth:
    """The circuit of one dependency."""

    dependency: str
    state: State
    failure_rate: float
    """Of the calls within the window; 0.0 when there were none."""
    calls: int
    """Within the window."""
    seconds: float | None
    """How long it has been in this state; None when it was never in another."""
    retry_after: float | None
    """Seconds until a call may try again; None when one may now."""


@dataclass(frozen=True, slots=True)
class Health:
    """One moment of a rail, as `rail.health()` sees it."""

    circuits: tuple[CircuitHealth, ...]
    """Of every dependency that was called."""
    calls: int
    """Under way, those that wait among them."""
    waiting: int
    """Calls that wait for a place."""
    at_limit: tuple[str, ...]
    """Tools whose next call would have to wait for a rate or a place, or be refused."""
    threads: Standing
    """Of the pool for sync handlers."""
    sink_errors: int
    closing: bool

    @property
    def ok(self) -> bool:
        """Whether all circuits are closed and the rail takes calls. To be shown, not to restart a process by: that
        mends no dependency."""
        return not self.closing and all(one.state == "closed" for one in self.circuits)


def health_of(ports: Ports) -> Health:
    """How this rail is now."""
    board, work = ports.board, ports.work
    now = board.now() if board.now is not None else 0.0
    return Health(
        circuits=tuple(_circuit(one, now) for one in board.dependencies.values()),
        calls=work.calls,
        waiting=board.places.waiting,
        at_limit=_at_limit(board, now),
        threads=ports.pool.standing(),
        sink_errors=work.sink_errors,
        closing=work.closing,
    )


def _circuit(one: Dependency, now: float) -> CircuitHealth:
    breaker = one.breaker
    calls, failures, _ = breaker.traffic.totals(now)
    return CircuitHealth(
        one.name,
        breaker.state,
        failures / calls if calls else 0.0,
        calls,
        None if breaker.since is None else now - breaker.since,
        breaker.refuses(now),
    )


def _at_limit(board: Board, now: float) -> tuple[str, ...]:
    taken: Mapping[Hashable, int] = board.places.taken
    return tuple(
        name
        for name, line in sorted(board.lines.items())
        if any(taken.get(key, 0) >= size for key, size in line.sizes)
        or any(buckets.empty(now) for buckets, per_principal in line.rates if not per_principal)
    )
