"""The dashboard as an ASGI application: its pages in one table, behind the guard.

To add a page: write `def page(request: Request, records: Records) -> Response` that ends in
`return render(request, "name.html", active="runs", ...)`; give it a row in `PAGES`; start its template with
`{% extends "base.html" %}`, and fill the blocks `title` and `main` (`head` for more scripts: files only, and no inline
script or style anywhere). The main link of a row has `class="go"`, for the keys j and k; `_macros.html` has the rows.
It runs in a thread of its own with `records` open, so it may block. With `windowed=True` the page shows the picker of
times, and `window_of(request)` is what was picked. Filters are in `formats.py`, addresses (`run_href`, `why_href`,
`tool_href`, `href`) in `links.py`; an id stands in the query: `request.query_params["id"]`.
`raise Missing("There is no such run.")` answers 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from toolrail.cli.places import masked
from toolrail.dashboard.missing import Missing
from toolrail.dashboard.pages import (
    alerts,
    approvals,
    call,
    calls,
    compare,
    costs,
    dependencies,
    live,
    overview,
    run,
    runs,
    sessions,
    tools,
)
from toolrail.dashboard.rendering import HERE, render
from toolrail.dashboard.security import Guard, Refused, Sessions
from toolrail.errors import ApprovalError
from toolrail.records.database import RecordsError
from toolrail.records.reading import Records
from toolrail.store import StoreError

Page = Callable[[Request, Records], Response]
"""Reads, and renders; in a thread."""

PAGES: Mapping[str, Page] = {
    "/": overview.page,
    "/tools": tools.page,
    "/tool": tools.one,
    "/dependencies": dependencies.page,
    "/runs": runs.page,
    "/run": run.page,
    "/run/moment": run.moment,
    "/run/messages": run.messages,
    "/text": run.text,
    "/why": call.page,
    "/compare": compare.page,
    "/sessions": sessions.page,
    "/session": sessions.one,
    "/calls": calls.page,
    "/approvals": approvals.page,
    "/alerts": alerts.page,
    "/costs": costs.page,
    "/live": live.page,
}
"""What only reads, by address."""
OTHERS = (
    Route("/live/stream", live.stream, methods=["GET"]),
    Route("/approvals/decide", approvals.decide_form, methods=["POST"]),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a dashboard shows, and to whom."""

    records: str
    """URL of the record."""
    store: str | None = None
    """URL of the store, for approvals. None: they can be read nowhere."""
    by: str = ""
    """Who decides, for the record: the person who started it, for whoever has a session has his token."""
    permissions: frozenset[str] = frozenset()
    """What that person may approve."""
    hosts: tuple[str, ...] = ()
    """Names beyond loopback that a browser may use."""
    cookie: str = "toolrail"


def build(
    settings: Settings, *, sessions: Sessions | None = None, began: Callable[[], object] = lambda: None
) -> ASGIApp:
    """The application. `began` is called when somebody signed in: `sessions.token` is a new one then."""
    routes = [Route(path, _reading(page), methods=["GET"]) for path, page in PAGES.items()]
    app = Starlette(
        routes=[*routes, *OTHERS, Mount("/static", _Files(directory=HERE / "static"))],
        exception_handlers={
            RecordsError: _unreadable,
            StoreError: _unreadable,
            Missing: _missing,
            Refused: _refused,
            ApprovalError: _refused,
            HTTPException: _http,
            500: _broken,
        },
    )
    app.state.settings = settings
    app.state.by = settings.by
    app.state.source = masked(settings.records)
    app.state.followers = live.Followers()
    # Around everything, also the answer to a bug of ours: Starlette's own list of middleware stands inside of that.
    return Guard(app, sessions=sessions or Sessions(), cookie=settings.cookie, hosts=settings.hosts, began=began)


def _reading(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """The page, in a thread, with the record open for this one request."""

    def read(request: Request) -> Response:
        settings: Settings = request.app.state.settings
        with Records(settings.records) as records:
            return page(request, records)

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(read, request)

    return answer


class _Files(StaticFiles):
    """Our own files: their address has their digest, so a browser may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["cache-control"] = "max-age=31536000, immutable"
        return answer


def _problem(request: Request, status: int, title: str, text: str, mend: str = "") -> Response:
    return render(request, "problem.html", status=status, title=title, text=text, mend=mend)


def _unreadable(request: Request, error: Exception) -> Response:
    mend = getattr(error, "mend", "")
    text = str(error).removesuffix(f" Mend: {mend}")
    return _problem(request, 503, "The record cannot be read", text, mend)


def _missing(request: Request, error: Exception) -> Response:
    return _problem(request, 404, "Not there", str(error), "It may be of another record, or too old: see the address.")


def _refused(request: Request, error: Exception) -> Response:
    return _problem(request, 403 if isinstance(error, Refused) else 409, "Not done", str(error))


def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _problem(request, status, "Not there" if status == 404 else "Not possible", "There is no such page.")


def _broken(request: Request, _: Exception) -> Response:
    return _problem(request, 500, "A bug of ours", "The terminal has its traceback; runs are not affected.")
