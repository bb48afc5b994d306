"""Real runs whose record tests of /metrics read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from toolrail import Rail, Tool, ToolCall, ToolError, tool


def found(query: str) -> str:
    """Searches."""
    return f"found {query}"


def fail(query: str) -> str:
    """Searches a catalogue that is down."""
    raise ToolError("The catalogue is down.")


def record_calls(record: str, name: str, *, count: int, handler: Callable[..., Any] = found) -> None:
    """One run with so many calls of one tool, recorded to its end."""
    made: Tool[object] = tool(effect="read", name=name)(handler)

    async def run() -> None:
        async with Rail([made], records=record) as rail:
            await rail.batch([ToolCall(f"c{at}", name, '{"query": "lamp"}') for at in range(count)])

    asyncio.run(run())
