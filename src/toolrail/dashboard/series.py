"""Figures over time, in the form that charts take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolrail.records.reading import Records
from toolrail.records.views import Spark, Window

LATENCY_STEPS = 30


def traffic(spark: Sequence[Spark], window: Window) -> dict[str, Any]:
    """Calls and errors, for `data-chart`."""
    return {
        "x": [round(step.start) for step in spark],
        "series": [
            {"label": "calls", "kind": "ok", "values": [step.calls for step in spark]},
            {"label": "errors", "kind": "bad", "values": [step.errors for step in spark]},
        ],
        "bars": True,
        "until": round(window.until),
    }


def latency(records: Records, tool: str, window: Window) -> dict[str, Any]:
    """p50 and p95 in milliseconds, for `data-chart`."""
    step = window.seconds / LATENCY_STEPS
    starts = [window.since + place * step for place in range(LATENCY_STEPS)]
    p50: list[float | None] = []
    p95: list[float | None] = []
    for start in starts:
        found = [line.latency for line in records.tools(Window(start, start + step)) if line.tool == tool]
        p50.append(_milliseconds(found[0].p50 if found else None))
        p95.append(_milliseconds(found[0].p95 if found else None))
    return {
        "x": [round(start) for start in starts],
        "series": [
            {"label": "p50 ms", "kind": "ok", "values": p50},
            {"label": "p95 ms", "kind": "warn", "values": p95},
        ],
        "bars": False,
        "until": round(window.until),
    }


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else round(value * 1_000, 3)
