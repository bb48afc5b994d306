"""One flush: facts become rows, added to what stands there, in one transaction."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolrail.codes import CODES
from toolrail.digests import blake2b
from toolrail.events import CallRequested, Content, Event, RunStarted
from toolrail.records.database import Database
from toolrail.records.merging import (
    CALL_COLUMNS,
    FAULT_COLUMNS,
    NOTHING,
    RUN_COLUMNS,
    SESSION_COLUMNS,
    STATUS,
    Change,
    Row,
    change_of,
    merged_call,
    merged_fault,
    merged_run,
    merged_session,
)
from toolrail.records.projecting import CallFacts, Costing, Facts, Handle, RunFacts, RunKey, project
from toolrail.records.rollups import ModelSums, RunSums, Sums, ToolSums, starts_of

INLINE = 4096
"""Bytes of content up to which it stands in its row; longer ones are compressed, and once for all that are the same."""
CHUNK = 256
"""Keys in one question."""
_ATTEMPTS: Final = ("tenant", "key", "attempt", "seq", "ended_mono", "seconds", "failure", "error_type", "wait")
_PLACE: Final = ("tenant", "run", "seq", "turn", "wall", "mono")
_TOKENS: Final = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
_MODELS: Final = (*_PLACE, "model", "stop", "seconds", "attempts", "calls", *_TOKENS, "cost", "currency")
_MOMENTS: Final = (*_PLACE, "kind", "key", "data")
_CONTENTS: Final = ("tenant", "run", "seq", "turn", "wall", "kind", "key", "bytes", "text", "blob")
_TOOL_SUMS: Final = (
    "dependency", "calls", "attempts", "argument_bytes", "result_bytes", "replayed", "seconds", "argument_errors",
    "dependency_errors", "policy_errors", "limit_errors", "bug_errors", "codes", "bins",
)  # fmt: skip
_MODEL_SUMS: Final = ("requests", "attempts", "seconds", *_TOKENS, "cost", "unpriced", "bins")
_RUN_SUMS: Final = ("runs", "calls", "turns", "seconds", "reasons", "sizes")


@dataclass(slots=True)
class Flush:
    """What one flush has to write beside events."""

    process: str
    """Names this process among those that write the same telemetry."""
    lost: Mapping[str, int]
    """Events that no row was written for, by kind, since the process began."""
    wall: float
    cleaned: Callable[[str], str] = str
    """What is done to content before it is kept."""


def write(
    db: Database, events: Sequence[Event | Content], *, handles: Mapping[RunKey, Handle], costing: Costing, flush: Flush
) -> Facts:
    """Writes what events say, all or nothing. What it answers has the handles as they stand now.

    Raises:
        RecordsError: it could not be written.
    """
    with db.transaction():
        places = _handles(db, events, handles)
        facts = project(events, places, costing)
        changes = _write_calls(db, facts)
        _write_runs(db, facts, changes, places)
        _insert(db, "attempts", _ATTEMPTS, facts.attempts)
        _insert(db, "models", _MODELS, facts.models)
        _insert(db, "moments", _MOMENTS, facts.moments)
        _write_contents(db, facts.contents, flush.cleaned)
        _write_sums(db, facts.sums)
        circuits = [(flush.process, name, state, wall) for name, (state, wall) in facts.circuits.items()]
        _put(db, "circuits", ("process", "dependency", "state", "wall"), circuits, keys=2)
        lost = [(flush.process, kind, flush.wall, count) for kind, count in flush.lost.items()]
        _put(db, "losses", ("process", "kind", "wall", "lost"), lost, keys=2)
    return facts


def _handles(db: Database, events: Iterable[Event | Content], known: Mapping[RunKey, Handle]) -> dict[RunKey, Handle]:
    """The handles of the runs that events are of. In one that is new here, numbers go on after those in the rows."""
    runs = {(event.head.tenant, event.head.run) for event in events}
    found = {key: known[key] for key in runs if key in known}
    new = [key for key in runs if key not in known]
    for tenant, run, last in _rows(db, "SELECT tenant, run, events FROM runs WHERE tenant = ? AND run IN ({})", new):
        found[tenant, run] = Handle(last)
    begun = {(event.head.tenant, event.head.run) for event in events if isinstance(event, RunStarted | CallRequested)}
    strangers = [key for key in new if key not in found and key not in begun]
    sql = "SELECT tenant, run, max(seq) FROM moments WHERE tenant = ? AND run IN ({}) GROUP BY tenant, run"
    for tenant, run, last in _rows(db, sql, strangers):  # words about runs that are recorded elsewhere
        found[tenant, run] = Handle(last)
    return found


def _write_calls(db: Database, facts: Facts) -> dict[RunKey, Change]:
    """Writes calls, and counts them: how each changes what is counted of its run."""
    columns = ", ".join(CALL_COLUMNS)
    old: dict[tuple[str, str], Row] = {}
    for row in _rows(db, f"SELECT {columns} FROM calls WHERE tenant = ? AND key IN ({{}})", facts.calls):
        old[row[0], row[1]] = row
    rows: list[Row] = []
    changes: dict[RunKey, Change] = {}
    failed: list[CallFacts] = []
    for key, call in facts.calls.items():
        before = old.get(key)
        if before is None and call.requested is None and call.settled is None:
            continue  # a word about a call that is recorded elsewhere
        row = merged_call(before, call)
        rows.append(row)
        run = (call.head.tenant, call.head.run)
        changes[run] = changes.get(run, NOTHING) + change_of(before, row)
        settled = call.settled
        if settled is None or settled.status == "pending" or not _open(before):
            continue
        facts.sums.call(settled)
        if settled.code is not None and CODES[settled.code].alert != "none":
            failed.append(call)
    _put(db, "calls", CALL_COLUMNS, rows, keys=2)
    _write_faults(db, failed)
    return changes


def _open(before: Row | None) -> bool:
    """Whether a call was not counted before: it is counted when it ends, and once, however often it is gone on with."""
    return before is None or before[STATUS] in (None, "pending")


def _write_faults(db: Database, failed: Sequence[CallFacts]) -> None:
    if not failed:
        return
    sql = f"SELECT {', '.join(FAULT_COLUMNS)} FROM faults WHERE code = ? AND tool IN ({{}})"
    wanted = {(row[1], row[0]) for row in (merged_fault(None, call) for call in failed)}
    rows: dict[Row, Row] = {row[:3]: row for row in _rows(db, sql, wanted)}
    news: set[Row] = set()
    for call in sorted(failed, key=_when):
        key = merged_fault(None, call)[:3]
        rows[key] = merged_fault(rows.get(key), call)
        news.add(key)
    _put(db, "faults", FAULT_COLUMNS, [rows[key] for key in sorted(news)], keys=3)


def _when(call: CallFacts) -> float:
    return call.head.wall if call.settled is None else call.settled.head.wall


def _write_runs(db: Database, facts: Facts, changes: Mapping[RunKey, Change], places: Mapping[RunKey, Handle]) -> None:
    sql = f"SELECT {', '.join(RUN_COLUMNS)} FROM runs WHERE tenant = ? AND run IN ({{}})"
    old = {(row[0], row[1]): row for row in _rows(db, sql, facts.runs)}
    opened = _opened(db, facts, places, old)
    rows: list[Row] = []
    sessions: dict[tuple[str, str], list[tuple[RunFacts, Change, bool]]] = {}
    for key, run in facts.runs.items():
        before, change = old.get(key), changes.get(key, NOTHING)
        if before is None and run.guest and not change.calls and not run.model:
            continue  # a word about a run that is recorded elsewhere
        rows.append(merged_run(before, run, change, facts.sums, opened=opened.get(key)))
        if run.head.session is not None:
            sessions.setdefault((key[0], run.head.session), []).append((run, change, before is None))
    _put(db, "runs", RUN_COLUMNS, rows, keys=2)
    if not sessions:
        return
    sql = f"SELECT {', '.join(SESSION_COLUMNS)} FROM sessions WHERE tenant = ? AND session IN ({{}})"
    known: dict[tuple[str, str], Row] = {(row[0], row[1]): row for row in _rows(db, sql, sessions)}
    for key, news in sessions.items():
        for run, change, new_run in news:
            known[key] = merged_session(known.get(key), run, change, new_run=new_run)
    _put(db, "sessions", SESSION_COLUMNS, [known[key] for key in sessions], keys=2)


def _opened(
    db: Database, facts: Facts, places: Mapping[RunKey, Handle], old: Mapping[RunKey, Row]
) -> dict[RunKey, float]:
    """When runs were opened last, of those that another handle may have opened: mostly there is none to ask for."""
    asked: list[RunKey] = []
    for key, run in facts.runs.items():
        place = places.get(key)
        if key not in old or not (run.started or run.suspended or run.ended):
            continue
        alone = place is not None and place.started and not place.shared
        if not alone or old[key][_EVENTS] > places[key].base + places[key].last:
            facts.handles[key].shared = True
            asked.append(key)
    sql = (
        "SELECT tenant, run, max(wall) FROM moments WHERE tenant = ? AND run IN ({}) AND kind = 'RunStarted' "
        "GROUP BY tenant, run"
    )
    return {(tenant, run): wall for tenant, run, wall in _rows(db, sql, asked)}


_EVENTS: Final = RUN_COLUMNS.index("events")


def _write_contents(db: Database, contents: Sequence[tuple[int, Content]], cleaned: Callable[[str], str]) -> None:
    rows: list[Row] = []
    blobs: dict[str, Row] = {}
    for seq, content in contents:
        head, text = content.head, cleaned(content.text)
        data = text.encode("utf-8", "replace")
        digest = None
        if len(data) > INLINE:
            digest = blake2b(text, 16)
            blobs[digest] = (digest, head.wall, zlib.compress(data, 6))
        shown = data.decode() if digest is None else None
        key = content.call.key if content.call is not None else None
        place = (head.tenant, head.run, seq, head.turn, head.wall)
        rows.append((*place, content.kind, key, len(data), shown, digest))
    _put(db, "blobs", ("digest", "wall", "data"), list(blobs.values()), keys=1)
    _insert(db, "contents", _CONTENTS, rows)


def _write_sums(db: Database, sums: Sums) -> None:
    tools: dict[tuple[int, int, str, str], ToolSums] = {}
    for (start, tool, digest), added in sums.tools.items():
        for grain, begin in starts_of(start):
            tools.setdefault((grain, begin, tool, digest), ToolSums()).add(added)
    _add(db, "tool_rollups", ("grain", "start", "tool", "digest"), _TOOL_SUMS, news=tools, kind=ToolSums)
    models: dict[tuple[int, int, str, str], ModelSums] = {}
    for (start, model, currency), spent in sums.models.items():
        for grain, begin in starts_of(start):
            models.setdefault((grain, begin, model, currency), ModelSums()).add(spent)
    _add(db, "model_rollups", ("grain", "start", "model", "currency"), _MODEL_SUMS, news=models, kind=ModelSums)
    runs: dict[tuple[int, int], RunSums] = {}
    for start, ended in sums.runs.items():
        for grain, begin in starts_of(start):
            runs.setdefault((grain, begin), RunSums()).add(ended)
    _add(db, "run_rollups", ("grain", "start"), _RUN_SUMS, news=runs, kind=RunSums)


def _add(
    db: Database, table: str, keys: Sequence[str], columns: Sequence[str], *, news: Mapping[Any, Any], kind: Any
) -> None:
    """Adds sums to those that stand there. Nobody else writes meanwhile, so what is read holds until it is written."""
    named = ", ".join((*keys, *columns))
    for part in sorted({key[:2] for key in news}):
        mine = {key: sums for key, sums in news.items() if key[:2] == part}
        where, more = "grain = ? AND start = ?", sorted({key[2] for key in mine if len(key) > 2})
        for names in _padded(more) or [()]:
            asked = f" AND {keys[2]} IN ({_marks(len(names))})" if names else ""
            for row in db.select(f"SELECT {named} FROM {table} WHERE {where}{asked}", (*part, *names)):
                found = mine.get(row[: len(keys)])
                if found is not None:
                    found.add(kind.from_row(row[len(keys) :]))
    rows = [(*key, *sums.row()) for key, sums in sorted(news.items(), key=lambda item: item[0])]
    _put(db, table, (*keys, *columns), rows, keys=len(keys))


def _rows(db: Database, sql: str, keys: Iterable[tuple[str, str]]) -> Iterator[Row]:
    """Rows by the pairs of their keys; `{}` stands where several second ones go."""
    groups: dict[str, list[str]] = {}
    for first, second in keys:
        groups.setdefault(first, []).append(second)
    for first, seconds in groups.items():
        for some in _padded(seconds):
            yield from db.select(sql.format(_marks(len(some))), (first, *some))


def _padded(names: Sequence[str]) -> list[tuple[str, ...]]:
    """In parts of a few lengths, so that there are a few statements, which stay compiled."""
    parts: list[tuple[str, ...]] = []
    for at in range(0, len(names), CHUNK):
        some = names[at : at + CHUNK]
        length = 1
        while length < len(some):
            length *= 4
        parts.append((*some, *[some[-1]] * (length - len(some))))
    return parts


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _insert(db: Database, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    if rows:
        named, marks = ", ".join(columns), _marks(len(columns))
        db.executemany(f"INSERT INTO {table} ({named}) VALUES ({marks}) ON CONFLICT DO NOTHING", rows)


def _put(db: Database, table: str, columns: Sequence[str], rows: Sequence[Row], *, keys: int) -> None:
    """Writes whole rows, in place of those with the same keys, which are the first columns."""
    if not rows:
        return
    named, marks, key = ", ".join(columns), _marks(len(columns)), ", ".join(columns[:keys])
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns[keys:])
    sql = f"INSERT INTO {table} ({named}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {sets}"
    db.executemany(sql, rows)
