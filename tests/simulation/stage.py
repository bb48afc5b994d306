"""All that one seed's parts share."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.answers import Told
from tests.simulation.disk import Disk
from tests.simulation.history import History
from tests.simulation.processes import Process
from tests.simulation.workload import Plan
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Stage:
    """One seed's stage."""

    plan: Plan
    history: History
    disk: Disk
    world: World
    told: Told
    processes: list[Process]
    """Every life of every worker."""

    def process(self, name: str, *, crash_at: int | None = None) -> Process:
        """A new life."""
        made = Process(name, crash_at=crash_at, on_crash=self._crashed)
        self.processes.append(made)
        return made

    def _crashed(self, process: Process) -> None:
        self.history.note(process.name, "CRASH", f"at step {process.steps}")
        self.history.count("fault: crash")
