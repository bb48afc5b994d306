"""Runs, one run in full, and sessions: lists by index, page by page."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

from toolrail.messages import Usage
from toolrail.records.database import Database
from toolrail.records.metrics import Distribution
from toolrail.records.reading_calls import calls_of
from toolrail.records.schema import FAILED, LOOPING, OPEN
from toolrail.records.views import (
    AttemptLine,
    ContentLine,
    ModelLine,
    Moment,
    Money,
    RunDetail,
    RunFilter,
    RunLine,
    RunPage,
    RunState,
    SessionLine,
    Window,
)

SILENT_SECONDS = 900.0
"""A run that is under way and of which nothing was heard for so long: its process may have died."""
RARE = 20_000
"""Calls of a tool up to which its runs are looked up from the calls, not the calls from the runs."""

_TOKENS = "input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens"
_RUN = f"""tenant, run, session, principal, model, started, ended, reason, turns, calls, failed, repeats, pending,
    unknown, seconds, {_TOKENS}, cost, currency, unpriced, trace, updated"""
_ONLY = {
    "all": "",
    "failed": FAILED,
    "looping": LOOPING,
    "expensive": "cost > 0",
    "pending": f"{OPEN} AND pending > 0",
    "running": f"{OPEN} AND pending = 0",
    "unknown": "unknown > 0",
}
_SORTS = {"updated": "updated", "calls": "calls", "cost": "cost"}


class _Query(NamedTuple):
    """Conditions that all hold, and their values."""

    terms: list[str]
    values: list[Any]

    def add(self, term: str, *values: Any) -> None:
        self.terms.append(term)
        self.values.extend(values)

    @property
    def where(self) -> str:
        return f" WHERE {' AND '.join(self.terms)}" if self.terms else ""


def runs(db: Database, filter: RunFilter) -> RunPage:
    """A page of runs."""
    order = "cost" if filter.only == "expensive" else "started"
    query = _Query([], [])
    for column in ("tenant", "session", "principal"):
        if getattr(filter, column) is not None:
            query.add(f"{column} = ?", getattr(filter, column))
    if _ONLY[filter.only]:
        query.add(_ONLY[filter.only])
    if filter.window is not None:
        query.add("started >= ? AND started < ?", filter.window.since, filter.window.until)
    if filter.text:
        text = filter.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        query.add("(run LIKE ? ESCAPE '\\' OR run LIKE ? ESCAPE '\\')", f"{text}%", f"%{text}")
    if filter.tool is not None:
        _with_tool(db, query, filter.tool)
    if filter.before is not None:
        query.add(f"({order}, run) < (?, ?)", *filter.before)
    sql = f"SELECT {_RUN} FROM runs{query.where} ORDER BY {order} DESC, run DESC LIMIT ?"
    found = [_run(row) for row in db.select(sql, (*query.values, filter.limit + 1))]
    shown = tuple(found[: filter.limit])
    if len(found) <= filter.limit or not shown:
        return RunPage(shown, None)
    final = shown[-1]
    return RunPage(shown, (final.cost.amount if order == "cost" else final.started, final.run))


def _with_tool(db: Database, query: _Query, tool: str) -> None:
    ((count,),) = db.select("SELECT count(*) FROM (SELECT 1 FROM calls WHERE tool = ? LIMIT ?) AS t", (tool, RARE))
    if count < RARE:
        query.add("(run, tenant) IN (SELECT run, tenant FROM calls WHERE tool = ?)", tool)
    else:
        query.add(
            "EXISTS (SELECT 1 FROM calls c WHERE c.run = runs.run AND c.tenant = runs.tenant AND c.tool = ?)", tool
        )


def _run(row: Sequence[Any]) -> RunLine:
    tenant, run, session, principal, model, started, ended, reason, turns, calls, failed, repeats = row[:12]
    pending, unknown, seconds, *tokens, cost, currency, unpriced, trace, updated = row[12:]
    state: RunState = "ended" if ended is not None else "pending" if pending else "running"
    return RunLine(
        tenant=tenant,
        run=run,
        session=session,
        principal=principal,
        model=model,
        started=started,
        ended=ended,
        reason=reason,
        state=state,
        turns=turns,
        calls=calls,
        failed=failed,
        repeats=repeats,
        pending=pending,
        unknown=unknown,
        seconds=seconds,
        usage=Usage(*tokens),
        cost=Money(cost, currency, unpriced),
        trace=trace,
        updated=updated,
    )


class OpenRuns(NamedTuple):
    """Runs that have not ended."""

    running: int
    silent: int
    pending: int


def open_runs(db: Database, now: float) -> OpenRuns:
    """How many there are at a wall time."""
    sql = f"""SELECT count(*), coalesce(sum(CASE WHEN pending > 0 THEN 1 ELSE 0 END), 0),
        coalesce(sum(CASE WHEN pending = 0 AND updated < ? THEN 1 ELSE 0 END), 0) FROM runs WHERE {OPEN}"""
    ((count, pending, silent),) = db.select(sql, (now - SILENT_SECONDS,))
    return OpenRuns(count - pending - silent, silent, pending)


def detail(db: Database, run: str, tenant: str | None) -> RunDetail | None:
    """All that is known of one run. Where no tenant is named and two have it: the newest."""
    query = _Query(["run = ?"], [run])
    if tenant is not None:
        query.add("tenant = ?", tenant)
    sql = f"SELECT offered, limits, {_RUN} FROM runs{query.where} ORDER BY started DESC LIMIT 1"
    rows = db.select(sql, query.values)
    if not rows:
        return None
    offered, limits, *row = rows[0]
    line = _run(row)
    place = (line.run, line.tenant)
    return RunDetail(
        run=line,
        offered=tuple(json.loads(offered)),
        limits=json.loads(limits),
        calls=calls_of(db, line.run, line.tenant),
        attempts=_attempts(db, place),
        models=_models(db, place),
        moments=_moments(db, place),
        contents=_contents(db, place),
    )


def _with(row: Sequence[Any], since: int, until: int, value: Any) -> list[Any]:
    """A row with one value in the place of some."""
    return [*row[:since], value, *row[until:]]


def _columns(view: type[Any]) -> str:
    return ", ".join(field.name for field in fields(view))


_ATTEMPT = ", ".join(f"a.{field.name}" for field in fields(AttemptLine))


def _attempts(db: Database, place: tuple[str, str]) -> dict[str, tuple[AttemptLine, ...]]:
    sql = f"""SELECT a.key, {_ATTEMPT} FROM calls c JOIN attempts a ON a.key = c.key AND a.tenant = c.tenant
        WHERE c.run = ? AND c.tenant = ? ORDER BY a.seq"""
    found: dict[str, list[AttemptLine]] = {}
    for key, *row in db.select(sql, place):
        found.setdefault(key, []).append(AttemptLine(*row))
    return {key: tuple(lines) for key, lines in found.items()}


def _models(db: Database, place: tuple[str, str]) -> tuple[ModelLine, ...]:
    sql = f"""SELECT seq, turn, wall, mono, model, stop, seconds, attempts, calls, {_TOKENS}, cost, currency
        FROM models WHERE run = ? AND tenant = ? ORDER BY seq"""
    return tuple(ModelLine(*_with(row, 9, 14, Usage(*row[9:14]))) for row in db.select(sql, place))


def _moments(db: Database, place: tuple[str, str]) -> tuple[Moment, ...]:
    sql = f"SELECT {_columns(Moment)} FROM moments WHERE run = ? AND tenant = ? ORDER BY seq"
    return tuple(Moment(*_with(row, 6, 7, json.loads(row[6]))) for row in db.select(sql, place))


def _contents(db: Database, place: tuple[str, str]) -> tuple[ContentLine, ...]:
    sql = f"SELECT {_columns(ContentLine)} FROM contents WHERE run = ? AND tenant = ? ORDER BY seq"
    return tuple(ContentLine(*row) for row in db.select(sql, place))


def text(db: Database, run: str, seq: int, tenant: str | None) -> str | None:
    """A content: from its row, or, where it is long, from the blob that it shares with those that are the same."""
    query = _Query(["c.run = ?", "c.seq = ?"], [run, seq])
    if tenant is not None:
        query.add("c.tenant = ?", tenant)
    sql = f"SELECT c.text, b.data FROM contents c LEFT JOIN blobs b ON b.digest = c.blob{query.where} LIMIT 1"
    for inline, packed in db.select(sql, query.values):
        return inline if packed is None else zlib.decompress(packed).decode()
    return None


def sessions(
    db: Database, window: Window | None, *, tenant: str | None, sort: str, limit: int
) -> tuple[SessionLine, ...]:
    """Those in which something happened within a window."""
    query = _Query([], [])
    if tenant is not None:
        query.add("tenant = ?", tenant)
    if window is not None:
        query.add("updated >= ? AND updated < ?", window.since, window.until)
    sql = f"""SELECT tenant, session, principal, started, updated, runs, calls, failed, repeats, {_TOKENS},
        cost, currency, unpriced FROM sessions{query.where} ORDER BY {_SORTS[sort]} DESC, session LIMIT ?"""
    lines = [
        SessionLine(*_with(_with(row, 14, 17, Money(*row[14:])), 9, 14, Usage(*row[9:14])))
        for row in db.select(sql, (*query.values, limit))
    ]
    return tuple(line if line.cost.known else _by_currency(db, line) for line in lines)


def _by_currency(db: Database, line: SessionLine) -> SessionLine:
    """A row has one currency, and counts what was paid in others as unpriced: they are summed up from the responses."""
    sql = """SELECT m.currency, sum(m.cost), sum(CASE WHEN m.cost IS NULL THEN 1 ELSE 0 END)
        FROM runs r JOIN models m ON m.run = r.run AND m.tenant = r.tenant
        WHERE r.session = ? AND r.tenant = ? GROUP BY m.currency"""
    rows = db.select(sql, (line.session, line.tenant))
    others = tuple(
        Money(cost, currency) for currency, cost, _ in sorted(rows) if cost and currency != line.cost.currency
    )
    if not others:
        return line
    ((kept,),) = db.select("SELECT count(*) FROM runs WHERE session = ? AND tenant = ?", (line.session, line.tenant))
    # Where retention took runs, nobody can tell any more which of the unpriced ones were only in another currency.
    unpriced = sum(row[2] for row in rows) if kept == line.runs else line.cost.unpriced
    return replace(line, cost=replace(line.cost, unpriced=unpriced), others=others)


def uncounted(db: Database, window: Window) -> dict[str, int]:
    """By model: responses that told no token count."""
    sql = """SELECT m.model, count(*) FROM runs r JOIN models m ON m.run = r.run AND m.tenant = r.tenant
        WHERE r.updated >= ? AND m.wall >= ? AND m.wall < ? AND m.cost IS NULL
        AND m.input_tokens + m.output_tokens = 0 GROUP BY m.model"""
    return dict(db.select(sql, (window.since, window.since, window.until)))


def calls_per_session(db: Database, window: Window) -> Distribution:
    """Of the sessions in which something happened within a window: all their calls, also those of before."""
    sql = "SELECT calls, count(*) FROM sessions WHERE updated >= ? AND updated < ? GROUP BY calls"
    sizes: dict[int, int] = dict(db.select(sql, (window.since, window.until)))
    return Distribution(sum(sizes.values()), sum(calls * count for calls, count in sizes.items()), sizes)
