"""Two runs side by side: where they part, and what is different about each pair of calls."""

from __future__ import annotations

from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response

from toolrail.dashboard.diff import CallPair, TurnPair, diff
from toolrail.dashboard.pages.run import by_call, run_of
from toolrail.dashboard.rendering import render
from toolrail.dashboard.story import GOOD, REASONS
from toolrail.records.reading import Records
from toolrail.records.views import RunDetail, RunFilter, RunLine

READ = 200
"""Recorded arguments of each run that are compared by their text."""
ROWS = 150
"""Pairs that are listed; of more, those that are different come first."""
CHOICES = 30


def page(request: Request, records: Records) -> Response:
    """`/compare?a=&b=&ta=&tb=`; without `b`, which runs there are to choose from."""
    a = run_of(request, records, "a", "ta")
    if not request.query_params.get("b"):
        return render(request, "compare.html", active="runs", a=a, b=None, choices=_choices(records, a.run))
    b = run_of(request, records, "b", "tb")
    found = diff(a, b, texts={**_texts(records, a, "a"), **_texts(records, b, "b")})
    pairs = [(turn, call) for turn in found.turns for call in turn.calls]
    listed = _listed(pairs)
    return render(
        request,
        "compare.html",
        active="runs",
        a=a,
        b=b,
        found=found,
        turns=[(turn, [call for call in turn.calls if id(call) in listed]) for turn in found.turns],
        left=len(pairs) - len(listed),
        content=bool(a.contents) and bool(b.contents),
        reasons=REASONS,
        good=GOOD,
        choices=(),
    )


def _listed(pairs: list[tuple[TurnPair, CallPair]]) -> set[int]:
    first = sorted(pairs, key=lambda pair: pair[1].kind == "same")
    return {id(call) for _, call in first[:ROWS]}


def _choices(records: Records, run: RunLine) -> list[RunLine]:
    """Runs that may be like this one: of its session, of its principal, and the newest."""
    of_session = (
        records.runs(RunFilter(tenant=run.tenant, session=run.session, limit=CHOICES)).runs if run.session else ()
    )
    of_principal = records.runs(RunFilter(tenant=run.tenant, principal=run.principal, limit=CHOICES)).runs
    newest = records.runs(RunFilter(tenant=run.tenant, limit=CHOICES)).runs
    found = {one.run: one for one in (*of_session, *of_principal, *newest) if one.run != run.run}
    return list(found.values())[:CHOICES]


def _texts(records: Records, run: RunDetail, side: str) -> dict[str, str]:
    """Digests of the arguments that were recorded."""
    found: dict[str, str] = {}
    for key, kinds in list(by_call(run.contents).items())[:READ]:
        if "arguments" in kinds:
            text = records.text(run.run.run, kinds["arguments"].seq, tenant=run.run.tenant)
            if text is not None:
                found[f"{side}:{key}"] = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return found
