"""How a handler ended, for good: what `execute` hands to `encode`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolrail.effects import FailureKind
from toolrail.frozen import frozen


@dataclass(slots=True)
class Success:
    """The handler returned."""

    value: Any


@frozen
class Failure:
    """The handler failed for good."""

    kind: FailureKind
    error: BaseException | None
    began: bool = True
    """Whether an effect may have begun; False only where the tool marks it and had not come that far."""
    may_pass: bool = False
    """Trying again might have helped, but the attempts or the time are spent."""
