"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `toolrail doctor`."""

    level: Literal["ok", "warn", "fail"]
    check: str
    """What was looked at."""
    text: str
    mend: str = ""
