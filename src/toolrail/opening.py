"""Opening a run and giving it back: what the principal is offered, restoring it by id, one holder at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from toolrail.decisions import Principal
from toolrail.errors import RunBusy, RunNotFound
from toolrail.events import RunEnded, RunStarted, RunSuspended
from toolrail.leases import BUSY, Lease, to_the_end
from toolrail.limits import RunLimits
from toolrail.messages import Message
from toolrail.ports import Ports, log
from toolrail.run import Run, RunState, Spine
from toolrail.store import LoadRun, Op, SaveRun, Settle
from toolrail.toolset import Toolset

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
    if not isinstance(principal, Principal):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f'principal={principal!r} is no Principal. Write Principal("{principal}", permissions=...).')
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
    renewal = run.lease.kept() if run.lease is not None else None
    resumed = run.state.turn > 0
    run.emit(lambda head: RunStarted(head, run.state.offered, resumed))
    try:
        yield
    except BaseException as error:
        run.stop("cancelled" if run.cancelled or not isinstance(error, Exception) else "error")
        raise
    finally:
        if renewal is not None:
            renewal.cancel()
        _say_end(run)
        await keep_run(ports, run)


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


async def keep_run(ports: Ports, run: Run[Any]) -> None:
    """Writes what a run has done, and gives its lease back."""
    if not (run.named or ports.store.durable):
        return
    ops: list[Op] = [*saved(run)]
    if run.lease is not None:
        ops.append(run.lease.drop())
    try:
        await to_the_end(ports, *ops)
    except Exception:
        log.exception("The store could not save run %s.", run.id)


def saved(run: Run[Any]) -> list[Op]:
    """What makes a run's progress durable: its finished calls, its state, and its session's messages."""
    rows, run.unsaved = run.unsaved, []
    return [*(Settle(row) for row in rows), SaveRun(run.row()), *(keep() for keep in run.keepers)]
