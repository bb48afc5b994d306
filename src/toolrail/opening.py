"""Opening a run and giving it back: what the principal is offered, restoring it by id, one holder at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

from toolrail.budgets import account_of
from toolrail.decisions import Principal
from toolrail.definition import Tool
from toolrail.errors import RunBusy, RunNotFound
from toolrail.events import RunEnded, RunStarted, RunSuspended
from toolrail.leases import BUSY, Lease, to_the_end
from toolrail.limits import RunLimits
from toolrail.messages import Message
from toolrail.ports import Ports, log
from toolrail.run import Run, RunState, Spine
from toolrail.store import NOT_BEGUN, Forget, LoadRun, Op, SaveRun, Settle
from toolrail.toolset import Toolset

WAITS = "waits"
"""The attachment of a run that was restored while it waits, until somebody resumes it."""
_NO_LIMITS = RunLimits()
_LIMITS = tuple(one.name for one in fields(RunLimits))
_NOTHING: Mapping[str, Tool[Any]] = {}


def make_run(
    ports: Ports,
    tools: Toolset[Any],
    *,
    spine: Spine,
    messages: list[Message],
    principal: Principal,
    deps: Any,
    limits: RunLimits | None = None,
    session: str | None = None,
) -> Run[Any]:
    """A fresh run. The offer is fixed here: the tools whose permissions the principal has, in their order."""
    if not isinstance(principal, Principal):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f'principal={principal!r} is no Principal. Write Principal("{principal}", permissions=...).')
    ports.watchdog.after_fork()
    offered, hidden = tools.offer(principal.permissions)
    offered, shut = _without_open_circuits(ports, offered) if ports.board.troubled else (offered, _NOTHING)
    state = RunState(
        ports.clock.new_id("run"),
        principal.tenant,
        principal.id,
        session=session,
        started=ports.clock.wall(),
        offered=tuple(offered),
        shut=tuple(shut),
    )
    run: Run[Any] = Run(
        ports,
        spine,
        state,
        deps=deps,
        principal=principal,
        messages=messages,
        limits=limits or _NO_LIMITS,
        offered=offered,
        hidden=hidden,
    )
    run.shut = shut
    run.account = account_of(run)
    return run


def _without_open_circuits(
    ports: Ports, tools: Mapping[str, Tool[Any]]
) -> tuple[Mapping[str, Tool[Any]], Mapping[str, Tool[Any]]]:
    """What is offered, and what is not because its circuit is open now. A model should not plan with what is down."""
    now = ports.now()
    shut = {name: tool for name, tool in tools.items() if ports.board.shut(tool.dependency or name, now)}
    return ({name: tool for name, tool in tools.items() if name not in shut}, shut) if shut else (tools, shut)


@asynccontextmanager
async def held(ports: Ports, run: Run[Any], run_id: str | None) -> AsyncGenerator[None]:
    """Holds a run while it is worked on; restores it first when it has an id that the store knows."""
    if run_id is not None:
        run.named = True
        await _take(ports, run, run_id)
    renewal = run.lease.kept() if run.lease is not None else None
    resumed = run.state.turn > 0
    if ports.tracers:
        ports.begin_run(run)
    run.emit(lambda head: RunStarted(head, run.state.offered, resumed, _set(run.limits), run.model))
    try:
        yield
    except BaseException as error:
        run.stop("cancelled" if run.cancelled or not isinstance(error, Exception) else "error")
        raise
    finally:
        if renewal is not None:
            renewal.cancel()
        if WAITS in run.attachments:
            _hint(run)
        _say_end(run)
        await keep_run(ports, run)


@asynccontextmanager
async def opened(ports: Ports, run: Run[Any], run_id: str | None) -> AsyncGenerator[None]:
    """Holds a run, and opens its account."""
    async with held(ports, run, run_id):
        if run.account is not None:
            await run.account.open()
        yield


async def _take(ports: Ports, run: Run[Any], run_id: str) -> None:
    run.lease = lease = Lease(ports, run.state.tenant, f"run:{run_id}", run.id)
    try:
        taken, row = await to_the_end(ports, lease.take(), LoadRun(lease.tenant, run_id))
        if row is not None and row.principal != run.principal.id:
            raise RunNotFound(f"There is no run {run_id!r}.")
        if not taken:
            raise RunBusy(f"Run {run_id!r} {BUSY}")
        if row is None:
            run.state.run_id = run_id
        else:
            _restore(run, RunState.from_json(row.state))
    except BaseException:
        # Also when it was cancelled: the lease may have been taken all the same.
        await to_the_end(ports, lease.drop())
        raise


def _set(limits: RunLimits) -> Mapping[str, object]:
    """Those of a run's limits that are set, for the record."""
    return {name: value for name in _LIMITS if (value := getattr(limits, name)) is not None}


def _restore(run: Run[Any], state: RunState) -> None:
    """The offer stays as it was, less what the principal has lost: permissions are never stored."""
    allowed = {**run.offered, **run.shut}
    offered = {name: allowed[name] for name in state.offered if name in allowed}
    run.shut = {name: allowed[name] for name in state.shut if name in allowed}
    hidden = run.hidden.union(allowed, state.offered)
    run.hidden = hidden.difference(offered, run.shut)
    run.offered = offered
    state.stop_reason = None if (state.stop_reason or "").startswith("question") else state.stop_reason
    run.state = state
    if state.pending:
        run.attachments[WAITS] = True


def _hint(run: Run[Any]) -> None:
    """Somebody has said more to a run that waits: it is not open, and the model is not asked."""
    from toolrail.history.placing import is_result  # most runs wait for nobody

    if run.messages and not is_result(run.messages[-1]):
        log.warning(
            "Run %s waits for %d call(s), so it is not open and the new message was not answered. Mend: decide what "
            "waits and resume the run, or settle it with rail.settle(key, ...), or give the message a run of its own.",
            run.id,
            len(run.state.pending),
        )


def _say_end(run: Run[Any]) -> None:
    state = run.state
    if state.stop_reason in (None, "pending"):
        run.show_messages(run.emit(lambda head: RunSuspended(head, len(state.pending))))
        return
    reason = state.stop_reason
    ended = run.emit(lambda head: RunEnded(head, reason, state.turn, state.calls, state.usage, run.elapsed), end=True)
    run.show_messages(ended)


async def keep_run(ports: Ports, run: Run[Any]) -> None:
    """Writes what a run has done, and gives its lease back. A store that forgets with the process forgets it now."""
    if run.named or ports.store.durable or run.state.pending:
        ops: list[Op] = [*saved(run)]
        if run.lease is not None:
            ops.append(run.lease.drop())
    elif run.stored or run.kept:
        ops = [Forget(run.state.tenant, run.id)]
    else:
        return
    try:
        await to_the_end(ports, *ops)
    except Exception:
        log.exception("The store could not save run %s.", run.id)


def saved(run: Run[Any]) -> list[Op]:
    """What makes a run's progress durable: its finished calls, its state, and its session's messages."""
    rows, run.unsaved = run.unsaved, []
    # Those calls claimed nothing: an earlier process may have begun one under the same key, and that row stands.
    return [*(Settle(row, NOT_BEGUN) for row in rows), SaveRun(run.row()), *(keep() for keep in run.keepers)]
