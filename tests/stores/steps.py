"""How a behaviour of a store is written down: operations, and the answer of the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolrail.store import CallRow, Claim, FindEffect, Op

NOW = 120.0
"""A time at which the lease of `places.call` lasts."""
LATE = 200.0
"""A time at which it has lapsed."""


@dataclass(frozen=True)
class Steps:
    """Operations, each in a transaction of its own, and the answer of the last."""

    sentence: str
    ops: tuple[Op, ...]
    answer: Any


def sentence(steps: Steps) -> str:
    """What a test of these steps is called."""
    return steps.sentence


def claim(row: CallRow, *, over: str | None = None, approval: str | None = None, now: float = NOW) -> Claim:
    return Claim(row, now=now, over=over, approval=approval)


def find(
    effect_key: str | None = None, *, open_key: str | None = None, tenant: str = "acme", now: float = NOW
) -> FindEffect:
    return FindEffect(tenant, effect_key, open_key, now)
