"""One call, and why it ended as it did: each stage on its way, and what to do next."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from toolrail.cli.places import command
from toolrail.dashboard.missing import Missing
from toolrail.dashboard.pages.run import by_call
from toolrail.dashboard.rendering import render
from toolrail.dashboard.timeline import Timeline
from toolrail.dashboard.why import PURPOSE, why
from toolrail.records.reading import Records
from toolrail.records.views import CallLine, RunDetail


def page(request: Request, records: Records) -> Response:
    """`/why?key=&tenant=`"""
    key, tenant = request.query_params.get("key", ""), request.query_params.get("tenant")
    call = records.call(key, tenant=tenant or "default") or (None if tenant else records.call(key))
    if call is None:
        raise Missing("There is no such call in the record.")
    detail = records.run(call.run, tenant=call.tenant)
    tried = records.attempts(call.key, tenant=call.tenant)
    found = why(call, tried, detail.moments if detail else ())
    store = request.app.state.settings.store
    return render(
        request,
        "why.html",
        active="runs",
        call=call,
        found=found,
        purpose=PURPOSE,
        detail=detail,
        began=_began(detail, call),
        others=_beside(detail, call),
        contents=by_call(detail.contents).get(call.key, {}) if detail else {},
        recorded=bool(detail and detail.contents),
        commands=[command(words, store) if store else f"toolrail {words}" for words in found.commands],
    )


def _began(detail: RunDetail | None, call: CallLine) -> float | None:
    """Seconds into its run."""
    return Timeline(detail, now=0.0).at(call.wall, call.mono) if detail else None


def _beside(detail: RunDetail | None, call: CallLine) -> tuple[CallLine | None, CallLine | None]:
    """The calls before and after it in its run."""
    calls = list(detail.calls) if detail else []
    place = next((at for at, one in enumerate(calls) if one.key == call.key), None)
    if place is None:
        return None, None
    return calls[place - 1] if place else None, calls[place + 1] if place + 1 < len(calls) else None
