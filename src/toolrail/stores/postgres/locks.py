"""Which operations must not meet: each names the things it changes, and takes a lock on each before it reads.

Why READ COMMITTED is enough. Each statement sees what was committed before it began. A transaction first takes an
advisory lock on everything that it is about to read and change by name: the call, the call that it repeats, the effect
key, the approval, the counter. So whoever held one of these locks has committed before we read, and nobody changes
those rows until we commit; a row that is not there yet is locked all the same. All locks of all operations are taken in
one statement in the order of their numbers, so that no two transactions wait for each other. The rows of a chain of
repeats are known only once the first is read: they are locked as rows, from the newest to the oldest. What is still
possible is two transactions with several calls of long chains; PostgreSQL ends one of them, and it is tried again. And
what nobody thought of, two unique indexes refuse: one holder of a key, one repeat of a call. That is tried again, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolrail.digests import blake2b
from toolrail.store import (
    Claim,
    DecideApproval,
    DropLease,
    Forget,
    KeepResult,
    Op,
    Plan,
    RequestApproval,
    SaveRun,
    SaveSession,
    Settle,
    Spend,
    TakeLease,
)


def lock_of(*names: str) -> int:
    """The number of an advisory lock: 64 bits with a sign."""
    return int.from_bytes(bytes.fromhex(blake2b("\0".join(names), 8)), "big", signed=True)


def locks_of(schema: str, ops: Iterable[Op]) -> list[int]:
    """The locks that these operations need, in the order in which they are taken."""
    return sorted({lock_of(schema, *names) for op in ops for names in _changed(op)})


def _changed(op: Op) -> Iterator[tuple[str, str, str]]:
    match op:
        case Plan(rows):
            yield from (("call", row.tenant, row.key) for row in rows)
        case Claim(row, _, over, approval):
            yield "call", row.tenant, row.key
            for kind, name in (("call", over), ("effect", row.effect_key), ("approval", approval)):
                if name is not None:
                    yield kind, row.tenant, name
        case Settle(row):
            yield "call", row.tenant, row.key
            if row.effect_key is not None:
                yield "effect", row.tenant, row.effect_key
        case RequestApproval(row):
            yield "approval", row.tenant, row.approval
        case DecideApproval(tenant, approval):
            yield "approval", tenant, approval
        case Spend(tenant, name):
            yield "counter", tenant, name
        case SaveRun(row):
            yield "run", row.tenant, row.run
        case Forget(tenant, run):
            yield "run", tenant, run
        case SaveSession(row):
            yield "session", row.tenant, row.session
        case KeepResult(row):
            yield "result", row.tenant, row.handle
        case TakeLease(tenant, name) | DropLease(tenant, name):
            yield "lease", tenant, name
        case _:
            return
