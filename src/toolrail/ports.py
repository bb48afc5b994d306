"""Everything that the stages use from outside, in one value: users fill these ports, never the stages' order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

from toolrail.clock import Clock
from toolrail.codes import CODES, Code
from toolrail.context import RunContext
from toolrail.decisions import Approver, Policy
from toolrail.definition import Tool
from toolrail.drive import Driven
from toolrail.events import Content, Event, Reader, Sink
from toolrail.gates.board import Board
from toolrail.limits import Budgets, RailLimits
from toolrail.logs import logger
from toolrail.messages import ToolResult
from toolrail.money import NO_PRICES, PriceBook
from toolrail.pool import Pool
from toolrail.run import Job, Run
from toolrail.store import Op, Store, StoreError
from toolrail.watchdog import Watchdog
from toolrail.wording import refusal, text_for

log = logger("toolrail")
STORE_SECONDS = 5.0
"""A store that does not answer within this is unavailable."""
TRIES = 6
"""How often it is asked to write what would be lost otherwise."""


def log_failure(error: Exception, message: str, *args: object) -> None:
    """Logs what the store would not do. A `StoreError` names path, fault and mend itself, so it takes one line: a file
    that cannot be used fails at every call. Any other error keeps its traceback."""
    if isinstance(error, StoreError):
        log.error(f"{message} %s", *args, error)
    else:
        log.error(message, *args, exc_info=error)


Handler = Callable[[], Awaitable[Any]]


class Wrap(Protocol):
    """The only seam in the spine that users may wrap: the handler itself, each attempt, within its deadline.

    Example:

        async def traced(ctx: RunContext[Any], tool: Tool[Any], handler: Handler) -> Any:
            with tracer.start_as_current_span(tool.name):
                return await handler()
    """

    def __call__(self, ctx: RunContext[Any], tool: Tool[Any], handler: Handler, /) -> Coroutine[Any, Any, Any]: ...


@runtime_checkable
class Tracer(Protocol):
    """A sink that also gives runs and calls their place in a trace. It hears of them before they begin, in the task
    that does them: what it puts into that task's context holds for their work, in threads and processes too. Their last
    events, `RunEnded` or `RunSuspended` and `CallSettled`, come in the same task. It sets `run.trace`."""

    def begin_run(self, run: Run[Any], /) -> None: ...

    def begin_call(self, job: Job, /) -> None: ...

    def within(self, run: Run[Any], /) -> AbstractContextManager[None]:
        """For synchronous callers, whose thread does none of a run's own work, but their model's."""
        ...


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
    adrift: Counter[str] = field(default_factory=Counter[str])
    """Threads that still work on a call which was answered without them, by call key: while there is one, what has not
    happened yet may still happen."""
    driven: set[Driven] = field(default_factory=set[Driven])
    """Handlers under way."""
    uncovered: set[str] = field(default_factory=set[str])
    """Tools that said they write through `ctx.transaction()` and did not: each is told of once."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])

    def ashore(self, key: str) -> None:
        """One of the threads that were adrift on a call has come back."""
        self.adrift[key] -= 1
        if self.adrift[key] <= 0:
            del self.adrift[key]


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
    budgets: Budgets | None = None
    """Shared by runs, over all processes that share the store."""
    prices: PriceBook = NO_PRICES
    work: Work = field(default_factory=Work)
    readers: tuple[Reader, ...] = field(init=False)
    """The sinks that take content, too."""
    tracers: tuple[Tracer, ...] = field(init=False)
    """The sinks that trace."""
    board: Board = field(init=False)
    """The rail's own rules of `admit`, by tool."""
    watchdog: Watchdog = field(init=False)
    """Finds the tool that blocks the event loop."""

    def __post_init__(self) -> None:
        found = tuple(sink for sink in self.sinks if getattr(sink, "wants_content", False))
        object.__setattr__(self, "readers", cast("tuple[Reader, ...]", found))
        object.__setattr__(self, "tracers", tuple(sink for sink in self.sinks if isinstance(sink, Tracer)))
        object.__setattr__(self, "board", Board(self.limits))
        object.__setattr__(self, "watchdog", Watchdog(self.work.driven, self.limits.lag))

    def now(self) -> float:
        """Seconds on the running loop's own clock."""
        return asyncio.get_running_loop().time()

    def emit(self, event: Event) -> None:
        """Gives one event to every sink. A sink that raises is counted, and logged once."""
        for sink in self.sinks:
            try:
                sink.emit(event)
            except Exception:
                self._sink_failed()

    def show(self, content: Content) -> None:
        """Gives content to the sinks that take it, once `redact` has seen it; what that cannot read is left out."""
        try:
            content = content if self.redact is None else content._replace(text=self.redact(content.text))
            for reader in self.readers:
                reader.take(content)
        except Exception:
            self._sink_failed()

    def begin_run(self, run: Run[Any]) -> None:
        """A run begins here. For each tracer."""
        for tracer in self.tracers:
            try:
                tracer.begin_run(run)
            except Exception:
                self._sink_failed()

    def begin_call(self, job: Job) -> None:
        """A call begins here. For each tracer."""
        for tracer in self.tracers:
            try:
                tracer.begin_call(job)
            except Exception:
                self._sink_failed()

    def within(self, run: Run[Any]) -> ExitStack:
        """What the caller's thread does meanwhile is done in the run. To be entered."""
        stack = ExitStack()
        for tracer in self.tracers:
            try:
                stack.enter_context(tracer.within(run))
            except Exception:
                self._sink_failed()
        return stack

    def _sink_failed(self) -> None:
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
        own = text is not None and (code is Code.TIMEOUT or (code is Code.RATE_LIMITED and code not in self.wording))
        said = text if own and text is not None else text_for(code, self.wording, known)
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
        task.add_done_callback(self._ended)
        return task

    async def insist(self, key: str, *ops: Op) -> None:
        """Writes what is known of a call here and nowhere else: once more after 1, 2, 4 ... s if the store fails."""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(2.0 ** (attempt - 1))
            try:
                await self.store.apply(*ops)
                return
            except Exception as error:
                log_failure(error, "The store cannot record how %s ended.", key)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """Whoever began it may have given up waiting, and has said so: asyncio need not report the error once more."""
        self.work.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("Work of the rail failed.", exc_info=error)
