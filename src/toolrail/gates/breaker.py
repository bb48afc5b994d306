"""The circuit of one dependency: closed, open, or half open with exactly one probe at a time."""

from __future__ import annotations

from typing import Literal

from toolrail.gates.traffic import Traffic
from toolrail.limits import Circuit

State = Literal["closed", "open", "half-open"]
PROBE = -1
"""The ticket of the one call that tries."""
PROBE_SECONDS = 1.0
"""When to come back while another call tries: nobody knows how long that takes."""


class Breaker:
    """Who enters gets a ticket and hands it back with what it saw. A ticket of an earlier era says nothing any more:
    calls that began before the circuit opened must neither close it nor open it again."""

    __slots__ = ("_may_open", "_open_for", "_until", "closed", "era", "options", "probing", "since", "state", "traffic")

    def __init__(self, options: Circuit | None) -> None:
        self._may_open = options is not None
        self.options = options = options or Circuit()
        self.traffic = Traffic(options.window)
        self.state: State = "closed"
        self.closed = True
        self.era = 0
        """The ticket of every call that enters while it is closed."""
        self.probing = False
        self.since: float | None = None
        """When the state changed last."""
        self._open_for = options.open_for
        self._until = 0.0

    def refuses(self, now: float) -> float | None:
        """Seconds until to come back, or None when a call may try. Takes nothing."""
        if self.closed:
            return None
        if self.state == "open" and now < self._until:
            return self._until - now
        return PROBE_SECONDS if self.probing else None

    def shut(self, now: float) -> bool:
        """Whether no call at all may come: a run that starts now is not offered what stands behind it."""
        return self.state == "open" and now < self._until

    def enter(self, now: float) -> tuple[int | None, State | None]:
        """A ticket, or None when refused; and the new state, if it changed."""
        if self.closed:
            return self.era, None
        if self.refuses(now) is not None:
            return None, None
        self.probing = True
        return PROBE, self._change("half-open", now) if self.state == "open" else None

    def leave(self, ticket: int, answered: bool | None, now: float) -> State | None:
        """Hands the ticket back. `answered` is None when the call says nothing about the dependency. Gives the new
        state, if it changed."""
        if ticket == PROBE:
            return self._tried(answered, now)
        if ticket != self.era or answered is None or not self.closed:
            return None
        if answered:
            self.traffic.answered(now)
            return None
        self.traffic.failed(now)
        return self._open(now) if self._may_open and self._failing(now) else None

    def _tried(self, answered: bool | None, now: float) -> State | None:
        self.probing = False
        if answered is None:  # cancelled, or refused by a later stage: the next call may try
            return None
        if not answered:
            self._open_for = min(self._open_for * 2, max(self.options.open_max, self.options.open_for))
            return self._open(now)
        self._open_for = self.options.open_for
        self.traffic.forget()
        return self._change("closed", now)

    def _failing(self, now: float) -> bool:
        calls, failures, _ = self.traffic.totals(now)
        return calls >= self.options.volume and failures >= self.options.failures * calls

    def _open(self, now: float) -> State:
        self._until = now + self._open_for
        self.era += 1
        return self._change("open", now)

    def _change(self, state: State, now: float) -> State:
        self.state, self.since = state, now
        self.closed = state == "closed"
        return state
