"""The rail: start reading here. One call passes the stages below, in this order, and gets exactly one result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, overload

from toolrail.batch import note_pending, settle_all
from toolrail.clock import Clock, SystemClock
from toolrail.codes import Code
from toolrail.decisions import ANONYMOUS, Approver, Policy, Principal
from toolrail.definition import Tool, ToolOptions
from toolrail.effects import Effect
from toolrail.events import Sink
from toolrail.interrupts import from_signal
from toolrail.limits import Budgets, RailLimits, RunLimits, check_budgets
from toolrail.loops import note
from toolrail.messages import ToolCall, ToolResult
from toolrail.opening import keep_run, make_run, opened
from toolrail.pool import Pool, ThreadPool
from toolrail.ports import Gate, Grounder, Ports, Redactor, Work, Wrap, log
from toolrail.records.metrics import Metrics
from toolrail.records.prices import Given, book_of
from toolrail.run import Job, Run, ToolEnded
from toolrail.shutdown import drain
from toolrail.stages.admit import Permit, admit
from toolrail.stages.approve import approve, unfit_edits
from toolrail.stages.authorise import authorise
from toolrail.stages.claim import claim
from toolrail.stages.encode import encode, encoded, finished
from toolrail.stages.execute import execute
from toolrail.stages.find import find
from toolrail.stages.ground import ground
from toolrail.stages.outcome import Failure
from toolrail.stages.recall import recall
from toolrail.stages.settle import settle
from toolrail.stages.validate import Invalid, validate
from toolrail.startup import (
    check_budgeted,
    check_isolated,
    check_scopes,
    check_transactions,
    default_sinks,
    limits_of,
    listed,
    recorder_of,
    warn_unasked,
    warn_undeclared,
)
from toolrail.store import Store
from toolrail.stores import open_store
from toolrail.toolset import Toolset, from_definitions
from toolrail.wording import EDITED, told

if TYPE_CHECKING:
    from toolrail.approvals import Approvals
    from toolrail.errors import ToolError
    from toolrail.health import Health
    from toolrail.reconcile import Hook, PrincipalFor, Reconciled
    from toolrail.records.recorder import Recorder

_NO_NULLS: frozenset[str] = frozenset()
D_contra = TypeVar("D_contra", contravariant=True)


class Rail(Generic[D_contra]):
    """Tools and ports. Takes a model's calls to your code and back: parsed, authorised, limited, recorded, answered.

    Args:
        tools: the tools, or toolsets combined into one.
        store: where effects, runs and sessions are kept: a URL (`sqlite:///rail.db`) or a store. Default: in memory.
        policies: decide about each call; denial wins, an exception is a denial.
        approver: asks a person where a policy says so. Without one the answer is no.
        sinks: take the events. Default: metrics in memory (`rail.metrics`), the log `toolrail`, and where nothing is
            recorded alerts of this process in that log.
        limits: of the whole rail.
        wording: sentences for the model in place of ours, by code.
        wrap: runs around each attempt of a handler; the only part of the way that users may wrap.
        budgets: what sessions and principals may spend over all their runs.
        prices: by model name, as a book, or the path of a TOML file: what responses cost. An `Agent` may have its own.
        records: where every call is recorded: a URL, or a `Recorder`. Default: beside a store that a URL names, as in
            `rail.records.db` for `rail.db`, unless `sinks` are given; False: nowhere.

    Raises:
        DefinitionError: a tool or a setting is wrong; the text says where and how to mend it.

    Example:

        rail = Rail([find_invoice, pay], store="sqlite:///rail.db")
        results = await rail.batch([ToolCall("1", "find_invoice", '{"customer": "ACME"}')])
    """

    def __init__(
        self,
        tools: Iterable[Tool[D_contra]],
        *,
        store: str | Store | None = None,
        policies: Sequence[Policy] = (),
        approver: Approver | None = None,
        sinks: Sequence[Sink] | None = None,
        limits: RailLimits | None = None,
        wording: Mapping[Code, str] | None = None,
        wrap: Wrap | None = None,
        grounder: Grounder | None = None,
        gates: Sequence[Gate] = (),
        redact: Redactor | None = None,
        clock: Clock | None = None,
        pool: Pool | None = None,
        budgets: Budgets | None = None,
        prices: Given | None = None,
        records: str | Recorder | Literal[False] | None = None,
    ) -> None:
        limits, book = limits_of(limits), book_of(prices)
        kept = open_store(store or "memory://") if isinstance(store, str | None) else store
        self._recorder = None if records is False else recorder_of(records, store, sinks=sinks, prices=book)
        self.toolset: Toolset[D_contra] = tools if isinstance(tools, Toolset) else Toolset(tools)
        self.ports = Ports(
            clock=clock or SystemClock(),
            store=kept,
            pool=pool or ThreadPool(limits.threads, abandoned=limits.abandoned),
            sinks=(
                *(default_sinks(self._recorder) if sinks is None else listed("sinks", sinks)),
                *(() if self._recorder is None else (self._recorder,)),
            ),
            policies=listed("policies", policies),
            approver=approver,
            limits=limits,
            wording=wording or {},
            grounder=grounder,
            gates=listed("gates", gates),
            redact=redact,
            wrap=wrap,
            budgets=budgets,
            prices=book,
            work=Work(),
        )
        check_scopes(self.toolset, store)
        if budgets is not None:
            check_budgets(budgets)
            check_budgeted(self.toolset, budgets)
        check_isolated(self.toolset)
        check_transactions(self.toolset, self.ports.store)
        warn_undeclared(self.toolset)
        if approver is None:
            warn_unasked(self.toolset)

    @classmethod
    def from_definitions(
        cls,
        definitions: Sequence[Mapping[str, Any]],
        handlers: Mapping[str, Callable[..., Any]],
        *,
        effects: Mapping[str, str | Effect] | None = None,
        options: Mapping[str, ToolOptions] | None = None,
        store: str | Store | None = None,
        sinks: Sequence[Sink] | None = None,
        limits: RailLimits | None = None,
    ) -> Rail[Any]:
        """A rail of a list of OpenAI tool definitions and a dict of handlers, unchanged; see `from_definitions`."""
        tools = from_definitions(definitions, handlers, effects=effects, options=options)
        return Rail(tools, store=store, sinks=sinks, limits=limits)

    async def call(self, job: Job) -> ToolResult:
        """One call: exactly one result, whatever happens on the way. Nothing raises out of here."""
        self.ports.work.calls += 1
        if self.ports.tracers:
            self.ports.begin_call(job)
        try:
            result = await self._stages(job)
        except asyncio.CancelledError as interrupt:
            job.interrupt = interrupt
            result = self._cut_off(job)
        except GeneratorExit:  # the loop is gone: nothing can be awaited, and nobody waits
            self.ports.work.calls -= 1
            raise
        except BaseException as error:
            result = self._broken(job, error)
        try:
            result = note(job, await settle(job, result))
        finally:
            self.ports.work.calls -= 1
            if job.done is not None:
                job.done.set()
        if job.edited:
            words = EDITED.format(changes=job.edited)
            result = replace(result, content=told(result.content, words, key="edited"))
        if job.run.observer is not None:
            job.run.observer(ToolEnded(job.call, result))
        return result

    async def _stages(self, job: Job) -> ToolResult:
        """The way of one call. The order is a security property: nothing is recalled before it is authorised, nothing
        is claimed before it is admitted, and the claim is the last act before the handler."""
        if isinstance(tool := find(job), ToolResult):
            return tool
        if isinstance(arguments := self._validate(job, tool), ToolResult):
            return arguments
        if refused := ground(job, tool, arguments.values):
            return refused
        if isinstance(decision := await authorise(job, tool, arguments.values), ToolResult):
            return decision
        if answered := await recall(job, tool, arguments):
            return answered
        if isinstance(approved := await approve(job, tool, arguments, decision=decision), ToolResult):
            return approved
        if approved is None:  # a person has changed the arguments: it is another call now
            return await self._stages(job)
        permit, result = Permit(job, approved), None
        try:
            if result := await admit(job, tool, permit):
                return result
            if result := await claim(job, tool, approved, permit=permit):
                return result
            outcome = await execute(job, tool, approved, permit=permit)
            made = encoded(job, tool, outcome)
            result = made if isinstance(made, ToolResult) else await finished(job, made)
            return result
        finally:
            permit.release(result)

    def _validate(self, job: Job, tool: Tool[Any]) -> Any:
        nulls = job.run.null_means_default.get(tool.name, _NO_NULLS)
        read = validate(tool.reader, job.call.arguments, tool=job.call.name, null_means_default=nulls)
        if isinstance(read, Invalid):
            if job.edited:
                return unfit_edits(job, read.message)
            return self.ports.refuse(job, Code.INVALID_ARGUMENTS, text=read.message)
        job.flags = (*read.flags, "edited") if job.edited else read.flags
        return read

    def _cut_off(self, job: Job) -> ToolResult:
        """Cancelled somewhere between the stages; once the handler has begun, that means what the table says."""
        if job.attempts and job.tool is not None:
            return encode(job, job.tool, Failure("cancelled", None, began=job.transaction is None))
        return self.ports.refuse(job, Code.CANCELLED)

    def _broken(self, job: Job, error: BaseException) -> ToolResult:
        """A port or we ourselves failed. A real Ctrl-C is passed on once the batch is settled."""
        if from_signal(error):
            job.interrupt = error
            return self._cut_off(job)
        job.reference = self.ports.clock.new_id("err")[-12:]
        job.frees_key = job.attempts == 0 or job.identity is None or job.transaction is not None
        log.error("toolrail failed on %s (reference %s)", job.call.name, job.reference, exc_info=error)
        values, extra = {"reference": job.reference}, {"reference": job.reference}
        return self.ports.refuse(job, Code.INTERNAL_ERROR, values=values, extra=extra, started=job.attempts > 0)

    async def batch(
        self, calls: Sequence[ToolCall], run: Run[Any] | None = None, *, truncated: bool = False
    ) -> list[ToolResult]:
        """Answers the calls of one response: one result each, in the same order, at the same time where that is safe.

        Args:
            calls: as the model made them.
            run: whose limits, principal and dependencies hold; without one, a fresh run of nobody.
            truncated: the response was cut off, so none of its calls may run.

        Raises:
            asyncio.CancelledError, KeyboardInterrupt: the caller was interrupted; every call is settled first.

        Example: `results = await rail.batch([ToolCall("1", "add", '{"a": 1, "b": 2}')])`
        """
        alone = run is None
        run = run or self._anonymous()
        run.state.batches += 1
        position = f"b{run.state.batches}"
        batch = await settle_all(self.ports, run, calls, position=position, truncated=truncated)
        note_pending(run, batch.results, position)
        if alone:
            await keep_run(self.ports, run)
        if batch.interrupt is not None:
            raise batch.interrupt
        return batch.results

    def _anonymous(self) -> Run[Any]:
        run = make_run(self.ports, self.toolset, spine=self.call, messages=[], principal=ANONYMOUS, deps=None)
        run.reader = ""  # nobody can come back to it and read on
        return run

    @overload
    def run(
        self: Rail[object],
        messages: list[Any],
        *,
        principal: Principal = ANONYMOUS,
        deps: None = None,
        limits: RunLimits | None = None,
        run_id: str | None = None,
        session: str | None = None,
    ) -> AbstractAsyncContextManager[Run[None]]: ...
    @overload
    def run(
        self,
        messages: list[Any],
        *,
        deps: D_contra,
        principal: Principal = ANONYMOUS,
        limits: RunLimits | None = None,
        run_id: str | None = None,
        session: str | None = None,
    ) -> AbstractAsyncContextManager[Run[D_contra]]: ...
    @asynccontextmanager
    async def run(
        self,
        messages: list[Any],
        *,
        principal: Principal = ANONYMOUS,
        deps: Any = None,
        limits: RunLimits | None = None,
        run_id: str | None = None,
        session: str | None = None,
    ) -> AsyncGenerator[Run[Any]]:
        """Opens a run: who asks, what handlers get, which limits hold. `messages` stays the caller's own list.

        With `run_id` the run is created, or restored from the store, so that each turn may be a request of its own.

        Raises:
            RunBusy: another holder works on this run now.
            RunNotFound: the run belongs to another principal.
        """
        run = make_run(
            self.ports,
            self.toolset,
            spine=self.call,
            messages=messages,
            principal=principal,
            deps=deps,
            limits=limits,
            session=session,
        )
        async with opened(self.ports, run, run_id):
            yield run

    @property
    def metrics(self) -> Metrics:
        """The metrics in memory that the default sinks keep.

        Raises:
            LookupError: the rail was made with sinks of your own and no `Metrics` among them.
        """
        for sink in self.ports.sinks:
            if isinstance(sink, Metrics):
                return sink
        raise LookupError("This rail has no Metrics among its sinks.")

    @property
    def approvals(self) -> Approvals:
        """The questions that wait for a person: `list` them and `decide` them. See `toolrail.approvals`."""
        from toolrail.approvals import Approvals  # most programs ask nobody

        return Approvals(self.ports, self.toolset.get)

    async def settle(
        self, call: str, value: Any = None, *, error: ToolError | None = None, tenant: str | None = None
    ) -> bool:
        """Says how a call ended whose handler returned `Later`, or whose outcome is unknown: from a webhook, in any
        process that has the store. Its run goes on when it is resumed.

        Args:
            call: the call's key, or the token that `Later` was given.
            value: what the effect gave. It is encoded by the tool's rules, as if the handler had returned it.
            error: it did not take place; the model may read this, and the effect's key is free again.
            tenant: where it is looked for. None: a key in any tenant, a token in "default".

        Returns:
            Whether it was this that settled it. False: it was settled before, so that a webhook may come twice.

        Raises:
            RunNotFound: there is no such call; a webhook may be faster than the commit, so let it come again.
            RunBusy: its handler is still at work. The same.
            RunError: it waits for a person's approval, and has not begun.

        Example: `await rail.settle(token, {"paid": True})`
        """
        from toolrail.settling import settle_call

        return await settle_call(self.ports, self.toolset, call, value=value, error=error, tenant=tenant)

    async def reconcile(
        self,
        hook: Hook | None = None,
        *,
        deps: Any = None,
        principal_for: PrincipalFor | None = None,
        limit: int = 100,
        timeout: float = 30.0,
    ) -> Reconciled:
        """Goes through the calls whose outcome is unknown and settles those of which somebody can say what became.

        `verified` tools are asked, under the old key and with the old arguments. For others, and where a verifier is
        unclear, the hook is: it answers `Happened(value)`, `WillNotHappen()` or `Unclear()`; anything else, what it
        raises and no answer in time are `Unclear`. Call it now and then, in as many workers as you like: one of them
        at a time works.

        Args:
            hook: is given the call's row of the ledger: tool, arguments, principal, idempotency key.
            deps: for verifiers, as for a run.
            principal_for: makes a principal of an id and a tenant, for verifiers. Default: one without permissions.
            limit: calls in one round, the oldest first.
            timeout: seconds for each answer of the hook.

        Example: `report = await rail.reconcile(ask_the_bank, deps=shop)`
        """
        from toolrail.reconcile import reconcile  # most programs never do

        return await reconcile(
            self.ports,
            self.toolset,
            hook=hook,
            deps=deps,
            principal_for=principal_for,
            limit=limit,
            timeout=timeout,
        )

    def health(self) -> Health:
        """How the rail is: circuits, calls under way, tools at their limits, threads. `health().ok` in one word."""
        from toolrail.health import health_of  # most programs never ask

        return health_of(self.ports)

    async def drain(self, timeout: float = 30.0) -> None:
        """Takes no new calls, lets those under way end for `timeout` seconds, makes the rest expire, and flushes."""
        await drain(self.ports, timeout)

    async def __aenter__(self) -> Self:
        self.ports.work.closing = False
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
        await self.ports.store.close()
        self.ports.pool.close()
