"""What the spine costs: one call through a rail with default ports and no sink, beside loads + await + dumps.

python -m benchmarks.spine
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from benchmarks.measure import Row, report

BOUND = 7.0
CALLS = 5_000
ARGUMENTS = tuple(f'{{"order_id": "ORD-{n:06d}", "verbose": false}}' for n in range(CALLS + 200))
"""Another order each time, on both sides: the same call with the same result would be a loop, and refused."""
One: TypeAlias = Callable[[str], Awaitable[object]]


async def get_order_status(order_id: str, verbose: bool = False) -> dict[str, object]:
    """Tells how far an order is."""
    return {"order_id": order_id, "status": "shipped", "verbose": verbose}


async def bare(arguments: str) -> str:
    return json.dumps(await get_order_status(**json.loads(arguments)))


def rail() -> Any:
    """The only place that knows toolrail's constructors."""
    from toolrail import Rail, tool  # here, so that what is measured first does not pay its import

    return Rail([tool(effect="read")(get_order_status)], sinks=())


async def cost(one: One) -> float:
    """CPU seconds of one call."""
    gc.collect()
    start = time.process_time()
    for arguments in ARGUMENTS[:CALLS]:
        await one(arguments)
    return (time.process_time() - start) / CALLS


async def best() -> tuple[float, float]:
    """The best of five rounds for both sides, in turn, in one event loop and one open run, as in any agent loop."""
    from toolrail import ToolCall

    through = rail()
    calls = {text: [ToolCall(id="call_1", name="get_order_status", arguments=text)] for text in ARGUMENTS}
    async with through.run([]) as run:

        async def spine(arguments: str) -> object:
            return await through.batch(calls[arguments], run)

        for arguments in ARGUMENTS[-200:]:
            await spine(arguments)
        rounds = [(await cost(bare), await cost(spine)) for _ in range(5)]
    return min(theirs for theirs, _ in rounds), min(ours for _, ours in rounds)


def main() -> int:
    theirs, ours = asyncio.run(best())
    detail = f"{theirs * 1e6:.1f} -> {ours * 1e6:.1f} us a call"
    return report("spine / loads + await + dumps", [Row("one call", ours / theirs, BOUND, detail)])


if __name__ == "__main__":
    sys.exit(main())
