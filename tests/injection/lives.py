"""One life of a process with one fault in it, the next process after it, and what must hold then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.injection.outside import ALICE, CALLS, Store, World, approver, policy, tools
from tests.injection.probe import Fault, Probe, make_task
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.store import CallRow, FindCall, OpenCalls, ask
from toolrail.stores.memory import MemoryStore
from toolrail.testing import FixedClock, run_virtual

PATIENCE = 300.0
"""Simulated seconds after which whoever waits for the batch gives up, and cancels it."""
BOUND = PATIENCE + 60.0
HOUR = 3_600.0


@dataclass
class Life:
    """What became of the first process, and what the next one found."""

    points: list[str]
    first: list[ToolResult] | None = None
    """None: it died, or was cancelled."""
    seconds: float = 0.0
    ended: str = "results"
    left: list[str] = field(default_factory=list[str])
    """Tasks that live on after the rail was drained."""
    rows: list[CallRow | None] = field(default_factory=list[CallRow | None])
    """Of the first process's calls."""
    listed: list[CallRow] = field(default_factory=list[CallRow])
    """Open an hour later, before anybody calls again."""
    paid_before: dict[str, int] = field(default_factory=dict[str, int])
    second: list[ToolResult] = field(default_factory=list[ToolResult])
    paid: dict[str, int] = field(default_factory=dict[str, int])


def live(fault: Fault | None = None, at: int | None = None) -> Life:
    """Runs the scenario with one fault at one point; None counts the points."""
    return run_virtual(_live(fault, at))


async def _live(fault: Fault | None, at: int | None) -> Life:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_task)  # pyright: ignore[reportArgumentType]
    rows, world, probe = MemoryStore(), World(), Probe(fault, at)
    life = Life(probe.points)
    began = loop.time()
    process = probe.start(_first(probe, Store(rows, probe), world, life))
    await asyncio.wait([process], timeout=BOUND)
    life.seconds = loop.time() - began
    if not probe.dead:
        life.ended = "late" if not process.done() else life.ended
        life.left = sorted(str(one.task) for one in probe.stepped if one.task is not None and not one.task.done())
    probe.dead = True
    await asyncio.sleep(HOUR)
    probe.bury()
    life.paid_before = dict(world.payments)
    life.listed = list(await ask(rows, OpenCalls()))
    life.rows = [await ask(rows, FindCall(None, f"first:b1:{at}")) for at in range(len(CALLS))]
    await _second(rows, world, life)
    life.paid = dict(world.payments)
    return life


def _rail(store: Store, world: World, seed: int) -> Rail[Any]:
    clock = FixedClock(seed=seed)
    return Rail(tools(world), store=store, policies=[policy], approver=approver, sinks=[], clock=clock)


async def _first(probe: Probe, store: Store, world: World, life: Life) -> None:
    rail = _rail(store, world, 1)
    # Opened and closed by hand: a process that died must not clean up when its coroutines are buried.
    opened = rail.run([], principal=ALICE, run_id="first")
    run = await opened.__aenter__()
    probe.open = True
    probe.caller = batch = asyncio.get_running_loop().create_task(rail.batch(CALLS, run))
    await asyncio.wait([batch], timeout=PATIENCE)
    if not batch.done():
        batch.cancel()
        await asyncio.wait([batch])
    probe.open = False
    if batch.cancelled():
        life.ended = "cancelled"
    elif batch.exception() is not None:
        life.ended = repr(batch.exception())
    else:
        life.first = batch.result()
    run.stop("done")
    await opened.__aexit__(None, None, None)
    await rail.drain()


async def _second(rows: MemoryStore, world: World, life: Life) -> None:
    """Another process, with nothing in its way, makes the same calls."""
    rail = _rail(Store(rows, Probe()), world, 2)
    async with rail, rail.run([], principal=ALICE, run_id="second") as run:
        life.second = await rail.batch(CALLS, run)
        run.stop("done")


def faults_in(life: Life, fault: Fault | None) -> list[str]:
    """What does not hold."""
    return [*_of_the_first(life, fault), *_of_the_world(life), *_of_the_second(life)]


def _of_the_first(life: Life, fault: Fault | None) -> list[str]:
    found: list[str] = []
    if fault != "crash":
        if life.ended not in ("results", "cancelled") or life.seconds > BOUND:
            found.append(f"the batch ended with {life.ended} after {life.seconds} s")
        if life.ended == "cancelled" and fault not in ("cancellation", "hang"):
            found.append("a batch that nobody cancelled was cancelled")
        if life.left and fault != "hang":
            found.append(f"tasks are left: {life.left}")
    if life.first is not None:
        if [result.call_id for result in life.first] != [call.id for call in CALLS]:
            found.append("not exactly one result for each call, in order")
        for result, row in zip(life.first, life.rows, strict=True):
            if result.ok and "not_recorded" not in result.flags and (row is None or row.content != result.content):
                found.append(f"the result {result.content!r} is not in the ledger")
    return found


def _of_the_world(life: Life) -> list[str]:
    found = [f"{invoice} was done {times} times" for invoice, times in life.paid.items() if times > 1]
    found += [f"{invoice} was never done" for invoice in "SV" if life.paid.get(invoice) != 1]
    done = {"P" for row in life.rows if row is not None and row.tool == "pay" and row.state == "done"}
    for invoice in life.paid_before:
        if invoice == "P" and invoice not in done and len([row for row in life.listed if row.tool == "pay"]) != 1:
            found.append("a payment took place that is neither done in the ledger nor listed as unknown, once")
    return found


def _of_the_second(life: Life) -> list[str]:
    found: list[str] = []
    unknown = any(row.tool == "pay" for row in life.listed)
    for call, result in zip(CALLS, life.second, strict=True):
        wanted = "OUTCOME_UNKNOWN" if call.name == "pay" and unknown else None
        if (result.code and result.code.value) != wanted:
            found.append(f"the next process was answered {result.code} to {call.name}, not {wanted or 'ok'}")
    return found
