"""What a claim, a settlement and a decision do to the rows that they meet: pure functions, the same for every store.

A store fetches the rows, under whatever lock makes the transaction one step, and writes what is answered here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolrail.store import (
    HOLDING,
    NOT_BEGUN,
    ApprovalRow,
    CallRow,
    Claim,
    DecideApproval,
    Held,
    NotApproved,
    Settle,
    Spend,
    Spent,
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A row as it stands or shall stand, and whether it holds its effect key."""

    row: CallRow
    holds: bool


@dataclass(frozen=True, slots=True)
class Met:
    """The rows that a claim meets."""

    own: CallRow | None = None
    """With its very key."""
    over: Stored | None = None
    """Named by the claim as the one to repeat."""
    holding: CallRow | None = None
    """Holds its effect key."""
    holder: CallRow | None = None
    """The same, or the call that repeats it."""
    unknown: CallRow | None = None
    """The oldest other with its open key, and an unknown outcome."""
    approval: ApprovalRow | None = None
    """Named by the claim as the one to consume."""


def unknown_at(row: CallRow, now: float) -> bool:
    """Whether a call's outcome is unknown at a wall time: it said so, or its holder let the lease lapse."""
    return row.state == "unknown" or (row.state == "started" and row.lease_until is not None and now > row.lease_until)


def claimed(op: Claim, met: Met) -> Held | NotApproved | tuple[Stored, ...]:
    """What stands in the way of a claim, or the rows to write. An approval that it names is then used."""
    other = _in_the_way(op, met)
    if other is not None:
        return Held(other)
    if op.approval is not None and not usable(met.approval, op):
        return NotApproved(met.approval)
    return _taken(op.row, met)


def _in_the_way(op: Claim, met: Met) -> CallRow | None:
    own, over, holder, unknown = met.own, met.over, met.holder, met.unknown
    if own is not None and own.key != op.over and own.state not in NOT_BEGUN:
        return own
    if over is not None and not unknown_at(over.row, op.now):
        return over.row
    if holder is not None and holder.key not in (op.row.key, op.over):
        return holder
    if over is None and unknown is not None and unknown.key != op.row.key:
        return unknown
    return None


def _taken(row: CallRow, met: Met) -> tuple[Stored, ...]:
    holds, over, holding = row.effect_key is not None, met.over, met.holding
    if over is None:
        return (Stored(_repeating(row, None), holds),)
    if over.row.key == row.key:  # it goes on with itself, and with what it had taken over
        return (Stored(_repeating(row, over.row.repeats), holds),)
    keeps = over.holds and over.row.effect_key != row.effect_key
    given_up = [Stored(replace(over.row, state="repeated", lease_until=None), keeps)]
    if holding is not None and holding.key not in (row.key, over.row.key):
        given_up.append(Stored(holding, False))  # repeated by `over`: the key goes on to this one
    return *given_up, Stored(_repeating(row, over.row.key), holds)


def _repeating(row: CallRow, other: str | None) -> CallRow:
    return row if row.repeats == other else replace(row, repeats=other)  # a copy of so many fields takes a while


def used(row: ApprovalRow) -> ApprovalRow:
    """An approval after the claim that consumed it."""
    return replace(row, state="used")


def settled(
    op: Settle, known: Stored | None, *, before: Sequence[Stored] = (), key_is_free: bool = False
) -> tuple[Stored, ...] | None:
    """The rows to write when a call ends, or None when its row must stay.

    Args:
        op: the operation.
        known: its row as it stands.
        before: the calls that it repeats, the nearest first.
        key_is_free: nobody holds the effect key of the row as it stands. Asked only where `revives` says so.
    """
    if known is None:
        return None if op.expect and "planned" not in op.expect else (Stored(_repeating(op.row, None), False),)
    state = known.row.state
    if state == "done" or (op.expect and state not in op.expect) or (state == "repeated" and op.row.state != "done"):
        return None
    if state == "started" and op.lease not in (None, known.row.lease_until) and op.row.state != "done":
        return None
    holds = (known.holds or (key_is_free and revives(op, known))) and op.row.state in HOLDING
    row = _ended(op.row, known, holds)
    match row.state:
        case "done":
            return Stored(row, holds), *(Stored(_as(one.row, row), one.holds) for one in _repeated(before))
        case "failed":
            return Stored(row, False), *_given_back(row, known, before)
        case _:
            return (Stored(row, holds),)


