"""Rows of the port as rows of a table, and back. The order of the columns is the order of the values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from toolrail.codes import Code
from toolrail.store import ApprovalRow, CallRow, ResultRow, RunRow, SessionRow, bucket_of

CALL_COLUMNS = (
    "tenant",
    "bucket",
    "run",
    "call_key",
    "turn",
    "call_index",
    "call_id",
    "tool",
    "digest",
    "principal",
    "effect",
    "state",
    "effect_key",
    "scope",
    "open_key",
    "idempotency_key",
    "repeats",
    "arguments",
    "arguments_digest",
    "status",
    "code",
    "content",
    "trust",
    "flags",
    "attempts",
    "argument_bytes",
    "result_bytes",
    "seconds",
    "created",
    "updated",
    "lease_until",
)
RUN_COLUMNS = (
    "tenant",
    "bucket",
    "run",
    "session",
    "principal",
    "state",
    "stop_reason",
    "created",
    "updated",
    "version",
)
APPROVAL_COLUMNS = (
    "tenant",
    "bucket",
    "approval",
    "run",
    "call_key",
    "principal",
    "tool",
    "digest",
    "arguments",
    "binding",
    "reason",
    "four_eyes",
    "needs",
    "state",
    "approver",
    "note",
    "edited",
    "created",
    "expires",
    "decided",
)
RESULT_COLUMNS = ("tenant", "bucket", "handle", "run", "call_key", "principal", "trust", "content", "created")
SESSION_COLUMNS = ("tenant", "session", "principal", "provider", "messages", "created", "updated")


def call_values(row: CallRow) -> tuple[Any, ...]:
    """The values of `CALL_COLUMNS`."""
    return (
        row.tenant,
        bucket_of(row.tenant, row.run),
        row.run,
        row.key,
        row.turn,
        row.index,
        row.call_id,
        row.tool,
        row.digest,
        row.principal,
        row.effect,
        row.state,
        row.effect_key,
        row.scope,
        row.open_key,
        row.idempotency_key,
        row.repeats,
        row.arguments,
        row.arguments_digest,
        row.status,
        None if row.code is None else row.code.value,
        row.content,
        row.trust,
        json.dumps(row.flags),
        row.attempts,
        row.argument_bytes,
        row.result_bytes,
        row.seconds,
        row.created,
        row.updated,
        row.lease_until,
    )


def call_row(values: Sequence[Any]) -> CallRow:
    """A row read in the order of `CALL_COLUMNS`."""
    tenant, _bucket, run, key, turn, index, call_id, tool, digest, principal, effect, state, *rest = values
    effect_key, scope, open_key, idempotency_key, repeats, arguments, *rest = rest
    arguments_digest, status, code, content, trust, flags, *numbers = rest
    attempts, argument_bytes, result_bytes, seconds, created, updated, lease_until = numbers
    return CallRow(
        tenant=tenant,
        run=run,
        key=key,
        turn=turn,
        index=index,
        call_id=call_id,
        tool=tool,
        digest=digest,
        principal=principal,
        effect=effect,
        state=state,
        effect_key=effect_key,
        scope=scope,
        open_key=open_key,
        idempotency_key=idempotency_key,
        repeats=repeats,
        arguments=arguments,
        arguments_digest=arguments_digest,
        status=status,
        code=None if code is None else Code(code),
        content=content,
        trust=trust,
        flags=tuple(json.loads(flags)),
        attempts=attempts,
        argument_bytes=argument_bytes,
        result_bytes=result_bytes,
        seconds=seconds,
        created=created,
        updated=updated,
        lease_until=lease_until,
    )


def run_values(row: RunRow) -> tuple[Any, ...]:
    """The values of `RUN_COLUMNS`."""
    return (
        row.tenant,
        bucket_of(row.tenant, row.run),
        row.run,
        row.session,
        row.principal,
        row.state,
        row.stop_reason,
        row.created,
        row.updated,
        row.version,
    )


def run_row(values: Sequence[Any]) -> RunRow:
    """A row read in the order of `RUN_COLUMNS`."""
    tenant, _bucket, *rest = values
    return RunRow(tenant, *rest)


def session_values(row: SessionRow) -> tuple[Any, ...]:
    """The values of `SESSION_COLUMNS`."""
    return (row.tenant, row.session, row.principal, row.provider, row.messages, row.created, row.updated)


def session_row(values: Sequence[Any]) -> SessionRow:
    """A row read in the order of `SESSION_COLUMNS`."""
    return SessionRow(*values)


def approval_values(row: ApprovalRow) -> tuple[Any, ...]:
    """The values of `APPROVAL_COLUMNS`."""
    return (
        row.tenant,
        bucket_of(row.tenant, row.run),
        row.approval,
        row.run,
        row.key,
        row.principal,
        row.tool,
        row.digest,
        row.arguments,
        row.binding,
        row.reason,
        int(row.four_eyes),
        row.needs,
        row.state,
        row.approver,
        row.note,
        row.edited,
        row.created,
        row.expires,
        row.decided,
    )


def approval_row(values: Sequence[Any]) -> ApprovalRow:
    """A row read in the order of `APPROVAL_COLUMNS`."""
    tenant, _bucket, *rest = values
    found = ApprovalRow(tenant, *rest)
    return replace(found, four_eyes=bool(found.four_eyes))


def result_values(row: ResultRow) -> tuple[Any, ...]:
    """The values of `RESULT_COLUMNS`."""
    bucket = bucket_of(row.tenant, row.run)
    return (row.tenant, bucket, row.handle, row.run, row.key, row.principal, row.trust, row.content, row.created)


def result_row(values: Sequence[Any]) -> ResultRow:
    """A row read in the order of `RESULT_COLUMNS`."""
    tenant, _bucket, *rest = values
    return ResultRow(tenant, *rest)


def storable(values: Sequence[Any]) -> tuple[Any, ...]:
    """The same values without lone surrogates, which a model can send and UTF-8 cannot hold: they become U+FFFD."""
    return tuple(_storable(value) if isinstance(value, str) else value for value in values)


def _storable(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
