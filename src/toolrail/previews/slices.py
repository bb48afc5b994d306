"""Long work on the event loop, in slices: a generator that pauses now and then, driven at once or with others between.

Not in a thread: the JSON scanner and encoder hold the interpreter for as long as one call of theirs takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Slices = Generator[None, None, T]
"""Work that gives None after each slice, and returns its result."""


def at_once(work: Slices[T]) -> T:
    """Does all of it now."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value


async def with_pauses(work: Slices[T]) -> T:
    """Lets the loop's other work on between two slices."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value
        await asyncio.sleep(0)
