"""admit: limits, gates, order and places. Whoever is let in holds a `Permit`, which gives everything back once."""

from __future__ import annotations

import asyncio
from typing import Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.messages import ToolResult
from toolrail.ports import Gate, log
from toolrail.run import Job


class Permit:
    """The places that an admitted call holds: in the run, in its tool, in the thread pool, and behind each gate."""

    __slots__ = ("_entered", "_in_run", "_in_tool", "_job", "_tool", "thread")

    def __init__(self, job: Job, tool: Tool[Any]) -> None:
        self._job = job
        self._tool = tool
        self._in_run = False
        self._in_tool = False
        self.thread = False
        """A place in the thread pool is reserved and not used yet."""
        self._entered: tuple[Gate, ...] = ()

    async def enter(self) -> ToolResult | None:
        """Takes every place in turn; waits where that is the rule, refuses where it is not."""
        job, tool, work = self._job, self._tool, self._job.ports.work
        if not job.run.enter_now():
            await job.run.enter()
        self._in_run = True
        for gate in job.ports.gates:
            refused = await gate.enter(job, tool)
            if refused is not None:
                return refused
            self._entered = (*self._entered, gate)
        if tool.limits.concurrency is not None:
            running = work.running.get(tool.name, 0)
            if running >= tool.limits.concurrency:
                return job.ports.refuse(job, Code.RATE_LIMITED, values={"seconds": 1.0}, extra={"retry_after": 1.0})
            work.running[tool.name] = running + 1
            self._in_tool = True
        return None if tool.is_async else await self._enter_pool()

    async def _enter_pool(self) -> ToolResult | None:
        """Waits for a thread no longer than for the handler itself: abandoned ones may never come back."""
        job, seconds = self._job, self._tool.limits.timeout
        try:
            async with asyncio.timeout(seconds):
                await job.ports.pool.reserve()
        except TimeoutError:
            return job.ports.refuse(job, Code.TIMEOUT, values={"seconds": seconds})
        self.thread = True
        return None

    def release(self, result: ToolResult | None) -> None:
        """Gives back what is held. The gates hear how it went; None means that the call did not come to a result."""
        job, tool = self._job, self._tool
        if self.thread:
            self.thread = False
            job.ports.pool.release()
        if self._in_tool:
            self._in_tool = False
            job.ports.work.running[tool.name] -= 1
        if self._in_run:
            self._in_run = False
            job.run.leave()
        entered, self._entered = self._entered, ()
        for gate in reversed(entered):
            try:
                gate.leave(job, tool, result)
            except Exception:  # the handler has run: its result stands
                log.exception("A gate failed when %s left it.", tool.name)


async def admit(job: Job, tool: Tool[Any], permit: Permit) -> ToolResult | None:
    """None when the call may start: its turn has come, and `permit` holds its places."""
    if job.over is not None:
        return job.ports.refuse(job, Code.LIMIT_REACHED, values={"limit": job.over})
    for earlier in job.after:
        await earlier.wait()
    refused = await permit.enter()
    if refused is None and job.ports.work.closing:
        return job.ports.refuse(job, Code.SHUTTING_DOWN)
    return refused
