"""Sessions: conversations over all their runs, and how many calls one takes."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from toolrail.dashboard.missing import Missing
from toolrail.dashboard.rendering import render
from toolrail.dashboard.story import GOOD, REASONS
from toolrail.dashboard.windows import window_of, words
from toolrail.records.reading import Records
from toolrail.records.views import RunFilter, SessionLine

LIMIT = 100
RUNS = 200
Sort = Literal["updated", "calls", "cost"]
SORTS: tuple[Sort, ...] = ("updated", "calls", "cost")
_BINS = ((0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 10**9))
"""Calls of a session, from and to."""


def page(request: Request, records: Records) -> Response:
    """`/sessions?sort=&tenant=`"""
    given = request.query_params.get("sort", "updated")
    sort = given if given in SORTS else "updated"
    tenant = request.query_params.get("tenant") or None
    window = window_of(request)
    spread = records.calls_per_session(window)
    bins = [
        (low, high, sum(times for calls, times in spread.sizes.items() if low <= calls <= high)) for low, high in _BINS
    ]
    return render(
        request,
        "sessions.html",
        active="sessions",
        windowed=True,
        found=records.sessions(window, tenant=tenant, sort=sort, limit=LIMIT),
        sort=sort,
        tenant=tenant,
        spread=spread,
        bins=[one for one in bins if one[2]],
        most=max((one[2] for one in bins), default=0),
        words=words(request),
        limit=LIMIT,
    )


def one(request: Request, records: Records) -> Response:
    """`/session?id=&tenant=`"""
    session = request.query_params.get("id", "")
    tenant = request.query_params.get("tenant") or "default"
    found = records.runs(RunFilter(session=session, tenant=tenant, limit=RUNS)).runs if session else ()
    if not found:
        raise Missing("There is no such session in the record.")
    line = next((each for each in _lines(records, tenant) if each.session == session), None)
    return render(
        request,
        "session.html",
        active="sessions",
        session=session,
        tenant=tenant,
        line=line,
        found=found,
        limit=RUNS,
        reasons=REASONS,
        good=GOOD,
    )


def _lines(records: Records, tenant: str) -> tuple[SessionLine, ...]:
    return records.sessions(None, tenant=tenant, limit=1_000)
