"""Calls by tool, code or status, the newest first: where every count leads."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from toolrail.dashboard.rendering import render
from toolrail.dashboard.windows import window_of
from toolrail.records.reading import Records
from toolrail.records.views import CallFilter

LIMIT = 100


def page(request: Request, records: Records) -> Response:
    """`/calls?tool=&code=&status=&unsettled=1`"""
    given = {name: request.query_params.get(name) or None for name in ("tool", "code", "status", "run", "tenant")}
    unsettled = request.query_params.get("unsettled") == "1"
    window = None if unsettled or given["run"] else window_of(request)
    found = records.calls(
        CallFilter(
            window=window,
            tenant=given["tenant"],
            run=given["run"],
            tool=given["tool"],
            code=given["code"],
            status=given["status"],
            unsettled=unsettled,
            limit=LIMIT,
        )
    )
    return render(
        request, "calls.html", windowed=window is not None, calls=found, given=given, unsettled=unsettled, limit=LIMIT
    )
