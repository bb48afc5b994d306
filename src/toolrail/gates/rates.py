"""Token buckets, one number each (GCRA: Turner, "New Directions in Communications", 1986)."""

from __future__ import annotations

from collections.abc import Hashable

from toolrail.limits import Rate

SWEEP = 1024
"""Buckets that are kept before the full ones are looked for."""
_SLACK = 1e-9
"""Rounding must not make anyone wait for a time that has come."""


class Buckets:
    """Buckets of one rate, by key. Each is the time at which it will be full again, so a full one needs no memory.

    Whoever has to wait is given its time at once: first come, first served, each with a timer of its own, and nobody
    wakes to find nothing. A time that was given and not used is lost, unless it was the last one.
    """

    __slots__ = ("_full_at", "_interval", "_sweep_at", "_tolerance")

    def __init__(self, rate: Rate) -> None:
        burst = max(1, int(rate.calls)) if rate.burst is None else rate.burst
        self._interval = rate.per / rate.calls
        self._tolerance = (burst - 1) * self._interval
        self._full_at: dict[Hashable, float] = {}
        self._sweep_at = SWEEP

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: Hashable, now: float) -> float:
        """Seconds until there is a token for whoever comes now. Takes nothing."""
        wait = self._full_at.get(key, now) - self._tolerance - now
        return wait if wait > _SLACK else 0.0

    def take(self, key: Hashable, now: float) -> float:
        """Takes the next token; gives the seconds until it may be used."""
        wait = self.wait(key, now)
        if len(self._full_at) >= self._sweep_at and key not in self._full_at:
            self._sweep(now)
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._interval
        return wait

    def give_back(self, key: Hashable, full_at: float) -> None:
        """Undoes the `take` after which the bucket was full at `full_at`; nothing if others came since."""
        if self._full_at.get(key) == full_at:
            self._full_at[key] = full_at - self._interval

    def full_at(self, key: Hashable) -> float:
        """When the bucket will be full: tells a later `give_back` whether anybody came in between."""
        return self._full_at.get(key, 0.0)

    def empty(self, now: float) -> bool:
        """Whether someone would have to wait now."""
        return any(full_at - self._tolerance - now > _SLACK for full_at in self._full_at.values())

    def _sweep(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._sweep_at = max(SWEEP, 2 * len(self._full_at))
