"""One seed: its workers live, die and come back, until everything has ended and is looked at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from types import AsyncGeneratorType
from typing import Any, cast

from tests.simulation.answers import Told
from tests.simulation.audit import audited
from tests.simulation.checks import checked
from tests.simulation.desk import work_at_desk
from tests.simulation.disk import Disk, Weather
from tests.simulation.history import History
from tests.simulation.processes import CURRENT, Process, make_task
from tests.simulation.stage import Stage
from tests.simulation.worker import Worker
from tests.simulation.workload import Plan, plan_of
from tests.simulation.world import World
from toolrail.stores.memory import MemoryStore
from toolrail.testing import VirtualTimeLoop

PATIENCE = 1_000.0
"""Seconds of simulated time after which a worker that has not ended counts as hanging."""
AFTERWARDS = 400.0
"""Seconds until whatever was late, hanging or retried has ended."""
MakeRows = Callable[[], MemoryStore]


@dataclass(slots=True)
class Outcome:
    """What one seed showed."""

    seed: int
    history: History

    @property
    def held(self) -> bool:
        """Whether every promise held."""
        return not self.history.broken


def simulate(seed: int, *, rows: MakeRows = MemoryStore) -> Outcome:
    """Runs one seed. `rows` makes the store's rules: a test plants a bug there."""
    log = logging.getLogger("toolrail")
    loop = SimulatedLoop()
    before, log.disabled = log.disabled, True
    loop.set_task_factory(make_task)  # pyright: ignore[reportArgumentType]
    history = History(loop.time)
    processes: list[Process] = []
    loop.set_exception_handler(lambda _, context: _unheard(history, context))
    try:
        loop.run_until_complete(_all(plan_of(seed), history, processes, rows))
    except RuntimeError as error:
        history.breaks("nothing hangs", str(error))
    finally:
        loop.run_until_complete(_buried(processes))
        loop.close()
        log.disabled = before
    return Outcome(seed, history)


class SimulatedLoop(VirtualTimeLoop):
    """Leaves generators of dead processes alone: nobody is there who could close them."""

    def _asyncgen_firstiter_hook(self, agen: AsyncGeneratorType[Any, Any]) -> None:
        process = CURRENT.get()
        if process is not None:
            process.generators.append(agen)

    def _asyncgen_finalizer_hook(self, agen: object) -> None:
        return


async def _buried(processes: list[Process]) -> None:
    for process in processes:
        process.dead = True
        process.bury()
    for task in asyncio.all_tasks():
        setattr(task, "_log_destroy_pending", False)  # noqa: B010 - parked for ever


def _unheard(history: History, context: dict[str, Any]) -> None:
    """An error that nobody took: the user's log would show it without a word of where it came from."""
    task = context.get("task") or context.get("future")
    if not (isinstance(task, asyncio.Task) and _parked(cast("asyncio.Task[Any]", task))):
        history.breaks("no error goes unheard", f"{context['message']}: {context.get('exception')!r}")


async def _all(plan: Plan, history: History, processes: list[Process], rows: MakeRows) -> None:
    seed = plan.seed
    disk = Disk(history, Random(f"{seed}:disk"), plan.weather, rows=rows())
    world = World(history, Random(f"{seed}:world"), plan.world_trouble)
    stage = Stage(plan, history, disk, world, Told(), processes)
    lives = [asyncio.ensure_future(Worker(one, stage).live()) for one in plan.workers]
    desk = asyncio.ensure_future(work_at_desk(stage)) if plan.desk else None
    _, hanging = await asyncio.wait(lives, timeout=PATIENCE)
    for life in hanging:
        history.breaks("nothing hangs", f"a worker did not end within {PATIENCE} s: {history.lines[-1]}")
        life.cancel()
    if desk is not None:
        await desk
    await asyncio.sleep(AFTERWARDS)
    _leftovers(history, processes)
    disk.weather = Weather(0.0)
    checked(stage)
    if not history.broken:
        await audited(stage)


def _leftovers(history: History, processes: list[Process]) -> None:
    for text in (text for process in processes if not process.dead for text in process.unheard()):
        history.breaks("no error goes unheard", text)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not _parked(task)]
    for text in sorted(f"{task.get_coro()}".partition(" at ")[0] for task in left):
        history.breaks("no task is left", text)


def _parked(task: asyncio.Task[Any]) -> bool:
    """It belongs to a process that has died."""
    return getattr(task.get_coro(), "dead", False)
