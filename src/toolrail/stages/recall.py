"""recall: an effect that is done is answered with its result, one whose outcome is unknown is refused.

It stands behind `authorise`: nobody is told the result of an effect that he may not ask for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.codes import CODES, Code
from toolrail.decisions import ANONYMOUS
from toolrail.definition import Tool
from toolrail.digests import blake2b
from toolrail.messages import ToolCall, ToolResult
from toolrail.ports import log
from toolrail.run import Job
from toolrail.store import CallRow, FindEffect, ask
from toolrail.wording import UNDER_WAY

STORE_SECONDS = 5.0
"""A store that does not answer within this is unavailable."""
FIRST_LOOK = 0.02
LAST_LOOK = 0.5
"""Seconds between two looks at another holder of the key: doubled from the first to the last."""


async def recall(job: Job, tool: Tool[Any], arguments: Accepted) -> ToolResult | None:
    """The first result of the same effect, a refusal, or None when the call may go on."""
    if not tool.effect.by:
        return None
    job.effect_key = effect_key(job, tool, arguments.effective)
    job.arguments_digest = digest_of(arguments.effective)
    try:
        row = await _find(job, job.effect_key)
        return None if row is None else await met(job, tool, row)
    except Exception:
        log.exception("The store could not be asked for an effect; the call was not started.")
        return job.ports.refuse(job, Code.STORE_UNAVAILABLE)


async def met(job: Job, tool: Tool[Any], row: CallRow) -> ToolResult | None:
    """What an earlier call with the same key means for this one. Waits, within the deadline, while that one runs."""
    look, deadline = FIRST_LOOK, job.started + tool.limits.timeout
    while row.state == "started" and not _lapsed(job, row):
        left = deadline - job.ports.now()
        if left <= 0:
            text = UNDER_WAY.format(tool=tool.name, by=", ".join(tool.effect.by))
            return job.ports.refuse(job, Code.TIMEOUT, text=text, values={"seconds": tool.limits.timeout})
        await asyncio.sleep(min(look, left))
        look = min(LAST_LOOK, look * 2)
        found = await _find(job, row.effect_key or "")
        if found is None:
            return None
        row = found
    if row.arguments_digest != job.arguments_digest:
        return job.ports.refuse(job, Code.EFFECT_CONFLICT, values={"by": ", ".join(tool.effect.by)})
    if row.state == "done":
        return replayed_as(job.call, row)
    return None if row.state in ("planned", "failed") else job.ports.refuse(job, Code.OUTCOME_UNKNOWN)


async def _find(job: Job, effect_key: str) -> CallRow | None:
    async with asyncio.timeout(STORE_SECONDS):
        return await ask(job.ports.store, FindEffect(job.run.state.tenant, effect_key))


def _lapsed(job: Job, row: CallRow) -> bool:
    return row.lease_until is not None and job.ports.clock.wall() > row.lease_until


def replayed_as(call: ToolCall, row: CallRow) -> ToolResult:
    """The result of a row that is settled, as the answer to this call."""
    return ToolResult(
        call.id,
        call.name,
        CODES[row.code].status if row.code else row.status or "ok",
        row.content or "",
        code=row.code,
        trust=row.trust,
        flags=row.flags,
        replayed=True,
    )


def effect_key(job: Job, tool: Tool[Any], effective: Mapping[str, Any]) -> str:
    """Digest of scope, tool and the fields that make an effect the same. Keys never cross a tenant."""
    run, effect = job.run, tool.effect
    scope = effect.scope or ("principal" if job.ports.store.durable and run.principal is not ANONYMOUS else "run")
    owner = {
        "run": run.id,
        "session": run.state.session or run.id,
        "principal": run.principal.id,
        "tenant": "",
    }[scope]
    fields = {name: effective.get(name) for name in effect.by}
    return digest_of([scope, owner, tool.name, fields])


def digest_of(value: Any) -> str:
    """128 bits over a value's canonical JSON, as 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return blake2b(text, 16)


def row_for(job: Job, tool: Tool[Any] | None, *, lease_until: float | None = None) -> CallRow:
    """This call as a row of the ledger."""
    run = job.run
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
        effect_key=job.effect_key,
        arguments_digest=job.arguments_digest,
        argument_bytes=len(job.call.arguments.encode("utf-8", "surrogatepass")),
        created=wall,
        updated=wall,
        lease_until=lease_until,
    )
