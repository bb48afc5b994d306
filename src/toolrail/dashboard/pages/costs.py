"""What the models cost, by model, against the same span a day earlier. What nobody priced is unknown, never nothing."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from toolrail.cli.figures import told_apart
from toolrail.dashboard.rendering import render
from toolrail.dashboard.windows import window_of, words
from toolrail.records.reading import Records
from toolrail.records.views import RunFilter, Window

DAY = 86_400.0


def page(request: Request, records: Records) -> Response:
    """`/costs`"""
    window = window_of(request)
    now = records.models(window)
    earlier = records.models(Window(window.since - DAY, window.until - DAY))
    before = {(line.model, line.cost.currency): line for line in earlier}
    rows = [(line, before.pop((line.model, line.cost.currency), None)) for line in now]
    rows.sort(key=lambda row: (row[0].cost.known, -row[0].cost.amount))
    unknown = any(not line.cost.known for line in now)
    missing, silent = told_apart(now, records.uncounted(window) if unknown else {})
    return render(
        request,
        "costs.html",
        active="costs",
        windowed=True,
        rows=rows,
        missing=missing,
        silent=silent,
        gone=list(before.values()),
        expensive=records.runs(RunFilter(window=window, only="expensive", limit=8)).runs,
        sessions=records.sessions(window, sort="cost", limit=8),
        words=words(request),
    )
