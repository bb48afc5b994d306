"""The loop: user -> model -> tools -> model -> answer, in hard limits; it ends with a reason, never with a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, Unpack, overload

from toolrail.asking import Asker, Show
from toolrail.background import BACKGROUND
from toolrail.decisions import ANONYMOUS, Principal
from toolrail.errors import RunError, RunStopped
from toolrail.events import RunRepaired
from toolrail.history.repair import repair
from toolrail.limits import RunLimits
from toolrail.messages import Message, ToolResult, Usage
from toolrail.model import (
    Conversation,
    Model,
    ModelFailure,
    ModelSettings,
    Setup,
    ToolChoice,
    TurnRequest,
)
from toolrail.opening import make_run, opened
from toolrail.output import Output
from toolrail.ports import log
from toolrail.providers import model_for
from toolrail.rail import Rail
from toolrail.records.prices import Cost, Given, book_of, combined
from toolrail.request import Request, RunOptions, check_choice, ignored, offered_choice, request_of
from toolrail.resuming import Answers, PendingCall, pending_of, resume_turn, suspended
from toolrail.run import Run
from toolrail.session import PARKED, held_session, parking, result_cap, trimmed
from toolrail.settings import counts, instance
from toolrail.store import SaveSession
from toolrail.streaming import AgentStream
from toolrail.turn import closing, cost_so_far, save, take_turn

D_contra = TypeVar("D_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How a run ended."""

    run_id: str
    output: Any
    """The validated output where one was declared, else the text; None when there is none."""
    text: str
    stop_reason: str
    """`answer`, `question`, `limit:turns`, `limit:calls`, `limit:tokens`, `limit:money`, `limit:seconds`,
    `limit:repeats`, `context_length`, `refusal`, `content_filter`, `truncated`, `empty`, `output_invalid`,
    `model_unavailable`, `store_unavailable`, `shutting_down`, `cancelled` or `pending`."""
    calls: tuple[ToolResult, ...]
    """Every call's result, in order."""
    turns: int
    usage: Usage
    cost: Cost
    messages: list[Message]
    """The whole conversation, valid for the next request to the same provider."""
    pending: tuple[PendingCall, ...] = ()
    """The calls that wait for a person or another system, where `stop_reason` is `pending`: see `Agent.resume`."""
    notes: tuple[str, ...] = ()
    """What was noticed on the way: a repaired history, a tool choice that the server ignored, a model's failure."""

    @property
    def ok(self) -> bool:
        """Whether the model has answered or asked the user something."""
        return self.stop_reason in ("answer", "question")


@dataclass(slots=True)
class _Progress:
    """What one run gathers outside its state."""

    calls: list[ToolResult]
    notes: list[str]
    text: str = ""
    output: Any = None


