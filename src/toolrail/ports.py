"""Everything that the stages use from outside, in one value: users fill these ports, never the stages' order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from toolrail.clock import Clock
from toolrail.codes import CODES, Code
from toolrail.context import RunContext
from toolrail.decisions import Approver, Policy
from toolrail.definition import Tool
from toolrail.drive import Driven
from toolrail.events import Event, Sink
from toolrail.limits import RailLimits
from toolrail.messages import ToolResult
from toolrail.pool import Pool
from toolrail.run import Job
from toolrail.store import Store
from toolrail.wording import refusal, text_for

log = logging.getLogger("toolrail")

Handler = Callable[[], Awaitable[Any]]


class Wrap(Protocol):
    """The only seam in the spine that users may wrap: the handler itself, each attempt, within its deadline.

    Example:

        async def traced(ctx: RunContext[Any], tool: Tool[Any], handler: Handler) -> Any:
            with tracer.start_as_current_span(tool.name):
                return await handler()
    """

    def __call__(self, ctx: RunContext[Any], tool: Tool[Any], handler: Handler, /) -> Coroutine[Any, Any, Any]: ...


class Grounder(Protocol):
    """Finds an argument that nobody has said in this run: `(name, value)`, or None when all are grounded."""

    def __call__(self, job: Job, tool: Tool[Any], arguments: Mapping[str, Any], /) -> tuple[str, Any] | None: ...


class Gate(Protocol):
    """One rule of `admit`: a rate, a circuit, a budget. `enter` refuses or lets in; `leave` hears of all let in."""

    async def enter(self, job: Job, tool: Tool[Any], /) -> ToolResult | None: ...

    def leave(self, job: Job, tool: Tool[Any], result: ToolResult | None, /) -> None: ...


class Redactor(Protocol):
    """Takes out of a result's text what must not reach the model."""

    def __call__(self, text: str, /) -> str: ...


@dataclass(slots=True)
class Work:
    """What the rail still has under way: counted, so that `drain` knows when it is done."""

    calls: int = 0
    closing: bool = False
    sink_errors: int = 0
    driven: set[Driven] = field(default_factory=set[Driven])
    """Handlers under way."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])
    running: dict[str, int] = field(default_factory=dict[str, int])
    """Calls in their handler, by tool, of tools that limit them."""


@dataclass(frozen=True, slots=True)
class Ports:
    """One rail's ports."""

    clock: Clock
    store: Store
    pool: Pool
    sinks: tuple[Sink, ...]
    policies: tuple[Policy, ...]
    approver: Approver | None
    limits: RailLimits
    wording: Mapping[Code, str]
    grounder: Grounder | None = None
    gates: tuple[Gate, ...] = ()
    redact: Redactor | None = None
    wrap: Wrap | None = None
    work: Work = field(default_factory=Work)

    def now(self) -> float:
        """Seconds on the running loop's own clock."""
        return asyncio.get_running_loop().time()

    def emit(self, event: Event) -> None:
        """Gives one event to every sink. A sink that raises is counted, and logged once."""
        for sink in self.sinks:
            try:
                sink.emit(event)
            except Exception:
                self.work.sink_errors += 1
                if self.work.sink_errors == 1:
                    log.warning("A sink failed; further failures are only counted.", exc_info=True)

    def refuse(
        self,
        job: Job,
        code: Code,
        *,
        text: str | None = None,
        values: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        recorded: Code | None = None,
        started: bool = False,
    ) -> ToolResult:
        """The result for a call that did not succeed, worded by the table."""
        known = {"tool": job.call.name, "text": text, **(values or {})}
        said = text if code is Code.TIMEOUT and text is not None else text_for(code, self.wording, known)
        return ToolResult(
            job.call.id,
            job.call.name,
            CODES[code].status,
            refusal(said, code, extra),
            code=code,
            trust="trusted",
            started=started,
            recorded_code=recorded,
        )

    def own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Starts work that must end even if the call that began it is cancelled: `drain` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self.work.tasks.add(task)
        task.add_done_callback(self.work.tasks.discard)
        return task
