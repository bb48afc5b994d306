"""What the tools stand on: failures, circuits by process, latency."""

from __future__ import annotations

from collections import defaultdict

from starlette.requests import Request
from starlette.responses import Response

from toolrail.dashboard.rendering import render
from toolrail.dashboard.windows import window_of, words
from toolrail.records.reading import Records
from toolrail.records.views import CircuitLine


def page(request: Request, records: Records) -> Response:
    """`/dependencies`"""
    processes: dict[str, list[CircuitLine]] = defaultdict(list)
    for line in records.circuits():
        processes[line.dependency].append(line)
    found = records.dependencies(window_of(request))
    shown = sorted(found, key=lambda each: (each.circuit != "closed", each.errors, each.calls), reverse=True)
    return render(
        request, "dependencies.html", active="dependencies", windowed=True, dependencies=shown,
        processes=processes, words=words(request),
    )  # fmt: skip
