"""Each operation of the port as SQL for PostgreSQL. The caller holds the transaction."""

from __future__ import annotations

from collections.abc import Sequence
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
from toolrail.stores.postgres import ledger
from toolrail.stores.postgres.sql import Session, given, insert, upsert
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
ALONE = (*READS, SaveRun, SaveSession, KeepResult, TakeLease, DropLease)
"""Operations of one statement, or that only read: alone, they need no transaction block. Done twice, they are as done
once."""

_RUNS = f"SELECT {', '.join(RUN_COLUMNS)} FROM @runs"
_NEWEST = ' ORDER BY updated DESC, tenant COLLATE "C", run COLLATE "C"'
_SAVE_RUN = upsert("runs", RUN_COLUMNS, keys=("tenant", "run")) + " WHERE excluded.version >= t.version"
_SAVE_SESSION = upsert("sessions", SESSION_COLUMNS, keys=("tenant", "session"))
_LOAD_SESSION = f"SELECT {', '.join(SESSION_COLUMNS)} FROM @sessions WHERE tenant = $1 AND session = $2"
_TAKE_LEASE = (
    upsert("leases", ("tenant", "name", "holder", "until"), keys=("tenant", "name"))
    + " WHERE t.holder = excluded.holder OR t.until <= $5"
)
_DROP_LEASE = "DELETE FROM @leases WHERE tenant = $1 AND name = $2 AND holder = $3"
_ASK = f"{insert('approvals', APPROVAL_COLUMNS)} ON CONFLICT (tenant, approval) DO NOTHING"
_ANSWER = upsert("approvals", APPROVAL_COLUMNS, keys=("tenant", "approval"))
_APPROVALS = f"SELECT {', '.join(APPROVAL_COLUMNS)} FROM @approvals"
_OLDEST = ' ORDER BY created, tenant COLLATE "C", approval COLLATE "C"'
_KEEP_RESULT = upsert("results", RESULT_COLUMNS, keys=("tenant", "handle"))
_READ_RESULT = f"SELECT {', '.join(RESULT_COLUMNS)} FROM @results WHERE tenant = $1 AND handle = $2"
_COUNTER = "SELECT value, expires FROM @counters WHERE tenant = $1 AND name = $2"
_COUNT = upsert("counters", ("tenant", "name", "value", "expires"), keys=("tenant", "name"))


async def perform(session: Session, op: Op) -> Any:
    """Does one operation, and answers it.

    Raises:
        TypeError: there is no such operation.
        asyncpg.PostgresError: PostgreSQL could not do it.
    """
    match op:
        case Plan(rows):
            await ledger.plan(session, rows)
        case Claim():
            return await ledger.claim(session, op)
        case Settle():
            return await ledger.settle(session, op)
        case Forget():
            await ledger.forget(session, op)
        case SaveRun(row):
            await session.run(_SAVE_RUN, run_values(row))
        case SaveSession(row):
            await session.run(_SAVE_SESSION, session_values(row))
        case TakeLease(tenant, name, holder, now, until):
            return await session.run(_TAKE_LEASE, (tenant, name, holder, until, now))
        case DropLease(tenant, name, holder):
            await session.run(_DROP_LEASE, (tenant, name, holder))
        case RequestApproval(row):
            await session.run(_ASK, approval_values(row))
            return await _approval(session, row.tenant, row.approval)
        case DecideApproval():
            return await _decide(session, op)
        case KeepResult(row):
            await session.run(_KEEP_RESULT, result_values(row))
        case Spend():
            return await _spend(session, op)
        case _:
            return await _read(session, op)
    return None


async def _read(session: Session, op: Op) -> Any:
    match op:
        case FindEffect():
            return await ledger.find_effect(session, op)
        case FindCall():
            return await ledger.find_call(session, op)
        case OpenCalls():
            return await ledger.open_calls(session, op)
        case CallsOf(tenant, run):
            return await ledger.calls_of(session, tenant, run)
        case LoadRun(tenant, run):
            return await session.one(run_row, f"{_RUNS} WHERE tenant = $1 AND run = $2", tenant, run)
        case ListRuns():
            return await _runs(session, op)
        case LoadSession(tenant, name):
            return await session.one(session_row, _LOAD_SESSION, tenant, name)
        case FindApproval(tenant, approval):
            return await _approval(session, tenant, approval)
        case ListApprovals(tenant, run, state, limit):
            where, values = given(tenant=tenant, run=run, state=state)
            text = f"{_APPROVALS}{where}{_OLDEST} LIMIT ${len(values) + 1}"
            return await session.all(approval_row, text, *values, limit)
        case ReadResult(tenant, handle):
            return await session.one(result_row, _READ_RESULT, tenant, handle)
        case _:
            raise TypeError(f"unknown operation {type(op).__name__}")


async def _runs(session: Session, op: ListRuns) -> Sequence[Any]:
    if op.tenant is None:
        return await session.all(run_row, f"{_RUNS} WHERE updated > $1{_NEWEST} LIMIT $2", op.since, op.limit)
    text = f"{_RUNS} WHERE updated > $1 AND tenant = $2{_NEWEST} LIMIT $3"
    return await session.all(run_row, text, op.since, op.tenant, op.limit)


async def _approval(session: Session, tenant: str | None, approval: str) -> ApprovalRow | None:
    where, values = given(approval=approval, tenant=tenant)
    return await session.one(approval_row, f"{_APPROVALS}{where}{_OLDEST}", *values)


async def _decide(session: Session, op: DecideApproval) -> ApprovalRow | None:
    row = await _approval(session, op.tenant, op.approval)
    if row is None:
        return None
    answer = decided(row, op)
    if answer is not row:
        await session.run(_ANSWER, approval_values(answer))
    return answer


async def _spend(session: Session, op: Spend) -> Spent:
    counter = await session.one(_counter, _COUNTER, op.tenant, op.name)
    answer, expires = spent(op, counter)
    await session.run(_COUNT, (op.tenant, op.name, answer.total, expires))
    return answer


def _counter(values: Sequence[Any]) -> tuple[float, float]:
    value, expires = values
    return value, expires
