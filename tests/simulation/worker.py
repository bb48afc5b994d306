"""One worker over all its lives: a rail of its own in each, its runs taken up again where the application had left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from random import Random
from typing import Any

from tests.simulation.answers import Answer, Watch
from tests.simulation.ordered import OrderedSet
from tests.simulation.pool import SimulatedPool
from tests.simulation.processes import Process
from tests.simulation.stage import Stage
from tests.simulation.tools import SECONDS, TOOLS
from tests.simulation.workload import ASKED_FOR, EVE, Asked, RunPlan, Turn, WorkerPlan, turn_of
from tests.simulation.world import Caller
from toolrail.clock import make_id
from toolrail.decisions import Allow, Approval, ApprovalRequest, Ask, Decision, Deny, Pending, PolicyRequest
from toolrail.digests import blake2b
from toolrail.drive import Driven
from toolrail.errors import RunBusy, RunNotFound, TurnConflict
from toolrail.messages import Message, ToolCall, ToolResult, Usage
from toolrail.model import ModelResponse
from toolrail.rail import Rail
from toolrail.run import Run
from toolrail.toolset import Toolset
from toolrail.turn import settle_turn

TOOLSET: Toolset[Caller] = Toolset(TOOLS)
BOUND = SECONDS + 75.0
"""Seconds within which every batch must be answered: deadline, waiting, and a store that hangs at each step."""
TRIES = 4
"""How often a run that is busy, or that the store does not open, is tried."""


class SkewedClock:
    """A process's clock, as far off as its plan says."""

    def __init__(self, loop: asyncio.AbstractEventLoop, jumps: Sequence[tuple[float, float]], rng: Random) -> None:
        self._loop = loop
        self._jumps = jumps
        self._rng = rng

    def wall(self) -> float:
        """The time of day, as this process has it."""
        now = self._loop.time()
        return 1_800_000_000.0 + now + [off for since, off in self._jumps if since <= now][-1]

    def random(self) -> float:
        """From the seed."""
        return self._rng.random()

    def new_id(self, prefix: str) -> str:
        """From the seed."""
        return make_id(prefix, self.wall(), self._rng.getrandbits(64))

    def secret(self) -> str:
        """From the seed: nobody is to be kept out here."""
        return f"{self._rng.getrandbits(128):032x}"


def policy(request: PolicyRequest) -> Decision:
    """Eve may only look; some payments need a person."""
    if request.principal.id == EVE and request.effect != "read":
        return Deny("not hers")
    return Ask("is that right?") if request.arguments.get("amount") == ASKED_FOR else Allow()


class Worker:
    """One worker."""

    def __init__(self, plan: WorkerPlan, stage: Stage) -> None:
        self._plan = plan
        self._stage = stage
        self._lives = 0

    async def live(self) -> None:
        """Until all its runs are over."""
        plan = self._plan
        while any(not run.done for run in plan.runs):
            crash_at = plan.crashes[self._lives] if self._lives < len(plan.crashes) else None
            process = self._stage.process(f"{plan.name}.{self._lives}", crash_at=crash_at)
            life = process.start(Life(plan, self._stage, process, self._lives).whole())
            self._lives += 1
            await asyncio.wait([life, process.ended], return_when=asyncio.FIRST_COMPLETED)
            if not process.dead:
                life.result()
                continue
            await asyncio.sleep(plan.restart)


