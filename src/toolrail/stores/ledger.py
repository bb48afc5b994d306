"""The calls of the SQLite store: claim, settle and the questions about them. What they mean stands in `protocol.py`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from toolrail.store import CallRow, CallsOf, Claim, Claimed, FindCall, FindEffect, Held, NotApproved, OpenCalls, Settle
from toolrail.stores.protocol import Met, Stored, claimed, revives, settled
from toolrail.stores.rows import APPROVAL_COLUMNS, CALL_COLUMNS, approval_row, call_row, call_values
from toolrail.stores.sql import insert, one, run, upsert

_CALLS = ", ".join(CALL_COLUMNS)
_WITH_HOLD = (*CALL_COLUMNS, "holds_key")
_KEEP = f"{insert('calls', _WITH_HOLD)} ON CONFLICT (tenant, call_key) DO NOTHING"
_WRITE = upsert("calls", _WITH_HOLD, keys=("tenant", "call_key"))
_STORED = f"SELECT {_CALLS}, holds_key FROM calls WHERE tenant = ? AND call_key = ?"
_ANYWHERE = f"SELECT {_CALLS} FROM calls WHERE call_key = ? ORDER BY created, tenant"
_HOLDER = f"SELECT {_CALLS} FROM calls WHERE tenant = ? AND effect_key = ? AND holds_key = 1"
_FOLLOWER = f"SELECT {_CALLS} FROM calls WHERE tenant = ? AND repeats = ?"
_UNKNOWN = (
    f"SELECT {_CALLS} FROM calls WHERE tenant = ? AND open_key = ? AND state IN ('started', 'unknown')"
    " AND (state = 'unknown' OR lease_until < ?) AND call_key <> ? ORDER BY created, call_key LIMIT 1"
)
_OF_RUN = f"SELECT {_CALLS} FROM calls WHERE tenant = ? AND run = ? ORDER BY turn, call_index, created, call_key"
_OPEN = f"SELECT {_CALLS} FROM calls WHERE state IN ('started', 'waiting', 'unknown')"
_APPROVAL = f"SELECT {', '.join(APPROVAL_COLUMNS)} FROM approvals WHERE tenant = ? AND approval = ?"
_USED = "UPDATE approvals SET state = 'used' WHERE tenant = ? AND approval = ?"


def plan(db: sqlite3.Connection, rows: Sequence[CallRow]) -> None:
    """Writes rows that are not there yet."""
    for row in rows:
        run(db, _KEEP, (*call_values(row), 0))


def claim(db: sqlite3.Connection, op: Claim) -> Claimed | Held | NotApproved:
    """See `Claim`."""
    found = claimed(op, _met(db, op))
    if not isinstance(found, tuple):
        return found
    _write(db, found)
    if op.approval is not None:
        run(db, _USED, (op.row.tenant, op.approval))
    return Claimed()


def _met(db: sqlite3.Connection, op: Claim) -> Met:
    row = op.row
    own, over = _stored(db, row.tenant, row.key), _stored(db, row.tenant, op.over)
    unknown = approval = None
    if over is None and row.open_key is not None:
        unknown = one(call_row, run(db, _UNKNOWN, (row.tenant, row.open_key, op.now, row.key)))
    if op.approval is not None:
        approval = one(approval_row, run(db, _APPROVAL, (row.tenant, op.approval)))
    holding = _holding(db, row.tenant, row.effect_key)
    return Met(own and own.row, over, holding, _standing_for(db, holding), unknown, approval)


def settle(db: sqlite3.Connection, op: Settle) -> bool:
    """See `Settle`."""
    known = _stored(db, op.row.tenant, op.row.key)
    before = list(_before(db, known)) if known else ()
    free = known is not None and revives(op, known) and _holding(db, known.row.tenant, known.row.effect_key) is None
    writes = settled(op, known, before=before, key_is_free=free)
    _write(db, writes or ())
    return writes is not None


def _write(db: sqlite3.Connection, writes: Sequence[Stored]) -> None:
    # Keys are given up before they are taken: at no moment do two rows hold one.
    for stored in sorted(writes, key=lambda stored: stored.holds):
        run(db, _WRITE, (*call_values(stored.row), int(stored.holds)))


def _stored(db: sqlite3.Connection, tenant: str, key: str | None) -> Stored | None:
    if key is None:
        return None
    return one(_read_stored, run(db, _STORED, (tenant, key)))


def _read_stored(values: Sequence[Any]) -> Stored:
    *columns, holds = values
    return Stored(call_row(columns), bool(holds))


def _before(db: sqlite3.Connection, stored: Stored) -> Iterator[Stored]:
    found: Stored | None = stored
    while found is not None and found.row.repeats is not None:
        found = _stored(db, found.row.tenant, found.row.repeats)
        if found is not None:
            yield found


def _holding(db: sqlite3.Connection, tenant: str, effect_key: str | None) -> CallRow | None:
    return None if effect_key is None else one(call_row, run(db, _HOLDER, (tenant, effect_key)))


def _standing_for(db: sqlite3.Connection, row: CallRow | None) -> CallRow | None:
    while row is not None and row.state == "repeated":
        follower = one(call_row, run(db, _FOLLOWER, (row.tenant, row.key)))
        if follower is None:
            break
        row = follower
    return row


def find_effect(db: sqlite3.Connection, op: FindEffect) -> CallRow | None:
    """See `FindEffect`."""
    row = _standing_for(db, _holding(db, op.tenant, op.effect_key))
    if row is None and op.open_key is not None:
        row = one(call_row, run(db, _UNKNOWN, (op.tenant, op.open_key, op.now, "")))
    return row


def find_call(db: sqlite3.Connection, op: FindCall) -> CallRow | None:
    """See `FindCall`."""
    if op.tenant is None:
        return one(call_row, run(db, _ANYWHERE, (op.key,)))
    found = _stored(db, op.tenant, op.key)
    return found and found.row


def open_calls(db: sqlite3.Connection, op: OpenCalls) -> tuple[CallRow, ...]:
    """See `OpenCalls`."""
    of_tenant, values = ("", ()) if op.tenant is None else (" AND tenant = ?", (op.tenant,))
    cursor = run(db, f"{_OPEN}{of_tenant} ORDER BY created, tenant, call_key LIMIT ?", (*values, op.limit))
    return tuple(call_row(found) for found in cursor)


def calls_of(db: sqlite3.Connection, op: CallsOf) -> tuple[CallRow, ...]:
    """All calls of a run."""
    return tuple(call_row(values) for values in run(db, _OF_RUN, (op.tenant, op.run)))


def forget(db: sqlite3.Connection, tenant: str, run_id: str) -> None:
    """See `Forget`."""
    run(
        db,
        "DELETE FROM calls WHERE tenant = ? AND run = ? AND coalesce(scope, 'run') = 'run'"
        " AND state NOT IN ('started', 'waiting', 'unknown', 'repeated')",
        (tenant, run_id),
    )
    for table in ("runs", "results", "approvals"):
        run(db, f"DELETE FROM {table} WHERE tenant = ? AND run = ?", (tenant, run_id))
