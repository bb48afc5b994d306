"""Afterwards, on a quiet store: what is done is answered again; what is open is listed, and settled by hand."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from random import Random

from tests.simulation.checks import OPEN, rows_of
from tests.simulation.ordered import OrderedSet
from tests.simulation.pool import SimulatedPool
from tests.simulation.processes import Process
from tests.simulation.stage import Stage
from tests.simulation.worker import TOOLSET, SkewedClock
from tests.simulation.workload import ASKED_FOR
from tests.simulation.world import Caller, Effect
from toolrail.decisions import Principal
from toolrail.drive import Driven
from toolrail.limits import RailLimits, RunLimits
from toolrail.messages import ToolCall, ToolResult
from toolrail.rail import Rail
from toolrail.store import CallRow, OpenCalls, Settle, ask

LATER = 20_000.0
"""Seconds that the auditor's clock is ahead: every lease has lapsed for it."""
LOOKED_AT = 3
"""Calls of each kind that are made again."""


async def audited(stage: Stage) -> None:
    """Looks at a sample of what the seed left behind."""
    process = stage.process("audit")
    await process.start(_audited(stage, process))


async def _audited(stage: Stage, process: Process) -> None:
    stage.world.trouble = 0.0
    rail = _rail(stage, process)
    await _listed(stage, rail)
    await _leases_are_free(stage, rail, process)
    rows = [row for row in rows_of(stage) if row.effect_key is not None and row.arguments is not None]
    for row in [one for one in rows if one.state == "done"][:LOOKED_AT]:
        await _answered_again(stage, rail, process, row)
    for row in [one for one in rows if one.state in OPEN and one.effect == "once"][:LOOKED_AT]:
        await _settled_by_hand(stage, rail, process, row)
    await rail.drain(5.0)


def _rail(stage: Stage, process: Process) -> Rail[Caller]:
    loop = asyncio.get_running_loop()
    rail: Rail[Caller] = Rail(
        TOOLSET,
        store=stage.disk.open(process),
        sinks=[],
        limits=RailLimits(circuit=None),
        clock=SkewedClock(loop, [(0.0, LATER)], Random(f"{stage.plan.seed}:audit")),
        pool=SimulatedPool(process, 8),
    )
    rail.ports.work.driven = OrderedSet[Driven]()
    return rail


async def _listed(stage: Stage, rail: Rail[Caller]) -> None:
    """Every open call is listed, each once."""
    listed = [row.key for row in await ask(rail.ports.store, OpenCalls(limit=10_000))]
    wanted = [row.key for row in rows_of(stage) if row.state in OPEN]
    if sorted(listed) != sorted(wanted):
        stage.history.breaks("every open call is listed once", f"{listed} but {wanted}")


async def _leases_are_free(stage: Stage, rail: Rail[Caller], process: Process) -> None:
    """Whoever died gives its runs back."""
    for worker in stage.plan.workers:
        for plan in worker.runs:
            if plan.run_id is None:
                continue
            caller = _caller(stage, process, plan.principal.tenant, plan.principal.id)
            async with rail.run([], principal=plan.principal, deps=caller, run_id=plan.run_id):
                stage.history.count("audit: lease free")


async def _answered_again(stage: Stage, rail: Rail[Caller], process: Process, row: CallRow) -> None:
    """A second call with the key of one that is done gets its result, and does nothing. Where the other side honours
    keys it may be asked once more: a late answer settles the call that was given up, not the one that repeats it."""
    if row.scope not in ("tenant", "principal"):
        return
    visits = len(stage.world.visits)
    result = await _again(stage, rail, process, row)
    asked = len(stage.world.visits) - visits if row.effect != "keyed" else 0
    if result.content != row.content or asked:
        stage.history.breaks("the first result is given again", f"{row.key}: {row.content} but {result.content}")
    stage.history.count("audit: answered again")


async def _settled_by_hand(stage: Stage, rail: Rail[Caller], process: Process, row: CallRow) -> None:
    """Refused until a person has looked; then the first result, or a first effect."""
    if row.scope not in ("tenant", "principal"):
        return
    visits = len(stage.world.visits)
    refused = await _again(stage, rail, process, row)
    if refused.code != "OUTCOME_UNKNOWN" or len(stage.world.visits) != visits:
        stage.history.breaks("an unknown outcome is not repeated", f"{row.key}: {refused.content}")
        return
    done = _effect_of(stage, row)
    ended = replace(row, state="done", status="ok", code=None, content=done.receipt) if done else _failed(row)
    await ask(rail.ports.store, Settle(ended, OPEN))
    result = await _again(stage, rail, process, row)
    if result.status != "ok" or (done is not None and result.content != done.receipt):
        stage.history.breaks("a settled outcome frees or answers", f"{row.key}: {result.content}")
    stage.history.count(f"audit: settled by hand as {ended.state}")


def _failed(row: CallRow) -> CallRow:
    return replace(row, state="failed", status="error", lease_until=None)


def _effect_of(stage: Stage, row: CallRow) -> Effect | None:
    return next((one for one in stage.world.effects if one.visit.call_key == row.key), None)


async def _again(stage: Stage, rail: Rail[Caller], process: Process, row: CallRow) -> ToolResult:
    arguments = json.loads(row.arguments or "{}")
    principal = Principal(row.principal, tenant=row.tenant)
    caller = _caller(stage, process, row.tenant, row.principal)
    if arguments["amount"] == ASKED_FOR:
        stage.history.count("audit: asked for before")
    async with rail.run([], principal=principal, deps=caller) as run:
        caller.run = run.id
        return (await rail.batch([ToolCall("again", row.tool, json.dumps(arguments))], run))[0]


def _caller(stage: Stage, process: Process, tenant: str, principal: str) -> Caller:
    return Caller(stage.world, process, tenant, principal, None, "", RunLimits())
