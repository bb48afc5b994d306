"""What tests of the recorder share: rails that record, rows that were written."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from toolrail import Rail, ToolCall, ToolError, tool
from toolrail.records.database import connect

T = TypeVar("T")


@tool(effect="read")
async def find(order: str) -> str:
    """Finds an order."""
    return f"found {order}"


@tool(effect="read")
async def fail(order: str) -> str:
    """Looks into what is down."""
    raise ToolError("It is down.", retryable=False)


def url_of(path: Path) -> str:
    return f"sqlite:///{path / 'rail.records.db'}"


def calls_of(name: str, count: int, *, start: int = 0) -> list[ToolCall]:
    return [ToolCall(f"c{at}", name, f'{{"order": "O{start + at}"}}') for at in range(count)]


def rows(url: str, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """What stands in the record."""
    db = connect(url)
    try:
        return db.select(sql, params)
    finally:
        db.close()


def recorded(url: Any, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def batches(records: Any, *batch: Sequence[ToolCall], tools: Sequence[Any] = (find, fail)) -> None:
    """One run with these batches, recorded to its end."""
    async with Rail(tools, records=records) as rail, rail.run([]) as run:
        for calls in batch:
            await rail.batch(list(calls), run)
