"""Runs in a list, with filters: what failed, looped, cost much, waits, or ended without anybody knowing how."""

from __future__ import annotations

from typing import Literal, cast, get_args

from starlette.requests import Request
from starlette.responses import Response

from toolrail.dashboard.rendering import render
from toolrail.dashboard.story import GOOD, REASONS
from toolrail.dashboard.windows import window_of, words
from toolrail.records.reading import Records
from toolrail.records.views import RunFilter

Only = Literal["all", "failed", "looping", "expensive", "pending", "running", "unknown"]
LIMIT = 50
ONLY: dict[Only, tuple[str, str]] = {
    "all": ("All", "Every run"),
    "failed": ("Failed", "With a call that did not succeed, or that ended without an answer"),
    "looping": ("Looping", "The same call was refused as a repetition"),
    "expensive": ("Expensive", "By what their tokens cost"),
    "pending": ("Waiting", "For a person or another system, whenever they began"),
    "running": ("Running", "Not ended, whenever they began"),
    "unknown": ("Unknown", "With an outcome that nobody knows, whenever they began"),
}
"""The words of each filter, and what it means."""
STANDING: tuple[Only, ...] = ("pending", "running", "unknown")
"""What matters however long ago it began: no span of time is asked for."""
FIELDS = ("tenant", "session", "principal", "tool")


def page(request: Request, records: Records) -> Response:
    """`/runs?only=&tenant=&session=&principal=&tool=&text=&before=`"""
    query = request.query_params
    only = chosen_only(query.get("only", "all"))
    given = {name: query.get(name) or None for name in FIELDS}
    text = query.get("text", "").strip()
    windowed = only not in STANDING and not given["session"] and not text
    asked = RunFilter(
        window=window_of(request) if windowed else None,
        only=only,
        text=text,
        before=_before(query.get("before", "")),
        limit=LIMIT,
        **given,
    )
    found = records.runs(asked)
    return render(
        request,
        "runs.html",
        active="runs",
        windowed=windowed,
        found=found.runs,
        older=_after(found.next),
        only=only,
        choices=ONLY,
        given={**given, "text": text},
        kept={**given, "text": text, "w": query.get("w")},
        words=words(request),
        reasons=REASONS,
        good=GOOD,
    )


def chosen_only(given: str) -> Only:
    """The filter, or none for one that there is not."""
    return cast("Only", given) if given in get_args(Only) else "all"


def _before(given: str) -> tuple[float, str] | None:
    wall, _, run = given.partition("~")
    try:
        return (float(wall), run) if run else None
    except ValueError:
        return None


def _after(place: tuple[float, str] | None) -> str | None:
    return None if place is None else f"{place[0]!r}~{place[1]}"
