"""What is said about one rule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Both examples are whole programs: the first raises the `DefinitionError`, the second does not."""

    id: str
    title: str
    reason: str
    wrong: str
    mended: str
