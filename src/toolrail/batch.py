"""One response's calls: reserved before any starts, at the same time unless order is declared, each answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toolrail.arguments.values import Accepted
from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.digests import bytes_of
from toolrail.events import CallRequested, Content, made
from toolrail.messages import ToolCall, ToolResult
from toolrail.ports import Ports, log
from toolrail.run import Job, Run, ToolEnded
from toolrail.stages.settle import settle
from toolrail.stages.validate import validate
from toolrail.store import CallRow
from toolrail.wording import told

if TYPE_CHECKING:
    from toolrail.budgets import Account

_NONE: Mapping[int, ToolResult | CallRow] = {}


@dataclass(slots=True)
class Batch:
    """What became of a batch: a result for each call, in the model's order, and what interrupted it."""

    results: list[ToolResult]
    interrupt: BaseException | None
    """A cancellation or Ctrl-C that came meanwhile. To be raised once the results are safe."""


async def settle_all(
    ports: Ports,
    run: Run[Any],
    calls: Sequence[ToolCall],
    *,
    position: str,
    truncated: bool,
    over: str | None = None,
    known: Mapping[int, ToolResult | CallRow] = _NONE,
) -> Batch:
    """Answers every call exactly once, whatever happens to any of them. Does not raise.

    `position` makes the calls' keys unique within the run; `over` names a limit that has no room for any of them.
    `known` has, by index, what a process that died has left: the results of calls that it had answered, which only
    count, and the rows of those that it had begun.
    """
    jobs = reserve(ports, run, calls, position=position, truncated=truncated, known=known)
    if over is not None:
        for job in jobs:
            job.over = job.over or over
    if run.named:
        run.stored = False  # the first claim brings along what was counted: whoever takes over goes on from there
    if run.account is not None and jobs:
        batch = await _on_account(run, run.account, jobs, truncated=truncated)
    else:
        batch = await settle_jobs(run, jobs) if jobs else Batch([], None)
    if known:
        batch.results = _merged(known, jobs, batch.results, count=len(calls))
    return batch


def _merged(
    known: Mapping[int, ToolResult | CallRow], jobs: Sequence[Job], results: Sequence[ToolResult], *, count: int
) -> list[ToolResult]:
    found = {at: one for at, one in known.items() if isinstance(one, ToolResult)}
    found.update((job.index, one) for job, one in zip(jobs, results, strict=True))
    return [found[at] for at in range(count)]


async def _on_account(run: Run[Any], account: Account, jobs: list[Job], *, truncated: bool) -> Batch:
    stopped = await account.reserve([job for job in jobs if job.over is None and not truncated])
    if stopped is not None:
        return Batch([await _unstarted(run, job, stopped.code) for job in jobs], stopped.interrupt)
    batch = await settle_jobs(run, jobs)
    batch.results = account.tell(batch.results)
    return batch


async def _unstarted(run: Run[Any], job: Job, code: Code) -> ToolResult:
    """The answer to a call of a batch that did not begin."""
    result = await settle(job, run.ports.refuse(job, code))
    if run.observer is not None:
        run.observer(ToolEnded(job.call, result))
    return result


def note_pending(run: Run[Any], results: Sequence[ToolResult], position: str) -> bool:
    """Remembers the calls of a batch that wait for a person or another system; whether there are any."""
    found = False
    for at, one in enumerate(results):
        if one.status == "pending":
            found = True
            run.state.pending = (*run.state.pending, f"{run.id}:{position}:{at}")
    return found


async def settle_jobs(run: Run[Any], jobs: list[Job]) -> Batch:
    """Takes calls that are reserved through the spine, at the same time unless order is declared."""
    if len(jobs) == 1:
        batch = Batch([await run.spine(jobs[0])], _interrupt_of(jobs[0]))
    else:
        put_in_order(run, jobs)
        batch = await _together(run, jobs)
    if run.notices:
        _notify(run, batch)
    return batch


def _notify(run: Run[Any], batch: Batch) -> None:
    """What became known of earlier calls goes to the model with the last result; once."""
    *others, last = batch.results
    lines, run.notices = " ".join(run.notices), []
    batch.results = [*others, replace(last, content=told(last.content, lines, key="since"))]


def reserve(
    ports: Ports,
    run: Run[Any],
    calls: Sequence[ToolCall],
    *,
    position: str,
    truncated: bool,
    known: Mapping[int, ToolResult | CallRow] = _NONE,
) -> list[Job]:
    """Counts every call against the run's limits, in the model's order, before any of them starts."""
    started, turn = run.now(), f"{run.state.run_id}:{position}"
    jobs: list[Job] = []
    for index, call in enumerate(calls):
        job = Job(ports, run, call, index, f"{turn}:{index}", started, truncated, run.count(call.name))
        if known:
            earlier = known.get(index)
            if isinstance(earlier, ToolResult):
                continue
            job.begun = earlier
        jobs.append(job)
        if run.closely:
            _requested(job)
    return jobs


def _requested(job: Job) -> None:
    text, head, call = job.call.arguments, job.run.head(), job.ref()
    job.ports.emit(made(CallRequested, (head, call, bytes_of(text))))
    if job.ports.readers:
        job.ports.show(Content(head, "arguments", call, text))


def _interrupt_of(job: Job) -> BaseException | None:
    """What came from outside. A CancelledError that a policy or a store raised by itself did not."""
    if job.interrupt is None or not isinstance(job.interrupt, asyncio.CancelledError):
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
        except Exception:  # whatever it was: the calls go on, and each has its result
            log.exception("Waiting for a batch failed; it is waited for again.")
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
