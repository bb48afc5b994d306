"""All tools in a table that sorts, and one tool: its codes, versions, faults, latency, and newest calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from toolrail.dashboard.missing import Missing
from toolrail.dashboard.rendering import render
from toolrail.dashboard.series import latency, traffic
from toolrail.dashboard.signs import earlier, signs
from toolrail.dashboard.windows import window_of, words
from toolrail.records.reading import Records
from toolrail.records.views import CallFilter, ToolStats

STEPS = 40
CIRCUITS = {"closed": 0, "half-open": 1, "open": 2}
SORTS: Mapping[str, Callable[[ToolStats], float]] = {
    "calls": lambda tool: tool.calls,
    "errors": lambda tool: tool.error_rate,
    "p50": lambda tool: tool.latency.p50 or 0.0,
    "p95": lambda tool: tool.latency.p95 or 0.0,
    "p99": lambda tool: tool.latency.p99 or 0.0,
    "attempts": lambda tool: tool.attempts / tool.calls if tool.calls else 0.0,
    "bytes": lambda tool: tool.result_bytes / tool.calls if tool.calls else 0.0,
    "circuit": lambda tool: CIRCUITS.get(tool.circuit, 0),
}
"""By what `?sort=` says; the largest first."""
CLASSES = ("dependency", "bug", "argument", "limit", "policy")


def page(request: Request, records: Records) -> Response:
    """`/tools`"""
    given = request.query_params.get("sort", "calls")
    sort = given if given in SORTS else "calls"
    found = records.tools(window_of(request), steps=STEPS)
    shown = sorted(found, key=SORTS[sort], reverse=True)
    return render(
        request,
        "tools.html",
        active="tools",
        windowed=True,
        tools=shown,
        sort=sort,
        classes=CLASSES,
        words=words(request),
    )


def one(request: Request, records: Records) -> Response:
    """`/tool?name=`"""
    name = request.query_params.get("name", "")
    window = window_of(request)
    found = next((tool for tool in records.tools(window, steps=60) if tool.tool == name), None)
    newest = records.calls(CallFilter(tool=name, limit=25))
    before = (each for each in records.tools(earlier(window)) if each.tool == name)
    if found is None and not newest:
        raise Missing("There is no such tool in the record.")
    return render(
        request,
        "tool.html",
        active="tools",
        windowed=True,
        name=name,
        tool=found,
        signs=signs([found], before) if found else (),
        classes=CLASSES,
        words=words(request),
        faults=[fault for fault in records.faults(window, limit=500) if fault.tool == name],
        calls=newest,
        traffic=traffic(found.spark, window) if found else None,
        latency=latency(records, name, window) if found else None,
    )
