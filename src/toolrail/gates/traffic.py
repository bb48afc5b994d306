"""What a dependency was asked lately: calls, failures and retries within a sliding window, in tenths of it."""

from __future__ import annotations

from collections import deque

SLOTS = 10


class Traffic:
    """Counts within a window. A success is one comparison and one addition; memory is bounded by the slots."""

    __slots__ = ("_past", "_slot", "calls", "ends", "failures", "retries", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._slot = seconds / SLOTS
        self._past: deque[tuple[float, int, int, int]] = deque()
        self.calls = self.failures = self.retries = 0
        """Of the slot that runs now. Add to them only after `turn`, once its time is over."""
        self.ends = 0.0
        """When the slot that runs now is over, on the loop's clock."""

    def turn(self, now: float) -> None:
        """Begins a new slot, and forgets those that have left the window."""
        if self.calls or self.retries:
            self._past.append((self.ends, self.calls, self.failures, self.retries))
        while self._past and self._past[0][0] - self._slot <= now - self.seconds:
            self._past.popleft()
        self.calls = self.failures = self.retries = 0
        self.ends = now + self._slot

    def answered(self, now: float) -> None:
        """One call ended, and the dependency had answered."""
        if now >= self.ends:
            self.turn(now)
        self.calls += 1

    def failed(self, now: float) -> None:
        """One call ended in a failure of the dependency."""
        self.answered(now)
        self.failures += 1

    def retried(self) -> None:
        """One further attempt begins, as the totals allow that were asked for just now."""
        self.retries += 1

    def totals(self, now: float) -> tuple[int, int, int]:
        """Calls, failures and retries within the window."""
        if now >= self.ends:
            self.turn(now)
        calls, failures, retries = self.calls, self.failures, self.retries
        for _, *past in self._past:
            calls, failures, retries = calls + past[0], failures + past[1], retries + past[2]
        return calls, failures, retries

    def forget(self) -> None:
        """Begins anew with calls and failures. Retries stay: what has just come back is spared them for a while."""
        self.calls = self.failures = 0
        self._past = deque((ends, 0, 0, retries) for ends, _, _, retries in self._past if retries)
