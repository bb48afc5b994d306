"""The calls of the PostgreSQL store. What claim and settle mean stands in `stores/protocol.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from toolrail.store import CallRow, Claim, Claimed, FindCall, FindEffect, Forget, Held, NotApproved, OpenCalls, Settle
from toolrail.stores.postgres.sql import Session, given, insert, upsert
from toolrail.stores.protocol import Met, Stored, claimed, revives, settled
from toolrail.stores.rows import APPROVAL_COLUMNS, CALL_COLUMNS, approval_row, call_row, call_values

_CALLS = ", ".join(CALL_COLUMNS)
_COLUMNS = (*CALL_COLUMNS, "holds_key")
_KEEP = f"{insert('calls', _COLUMNS)} ON CONFLICT (tenant, call_key) DO NOTHING"
_WRITE = upsert("calls", _COLUMNS, keys=("tenant", "call_key"))
_STORED = f"SELECT {_CALLS}, holds_key FROM @calls WHERE tenant = $1 AND call_key = $2 FOR UPDATE"
_MET = (
    f"SELECT {_CALLS}, holds_key FROM @calls"
    " WHERE tenant = $1 AND (call_key = $2 OR call_key = $3 OR (effect_key = $4 AND holds_key)) FOR UPDATE"
)
_HOLDER = f"SELECT {_CALLS} FROM @calls WHERE tenant = $1 AND effect_key = $2 AND holds_key"
_FOLLOWER = f"SELECT {_CALLS} FROM @calls WHERE tenant = $1 AND repeats = $2"
_UNKNOWN = (
    f"SELECT {_CALLS} FROM @calls WHERE tenant = $1 AND open_key = $2 AND state IN ('started', 'unknown')"
    " AND (state = 'unknown' OR lease_until < $3) AND call_key <> $4"
    ' ORDER BY created, call_key COLLATE "C" LIMIT 1'
)
_OLDEST = ' ORDER BY created, tenant COLLATE "C", call_key COLLATE "C"'
_OPEN = f"SELECT {_CALLS} FROM @calls WHERE state IN ('started', 'waiting', 'unknown')"
_OF_RUN = (
    f"SELECT {_CALLS} FROM @calls WHERE tenant = $1 AND run = $2"
    ' ORDER BY turn, call_index, created, call_key COLLATE "C"'
)
_APPROVAL = f"SELECT {', '.join(APPROVAL_COLUMNS)} FROM @approvals WHERE tenant = $1 AND approval = $2 FOR UPDATE"
_USED = "UPDATE @approvals SET state = 'used' WHERE tenant = $1 AND approval = $2"
_FORGET = (
    "DELETE FROM @calls WHERE tenant = $1 AND run = $2 AND coalesce(scope, 'run') = 'run'"
    " AND state NOT IN ('started', 'waiting', 'unknown', 'repeated')"
)


async def plan(session: Session, rows: Sequence[CallRow]) -> None:
    """Writes rows that are not there yet."""
    for row in rows:
        await session.run(_KEEP, (*call_values(row), False))


async def claim(session: Session, op: Claim) -> Claimed | Held | NotApproved:
    """See `Claim`."""
    found = claimed(op, await _met(session, op))
    if not isinstance(found, tuple):
        return found
    await _write(session, found)
    if op.approval is not None:
        await session.run(_USED, (op.row.tenant, op.approval))
    return Claimed()


async def _met(session: Session, op: Claim) -> Met:
    row, unknown, approval = op.row, None, None
    rows = await session.all(_stored, _MET, row.tenant, row.key, op.over, row.effect_key)
    own = next((one.row for one in rows if one.row.key == row.key), None)
    over = next((one for one in rows if one.row.key == op.over), None)
    holding = next((one.row for one in rows if one.holds and one.row.effect_key == row.effect_key), None)
    if over is None and row.open_key is not None:
        unknown = await session.one(call_row, _UNKNOWN, row.tenant, row.open_key, op.now, row.key)
    if op.approval is not None:
        approval = await session.one(approval_row, _APPROVAL, row.tenant, op.approval)
    return Met(own, over, holding, await _standing_for(session, holding), unknown, approval)


async def settle(session: Session, op: Settle) -> bool:
    """See `Settle`."""
    known = await session.one(_stored, _STORED, op.row.tenant, op.row.key)
    before = await _before(session, known)
    free = known is not None and revives(op, known) and await _holding(session, known.row) is None
    writes = settled(op, known, before=before, key_is_free=free)
    await _write(session, writes or ())
    return writes is not None


async def _write(session: Session, writes: Iterable[Stored]) -> None:
    # Keys are given up before they are taken: at no moment do two rows hold one.
    for stored in sorted(writes, key=lambda stored: stored.holds):
        await session.run(_WRITE, (*call_values(stored.row), stored.holds))


def _stored(values: Sequence[Any]) -> Stored:
    return Stored(call_row(values[:-1]), values[-1])


async def _before(session: Session, known: Stored | None) -> list[Stored]:
    """What a call repeats, the nearest first."""
    chain: list[Stored] = []
    while known is not None and known.row.repeats is not None:
        known = await session.one(_stored, _STORED, known.row.tenant, known.row.repeats)
        if known is not None:
            chain.append(known)
    return chain


async def _holding(session: Session, row: CallRow) -> CallRow | None:
    return await session.one(call_row, _HOLDER, row.tenant, row.effect_key)


async def _standing_for(session: Session, row: CallRow | None) -> CallRow | None:
    while row is not None and row.state == "repeated":
        follower = await session.one(call_row, _FOLLOWER, row.tenant, row.key)
        if follower is None:
            break
        row = follower
    return row


async def find_effect(session: Session, op: FindEffect) -> CallRow | None:
    """See `FindEffect`."""
    row = None
    if op.effect_key is not None:
        row = await _standing_for(session, await session.one(call_row, _HOLDER, op.tenant, op.effect_key))
    if row is None and op.open_key is not None:
        row = await session.one(call_row, _UNKNOWN, op.tenant, op.open_key, op.now, "")
    return row


async def find_call(session: Session, op: FindCall) -> CallRow | None:
    """See `FindCall`."""
    where, values = given(call_key=op.key, tenant=op.tenant)
    return await session.one(call_row, f"SELECT {_CALLS} FROM @calls{where}{_OLDEST}", *values)


async def open_calls(session: Session, op: OpenCalls) -> tuple[CallRow, ...]:
    """See `OpenCalls`."""
    if op.tenant is None:
        return await session.all(call_row, f"{_OPEN}{_OLDEST} LIMIT $1", op.limit)
    return await session.all(call_row, f"{_OPEN} AND tenant = $1{_OLDEST} LIMIT $2", op.tenant, op.limit)


async def calls_of(session: Session, tenant: str, run: str) -> tuple[CallRow, ...]:
    """All calls of a run."""
    return await session.all(call_row, _OF_RUN, tenant, run)


async def forget(session: Session, op: Forget) -> None:
    """See `Forget`."""
    await session.run(_FORGET, (op.tenant, op.run))
    for table in ("runs", "results", "approvals"):
        await session.run(f"DELETE FROM @{table} WHERE tenant = $1 AND run = $2", (op.tenant, op.run))
