"""Each operation of the port as SQL for SQLite. The caller holds the transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from toolrail.store import (
    CallRow,
    CallsOf,
    Claim,
    Claimed,
    DropLease,
    FindEffect,
    Held,
    ListRuns,
    LoadRun,
    LoadSession,
    Op,
    Plan,
    SaveRun,
    SaveSession,
    Settle,
    TakeLease,
)
from toolrail.stores.rows import (
    CALL_COLUMNS,
    RUN_COLUMNS,
    SESSION_COLUMNS,
    call_row,
    call_values,
    run_row,
    run_values,
    session_row,
    session_values,
    storable,
)

READS = (FindEffect, CallsOf, LoadRun, ListRuns, LoadSession)
"""Operations that change nothing."""


def _updates(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns)


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _upsert(table: str, columns: Sequence[str], *, keys: Sequence[str], stay: Sequence[str] = ()) -> str:
    changed = [column for column in columns if column not in keys and column not in stay]
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {_updates(changed)}"


_CALLS = ", ".join(CALL_COLUMNS)
_RUNS = ", ".join(RUN_COLUMNS)
_WITH_HOLD = (*CALL_COLUMNS, "holds_key")
_OF_CALL = ("tenant", "call_key")
_PLAN = f"{_insert('calls', _WITH_HOLD)} ON CONFLICT (tenant, call_key) DO NOTHING"
_CLAIM = _upsert("calls", _WITH_HOLD, keys=_OF_CALL)
_SETTLE = (
    _upsert("calls", _WITH_HOLD, keys=_OF_CALL, stay=("created", "holds_key"))
    + ", holds_key = CASE WHEN excluded.state IN ('started', 'done', 'unknown') THEN calls.holds_key ELSE 0 END"
    + " WHERE calls.state <> 'done'"
)
_HOLDER = f"SELECT {_CALLS} FROM calls WHERE tenant = ? AND effect_key = ? AND holds_key = 1"
_CALLS_OF = f"SELECT {_CALLS} FROM calls WHERE tenant = ? AND run = ? ORDER BY turn, call_index, rowid"
_SAVE_RUN = _upsert("runs", RUN_COLUMNS, keys=("tenant", "run"))
_LOAD_RUN = f"SELECT {_RUNS} FROM runs WHERE tenant = ? AND run = ?"
_LIST_RUNS = f"SELECT {_RUNS} FROM runs WHERE updated > ? ORDER BY updated DESC, rowid LIMIT ?"
_LIST_RUNS_OF = f"SELECT {_RUNS} FROM runs WHERE updated > ? AND tenant = ? ORDER BY updated DESC, rowid LIMIT ?"
_SAVE_SESSION = _upsert("sessions", SESSION_COLUMNS, keys=("tenant", "session"))
_LOAD_SESSION = f"SELECT {', '.join(SESSION_COLUMNS)} FROM sessions WHERE tenant = ? AND session = ?"
_TAKE_LEASE = (
    _upsert("leases", ("tenant", "name", "holder", "until"), keys=("tenant", "name"))
    + " WHERE leases.holder = excluded.holder OR leases.until <= ?"
)
_DROP_LEASE = "DELETE FROM leases WHERE tenant = ? AND name = ? AND holder = ?"


def perform(db: sqlite3.Connection, op: Op) -> Any:
    """Does one operation inside the caller's transaction, and answers it.

    Raises:
        TypeError: there is no such operation.
        sqlite3.Error: SQLite could not do it.
    """
    match op:
        case Plan(rows):
            for row in rows:
                _run(db, _PLAN, (*call_values(row), 0))
        case Claim(row):
            return _claim(db, row)
        case Settle(row):
            _run(db, _SETTLE, (*call_values(row), 0))
        case SaveRun(row):
            _run(db, _SAVE_RUN, run_values(row))
        case SaveSession(row):
            _run(db, _SAVE_SESSION, session_values(row))
        case TakeLease(tenant, name, holder, now, until):
            return _run(db, _TAKE_LEASE, (tenant, name, holder, until, now)).rowcount == 1
        case DropLease(tenant, name, holder):
            _run(db, _DROP_LEASE, (tenant, name, holder))
        case _:
            return _read(db, op)
    return None


def _read(db: sqlite3.Connection, op: Op) -> Any:
    match op:
        case FindEffect(tenant, effect_key):
            return _one(call_row, _run(db, _HOLDER, (tenant, effect_key)))
        case CallsOf(tenant, run):
            return tuple(call_row(values) for values in _run(db, _CALLS_OF, (tenant, run)))
        case LoadRun(tenant, run):
            return _one(run_row, _run(db, _LOAD_RUN, (tenant, run)))
        case ListRuns(limit, None, since):
            return tuple(run_row(values) for values in _run(db, _LIST_RUNS, (since, limit)))
        case ListRuns(limit, tenant, since):
            return tuple(run_row(values) for values in _run(db, _LIST_RUNS_OF, (since, tenant, limit)))
        case LoadSession(tenant, session):
            return _one(session_row, _run(db, _LOAD_SESSION, (tenant, session)))
        case _:
            raise TypeError(f"unknown operation {type(op).__name__}")


def _claim(db: sqlite3.Connection, row: CallRow) -> Claimed | Held:
    if row.effect_key is not None:
        holder = _one(call_row, _run(db, _HOLDER, (row.tenant, row.effect_key)))
        if holder is not None and holder.key != row.key:
            return Held(holder)
    _run(db, _CLAIM, (*call_values(row), int(row.effect_key is not None)))
    return Claimed()


def _run(db: sqlite3.Connection, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
    try:
        return db.execute(statement, values)
    except UnicodeEncodeError:
        return db.execute(statement, storable(values))


def _one(read: Any, cursor: sqlite3.Cursor) -> Any:
    values = cursor.fetchone()
    return None if values is None else read(values)
