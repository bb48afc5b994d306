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
    steps = records.history(tool, window, steps=LATENCY_STEPS)
    p50 = [_milliseconds(step.latency.p50) for step in steps]
    p95 = [_milliseconds(step.latency.p95) for step in steps]
    return {
        "x": [round(step.start) for step in steps],
        "series": [
            {"label": "p50 ms", "kind": "ok", "values": p50},
            {"label": "p95 ms", "kind": "warn", "values": p95},
        ],
        "bars": False,
        "until": round(window.until),
    }


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else round(value * 1_000, 3)
