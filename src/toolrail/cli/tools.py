"""`toolrail tools`: each tool's calls, errors by class, percentiles, attempts, bytes, circuit, and how it went."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from toolrail.cli.figures import count, plain, share, span
from toolrail.cli.figures import seconds as shown
from toolrail.cli.lines import Paint, size
from toolrail.cli.looking import opened, show_losses
from toolrail.cli.places import records_argument
from toolrail.cli.screen import folded, screen_width, spark
from toolrail.cli.spans import since_argument, window
from toolrail.cli.tables import Cell, Column, show_table
from toolrail.records.views import ToolStats

_STEPS = 16
"""Of a spark line."""
_LOUD = 0.05
"""The error rate from which it is shown in red: that of the default alerts."""
_CLASSES = ("dependency", "argument", "bug", "limit", "policy")
_SORTS: dict[str, Callable[[ToolStats], float]] = {
    "calls": lambda one: one.calls,
    "errors": lambda one: one.errors,
    "rate": lambda one: one.error_rate,
    "p50": lambda one: one.latency.p50 or 0.0,
    "p95": lambda one: one.latency.p95 or 0.0,
    "p99": lambda one: one.latency.p99 or 0.0,
    "attempts": lambda one: one.attempts / one.calls if one.calls else 0.0,
    "bytes": lambda one: (one.argument_bytes + one.result_bytes) / max(1, one.calls),
}
"""The greatest first."""
_SHOWN = {"p50": "p50", "p99": "p99", "attempts": "tries", "bytes": "result"}
"""The column of an order, where it might be left out. Bytes and attempts are those of one call."""
_COLUMNS = (
    Column("tool", least=12),
    Column("calls", right=True),
    Column("errors", right=True),
    Column("p50", right=True, spare=3),
    Column("p95", right=True),
    Column("p99", right=True, spare=4),
    Column("tries", right=True, spare=5),
    Column("args", right=True, spare=8),
    Column("result", right=True, spare=7),
    Column("circuit", spare=1),
    Column("calls by time", spare=6),
    Column("not ok, by class", least=20, wraps=True),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    since_argument(parser, "24h")
    parser.add_argument(
        "--sort", choices=(*_SORTS, "name"), default="calls", help="by what, the greatest first; default: calls"
    )
    parser.add_argument("--tool", metavar="NAME", help="only this one")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the tools."""
    with opened(options) as records:
        found = [
            one
            for one in records.tools(window(options.since), steps=_STEPS)
            if options.tool is None or one.tool == options.tool
        ]
        found.sort(key=lambda one: one.tool)
        if options.sort != "name":
            found.sort(key=_SORTS[options.sort], reverse=True)
        if options.json:
            print(json.dumps([as_object(one) for one in found]))
            return 0
        over = span(time.time() - options.since)
        if not found:
            print(f"No tool was called in the last {over}.")
        else:
            # What it is sorted by is never left out.
            columns = [replace(one, spare=0) if one.name == _SHOWN.get(options.sort) else one for one in _COLUMNS]
            show_table(columns, [_cells(one) for one in found])
            for line in folded(_sum(found, over), screen_width()):
                print(Paint()(line, "dim"))
        show_losses(records)
    return 0


def _cells(one: ToolStats) -> list[Cell]:
    rate = f"{count(one.errors)} ({share(one.error_rate)})" if one.errors else "0"
    classes = ", ".join(f"{kind} {count(one.by_class[kind])}" for kind in _CLASSES if one.by_class.get(kind))
    return [
        one.tool,
        count(one.calls),
        (rate, "red" if one.error_rate > _LOUD else "yellow" if one.errors else ""),
        shown(one.latency.p50),
        shown(one.latency.p95),
        shown(one.latency.p99),
        f"{one.attempts / one.calls:.2f}" if one.calls else "-",
        size(one.argument_bytes // max(1, one.calls)),
        size(one.result_bytes // max(1, one.calls)),
        ("" if one.circuit == "closed" else one.circuit, "red" if one.circuit == "open" else "yellow"),
        spark([step.calls for step in one.spark]),
        classes,
    ]


def _sum(found: list[ToolStats], over: str) -> str:
    calls, errors = sum(one.calls for one in found), sum(one.errors for one in found)
    rate = share(errors / calls) if calls else "0 %"
    return f"({count(calls)} calls in the last {over}, {count(errors)} errors, {rate}; percentiles within 1 %)"


def as_object(one: ToolStats) -> dict[str, Any]:
    """A tool for scripts."""
    return plain(one) | {"error_rate": one.error_rate}
