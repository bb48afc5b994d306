"""What recording costs: the caller's microseconds a call over a rail without sinks, and the writer's, in its thread.

python -m benchmarks.recording
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, report

CALLS = 2_000
PAUSE = 200
"""Calls between two pauses: a loop that waits for a model leaves the writer its time."""
BOUNDS = {"metrics": 3.0, "default sinks, recorded": 15.0, "OpenTelemetry's SDK": 250.0}
WRITER = 60.0


async def find(order: str) -> dict[str, str]:
    """Tells how far an order is."""
    return {"order": order, "status": "shipped"}


def rail(**options: Any) -> Any:
    """The only place that knows toolrail's constructors. A policy decides, so that a call makes an event more."""
    from toolrail import Rail, tool
    from toolrail.decisions import Allow

    return Rail([tool(effect="read")(find)], policies=[lambda _: Allow("all")], **options)


async def cost(options: dict[str, Any], start: int) -> float:
    """The caller's CPU microseconds a call."""
    from toolrail import ToolCall

    through = rail(**options)
    calls = [[ToolCall("c1", "find", f'{{"order": "O{start + at}"}}')] for at in range(CALLS)]
    gc.collect()
    spent = 0.0
    async with through.run([]) as run:
        for at in range(0, CALLS, PAUSE):
            before = time.thread_time()
            for one in calls[at : at + PAUSE]:
                await through.batch(one, run)
            spent += time.thread_time() - before
            await asyncio.sleep(0.002)
    return spent / CALLS * 1e6


def traced() -> Any:
    """Spans and metrics by the SDK, as an application has them, up to where they would be sent."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from toolrail.records.otel import OpenTelemetry

    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    return OpenTelemetry(tracers, MeterProvider(metric_readers=[InMemoryMetricReader()]))


async def best(place: Path) -> tuple[dict[str, float], float]:
    """The best of five rounds, in turn; and the writer's CPU microseconds a call over all of them."""
    from toolrail.records.logging import LogSink
    from toolrail.records.metrics import Metrics
    from toolrail.records.recorder import Recorder

    recorder = Recorder(f"sqlite:///{place / 'rail.records.db'}", alerts=False)
    sides: dict[str, dict[str, Any]] = {
        "none": {"sinks": []},
        "metrics": {"sinks": [Metrics()]},
        "default sinks, recorded": {"sinks": [Metrics(), LogSink()], "records": recorder},
        "OpenTelemetry's SDK": {"sinks": [traced()]},
    }
    rounds: dict[str, list[float]] = {name: [] for name in sides}
    whole = time.process_time() - time.thread_time()
    for at in range(5):
        for name, options in sides.items():
            rounds[name].append(await cost(options, CALLS * at))
        await asyncio.to_thread(recorder.flush, 30.0)
    writer = (time.process_time() - time.thread_time() - whole) / (5 * CALLS) * 1e6
    recorder.close()
    if recorder.lost:
        raise AssertionError(f"{recorder.lost} events were lost.")
    least = {name: min(found) for name, found in rounds.items()}
    return {name: least[name] - least["none"] for name in BOUNDS}, writer


def main() -> int:
    logging.getLogger("toolrail").setLevel(logging.ERROR)  # writing log lines is not recording
    with tempfile.TemporaryDirectory() as place:
        caller, writer = asyncio.run(best(Path(place)))
    rows = [Row(name, caller[name], bound, "us a call to the caller") for name, bound in BOUNDS.items()]
    rows.append(Row("the writer's thread", writer, WRITER, "us of CPU a call"))
    return report("recording, over a rail without sinks", rows)


if __name__ == "__main__":
    sys.exit(main())
