"""A set that is walked in the order in which things came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class OrderedSet(set[T]):
    """Only what a rail does with its sets of work: add, discard, look, count, walk."""

    def __init__(self) -> None:
        super().__init__()
        self._order: dict[T, None] = {}

    def add(self, element: T, /) -> None:
        """Puts it last."""
        super().add(element)
        self._order[element] = None

    def discard(self, element: Any, /) -> None:
        """Takes it out, if it is there."""
        super().discard(element)
        self._order.pop(element, None)

    def __iter__(self) -> Iterator[T]:
        return iter(self._order)
