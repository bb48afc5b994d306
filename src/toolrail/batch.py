"""One response's calls: reserved before any starts, at the same time unless order is declared, each answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.definition import Tool
from toolrail.events import CallRequested
from toolrail.messages import ToolCall, ToolResult
from toolrail.ports import Ports
from toolrail.run import Job, Run
from toolrail.stages.validate import validate


@dataclass(slots=True)
class Batch:
    """What became of a batch: a result for each call, in the model's order, and what interrupted it."""

    results: list[ToolResult]
    interrupt: BaseException | None
    """A cancellation or Ctrl-C that came meanwhile. To be raised once the results are safe."""


async def settle_all(
    ports: Ports, run: Run[Any], calls: Sequence[ToolCall], *, position: str, truncated: bool, over: str | None = None
) -> Batch:
    """Answers every call exactly once, whatever happens to any of them. Does not raise.

    `position` makes the calls' keys unique within the run; `over` names a limit that has no room for any of them.
    """
    jobs = reserve(ports, run, calls, position=position, truncated=truncated)
    for job in jobs:
        job.over = job.over or over
    if not jobs:
        return Batch([], None)
    if len(jobs) == 1:
        return Batch([await run.spine(jobs[0])], _interrupt_of(jobs[0]))
    put_in_order(run, jobs)
    return await _together(run, jobs)


def reserve(ports: Ports, run: Run[Any], calls: Sequence[ToolCall], *, position: str, truncated: bool) -> list[Job]:
    """Counts every call against the run's limits, in the model's order, before any of them starts."""
    started = run.now()
    jobs: list[Job] = []
    for index, call in enumerate(calls):
        job = Job(ports, run, call, index, f"{run.id}:{position}:{index}", started, truncated=truncated)
        job.over = run.count(call.name)
        jobs.append(job)
        if run.heard:
            _requested(job)
    return jobs


def _requested(job: Job) -> None:
    size = len(job.call.arguments.encode("utf-8", "surrogatepass"))
    job.run.emit(lambda head: CallRequested(head, job.ref(), size))


def _interrupt_of(job: Job) -> BaseException | None:
    """What came from outside. A CancelledError that a policy or a store raised by itself did not."""
    if not isinstance(job.interrupt, asyncio.CancelledError):
        return job.interrupt
    task = asyncio.current_task()
    return job.interrupt if task is None or task.cancelling() else None


async def _together(run: Run[Any], jobs: list[Job]) -> Batch:
    """Runs the jobs at the same time. A cancellation goes to each of them; each still gives its result."""
    tasks = [asyncio.ensure_future(run.spine(job)) for job in jobs]

    def pass_on(_: Any) -> None:
        if any(isinstance(job.interrupt, KeyboardInterrupt) for job in jobs):
            _cancel(tasks)

    for task in tasks:
        task.add_done_callback(pass_on)
    interrupt: BaseException | None = None
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as cancelled:
            interrupt = cancelled
            _cancel(tasks)
    found = next((job.interrupt for job in jobs if isinstance(job.interrupt, KeyboardInterrupt)), interrupt)
    return Batch([task.result() for task in tasks], found)


def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        if not task.done():
            task.cancel()


def put_in_order(run: Run[Any], jobs: list[Job]) -> None:
    """Tells each job whose end it must wait for. Most batches declare no order and cost nothing here."""
    tools = [run.offered.get(job.call.name) for job in jobs]
    if not any(tool and (tool.order.barrier or tool.order.resource) for tool in tools):
        return
    resources = [_resource(tool, job) for tool, job in zip(tools, jobs, strict=True)]
    for at, job in enumerate(jobs):
        earlier = [n for n in range(at) if _conflict(tools[n], tools[at]) or _same(resources, tools, n, at)]
        for n in earlier:
            jobs[n].done = jobs[n].done or asyncio.Event()
        job.after = [done for n in earlier if (done := jobs[n].done) is not None]


def _conflict(first: Tool[Any] | None, second: Tool[Any] | None) -> bool:
    return any(tool is not None and tool.order.barrier for tool in (first, second))


def _same(resources: list[str | None], tools: list[Tool[Any] | None], first: int, second: int) -> bool:
    """Calls of one resource stand in order, unless all of them are reads."""
    if resources[first] is None or resources[first] != resources[second]:
        return False
    return not all(tool is not None and tool.effect.kind == "read" for tool in (tools[first], tools[second]))


def _resource(tool: Tool[Any] | None, job: Job) -> str | None:
    """The resource a call names. Arguments that do not fit name none: that call will not run."""
    if tool is None or tool.order.resource is None:
        return None
    nulls = job.run.null_means_default.get(tool.name, frozenset())
    read = validate(tool.reader, job.call.arguments, tool=tool.name, null_means_default=nulls)
    if not isinstance(read, Accepted):
        return None
    try:
        return tool.order.resource.format_map(read.values)
    except Exception:  # an optional argument was left out, or cannot be text: in order with all of its kind
        return tool.order.resource
