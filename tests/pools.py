"""What a pool says of itself, as the tests ask for it."""

from __future__ import annotations

from typing import Any


def places(pool: Any) -> dict[str, int]:
    """How many places are busy and free, and how many abandoned threads still run."""
    now = pool.standing()
    return {"busy": now.busy, "free": now.size - now.busy, "abandoned": now.abandoned}
