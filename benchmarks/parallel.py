"""How parallel a batch is: three slow tools, and a hundred blocking ones while the event loop must stay responsive.

python -m benchmarks.parallel
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from benchmarks.measure import Row, report

ROUNDS = 5
BEAT = 0.005
Batch: TypeAlias = Callable[[], Awaitable[Sequence[object]]]


async def slow_async() -> str:
    """Waits half a second."""
    await asyncio.sleep(0.5)
    return "ok"


def slow_sync() -> str:
    """Blocks half a second."""
    time.sleep(0.5)
    return "ok"


def blocking() -> str:
    """Blocks a tenth of a second."""
    time.sleep(0.1)
    return "ok"


def batch_of(handler: Callable[[], object], count: int) -> Batch:
    """The only place that knows toolrail's constructors: `count` calls of one tool, default limits (32 threads)."""
    from toolrail import Rail, ToolCall, tool

    rail = Rail([tool(effect="read")(handler)])
    calls = [ToolCall(id=f"call_{n}", name=handler.__name__, arguments="{}") for n in range(count)]

    async def run() -> Sequence[object]:
        results = await rail.batch(calls)
        assert [result.status for result in results] == ["ok"] * count
        return results

    return run


async def heartbeat(late: list[float]) -> None:
    """Notes how much later than asked each beat comes, in seconds."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT)
        late.append(time.perf_counter() - before - BEAT)


async def timed(batch: Batch) -> tuple[float, float]:
    """Wall seconds of the batch, and the longest delay of a heartbeat beside it."""
    late = [0.0]
    beating = asyncio.create_task(heartbeat(late))
    await asyncio.sleep(0)
    start = time.perf_counter()
    await batch()
    wall = time.perf_counter() - start
    beating.cancel()
    return wall, max(late)


def best(batch: Batch) -> tuple[float, float]:
    """The least wall time and the least of the longest delays, of five rounds in one loop, in milliseconds."""

    async def main() -> list[tuple[float, float]]:
        await batch()  # starts the threads
        return [await timed(batch) for _ in range(ROUNDS)]

    walls, delays = zip(*asyncio.run(main()), strict=True)
    return min(walls) * 1e3, min(delays) * 1e3


def main() -> int:
    async_wall, _ = best(batch_of(slow_async, 3))
    sync_wall, _ = best(batch_of(slow_sync, 3))
    many_wall, many_delay = best(batch_of(blocking, 100))
    rows = [
        Row("three async tools of 500 ms", async_wall, 520, "ms"),
        Row("three sync tools of 500 ms", sync_wall, 540, "ms"),
        Row("100 blocking tools of 100 ms, pool of 32", many_wall, 600, "ms"),
        Row("heartbeat beside them, longest delay", many_delay, 50, "ms"),
    ]
    return report("parallel calls, wall time", rows)


if __name__ == "__main__":
    sys.exit(main())