def revives(op: Settle, known: Stored | None) -> bool:
    """Whether a call that had failed, and freed its key, did happen after all: it holds the key again, if it can."""
    return (
        known is not None
        and known.row.state == "failed"
        and known.row.effect_key is not None
        and op.row.state in ("done", "unknown")
    )


def _ended(row: CallRow, known: Stored, holds: bool) -> CallRow:
    """The row as it is settled. What its claim wrote and others rely on stays."""
    first = known.row
    kept: dict[str, Any] = {
        "created": first.created,
        # Who failed repeats nothing any more: another may, and a row is repeated by one other at most.
        "repeats": None if row.state == "failed" else first.repeats,
        # The claimer may have gone on under another key meanwhile, and then it is that one to ask about.
        "idempotency_key": row.idempotency_key or first.idempotency_key,
        "arguments": row.arguments or first.arguments,
        "effect_key": first.effect_key if holds else row.effect_key,
        "scope": row.scope or first.scope,
        "open_key": row.open_key or first.open_key,
    }
    same = all(getattr(row, name) == value for name, value in kept.items())
    return row if same else replace(row, **kept)


def _repeated(before: Sequence[Stored]) -> Iterator[Stored]:
    return (one for one in before if one.row.state == "repeated")


def _given_back(row: CallRow, known: Stored, before: Sequence[Stored]) -> Iterator[Stored]:
    """After a repeat that did nothing: what it repeated is unknown again, and its key goes back to where it was."""
    key = known.row.effect_key if known.holds else None
    for place, one in enumerate(before):
        again = place == 0 and one.row.state == "repeated"
        mine = key is not None and one.row.effect_key == key
        if again or mine:
            changed = replace(one.row, state="unknown", updated=row.updated) if again else one.row
            yield Stored(changed, one.holds or (mine and changed.state in HOLDING))
        if mine:
            key = None


def _as(first: CallRow, row: CallRow) -> CallRow:
    return replace(
        first,
        state="done",
        status=row.status,
        code=row.code,
        content=row.content,
        trust=row.trust,
        flags=row.flags,
        result_bytes=row.result_bytes,
        updated=row.updated,
    )


def decided(row: ApprovalRow, op: DecideApproval) -> ApprovalRow:
    """The question after a decision: as it was, unless it still stands open."""
    if row.state != "pending" or row.expired(op.now):
        return row
    return replace(
        row,
        state="approved" if op.approved else "rejected",
        approver=op.approver,
        note=op.note,
        edited=op.edited,
        decided=op.now,
    )


def usable(row: ApprovalRow | None, op: Claim) -> bool:
    """Whether a claim may consume an approval: it was given for this very call, and its time is not over."""
    return row is not None and row.state == "approved" and row.key == op.row.key and not row.expired(op.now)


def spent(op: Spend, counter: tuple[float, float] | None) -> tuple[Spent, float]:
    """What is granted, and when the counter then expires. `counter`: its value and its `expires`, if there is one."""
    total, expires = counter or (0.0, op.expires)
    if op.now > expires:
        total, expires = 0.0, op.expires
    granted = _granted(op, total)
    return Spent(granted, total + granted), expires


def _granted(op: Spend, total: float) -> float:
    if op.amount < 0:  # given back; what was spent before the counter expired is not there any more
        return -min(-op.amount, max(0.0, total))
    return op.amount if op.limit is None else min(op.amount, max(0.0, op.limit - total))
