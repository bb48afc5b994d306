"""Calls: lists by index, one call, its attempts, and those that are settled while one looks on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from toolrail.records.database import Database
from toolrail.records.schema import UNSETTLED
from toolrail.records.views import AttemptLine, CallFilter, CallLine, Cursor

OVERLAP = 15.0
"""Seconds before the newest call that are read again: another process may write its rows late."""

_FIELDS = tuple(field.name for field in fields(CallLine))
_COLUMNS = ", ".join("idx" if name == "index" else name for name in _FIELDS)
_FLAGS = _FIELDS.index("flags")


def _call(row: Sequence[Any]) -> CallLine:
    flags, replayed, began = row[_FLAGS : _FLAGS + 3]
    said = tuple(flags.split(",")) if flags else ()
    values: list[Any] = [*row[:_FLAGS], said, bool(replayed), bool(began), *row[_FLAGS + 3 :]]
    return CallLine(*values)


def calls_of(db: Database, run: str, tenant: str) -> tuple[CallLine, ...]:
    """All of one run, in the order in which they were asked for."""
    return tuple(
        map(_call, db.select(f"SELECT {_COLUMNS} FROM calls WHERE run = ? AND tenant = ? ORDER BY seq", (run, tenant)))
    )


def calls(db: Database, filter: CallFilter) -> tuple[CallLine, ...]:
    """A page of calls."""
    terms: list[str] = []
    values: list[Any] = []
    for column in ("tenant", "run", "tool", "code", "status"):
        wanted = getattr(filter, column)
        if wanted is not None:
            terms.append(f"{column} = ?")
            values.append(wanted)
    if filter.status not in (None, "ok"):
        terms.append("status <> 'ok'")  # the condition of the index
    if filter.unsettled:
        terms.append(UNSETTLED)
    order = "seq"
    if filter.run is None:
        terms.append("settled IS NOT NULL")
        order = "settled DESC, key DESC"
    if filter.window is not None:
        terms.append("settled >= ? AND settled < ?")
        values += [filter.window.since, filter.window.until]
    if filter.before is not None and filter.run is None:
        terms.append("settled <= ? AND (settled, key) < (?, ?)")
        values += [filter.before[0], *filter.before]
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    rows = db.select(f"SELECT {_COLUMNS} FROM calls{where} ORDER BY {order} LIMIT ?", (*values, filter.limit))
    return tuple(map(_call, rows))


def call(db: Database, key: str, tenant: str | None) -> CallLine | None:
    """One call. Where no tenant is named and two have it: the newest."""
    where, values = _of(key, tenant)
    rows = db.select(f"SELECT {_COLUMNS} FROM calls WHERE {where} ORDER BY wall DESC LIMIT 1", values)
    return _call(rows[0]) if rows else None


def attempts(db: Database, key: str, tenant: str | None) -> tuple[AttemptLine, ...]:
    """Of one call, in order."""
    where, values = _of(key, tenant)
    names = ", ".join(field.name for field in fields(AttemptLine))
    return tuple(
        AttemptLine(*row) for row in db.select(f"SELECT {names} FROM attempts WHERE {where} ORDER BY seq", values)
    )


def _of(key: str, tenant: str | None) -> tuple[str, tuple[str, ...]]:
    return ("key = ?", (key,)) if tenant is None else ("key = ? AND tenant = ?", (key, tenant))


def settled_after(db: Database, wall: float, limit: int) -> tuple[CallLine, ...]:
    """The oldest first."""
    sql = f"SELECT {_COLUMNS} FROM calls WHERE settled > ? ORDER BY settled, key LIMIT ?"
    return tuple(map(_call, db.select(sql, (wall, limit))))


def live(db: Database, after: Cursor, limit: int) -> tuple[tuple[CallLine, ...], Cursor]:
    """What was settled, or was written late, since a cursor: the oldest first."""
    since = after.wall - OVERLAP
    near = db.select("SELECT settled, tenant, key FROM calls WHERE settled > ? ORDER BY settled, key", (since,))
    fresh = [place for place in near if place[1:] not in after.seen][:limit]
    if not fresh:
        return (), after
    wall = max(after.wall, fresh[-1][0])
    taken = {(tenant, key) for _, tenant, key in fresh}
    still = {(tenant, key) for settled, tenant, key in near if settled > wall - OVERLAP}
    found = [one for _, tenant, key in fresh if (one := call(db, key, tenant)) is not None]
    return tuple(found), Cursor(wall, frozenset((after.seen | taken) & still))


def newest(db: Database) -> Cursor:
    """Where one begins who only wants what comes from now on."""
    ((wall,),) = db.select("SELECT max(settled) FROM calls")
    if wall is None:
        return Cursor(0.0)
    near = db.select("SELECT tenant, key FROM calls WHERE settled > ?", (wall - OVERLAP,))
    return Cursor(wall, frozenset((tenant, key) for tenant, key in near))
