"""One run: why it took so long, what went wrong, its waterfall, each turn, and its state at any event."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from toolrail.dashboard.formats import cut, seconds
from toolrail.dashboard.links import why_href
from toolrail.dashboard.missing import Missing
from toolrail.dashboard.moments import Event, State, events, state_at
from toolrail.dashboard.rendering import render
from toolrail.dashboard.spent import main_shares, spent
from toolrail.dashboard.story import GOOD, REASONS, story, words_of
from toolrail.dashboard.transcript import transcript
from toolrail.dashboard.waterfall import Bar, Waterfall, failed, waterfall
from toolrail.records.reading import Records
from toolrail.records.views import CallLine, ContentLine, RunDetail

ROWS = 12
"""Calls of one turn that are listed at once, and `ALL_ROWS` of a turn that was asked for."""
ALL_ROWS = 100
TURNS = 12
"""Turns that are listed in full; the calls of others are folded, but for those that failed."""
TEXT = 1_000_000
"""Characters of a content that a page loads."""
PIECES = 200


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, as rows."""

    number: int
    models: tuple[Bar, ...]
    calls: tuple[Bar, ...]
    """Those that are listed."""
    count: int
    failed: int
    left: int
    """Calls that are not listed."""
    skip: int
    """Listed calls begin after so many."""


def page(request: Request, records: Records) -> Response:
    """`/run?id=&tenant=&at=&turn=&skip=`"""
    detail, now = run_of(request, records), time.time()
    chart = waterfall(detail, now=now)
    shares, rest = main_shares(spent(chart))
    found = events(detail)
    at = _number(request, "at", found[-1].seq if found else 0)
    last = max((one.at for one in found), default=0.0)
    return render(
        request,
        "run.html",
        active="runs",
        detail=detail,
        run=detail.run,
        chart=chart,
        story=story(detail, chart, quiet=chart.seconds - last),
        shares=shares,
        rest=rest,
        words_of=words_of,
        turns=turns(chart.bars, _number(request, "turn", 0), _number(request, "skip", 0)),
        only_turn=_number(request, "turn", 0),
        contents=by_call(detail.contents),
        events=found,
        state=state_at(detail, found, at),
        shown=shown(detail, found, at, chart),
        at=at,
        reasons=REASONS,
        good=GOOD,
        rows=ALL_ROWS,
    )


def moment(request: Request, records: Records) -> Response:
    """`/run/moment?id=&tenant=&at=`: the state at an event, as the slider shows it."""
    detail = run_of(request, records)
    chart = waterfall(detail, now=time.time())
    return JSONResponse(shown(detail, events(detail), _number(request, "at", 0), chart))


def messages(request: Request, records: Records) -> Response:
    """`/run/messages?id=&tenant=&at=`: what had been said by then, as plain text."""
    detail = run_of(request, records)
    state = state_at(detail, events(detail), _number(request, "at", 0))
    pieces = [one for one in state.contents if one.kind == "messages"]
    texts = [records.text(detail.run.run, one.seq, tenant=detail.run.tenant) for one in pieces[-PIECES:]]
    told = [one if one is not None else '"(no longer kept)"' for one in texts]
    return PlainTextResponse(transcript(told)[-TEXT:] or "Nothing was recorded by then.\n")


def text(request: Request, records: Records) -> Response:
    """`/text?id=&tenant=&seq=`: one content, as plain text."""
    run, tenant = request.query_params.get("id", ""), request.query_params.get("tenant") or "default"
    found = records.text(run, _number(request, "seq", -1), tenant=tenant)
    if found is None:
        return PlainTextResponse("This is not kept (any more).\n", 404)
    cut = "" if len(found) <= TEXT else f"\n... {len(found) - TEXT:,} more characters"
    return PlainTextResponse(f"{found[:TEXT]}{cut}")


def run_of(request: Request, records: Records, name: str = "id", tenant: str = "tenant") -> RunDetail:
    """The run that the address names.

    Raises:
        Missing: there is none.
    """
    run, owner = request.query_params.get(name, ""), request.query_params.get(tenant)
    # Addresses of the tenant "default" name none; an id that somebody typed may be of any.
    found = records.run(run, tenant=owner or "default") or (None if owner else records.run(run))
    if found is None:
        raise Missing("There is no such run in the record.")
    return found


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 16 else default


