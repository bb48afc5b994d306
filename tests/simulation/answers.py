"""What callers were told, and what was asked and decided on the way: the other half of what the checks compare."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation.history import History
from tests.simulation.processes import Process
from tests.simulation.workload import Asked
from tests.simulation.world import Caller
from toolrail.events import CallClaimed, CallRequested, CallSettled, Event
from toolrail.messages import ToolResult


@dataclass(frozen=True, slots=True)
class Answer:
    """One call's one result."""

    at: int
    key: str
    """`call_key`."""
    asked: Asked
    caller: Caller
    result: ToolResult
    named: bool


@dataclass(slots=True)
class Told:
    """All answers of one seed."""

    answers: list[Answer] = field(default_factory=list[Answer])
    approved: set[str] = field(default_factory=set[str])
    """Call keys that a person has said yes to."""


class Watch:
    """A sink: hears of each call of one process."""

    def __init__(self, history: History, process: Process) -> None:
        self.requested: dict[str, int] = {}
        self.settled: dict[str, int] = {}
        self._history = history
        self._process = process

    def emit(self, event: Event) -> None:
        """Counts requests and results, which must be as many."""
        if self._process.dead:
            return
        match event:
            case CallRequested(_, call):
                self.requested[call.key] = self.requested.get(call.key, 0) + 1
            case CallClaimed(_, call):
                self._history.note(self._process.name, "claimed", call.key)
            case CallSettled(_, call, status, code):
                self.settled[call.key] = self.settled.get(call.key, 0) + 1
                what = f"{code or status}{' replayed' if event.replayed else ''}"
                self._history.note(
                    self._process.name, "settled", f"{call.key} {call.tool} {what} {','.join(event.flags)}"
                )
                self._history.count(f"answer: {what}")
            case _:
                self._history.count(f"event: {type(event).__name__}")
