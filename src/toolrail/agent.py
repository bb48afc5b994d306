"""The loop: user -> model -> tools -> model -> answer, in hard limits; it ends with a reason, never with a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, overload

from toolrail.asking import Asker, Show
from toolrail.background import BACKGROUND
from toolrail.decisions import ANONYMOUS, Principal
from toolrail.errors import DefinitionError, RunStopped
from toolrail.events import RunRepaired
from toolrail.history.repair import repair
from toolrail.limits import RunLimits
from toolrail.messages import Message, ToolResult, Usage
from toolrail.model import (
    Among,
    Conversation,
    Model,
    ModelFailure,
    ModelSettings,
    Named,
    Setup,
    ToolChoice,
    TurnRequest,
)
from toolrail.output import Output
from toolrail.ports import log
from toolrail.providers import model_for
from toolrail.rail import Rail
from toolrail.records.prices import Cost, Price, cost_of
from toolrail.run import Run
from toolrail.session import held_session, trimmed
from toolrail.streaming import AgentStream
from toolrail.turn import closing, take_turn

D = TypeVar("D")
D_contra = TypeVar("D_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How a run ended."""

    run_id: str
    output: Any
    """The validated output where one was declared, else the text; None when there is none."""
    text: str
    stop_reason: str
    """`answer`, `question`, `limit:turns`, `limit:calls`, `limit:tokens`, `limit:seconds`, `context_length`,
    `refusal`, `content_filter`, `truncated`, `empty`, `output_invalid`, `model_unavailable` or `cancelled`."""
    calls: tuple[ToolResult, ...]
    """Every call's result, in order."""
    turns: int
    usage: Usage
    cost: Cost
    messages: list[Message]
    """The whole conversation, valid for the next request to the same provider."""
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
        prices: by model name; a model without one has an unknown cost.
        context_tokens: older parts of a session are left out so that it stays about under this.

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
        prices: Mapping[str, Price] | None = None,
        context_tokens: int | None = None,
    ) -> None:
        self.model = model_for(model) if isinstance(model, str) else model
        self.rail = rail
        self.limits = limits or RunLimits()
        if max_turns is not None:
            self.limits = replace(self.limits, turns=max_turns)
        self.tool_choice: ToolChoice = tool_choice
        self.parallel = parallel
        self.prices = prices or {}
        self.context_tokens = context_tokens
        self._output = Output(output) if output is not None else None
        self._setup = Setup(
            tools=tuple(rail.toolset),
            instructions=instructions,
            settings=settings or ModelSettings(),
            output_schema=self._output.schema if self._output else None,
            strict=strict,
        )
        _check_choice(tool_choice, rail)
        self.model.open(self._setup)  # says now what the provider cannot combine

    @overload
    async def run(
        self: Agent[object],
        prompt: str,
        *,
        principal: Principal = ANONYMOUS,
        deps: None = None,
        messages: Sequence[Message] = (),
        session: str | None = None,
        tool_choice: ToolChoice | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult: ...
    @overload
    async def run(
        self,
        prompt: str,
        *,
        deps: D_contra,
        principal: Principal = ANONYMOUS,
        messages: Sequence[Message] = (),
        session: str | None = None,
        tool_choice: ToolChoice | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult: ...
    async def run(
        self,
        prompt: str,
        *,
        principal: Principal = ANONYMOUS,
        deps: Any = None,
        messages: Sequence[Message] = (),
        session: str | None = None,
        tool_choice: ToolChoice | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult:
        """Answers one user message.

        Args:
            prompt: what the user says.
            principal: who is logged in.
            deps: what handlers get as `ctx.deps`.
            messages: the conversation so far, in the provider's form; it is repaired where it is broken, not changed.
            session: the conversation's name in the store, instead of `messages`.
            tool_choice: for the first turn, in place of the agent's own.
            raise_on_stop: raise when the run ends without an answer or a question.

        Raises:
            RunBusy: another run holds the session now.
            RunStopped: with `raise_on_stop`.
            asyncio.CancelledError: the run was cancelled; a session keeps what was settled.
        """
        request = self._request(prompt, principal, deps, messages, session, tool_choice)
        result = await self.work(request, None)
        if raise_on_stop and not result.ok:
            raise RunStopped(result.stop_reason)
        return result

    def run_sync(
        self,
        prompt: str,
        *,
        principal: Principal = ANONYMOUS,
        deps: Any = None,
        messages: Sequence[Message] = (),
        session: str | None = None,
        tool_choice: ToolChoice | None = None,
        raise_on_stop: bool = False,
    ) -> AgentResult:
        """`run` for synchronous code: on one background loop, so that pooled clients stay usable. Not within a loop of
        your own that must not block."""
        request = self._request(prompt, principal, deps, messages, session, tool_choice)
        result = BACKGROUND.run(self.work(request, None), lending=self.rail.ports.pool.lend())
        if raise_on_stop and not result.ok:
            raise RunStopped(result.stop_reason)
        return result

    def stream(
        self,
        prompt: str,
        *,
        principal: Principal = ANONYMOUS,
        deps: Any = None,
        messages: Sequence[Message] = (),
        session: str | None = None,
        tool_choice: ToolChoice | None = None,
    ) -> AgentStream[AgentResult]:
        """`run`, as it happens: text, arguments, tool starts, progress and results, as typed events.

        Leaving the block early cancels the run and its tools. `stream.result` is there when all events are read.

        Example:

            async with agent.stream("Where is my order?") as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        print(event.text, end="")
        """
        request = self._request(prompt, principal, deps, messages, session, tool_choice)
        return AgentStream(lambda show: self.work(request, show))

    def _request(
        self,
        prompt: str,
        principal: Principal,
        deps: Any,
        messages: Sequence[Message],
        session: str | None,
        tool_choice: ToolChoice | None,
    ) -> Request:
        if tool_choice is not None:
            _check_choice(tool_choice, self.rail)
        return Request(prompt, principal, deps, tuple(messages), session, tool_choice or self.tool_choice)

    async def work(self, request: Request, show: Any) -> AgentResult:
        """One run from beginning to end; `show` gets everything that a stream hands out."""
        async with self._history(request) as messages:
            notes = self._mend(messages)
            conversation = self.model.open(self._setup)
            messages.append(conversation.codec.user(request.prompt))
            if request.session is not None and self.context_tokens is not None:
                messages[:] = trimmed(messages, self.context_tokens)
            progress = _Progress([], list(notes))
            async with self._opened(request, messages) as run:
                run.null_means_default = conversation.null_means_default
                run.observer = show
                if notes:
                    run.emit(lambda head: RunRepaired(head, tuple(notes)))
                await self._timed(run, self._loop(run, self._narrowed(run, conversation), request, progress, show))
            return self._result(run, progress)

    def _opened(self, request: Request, messages: list[Message]) -> AbstractAsyncContextManager[Run[Any]]:
        return self.rail.run(
            messages, principal=request.principal, deps=request.deps, limits=self.limits, session=request.session
        )

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
        choice: ToolChoice = _offered(request.tool_choice, run) if first else "auto"
        return TurnRequest("none" if closing(run) else choice, self.parallel)

    def _notice(self, turn: TurnRequest, called: list[str], progress: _Progress) -> None:
        """Some servers ignore a forced choice: then the caller should know."""
        choice = turn.tool_choice
        if _ignored(choice, called):
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
    async def _history(self, request: Request) -> AsyncGenerator[list[Message]]:
        if request.session is None:
            yield list(request.messages)
            return
        held = held_session(self.rail.ports, request.session, principal=request.principal, provider=self.provider)
        async with held as conversed:
            yield conversed.messages

    def _result(self, run: Run[Any], progress: _Progress) -> AgentResult:
        text = progress.text if run.stop_reason in _TEXTUAL else ""
        return AgentResult(
            run_id=run.id,
            output=progress.output if self._output else (text or None),
            text=text,
            stop_reason=run.stop_reason or "answer",
            calls=tuple(progress.calls),
            turns=run.state.turn,
            usage=run.usage,
            cost=cost_of(run.usage, self.model.name, self.prices),
            messages=run.messages,
            notes=tuple(progress.notes),
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
)


@dataclass(frozen=True, slots=True)
class Request:
    """What one run was asked."""

    prompt: str
    principal: Principal
    deps: Any
    messages: tuple[Message, ...]
    session: str | None
    tool_choice: ToolChoice


def _check_choice(choice: ToolChoice, rail: Rail[Any]) -> None:
    for name in _names(choice):
        if name not in rail.toolset:
            where = f"Agent(tool_choice={type(choice).__name__}({name!r}))"
            raise DefinitionError("TR402", where, "no tool has that name.", "Name a tool of the rail.")
    if choice == "required" and not len(rail.toolset):
        raise DefinitionError(
            "TR402", 'Agent(tool_choice="required")', "the rail has no tools.", "Add one, or drop it."
        )


def _names(choice: ToolChoice) -> tuple[str, ...]:
    match choice:
        case Named(name):
            return (name,)
        case Among(names):
            return names
        case _:
            return ()


def _offered(choice: ToolChoice, run: Run[Any]) -> ToolChoice:
    """The choice without the tools that are hidden from this principal; "auto" where none is left to force."""
    match choice:
        case Named(name):
            return choice if name in run.offered else "auto"
        case Among((_, *_) as names, required):
            seen = tuple(name for name in names if name in run.offered)
            return Among(seen, required) if seen or not required else "auto"
        case _:
            return choice


def _ignored(choice: ToolChoice, called: Sequence[str]) -> bool:
    match choice:
        case "none":
            return bool(called)
        case "required":
            return not called
        case Named(name):
            return name not in called
        case Among(names, required):
            return (required and not called) or any(name not in names for name in called)
        case "auto":
            return False