class Agent(Generic[D_contra]):
    """A model and a rail in a loop.

    Args:
        model: `"openai:gpt-4o"`, `"anthropic:claude-sonnet-4-5"`, or a `Model` of your own with your own client.
        rail: the tools and everything that guards them.
        instructions: the system prompt. Kept out of `messages`, sent in front of them.
        output: a type that the final answer must fit; the model corrects it within the limits.
        max_turns: model requests in one run. The last one is sent with `tool_choice` none.
        limits: all limits of a run; `max_turns` is short for `RunLimits(turns=...)`.
        settings: temperature, tokens of one response, attempts per request.
        tool_choice: for the first turn of each run; then it is "auto" again, so that it cannot loop.
        parallel: False for at most one call in a response.
        strict: let the provider constrain decoding to the tools' schemas, where its dialect can say them.
        prices: as of a `Rail`, asked before the rail's own; a model without one has an unknown cost.
        context_tokens: the model's context. Older parts of a session are left out so that it stays about under this,
            and no result takes more than a share of it (`RailLimits(result_share=...)`).

    Raises:
        DefinitionError: the model's spec is unknown, or the provider cannot combine what is asked for.

    Example:

        agent = Agent("openai:gpt-4o", rail, instructions="You help customers of a shop.")
        result = await agent.run("Where is my order?", principal=user, deps=shop)
    """

    def __init__(
        self,
        model: str | Model,
        rail: Rail[D_contra],
        *,
        instructions: str | None = None,
        output: type[Any] | None = None,
        max_turns: int | None = None,
        limits: RunLimits | None = None,
        settings: ModelSettings | None = None,
        tool_choice: ToolChoice = "auto",
        parallel: bool | None = None,
        strict: bool = False,
        prices: Given | None = None,
        context_tokens: int | None = None,
    ) -> None:
        self.model = model_for(model)
        self.rail = rail
        counts("Agent", context_tokens=context_tokens)
        if limits is not None:
            instance("Agent", "limits", limits, of=RunLimits, mend="Write limits=RunLimits(...).")
        self.limits = limits or RunLimits()
        if max_turns is not None:
            self.limits = replace(self.limits, turns=max_turns)
        self.tool_choice: ToolChoice = tool_choice
        self.parallel = parallel
        self.prices = combined(book_of(prices, "Agent"), rail.ports.prices)
        self.context_tokens = context_tokens
        self._result_cap = result_cap(context_tokens, rail.ports.limits.result_share)
        self._output = Output(output) if output is not None else None
        self._setup = Setup(
            tools=tuple(rail.toolset),
            instructions=instructions,
            settings=settings or ModelSettings(),
            output_schema=self._output.schema if self._output else None,
            strict=strict,
        )
        check_choice(tool_choice, rail.toolset)
        self.model.open(self._setup)  # says now what the provider cannot combine

    @overload
    async def run(
        self: Agent[object],
        prompt: str,
        *,
        deps: None = None,
        raise_on_stop: bool = False,
        **options: Unpack[RunOptions],
    ) -> AgentResult: ...
    @overload
    async def run(
        self, prompt: str, *, deps: D_contra, raise_on_stop: bool = False, **options: Unpack[RunOptions]
    ) -> AgentResult: ...
    async def run(
        self, prompt: str, *, deps: Any = None, raise_on_stop: bool = False, **options: Unpack[RunOptions]
    ) -> AgentResult:
        """Answers one user message.

        Args:
            prompt: what the user says.
            deps: what handlers get as `ctx.deps`.
            raise_on_stop: raise when the run ends without an answer or a question.
            options: `principal`, `messages` or `session`, `tool_choice`; see `RunOptions`.

        Raises:
            RunBusy: another run holds the session now.
            RunStopped: with `raise_on_stop`.
            asyncio.CancelledError: the run was cancelled; a session keeps what was settled.
        """
        return _stopped(await self.work(self._request(prompt, deps, options), None), raise_on_stop)

    @overload
    async def resume(
        self: Agent[object],
        run_id: str,
        *,
        deps: None = None,
        principal: Principal = ANONYMOUS,
        approvals: Answers | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult: ...
    @overload
    async def resume(
        self,
        run_id: str,
        *,
        deps: D_contra,
        principal: Principal = ANONYMOUS,
        approvals: Answers | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult: ...
    async def resume(
        self,
        run_id: str,
        *,
        deps: Any = None,
        principal: Principal = ANONYMOUS,
        approvals: Answers | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult:
        """Goes on with a run that was suspended (`stop_reason` is `pending`), here or in another process that has the
        store. Calls that are decided or settled by now run, their results take the place of what the model was told,
        and the loop goes on. While some still wait, the run is suspended again.

        If the conversation of its session has gone on meanwhile, the results stand where the calls were made, and a
        line at the end tells the model of them.

        Args:
            run_id: `AgentResult.run_id`.
            deps: what handlers get as `ctx.deps`; nothing of it was stored.
            principal: who is logged in: the one of whom the run is. Permissions are those of now.
            approvals: decisions by the id of their approval: True and False are those of `principal`, an `Approval`
                says who decides. What others decide with `rail.approvals.decide` needs none.
            raise_on_stop: raise when the run ends without an answer or a question.

        Raises:
            RunNotFound: there is no such run of this principal.
            RunBusy: somebody goes on with it just now.
            RunError: it waits for nothing.
            ApprovalError: a decision cannot be taken; nothing has run then.

        Example: `await agent.resume(result.run_id, approvals={result.pending[0].approval: True}, principal=user)`
        """
        work = self._resumed(run_id, deps, principal=principal, approvals=approvals)
        return _stopped(await work, raise_on_stop)

    @overload
    def resume_sync(
        self: Agent[object],
        run_id: str,
        *,
        deps: None = None,
        principal: Principal = ANONYMOUS,
        approvals: Answers | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult: ...
    @overload
    def resume_sync(
        self,
        run_id: str,
        *,
        deps: D_contra,
        principal: Principal = ANONYMOUS,
        approvals: Answers | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult: ...
    def resume_sync(
        self,
        run_id: str,
        *,
        deps: Any = None,
        principal: Principal = ANONYMOUS,
        approvals: Answers | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult:
        """`resume` for synchronous code, as `run_sync` is `run`."""
        work = self._resumed(run_id, deps, principal=principal, approvals=approvals)
        return _stopped(BACKGROUND.run(work, lending=self.rail.ports.pool.lend()), raise_on_stop)

    @overload
    def run_sync(
        self: Agent[object],
        prompt: str,
        *,
        deps: None = None,
        raise_on_stop: bool = False,
        **options: Unpack[RunOptions],
    ) -> AgentResult: ...
    @overload
    def run_sync(
        self, prompt: str, *, deps: D_contra, raise_on_stop: bool = False, **options: Unpack[RunOptions]
    ) -> AgentResult: ...
    def run_sync(
        self, prompt: str, *, deps: Any = None, raise_on_stop: bool = False, **options: Unpack[RunOptions]
    ) -> AgentResult:
        """`run` for synchronous code: on one background loop, so that pooled clients stay usable. Not within a loop of
        your own that must not block."""
        work = self.work(self._request(prompt, deps, options), None)
        return _stopped(BACKGROUND.run(work, lending=self.rail.ports.pool.lend()), raise_on_stop)

    @overload
    def stream(
        self: Agent[object], prompt: str, *, deps: None = None, **options: Unpack[RunOptions]
    ) -> AgentStream[AgentResult]: ...
    @overload
    def stream(self, prompt: str, *, deps: D_contra, **options: Unpack[RunOptions]) -> AgentStream[AgentResult]: ...
    def stream(self, prompt: str, *, deps: Any = None, **options: Unpack[RunOptions]) -> AgentStream[AgentResult]:
        """`run`, as it happens: text, arguments, tool starts, progress and results, as typed events.

        Leaving the block early cancels the run and its tools. `stream.result` is there when all events are read.

        Example:

            async with agent.stream("Where is my order?") as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        print(event.text, end="")
        """
        request = self._request(prompt, deps, options)
        return AgentStream(lambda show: self.work(request, show))

    def _request(self, prompt: str, deps: Any, options: RunOptions) -> Request:
        return request_of(prompt, deps, options, default=self.tool_choice, tools=self.rail.toolset)

    async def work(self, request: Request, show: Any) -> AgentResult:
        """One run from beginning to end; `show` gets everything that a stream hands out."""
        async with self._history(request) as (messages, keepers):
            notes = self._mend(messages)
            conversation = self.model.open(self._setup)
            messages.append(conversation.codec.user(request.prompt))
            if request.session is not None and self.context_tokens is not None:
                messages[:] = trimmed(messages, self.context_tokens)
            progress = _Progress([], list(notes))
            async with self._opened(request, messages) as run:
                self._prepare(run, conversation)
                run.observer = show
                run.keepers.extend(keepers)
                if not keepers:
                    provider = conversation.codec.provider
                    run.park = parking(
                        run.ports, messages, run_id=run.id, principal=request.principal, provider=provider
                    )
                if keepers:
                    await save(run)  # the user's words outlive this process, whatever comes next
                if notes:
                    run.emit(lambda head: RunRepaired(head, tuple(notes)))
                await self._timed(run, self._loop(run, self._narrowed(run, conversation), request, progress, show))
            return await self._result(run, progress)

    def _prepare(self, run: Run[Any], conversation: Conversation) -> None:
        run.null_means_default = conversation.null_means_default
        run.result_cap = self._result_cap

    async def _resumed(self, run_id: str, deps: Any, *, principal: Principal, approvals: Answers | None) -> AgentResult:
        ports, conversation = self.rail.ports, self.model.open(self._setup)
        state = await suspended(ports, run_id, principal)
        name = state.session or f"{PARKED}{run_id}"
        progress, request = _Progress([], []), Request("", deps, principal, (), state.session, "auto")
        held = held_session(ports, name, principal=principal, provider=conversation.codec.provider)
        async with held as conversed:
            async with self._opened(request, conversed.messages, run_id=run_id) as run:
                self._prepare(run, conversation)
                conversation = self._narrowed(run, conversation)
                run.keepers.append(conversed.save)
                batch = await resume_turn(run, conversation.codec, approvals=approvals)
                progress.calls.extend(batch.results)
                if batch.interrupt is not None:
                    raise batch.interrupt
                await self._timed(run, self._loop(run, conversation, request, progress, None))
            conversed.over = state.session is None and not run.state.pending
            return await self._result(run, progress)

    @asynccontextmanager
    async def _opened(
        self, request: Request, messages: list[Message], *, run_id: str | None = None
    ) -> AsyncGenerator[Run[Any]]:
        rail = self.rail
        run = make_run(
            rail.ports,
            rail.toolset,
            spine=rail.call,
            messages=messages,
            principal=request.principal,
            deps=request.deps,
            limits=self.limits,
            session=request.session,
        )
        run.model, run.prices = self.model.name, self.prices
        async with opened(rail.ports, run, run_id):
            yield run

    def _narrowed(self, run: Run[Any], conversation: Conversation) -> Conversation:
        """The same conversation where everything is offered, else one with what this principal may see."""
        if len(run.offered) == len(self._setup.tools):
            return conversation
        narrow = self.model.open(replace(self._setup, tools=tuple(run.offered.values())))
        run.null_means_default = narrow.null_means_default
        return narrow

    async def _timed(self, run: Run[Any], loop: Coroutine[Any, Any, None]) -> None:
        """Wall time is a hard limit: a model or a tool that is still at work then is cancelled, and settled."""
        seconds = run.limits.seconds
        limit = asyncio.timeout(None if seconds is None else seconds - run.elapsed)
        try:
            async with limit:
                await loop
        except TimeoutError:
            if not limit.expired():
                raise
            run.cancelled, run.state.stop_reason = False, "limit:seconds"

    async def _loop(
        self, run: Run[Any], conversation: Conversation, request: Request, progress: _Progress, show: Show | None
    ) -> None:
        asker = Asker(run, conversation, self.model.name, self._setup.settings.attempts, show)
        first = True
        while run.open:
            turn = self._turn(run, request, first=first)
            try:
                response = await asker.ask(turn)
            except ModelFailure as failure:
                log.warning("The model %s failed: %s", self.model.name, failure)
                progress.notes.append(f"model:{failure.label}")
                run.stop("context_length" if failure.label == "context_length" else "model_unavailable")
                return
            except asyncio.CancelledError:
                run.stop("cancelled")
                raise
            self._notice(turn, [call.name for call in response.calls], progress)
            progress.text = response.text
            batch = await take_turn(run, response, conversation.codec.results)
            progress.calls.extend(batch.results)
            if batch.interrupt is not None:
                raise batch.interrupt
            if not response.calls:
                self._check_output(run, conversation, progress)
            first = False

    def _turn(self, run: Run[Any], request: Request, *, first: bool) -> TurnRequest:
        choice: ToolChoice = offered_choice(request.tool_choice, run) if first else "auto"
        return TurnRequest("none" if closing(run) else choice, self.parallel)

    def _notice(self, turn: TurnRequest, called: list[str], progress: _Progress) -> None:
        """Some servers ignore a forced choice: then the caller should know."""
        choice = turn.tool_choice
        if ignored(choice, called):
            progress.notes.append("tool_choice_ignored")
            log.warning("The model %s ignored tool_choice=%s.", self.model.name, choice)

    def _check_output(self, run: Run[Any], conversation: Conversation, progress: _Progress) -> None:
        """A final answer that misses its declared type goes back to the model, as long as turns are left."""
        if self._output is None or run.stop_reason not in ("answer", "question"):
            return
        value, fault = self._output.read(progress.text)
        if fault is None:
            progress.output = value
            run.state.stop_reason = "answer"
            return
        run.state.stop_reason = None
        if not run.open:
            run.state.stop_reason = "output_invalid"
            return
        run.messages.append(conversation.codec.user(fault))

    def _mend(self, messages: list[Message]) -> Sequence[str]:
        if not messages:
            return ()
        mended = repair(messages, provider=self.provider)
        if mended.notes:
            messages[:] = mended.messages
        return mended.notes

    @property
    def provider(self) -> Any:
        """The provider whose wire form the messages have."""
        return self.model.open(self._setup).codec.provider

    @asynccontextmanager
    async def _history(self, request: Request) -> AsyncGenerator[tuple[list[Message], list[Callable[[], SaveSession]]]]:
        if request.session is None:
            yield list(request.messages), []
            return
        if request.session.startswith(PARKED):
            raise RunError(f"A session's name must not begin with {PARKED!r}: suspended runs are kept there.")
        held = held_session(self.rail.ports, request.session, principal=request.principal, provider=self.provider)
        async with held as conversed:
            yield conversed.messages, [conversed.save]

    async def _result(self, run: Run[Any], progress: _Progress) -> AgentResult:
        text = progress.text if run.stop_reason in _TEXTUAL else ""
        return AgentResult(
            run_id=run.id,
            output=progress.output if self._output else (text or None),
            text=text,
            stop_reason=run.stop_reason or "answer",
            calls=tuple(progress.calls),
            turns=run.state.turn,
            usage=run.usage,
            cost=cost_so_far(run),
            messages=run.messages,
            pending=await pending_of(run),
            notes=(*progress.notes, *run.notes),
        )


_TEXTUAL = (
    "answer",
    "question",
    "refusal",
    "truncated",
    "content_filter",
    "output_invalid",
    "limit:turns",
    "limit:calls",
    "limit:repeats",
    "limit:money",
)


def _stopped(result: AgentResult, raise_on_stop: bool) -> AgentResult:
    if raise_on_stop and not result.ok:
        raise RunStopped(result.stop_reason)
    return result
