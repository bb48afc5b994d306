"""Calls as they are settled: a page of the newest, and the stream that goes on from there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from toolrail.cli.lines import size
from toolrail.dashboard.formats import kind, meaning, seconds, short, visible
from toolrail.dashboard.links import run_href, tool_href, why_href
from toolrail.dashboard.rendering import render
from toolrail.records.database import RecordsError
from toolrail.records.reading import Records
from toolrail.records.views import CallFilter, CallLine

STREAMS = 8
"""Connections at once: each asks the record once a second."""
PAUSE = 1.0
BEAT = 15.0
"""Seconds after which a stream without news says so, to find out that nobody listens."""
LATE = 10.0
"""Seconds that a row may be written after its call was settled: writers work in batches."""
NEWEST = 50
MOST = 5_000
"""Calls of one look: more in so short a time nobody reads."""


def page(request: Request, records: Records) -> Response:
    """`/live`"""
    return render(request, "live.html", active="live", calls=records.calls(CallFilter(limit=NEWEST)))


class Followers:
    """Counts the streams that are open."""

    def __init__(self, limit: int = STREAMS) -> None:
        self.limit = limit
        self.count = 0


async def stream(request: Request) -> Response:
    """`/live/stream`: server-sent events, one a settled call, until the browser goes."""
    followers: Followers = request.app.state.followers
    if followers.count >= followers.limit:
        text = f"{followers.limit} pages follow along already. Close one of them."
        return JSONResponse({"error": text}, 503, {"retry-after": "10"})
    followers.count += 1
    settings = request.app.state.settings
    news = Follow(settings.records, since=time.time())
    return _Counted(_events(request, news), media_type="text/event-stream", followers=followers)


class _Counted(StreamingResponse):
    """Gives its place back however it ends, also where the browser went before the first line."""

    def __init__(self, content: AsyncIterator[str], *, media_type: str, followers: Followers) -> None:
        super().__init__(content, media_type=media_type)
        self._followers = followers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._followers.count -= 1


class Follow:
    """The calls that were settled since it was asked last, in the order in which they become known."""

    def __init__(self, url: str, *, since: float) -> None:
        self._url = url
        self._since = since
        self._seen: set[tuple[str, str, float]] = set()

    def news(self) -> Sequence[CallLine]:
        """Blocks while it reads. A row that is written late is not missed: the last seconds are read again. A call that
        waited is settled anew when it goes on, under the same key: it is told of again."""
        with Records(self._url) as records:
            lines = records.settled_after(self._since - LATE, limit=MOST)
        named = {(line.tenant, line.key, line.settled or 0.0): line for line in lines}
        fresh = [line for name, line in named.items() if name not in self._seen]
        self._seen = set(named)
        self._since = max([self._since, *(name[2] for name in named)])
        return fresh


async def _events(request: Request, follow: Follow) -> AsyncIterator[str]:
    quiet = 0.0
    yield "retry: 3000\n\n"
    while not await request.is_disconnected():
        try:
            lines = await run_in_threadpool(follow.news)
        except RecordsError as error:
            yield _event("problem", {"text": str(error)})
            return
        for line in lines:
            yield _event("call", shown(line))
        quiet = 0.0 if lines else quiet + PAUSE
        if quiet >= BEAT:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(PAUSE)


def _event(name: str, value: object) -> str:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"


def shown(line: CallLine) -> dict[str, Any]:
    """A call as the stream sends it: text, which the page sets as text."""
    settled = line.settled or line.wall
    return {
        "time": time.strftime("%H:%M:%S", time.localtime(settled)),
        "full": time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(settled)),
        "tool": visible(line.tool),
        "tool_href": tool_href(line.tool),
        "outcome": line.code or line.status or "",
        "kind": f"k-{kind(line.code)}" if line.code else f"s-{line.status}",
        "meaning": meaning(line.code),
        "seconds": seconds(line.seconds),
        "attempts": line.attempts,
        "sizes": f"{size(line.argument_bytes)} \N{RIGHTWARDS ARROW} {size(line.result_bytes)}",
        "principal": visible(line.principal),
        "run": visible(line.run),
        "run_short": visible(short(line.run)),
        "run_href": run_href(line.tenant, line.run),
        "href": why_href(line.tenant, line.key),
    }