def turns(bars: Sequence[Bar], only: int, skip: int) -> list[Turn]:
    """The rows of each turn; of one alone where it was asked for. What failed is always listed, as far as there is
    room."""
    grouped: dict[int, list[Bar]] = {}
    for bar in bars:
        grouped.setdefault(bar.turn, []).append(bar)
    listed: list[Turn] = []
    for place, (number, group) in enumerate(sorted(grouped.items())):
        if only and number != only:
            continue
        calls = [bar for bar in group if bar.call is not None]
        bad = sum(failed(bar.call) for bar in calls if bar.call is not None)
        picked = calls[skip : skip + ALL_ROWS] if only else _picked(calls, ROWS if place < TURNS else 2)
        models = tuple(bar for bar in group if bar.call is None)
        left = len(calls) - len(picked)
        listed.append(Turn(number, models, tuple(picked), len(calls), bad, left, skip if only else 0))
    return listed


def _picked(calls: Sequence[Bar], most: int) -> list[Bar]:
    if len(calls) <= most:
        return list(calls)
    first = sorted(calls, key=lambda bar: (not (bar.call and failed(bar.call)), -bar.seconds))[:most]
    keys = {bar.key for bar in first}
    return [bar for bar in calls if bar.key in keys]


def by_call(contents: Sequence[ContentLine]) -> Mapping[str, Mapping[str, ContentLine]]:
    """By the call's key, and then its kind: `arguments`, `result`. The newest of each."""
    found: dict[str, dict[str, ContentLine]] = {}
    for one in contents:
        if one.key is not None:
            found.setdefault(one.key, {})[one.kind] = one
    return found


def shown(detail: RunDetail, found: Sequence[Event], at: int, chart: Waterfall) -> dict[str, Any]:
    """The state at an event as words: the template writes them, and so does the script."""
    state = state_at(detail, found, at)
    place = sum(one.seq <= at for one in found)
    return {
        "place": f"{place} of {len(found)}",
        "seq": state.event.seq if state.event else 0,
        "before": found[place - 2].seq if place > 1 else None,
        "after": found[place].seq if place < len(found) else None,
        "title": state.event.title if state.event else "Before it began",
        "detail": cut(state.event.detail, 300) if state.event else "",
        "bad": bool(state.event and state.event.bad),
        "when": f"+{seconds(state.event.at)}, turn {state.event.turn}" if state.event else "",
        "x": round(chart.axis.x(state.event.at) * 100, 3) if state.event else 0.0,
        "budgets": [_budget(one.name, one.spent, one.limit, detail, state) for one in state.budgets],
        "circuits": [{"name": cut(name), "state": which} for name, which in state.circuits],
        "open": [_call(call) for call in state.under_way[:20]],
        "waiting": [_call(call) for call in state.waiting[:20]],
        "calls": f"{state.done} answered, {state.failed} of them without success; {len(state.under_way)} under way",
        "messages": sum(one.kind == "messages" for one in state.contents),
    }


def _call(call: CallLine) -> dict[str, str]:
    return {"name": cut(call.tool), "href": why_href(call.tenant, call.key)}


def _budget(name: str, used: float, limit: float | None, detail: RunDetail, state: State) -> dict[str, Any]:
    if name == "seconds":
        said = seconds(used)
        of = seconds(limit) if limit is not None else ""
    elif name == "money":
        currency = detail.run.cost.currency
        said = f"{used:,.4f} {currency}" + (f" and {state.unpriced} unpriced responses" if state.unpriced else "")
        of = f"{limit:,.4f} {currency}" if limit is not None else ""
    else:
        said, of = f"{used:,.0f}", f"{limit:,.0f}" if limit is not None else ""
    share = min(1.0, used / limit) if limit else None
    return {"name": name, "said": f"{said} of {of}" if of else said, "share": share, "near": (share or 0.0) >= 0.8}
