"""What makes one call's effect the same as another's, and the call as a row of the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, assert_never

from toolrail.decisions import ANONYMOUS
from toolrail.definition import Tool
from toolrail.digests import blake2b, bytes_of
from toolrail.effects import TRANSACTION, Scope
from toolrail.run import Identity, Job, Run
from toolrail.store import CallRow


def identity_of(job: Job, tool: Tool[Any], effective: Mapping[str, Any]) -> Identity:
    """The keys of a call of a tool whose effects can stand in each other's way. Keys never cross a tenant."""
    run = job.run
    arguments = canonical(effective)
    arguments_digest = blake2b(arguments, 16)
    open_key = digest_of(["open", _who(run), tool.name, arguments_digest])
    if not tool.effect.by:
        return Identity(None, None, open_key, arguments, arguments_digest)
    scope = scope_of(job, tool)
    fields = {name: effective.get(name) for name in tool.effect.by}
    effect_key = digest_of([scope, _owner(job, scope), tool.name, fields])
    return Identity(effect_key, scope, open_key, arguments, arguments_digest)


def scope_of(job: Job, tool: Tool[Any]) -> Scope:
    """Where a declared key holds: as declared, else the principal with a durable store, else the run."""
    known = job.ports.store.durable and job.run.principal.id != ANONYMOUS.id
    return tool.effect.scope or ("principal" if known else "run")


def _who(run: Run[Any]) -> str:
    """The principal. Nobody knows who is anonymous, and two of them must never meet: there it is the run."""
    return run.id if run.principal.id == ANONYMOUS.id else run.principal.id


def _owner(job: Job, scope: Scope) -> str:
    run = job.run
    match scope:
        case "run":
            return run.id
        case "session":
            return run.state.session or run.id
        case "principal":
            return _who(run)
        case "tenant":
            return ""
        case _:  # rather no call than a key that holds for everybody
            assert_never(scope)


def idempotency_key(job: Job) -> str:
    """What the other side is given: that of the call which this one repeats, else the call's own.

    Never made of the effect alone: after a failure the other side may remember the key, and answer the next, honest try
    with the old failure.
    """
    if job.repeats is not None and not job.rekeyed:
        return key_of(job.repeats)
    return f"{job.key}/{job.rekeyed}" if job.rekeyed else job.key


def key_of(row: CallRow) -> str:
    """The idempotency key that a row's call was made under."""
    return row.idempotency_key or row.effect_key or row.key


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def digest_of(value: Any) -> str:
    """128 bits over a value's canonical JSON, as 32 hex digits."""
    return blake2b(canonical(value), 16)


def row_for(job: Job, tool: Tool[Any] | None, *, lease_until: float | None = None) -> CallRow:
    """This call as a row of the ledger, started."""
    run, identity = job.run, job.identity
    wall = job.ports.clock.wall()
    return CallRow(
        tenant=run.state.tenant,
        run=run.id,
        key=job.key,
        turn=run.state.turn,
        index=job.index,
        call_id=job.call.id,
        tool=tool.name if tool else job.call.name,
        digest=tool.digest if tool else "",
        principal=run.principal.id,
        effect=tool.effect.kind if tool else "read",
        state="started",
        effect_key=identity.effect_key if identity else None,
        scope=identity.scope if identity else None,
        open_key=identity.open_key if identity else None,
        idempotency_key=idempotency_key(job) if identity else None,
        arguments=identity.arguments if identity else None,
        arguments_digest=identity.arguments_digest if identity else None,
        flags=TRANSACTION if tool and tool.effect.transactional else (),
        argument_bytes=bytes_of(job.call.arguments),
        created=wall,
        updated=wall,
        lease_until=lease_until,
    )
