"""Each operation of the port as SQL for SQLite. The caller holds the transaction."""

from __future__ import annotations

import sqlite3
from typing import Any

from toolrail.store import (
    ApprovalRow,
    CallsOf,
    Claim,
    DecideApproval,
    DropLease,
    FindApproval,
    FindCall,
    FindEffect,
    Forget,
    KeepResult,
    ListApprovals,
    ListRuns,
    LoadRun,
    LoadSession,
    Op,
    OpenCalls,
    Plan,
    ReadResult,
    RequestApproval,
    SaveRun,
    SaveSession,
    Settle,
    Spend,
    Spent,
    TakeLease,
)
from toolrail.stores import ledger
from toolrail.stores.protocol import decided, spent
from toolrail.stores.rows import (
    APPROVAL_COLUMNS,
    RESULT_COLUMNS,
    RUN_COLUMNS,
    SESSION_COLUMNS,
    approval_row,
    approval_values,
    result_row,
    result_values,
    run_row,
    run_values,
    session_row,
    session_values,
)
from toolrail.stores.sql import given, insert, one, run, upsert

READS = (
    FindEffect,
    FindCall,
    OpenCalls,
    CallsOf,
    LoadRun,
    ListRuns,
    LoadSession,
    FindApproval,
    ListApprovals,
    ReadResult,
)
"""Operations that change nothing."""

_RUNS = ", ".join(RUN_COLUMNS)
_APPROVALS = ", ".join(APPROVAL_COLUMNS)
_SAVE_RUN = upsert("runs", RUN_COLUMNS, keys=("tenant", "run")) + " WHERE excluded.version >= runs.version"
_LOAD_RUN = f"SELECT {_RUNS} FROM runs WHERE tenant = ? AND run = ?"
_LIST_RUNS = f"SELECT {_RUNS} FROM runs WHERE updated > ? ORDER BY updated DESC, tenant, run LIMIT ?"
_LIST_RUNS_OF = f"SELECT {_RUNS} FROM runs WHERE updated > ? AND tenant = ? ORDER BY updated DESC, tenant, run LIMIT ?"
_SAVE_SESSION = upsert("sessions", SESSION_COLUMNS, keys=("tenant", "session"))
_LOAD_SESSION = f"SELECT {', '.join(SESSION_COLUMNS)} FROM sessions WHERE tenant = ? AND session = ?"
_TAKE_LEASE = (
    upsert("leases", ("tenant", "name", "holder", "until"), keys=("tenant", "name"))
    + " WHERE leases.holder = excluded.holder OR leases.until <= ?"
)
_DROP_LEASE = "DELETE FROM leases WHERE tenant = ? AND name = ? AND holder = ?"
_ASK = f"{insert('approvals', APPROVAL_COLUMNS)} ON CONFLICT (tenant, approval) DO NOTHING"
_ANSWER = upsert("approvals", APPROVAL_COLUMNS, keys=("tenant", "approval"))
_APPROVAL = f"SELECT {_APPROVALS} FROM approvals"
_KEEP_RESULT = upsert("results", RESULT_COLUMNS, keys=("tenant", "handle"))
_READ_RESULT = f"SELECT {', '.join(RESULT_COLUMNS)} FROM results WHERE tenant = ? AND handle = ?"
_COUNTER = "SELECT value, expires FROM counters WHERE tenant = ? AND name = ?"
_COUNT = upsert("counters", ("tenant", "name", "value", "expires"), keys=("tenant", "name"))


def perform(db: sqlite3.Connection, op: Op) -> Any:
    """Does one operation inside the caller's transaction, and answers it.

    Raises:
        TypeError: there is no such operation.
        sqlite3.Error: SQLite could not do it.
    """
    match op:
        case Plan(rows):
            ledger.plan(db, rows)
        case Claim():
            return ledger.claim(db, op)
        case Settle():
            return ledger.settle(db, op)
        case Forget(tenant, run_id):
            ledger.forget(db, tenant, run_id)
        case SaveRun(row):
            run(db, _SAVE_RUN, run_values(row))
        case SaveSession(row):
            run(db, _SAVE_SESSION, session_values(row))
        case TakeLease(tenant, name, holder, now, until):
            return run(db, _TAKE_LEASE, (tenant, name, holder, until, now)).rowcount == 1
        case DropLease(tenant, name, holder):
            run(db, _DROP_LEASE, (tenant, name, holder))
        case RequestApproval(row):
            run(db, _ASK, approval_values(row))
            return _approval(db, row.tenant, row.approval)
        case DecideApproval():
            return _decide(db, op)
        case KeepResult(row):
            run(db, _KEEP_RESULT, result_values(row))
        case Spend():
            return _spend(db, op)
        case _:
            return _read(db, op)
    return None


def _read(db: sqlite3.Connection, op: Op) -> Any:
    match op:
        case FindEffect():
            return ledger.find_effect(db, op)
        case FindCall():
            return ledger.find_call(db, op)
        case OpenCalls():
            return ledger.open_calls(db, op)
        case CallsOf():
            return ledger.calls_of(db, op)
        case LoadRun(tenant, run_id):
            return one(run_row, run(db, _LOAD_RUN, (tenant, run_id)))
        case ListRuns(limit, None, since):
            return tuple(run_row(values) for values in run(db, _LIST_RUNS, (since, limit)))
        case ListRuns(limit, tenant, since):
            return tuple(run_row(values) for values in run(db, _LIST_RUNS_OF, (since, tenant, limit)))
        case LoadSession(tenant, session):
            return one(session_row, run(db, _LOAD_SESSION, (tenant, session)))
        case FindApproval(tenant, approval):
            return _approval(db, tenant, approval)
        case ListApprovals(tenant, run_id, state, limit):
            where, values = given(tenant=tenant, run=run_id, state=state)
            found = run(db, f"{_APPROVAL}{where} ORDER BY created, tenant, approval LIMIT ?", (*values, limit))
            return tuple(approval_row(values) for values in found)
        case ReadResult(tenant, handle):
            return one(result_row, run(db, _READ_RESULT, (tenant, handle)))
        case _:
            raise TypeError(f"unknown operation {type(op).__name__}")


def _approval(db: sqlite3.Connection, tenant: str | None, approval: str) -> ApprovalRow | None:
    where, values = given(approval=approval, tenant=tenant)
    return one(approval_row, run(db, f"{_APPROVAL}{where} ORDER BY created, tenant", values))


def _decide(db: sqlite3.Connection, op: DecideApproval) -> ApprovalRow | None:
    row = _approval(db, op.tenant, op.approval)
    if row is None:
        return None
    answer = decided(row, op)
    if answer is not row:
        run(db, _ANSWER, approval_values(answer))
    return answer


def _spend(db: sqlite3.Connection, op: Spend) -> Spent:
    answer, expires = spent(op, run(db, _COUNTER, (op.tenant, op.name)).fetchone())
    run(db, _COUNT, (op.tenant, op.name, answer.total, expires))
    return answer
