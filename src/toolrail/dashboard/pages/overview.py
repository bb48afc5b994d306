"""The front page: what broke and since when, which dependency, who waits, what it costs against yesterday."""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from toolrail.cli.looking import nobody_looks
from toolrail.cli.places import DEFAULT, command
from toolrail.dashboard.pages.alerts import told
from toolrail.dashboard.pages.approvals import waiting
from toolrail.dashboard.rendering import render
from toolrail.dashboard.series import traffic
from toolrail.dashboard.signs import CIRCUIT, earlier, signs
from toolrail.dashboard.windows import window_of, words
from toolrail.records.reading import Records
from toolrail.records.views import AlertLine, CallFilter, DependencyStats, Fault, Money, Overview, RunFilter

SHOWN = 8
LOG = 200
"""Notes among which the beginning of an alert is looked for."""
STEPS = 60


def page(request: Request, records: Records) -> Response:
    """`/`"""
    window = window_of(request)
    view = records.overview(window, steps=STEPS)
    faults = records.faults(window, limit=SHOWN + 1)
    firing = [line for line in records.alerts() if line.state == "firing"]
    begun = records.alert_log(limit=LOG) if firing else ()
    questions = waiting(request)
    unsettled = records.calls(CallFilter(unsettled=True, limit=SHOWN))
    unseen = nobody_looks(records, time.time())
    return render(
        request,
        "overview.html",
        active="overview",
        windowed=True,
        view=view,
        words=words(request),
        faults=faults[:SHOWN],
        more_faults=len(faults) > SHOWN,
        firing=[(line, told(line, begun)) for line in firing],
        signs=[sign for sign in signs(records.tools(window), records.tools(earlier(window))) if sign.kind != CIRCUIT],
        unseen=unseen,
        verdict=_verdict(view, faults, firing, seen=not unseen),
        dependencies=sorted(records.dependencies(window), key=_sick, reverse=True)[:SHOWN],
        questions=questions,
        pending=records.runs(RunFilter(only="pending", limit=5)).runs if view.pending else (),
        unsettled=unsettled,
        effects=command("effects list", request.app.state.settings.store or DEFAULT),
        models=sorted(records.models(window), key=lambda each: -each.cost.amount)[:4],
        costs=_compared(view.cost, view.cost_before),
        series=traffic(view.spark, window),
    )


def _sick(line: DependencyStats) -> tuple[bool, float, int]:
    return line.circuit != "closed", line.errors / line.calls if line.calls else 0.0, line.calls


def _verdict(view: Overview, faults: Sequence[Fault], firing: Sequence[AlertLine], *, seen: bool) -> tuple[str, str]:
    """A class and a sentence: what one reads first."""
    if firing:
        return "bad", f"{len(firing)} alert{'s' if len(firing) > 1 else ''} firing"
    broken = {fault.tool for fault in faults if fault.kind in ("dependency", "bug")}
    if broken:
        some = ", ".join(sorted(broken)[:3])
        return (
            "warn",
            f"{'No alert fires, but some' if seen else 'Some'} calls fail: {some}{', ...' if len(broken) > 3 else ''}",
        )
    if not view.calls:
        return "none", "No calls"
    if not seen:
        return "none", "Nothing failed" if not faults else "No dependency fails"
    return "good", "All calm" if not faults else "No alert, no dependency fails"


def _compared(now: Sequence[Money], before: Sequence[Money]) -> list[tuple[Money, Money | None, float | None]]:
    """By currency: now, a day earlier, and the change as a share where both are known."""
    earlier = {money.currency: money for money in before}
    rows: list[tuple[Money, Money | None, float | None]] = []
    for money in now:
        then = earlier.pop(money.currency, None)
        sure = then is not None and then.known and money.known and then.amount > 0
        rows.append((money, then, money.amount / then.amount - 1 if then is not None and sure else None))
    return [*rows, *((Money(0.0, money.currency), money, None) for money in earlier.values())]
