"""Settling from outside: how a call ended that waits for another system, or whose outcome is unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from toolrail.codes import CODES, Code
from toolrail.decisions import Principal
from toolrail.encoding import encode_value
from toolrail.errors import RunBusy, RunError, RunNotFound, ToolError
from toolrail.events import OutcomeSettled
from toolrail.messages import ToolCall, ToolResult
from toolrail.opening import make_run
from toolrail.ports import Ports
from toolrail.run import Job
from toolrail.stages.outcome import Success
from toolrail.stages.settle import settled_as
from toolrail.stages.token import place_of
from toolrail.store import CallRow, CallState, FindCall, ReadResult, Settle, ask
from toolrail.toolset import Toolset

_SETTLED: frozenset[CallState] = frozenset({"done", "failed"})


async def settle_call(
    ports: Ports,
    toolset: Toolset[Any] | None,
    call: str,
    *,
    value: Any = None,
    error: ToolError | None = None,
    tenant: str | None = None,
    by: Literal["hand", "verify"] = "hand",
    flags: tuple[str, ...] = (),
) -> bool:
    """Says how a call ended. False: it was settled before, and stays as it was.

    Args:
        ports: of the rail.
        toolset: its tools, by whose rules the value is encoded. None: by the rules for any value.
        call: the call's key, or the token that its handler gave to `Later`.
        value: what the effect gave, if it took place.
        error: it did not take place, and this is what the model may read. Its key is free again.
        tenant: where it is looked for. None: a key in any tenant, a token in "default".
        by: what the record says of how it became known.
        flags: what its row says beside that, such as who found out.

    Raises:
        RunNotFound: there is no such call.
        RunBusy: its handler is still at work, so nobody can say yet how it ends.
        RunError: it has not begun: it waits for a person's approval.
    """
    row = await find_call(ports, call, tenant=tenant)
    if row.state in _SETTLED:
        return False
    _check_open(ports, row)
    job = _job_for(ports, toolset, row)
    ended = _failed(ports, job, row, error) if error is not None else _done(job, row, value)
    ended = replace(ended, flags=(*ended.flags, *flags)) if flags else ended
    written = await ask(ports.store, Settle(ended, _states(row)))
    if written:
        job.run.emit(lambda head: OutcomeSettled(head, job.ref(), ended.status or "ok", by))
    return written


async def find_call(ports: Ports, call: str, *, tenant: str | None = None) -> CallRow:
    """The call with this key, or which another system knows by this token.

    Raises:
        RunNotFound: there is none.
    """
    row = await ask(ports.store, FindCall(tenant, call))
    if row is None:
        place = await ask(ports.store, ReadResult(tenant or "default", place_of(call)))
        row = await ask(ports.store, FindCall(place.tenant, place.key)) if place is not None else None
    if row is None:
        raise RunNotFound(f"There is no call {call!r}.")
    return row


def _check_open(ports: Ports, row: CallRow) -> None:
    if row.state in ("planned", "pending"):
        raise RunError(f"Call {row.key!r} has not begun, so it has no outcome. Mend: decide its approval instead.")
    if row.state == "started" and not _lapsed(ports, row):
        raise RunBusy(f"The handler of call {row.key!r} is still at work. Try again when it has returned.")


def _lapsed(ports: Ports, row: CallRow) -> bool:
    return row.lease_until is not None and ports.clock.wall() > row.lease_until


def _states(row: CallRow) -> tuple[CallState, ...]:
    """Those in which it may be settled. A row that was `started` may be so only if it still is the same one."""
    return (
        ("waiting", "unknown", "repeated", "started") if row.state == "started" else ("waiting", "unknown", "repeated")
    )


def _job_for(ports: Ports, toolset: Toolset[Any] | None, row: CallRow) -> Job:
    """The call as it stood in its run: its result is encoded, and told, as that of a handler would be."""
    principal = Principal(row.principal, tenant=row.tenant)
    tools = Toolset[Any]() if toolset is None else toolset
    run = make_run(ports, tools, spine=_never, messages=[], principal=principal, deps=None)
    run.state.run_id, run.state.turn = row.run, row.turn
    call = ToolCall(row.call_id, row.tool, row.arguments or "{}")
    return Job(ports, run, call, row.index, row.key, ports.now(), tool=tools.get(row.tool), attempts=row.attempts)


async def _never(job: Job) -> ToolResult:
    raise RunError("This run only settles what has ended.")


def _done(job: Job, row: CallRow, value: Any) -> CallRow:
    if job.tool is not None:
        return settled_as(job, job.tool, row, Success(value))
    found = encode_value(value)
    ended = replace(row, updated=job.ports.clock.wall(), lease_until=None, state="done", status="ok", code=None)
    return replace(ended, content=found.text, flags=found.flags, result_bytes=len(found.text.encode()))


def _failed(ports: Ports, job: Job, row: CallRow, error: ToolError) -> CallRow:
    said = ports.refuse(job, Code.TOOL_ERROR, text=str(error), started=True)
    return replace(
        row,
        state="failed",
        status=CODES[Code.TOOL_ERROR].status,
        code=Code.TOOL_ERROR,
        content=said.content,
        trust=said.trust,
        flags=(),
        result_bytes=len(said.content.encode()),
        updated=ports.clock.wall(),
        lease_until=None,
    )
