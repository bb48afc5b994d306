"""What happened in one seed, in order: the trace, how often each thing occurred, and which promises were broken."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class History:
    """One seed's record. Everything that is noted gets the next number, so that events have an order."""

    now: Callable[[], float]
    lines: list[tuple[float, str, str, str]] = field(default_factory=list[tuple[float, str, str, str]])
    """Time, who, what, details."""
    seen: Counter[str] = field(default_factory=Counter[str])
    """How often each kind of thing occurred."""
    broken: list[str] = field(default_factory=list[str])
    """Promises that did not hold, in words."""

    @property
    def at(self) -> int:
        """The number of the latest event."""
        return len(self.lines)

    def note(self, who: str, what: str, details: str = "") -> int:
        """Adds an event; its number."""
        self.lines.append((round(self.now(), 6), who, what, details.replace("\n", " ")))
        return len(self.lines)

    def count(self, label: str) -> None:
        """Counts one more of its kind."""
        self.seen[label] += 1

    def breaks(self, promise: str, details: str) -> None:
        """A promise does not hold."""
        text = f"{promise}: {details}"
        self.broken.append(text)
        self.note("check", "BROKEN", text)

    def digest(self) -> str:
        """Equal for two runs in which the same things happened at the same times."""
        return hashlib.blake2b(repr(self.lines).encode(), digest_size=16).hexdigest()

    def told(self) -> str:
        """The trace, for a person."""
        start = self.lines[0][0] if self.lines else 0.0
        return "\n".join(f"{at - start:11.4f}  {who:<10} {what:<22} {said}" for at, who, what, said in self.lines)
