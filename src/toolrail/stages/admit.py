"""admit: limits, gates, order and places. Whoever is let in holds a `Permit`, which gives everything back once.

Cheap refusals come first, then what waits and holds nothing, then places, and the circuit's probe last of all.
"""

from __future__ import annotations

import asyncio
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.events import CircuitChanged
from toolrail.gates.board import Line
from toolrail.gates.breaker import State
from toolrail.gates.places import Need
from toolrail.loops import begin, refusal
from toolrail.messages import ToolResult
from toolrail.ports import Gate, log
from toolrail.run import Job
from toolrail.stages.outcome import Failure, Success
from toolrail.stages.waiting import paced, placed, refused_by_circuit


class Permit:
    """The places that an admitted call holds: in the run, behind each gate, over all, in the thread pool, and its
    ticket of the circuit."""

    __slots__ = (
        "_arguments",
        "_entered",
        "_in_run",
        "_job",
        "_places",
        "_ticket",
        "ended",
        "line",
        "outcome",
        "thread",
    )

    def __init__(self, job: Job, arguments: Accepted) -> None:
        self._job = job
        self._arguments = arguments
        tool = job.tool
        assert tool is not None
        self.line: Line = job.ports.board.lines.get(tool.name) or _new_line(job, tool)
        """The rules that the tool stands under."""
        self._in_run = False
        self.thread = False
        """A place in the thread pool is reserved and not used yet."""
        self._entered: tuple[Gate, ...] = ()
        self._places: tuple[Need, ...] = ()
        self._ticket: int | None = None
        self.outcome: Success | Failure | None = None
        """How the handler ended, if it ran."""
        self.ended: float
        """And when, on the loop's clock."""

    async def enter(self) -> ToolResult | None:
        """Takes every place in turn; waits where that is the rule, refuses where it is not."""
        job, line = self._job, self.line
        if not job.run.enter_now():
            await job.run.enter()
        self._in_run = True
        for gate in job.ports.gates:
            refused = await gate.enter(job, self._tool)
            if refused is not None:
                return refused
            self._entered = (*self._entered, gate)
        if not line.plain:
            taken = await placed(job, self._tool, line, values=self._arguments.values)
            if isinstance(taken, ToolResult):
                return taken
            self._places = taken
        if line.sync:
            refused = await self._enter_pool(self._tool.limits.timeout)
            if refused is not None:
                return refused
        if line.breaker.closed:
            self._ticket = line.breaker.era
            return None
        return self._probe()

    async def _enter_pool(self, seconds: float) -> ToolResult | None:
        """Waits for a thread no longer than for the handler itself: abandoned ones may never come back."""
        job = self._job
        try:
            async with asyncio.timeout(seconds):
                await job.ports.pool.reserve()
        except TimeoutError:
            return job.ports.refuse(job, Code.TIMEOUT, values={"seconds": seconds})
        self.thread = True
        return None

    def _probe(self) -> ToolResult | None:
        """The circuit is not closed: one call at a time may try."""
        job, breaker = self._job, self.line.breaker
        now = job.run.now()
        self._ticket, changed = breaker.enter(now)
        self._say(changed)
        return None if self._ticket is not None else refused_by_circuit(job, breaker.refuses(now))

    def release(self, result: ToolResult | None) -> None:
        """Gives back what is held. The gates hear how it went; None means that the call did not come to a result."""
        job, ticket = self._job, self._ticket
        if ticket is not None:
            self._ticket = None
            line = self.line
            if type(self.outcome) is Success and self.ended < line.traffic.ends and ticket == line.breaker.era:
                line.traffic.calls += 1  # the way of almost every call
            else:
                self._say(line.dependency.leave(ticket, _answered(self.outcome), job.run.now()))
        if self.thread:
            self.thread = False
            job.ports.pool.release()
        if self._places:
            places, self._places = self._places, ()
            job.ports.board.places.give_back(places)
        if self._in_run:
            self._in_run = False
            job.run.leave()
        if self._entered:
            self._leave_gates(result)

    @property
    def _tool(self) -> Tool[Any]:
        tool = self._job.tool
        assert tool is not None
        return tool

    def _leave_gates(self, result: ToolResult | None) -> None:
        job, tool = self._job, self._tool
        entered, self._entered = self._entered, ()
        for gate in reversed(entered):
            try:
                gate.leave(job, tool, result)
            except Exception:  # the handler has run: its result stands
                log.exception("A gate failed when %s left it.", tool.name)

    def _say(self, changed: State | None) -> None:
        if changed is not None:
            name = self.line.dependency.name
            self._job.run.emit(lambda head: CircuitChanged(head, name, changed))


async def admit(job: Job, tool: Tool[Any], permit: Permit) -> ToolResult | None:
    """None when the call may start: its turn has come, and `permit` holds its places."""
    if job.over is not None:
        return job.ports.refuse(job, Code.LIMIT_REACHED, values={"limit": job.over})
    memory = job.run.loops or begin(job.run)
    if not memory.calm and (looping := refusal(job, tool)):
        return looping
    line = permit.line
    if not line.breaker.closed:
        seconds = line.breaker.refuses(job.run.now())
        if seconds is not None:
            return refused_by_circuit(job, seconds)
    for earlier in job.after:
        await earlier.wait()
    refused = await paced(job, line) if line.rates else None
    refused = refused or await permit.enter()
    if refused is None and job.ports.work.closing:
        return job.ports.refuse(job, Code.SHUTTING_DOWN)
    return refused


def _new_line(job: Job, tool: Tool[Any]) -> Line:
    board = job.ports.board
    return board.line(tool.name, tool.limits, dependency=tool.dependency, sync=not tool.is_async, now=job.run.now)


def _answered(outcome: Success | Failure | None) -> bool | None:
    """What a call says about its dependency. A permanent `ToolError` is an answer like any other. A bug says nothing:
    one user's odd arguments must not switch a tool off for all. Nor does a cancellation."""
    if outcome is None or isinstance(outcome, Success):
        return None if outcome is None else True
    match outcome.kind:
        case "transient" | "deadline":
            return False
        case "statement":
            return not outcome.may_pass
        case "unexpected" | "cancelled":
            return None