class Life:
    """One life of a worker: one process, one rail."""

    def __init__(self, plan: WorkerPlan, stage: Stage, process: Process, number: int) -> None:
        self._plan = plan
        self._stage = stage
        self._process = process
        self._number = number
        self._rng = Random(f"{stage.plan.seed}:{process.name}")
        self._watch = Watch(stage.history, process)
        self.rail: Rail[Caller] = Rail(
            TOOLSET,
            store=stage.disk.open(process),
            policies=[policy],
            approver=self._approve,
            sinks=[self._watch],
            limits=plan.limits,
            clock=SkewedClock(asyncio.get_running_loop(), plan.jumps, self._rng),
            pool=SimulatedPool(process, plan.threads),
        )
        # A set of objects has the order of their addresses: two runs of one seed would differ.
        self.rail.ports.work.driven = OrderedSet[Driven]()
        self.rail.ports.work.tasks = OrderedSet[asyncio.Task[Any]]()
        if len(plan.jumps) > 1:
            stage.history.count("fault: clock jump by hours" if stage.plan.wild else "fault: clock jump")

    async def whole(self) -> None:
        """All runs that are not over yet, then an orderly end."""
        loop, history = asyncio.get_running_loop(), self._stage.history
        tasks = [loop.create_task(self._run(plan)) for plan in self._plan.runs if not plan.done]
        if self._plan.drain is not None and self._number == 0:
            await asyncio.sleep(self._plan.drain)
        else:
            await asyncio.wait(tasks)
        began = loop.time()
        history.note(self._process.name, "drain")
        history.count("fault: drain")
        await self.rail.drain(5.0)
        if loop.time() - began > 15.0:
            history.breaks("a shutdown has a bound", f"{loop.time() - began} s")
        await asyncio.wait(tasks)
        if self.rail.ports.work.calls:
            history.breaks("no call is left under way", f"{self.rail.ports.work.calls} in {self._process.name}")
        if self._watch.requested != self._watch.settled:
            history.breaks("every call gets one result", f"{self._watch.requested} {self._watch.settled}")

    async def _run(self, plan: RunPlan) -> None:
        loop = asyncio.get_running_loop()
        if self._number == 0:
            await asyncio.sleep(plan.start)
        work = loop.create_task(self._tried(plan))
        if plan.cancel is not None:
            loop.call_later(plan.cancel, work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            self._stage.history.count("fault: cancelled run")
            plan.done = True
        if not self.rail.ports.work.closing:
            plan.done = True  # else it is for the next life

    async def _tried(self, plan: RunPlan) -> None:
        history = self._stage.history
        for _ in range(TRIES):
            try:
                await self._opened(plan)
                return
            except RunBusy:
                history.count("run: busy")
            except (ConnectionError, TimeoutError):
                history.count("run: the store did not open it")
            except (TurnConflict, RunNotFound) as error:
                history.count(f"run: {type(error).__name__}")
                return
            await asyncio.sleep(self._rng.choice((1.0, 5.0, 40.0)))

    async def _opened(self, plan: RunPlan) -> None:
        who = plan.principal
        caller = Caller(self._stage.world, self._process, who.tenant, who.id, plan.session, "", plan.limits)
        messages: list[Message] = list(plan.messages)
        async with self.rail.run(
            messages, principal=who, deps=caller, limits=plan.limits, run_id=plan.run_id, session=plan.session
        ) as run:
            caller.run, caller.session = run.id, run.state.session
            if plan.run_id is not None and self._number and plan.changes_mind and plan.next < len(plan.turns):
                plan.turns[plan.next] = turn_of(self._rng, [asked.tool for asked in plan.turns[plan.next]])
            while plan.next < len(plan.turns):
                await self._turn(plan, run, caller)
                plan.next += 1
                plan.messages = list(messages)

    async def _turn(self, plan: RunPlan, run: Run[Caller], caller: Caller) -> None:
        turn, history = plan.turns[plan.next], self._stage.history
        calls = [_call(at, asked) for at, asked in enumerate(turn)]
        if plan.run_id is None:
            position = f"b{run.state.batches + 1}"
            work: Awaitable[list[ToolResult]] = self.rail.batch(calls, run)
        else:
            response = _response(calls)
            position = f"{len(run.messages)}-{_digest(response.messages)}"
            work = settle_turn(run, response, _rendered)
        history.note(
            self._process.name, "turn", f"{run.id}:{position} {[(one.tool, one.invoice, one.amount) for one in turn]}"
        )
        began = asyncio.get_running_loop().time()
        try:
            results = await work
        except (asyncio.CancelledError, TurnConflict, ConnectionError, TimeoutError) as error:
            if isinstance(error, (ConnectionError, TimeoutError)) and plan.run_id is None:
                history.breaks("nothing raises out of a batch", repr(error))
            raise
        except Exception as error:
            history.breaks("nothing raises out of a batch", repr(error))
            raise
        took = asyncio.get_running_loop().time() - began
        if took > BOUND:
            history.breaks("every batch is answered in time", f"{took} s for {turn}")
        self._heard(run, position, calls, turn, caller, results)

    def _heard(
        self,
        run: Run[Caller],
        position: str,
        calls: list[ToolCall],
        turn: Turn,
        caller: Caller,
        results: list[ToolResult],
    ) -> None:
        history, told = self._stage.history, self._stage.told
        if [one.call_id for one in results] != [one.id for one in calls]:
            history.breaks("one result each, in order", f"{[one.call_id for one in results]} for {turn}")
        for at, (asked, result) in enumerate(zip(turn, results, strict=False)):
            seq = history.note(
                self._process.name, "answer", f"{run.id}:{position}:{at} {result.status} {result.content}"
            )
            told.answers.append(Answer(seq, f"{run.id}:{position}:{at}", asked, caller, result, run.named))

    async def _approve(self, request: ApprovalRequest) -> Approval | Pending:
        history, say = self._stage.history, self._rng.choice(("yes", "yes", "no", "late", "pending", "breaks"))
        history.count(f"approval: {say}")
        if say == "late":
            await asyncio.sleep(self._rng.random() * 10.0)
        if say == "breaks":
            raise ValueError("no line to the approver")
        if say == "pending":
            return Pending(request.digest)
        if say != "no":
            self._stage.told.approved.add(request.request.call_key)
        return Approval(say != "no", "boss", request.digest)


def _call(at: int, asked: Asked) -> ToolCall:
    return ToolCall(f"call-{at}", asked.tool, json.dumps({"invoice": asked.invoice, "amount": asked.amount}))


def _response(calls: list[ToolCall]) -> ModelResponse:
    said: Message = {"role": "assistant", "calls": [[call.name, call.arguments] for call in calls]}
    return ModelResponse((said,), tuple(calls), "", "calls", Usage())


def _digest(messages: Sequence[Message]) -> str:
    """A part of the call key, so that another response at the same place is another call."""
    return blake2b(json.dumps(messages, sort_keys=True), 16)[:8]


def _rendered(results: Sequence[ToolResult]) -> list[Message]:
    return [{"role": "tool", "content": result.content} for result in results]
