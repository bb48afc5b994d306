"""The clock port: wall time, randomness and ids. Time inside a loop is the loop's own, so tests can simulate it."""

from __future__ import annotations

import os as _os
import random as _random
import time as _time
from typing import Protocol


class Clock(Protocol):
    """Where wall time, random numbers and ids come from."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...

    def random(self) -> float:
        """A number in [0, 1)."""
        ...

    def new_id(self, prefix: str) -> str:
        """A new id, unique and ordered by time: `run_0192f0c1a2b3_4f9c21d8e07a`."""
        ...

    def secret(self) -> str:
        """128 bits that nobody can guess, as 32 hex digits."""
        ...


class SystemClock:
    """The machine's clock and random numbers. They are the system's own: a generator of ours would be copied by a fork,
    and two workers of one server would make the same ids."""

    def __init__(self) -> None:
        self._random = _random.SystemRandom()

    wall = staticmethod(_time.time)  # each event asks it

    def random(self) -> float:
        return self._random.random()

    def new_id(self, prefix: str) -> str:
        return make_id(prefix, _time.time(), self._random.getrandbits(64))

    def secret(self) -> str:
        return _os.urandom(16).hex()


def make_id(prefix: str, wall: float, bits: int) -> str:
    """Milliseconds first, so that ids sort by time; then 64 random bits."""
    return f"{prefix}_{int(wall * 1000):012x}{bits:016x}"
