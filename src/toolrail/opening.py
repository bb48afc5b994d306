"""Opening a run and giving it back: what the principal is offered, restoring it by id, one holder at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from toolrail.decisions import Principal
from toolrail.errors import RunBusy, RunNotFound
from toolrail.events import RunEnded, RunStarted, RunSuspended
from toolrail.limits import RunLimits
from toolrail.messages import Message
from toolrail.ports import Ports, log
from toolrail.run import Run, RunState, Spine
from toolrail.store import DropLease, LoadRun, Op, RunRow, SaveRun, Settle, TakeLease, ask
from toolrail.toolset import Toolset

LEASE_SECONDS = 600.0
"""A holder that died gives a run or a session back after this."""
_NO_LIMITS = RunLimits()


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
    offered, hidden = tools.offer(principal.permissions)
    state = RunState(
        ports.clock.new_id("run"),
        principal.tenant,
        principal.id,
        session=session,
        started=ports.clock.wall(),
        offered=tuple(offered),
    )
    return Run(
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


@asynccontextmanager
async def held(ports: Ports, run: Run[Any], run_id: str | None) -> AsyncGenerator[None]:
    """Holds a run while it is worked on; restores it first when it has an id that the store knows."""
    if run_id is not None:
        run.named = True
        await _take(ports, run, run_id)
    resumed = run.state.turn > 0
    run.emit(lambda head: RunStarted(head, run.state.offered, resumed))
    try:
        yield
    except BaseException as error:
        run.stop("cancelled" if run.cancelled or not isinstance(error, Exception) else "error")
        raise
    finally:
        _say_end(run)
        await _give_back(ports, run)


async def _take(ports: Ports, run: Run[Any], run_id: str) -> None:
    tenant, holder, now = run.state.tenant, run.id, ports.clock.wall()
    if not await ask(ports.store, TakeLease(tenant, f"run:{run_id}", holder, now, now + LEASE_SECONDS)):
        raise RunBusy(f"Run {run_id!r} is being worked on by another holder. Try again when it is done.")
    row = await ask(ports.store, LoadRun(tenant, run_id))
    if row is None:
        run.state.run_id = run_id
        run.holder = holder
        return
    if row.principal != run.principal.id:
        await ports.store.apply(DropLease(tenant, f"run:{run_id}", holder))
        raise RunNotFound(f"There is no run {run_id!r}.")
    _restore(run, RunState.from_json(row.state))
    run.holder = holder


def _restore(run: Run[Any], state: RunState) -> None:
    """The offer stays as it was, less what the principal has lost: permissions are never stored."""
    offered = {name: run.offered[name] for name in state.offered if name in run.offered}
    run.hidden = run.hidden.union(run.offered.keys() - offered.keys(), frozenset(state.offered) - offered.keys())
    run.offered = offered
    state.stop_reason = None if (state.stop_reason or "").startswith("question") else state.stop_reason
    run.state = state


def _say_end(run: Run[Any]) -> None:
    state = run.state
    if state.stop_reason is None:
        run.emit(lambda head: RunSuspended(head, 0))
        return
    reason = state.stop_reason
    run.emit(lambda head: RunEnded(head, reason, state.turn, state.calls, state.usage, run.elapsed))


async def _give_back(ports: Ports, run: Run[Any]) -> None:
    if not (run.named or ports.store.durable):
        return
    ops: list[Op[Any]] = [*saved(ports, run)]
    if run.named:
        ops.append(DropLease(run.state.tenant, f"run:{run.id}", run.holder))
    task = ports.own(ports.store.apply(*ops))
    try:
        await task
    except Exception:
        log.exception("The store could not save run %s.", run.id)


def saved(ports: Ports, run: Run[Any]) -> list[Op[Any]]:
    """What makes a run's progress durable: its finished calls and its state."""
    rows, run.unsaved = run.unsaved, []
    state = replace(run.state, seconds=run.elapsed)
    row = RunRow(
        state.tenant,
        state.run_id,
        state.session,
        state.principal_id,
        state.to_json(),
        state.stop_reason,
        state.started,
        ports.clock.wall(),
    )
    return [*(Settle(row) for row in rows), SaveRun(row)]
