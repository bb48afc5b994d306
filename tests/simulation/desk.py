"""A person at a desk, who looks at what is open and settles it by hand, by what the world really did."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

from tests.simulation.stage import Stage
from toolrail.store import CallRow, OpenCalls, Settle, Store, ask

LOOKS = 12


async def work_at_desk(stage: Stage) -> None:
    """Looks now and then, on a line that fails like any other."""
    rng = Random(f"{stage.plan.seed}:desk")
    store = stage.disk.open(stage.process("desk"))
    for _ in range(LOOKS):
        await asyncio.sleep(rng.random() * 6.0)
        try:
            for row in await ask(store, OpenCalls()):
                if rng.random() < 0.5:
                    await _settle(stage, store, row)
        except ConnectionError:
            stage.history.count("desk: no line")


async def _settle(stage: Stage, store: Store, row: CallRow) -> None:
    """What took place is done, even while its handler still waits for the answer. That something will not take place
    is said only of what is unknown, after the world has called it off."""
    world, tried = stage.world, [visit for visit in stage.world.visits if visit.call_key == row.key]
    done = next((one for one in world.effects if one.visit.call_key == row.key), None)
    if done is not None:
        ended = replace(row, state="done", status="ok", code=None, content=done.receipt, lease_until=None)
    elif row.state == "unknown" and tried and not any((one.tool, one.key) in world.by_key for one in tried):
        for visit in tried:
            world.void[visit.tool, visit.key] = stage.history.at
        ended = replace(row, state="failed", status="error", content=None, lease_until=None)
    else:
        return
    stage.history.count(f"desk: settled as {ended.state}")
    await ask(store, Settle(ended, ("started", "unknown")))
