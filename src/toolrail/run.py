"""One run: its serialisable state, and the live handle that user code and the spine share."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from toolrail.decisions import Principal
from toolrail.definition import Tool
from toolrail.events import CallRef, Event, Head
from toolrail.limits import RunLimits
from toolrail.messages import Message, ToolCall, ToolResult, Usage
from toolrail.store import CallRow, Op, RunRow

if TYPE_CHECKING:
    from toolrail.ports import Ports

D_co = TypeVar("D_co", covariant=True)


@dataclass(slots=True)
class RunState:
    """What a run is besides its messages: everything that another process needs to go on with it."""

    run_id: str
    tenant: str
    principal_id: str
    session: str | None = None
    turn: int = 0
    batches: int = 0
    """Batches beside the turns; each has keys of its own."""
    calls: int = 0
    calls_per_tool: dict[str, int] = field(default_factory=dict[str, int])
    usage: Usage = field(default_factory=Usage)
    started: float = 0.0
    """Wall time."""
    seconds: float = 0.0
    """Spent in earlier handles of this run."""
    offered: tuple[str, ...] = ()
    """Names of the tools that the model was offered; fixed at the start."""
    answered: dict[str, str] = field(default_factory=dict[str, str])
    """Digest of the assistant message that was answered, by its position."""
    loop: dict[str, int] = field(default_factory=dict[str, int])
    """Loop memory: how often the same call had the same result."""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    """Value labels: where values came from."""
    stop_reason: str | None = None

    def to_json(self) -> str:
        """As text, for the store."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunState:
        """Back from the store. Fields that a newer version wrote are left out."""
        data: dict[str, Any] = json.loads(text)
        data["usage"] = Usage(**data["usage"])
        data["offered"] = tuple(data["offered"])
        return cls(**{name: value for name, value in data.items() if name in cls.__slots__})


Spine = Callable[["Job"], Awaitable[ToolResult]]


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A handler is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A handler said how far it is."""

    call: ToolCall
    text: str


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A call has its result."""

    call: ToolCall
    result: ToolResult


Observer = Callable[[ToolStarted | ToolProgress | ToolEnded], None]


class Run(Generic[D_co]):
    """The live handle of one run. Made by `rail.run(...)`; `messages` is the caller's own list.

    Example:

        async with rail.run(messages, principal=user, deps=shop) as run:
            while run.open:
                response = await client.chat.completions.create(model="gpt-4o", messages=messages, **options(run))
                await answer(run, response)
    """

    __slots__ = (
        "_busy",
        "_deps",
        "_mono_started",
        "_seq",
        "_waiting",
        "attachments",
        "cancelled",
        "heard",
        "hidden",
        "keepers",
        "lease",
        "limits",
        "messages",
        "named",
        "now",
        "null_means_default",
        "observer",
        "offered",
        "ports",
        "principal",
        "spine",
        "state",
        "stored",
        "tool_choice",
        "unsaved",
    )

    def __init__(
        self,
        ports: Ports,
        spine: Spine,
        state: RunState,
        *,
        deps: D_co,
        principal: Principal,
        messages: list[Message],
        limits: RunLimits,
        offered: Mapping[str, Tool[Any]],
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self.ports = ports
        self.spine = spine
        """Takes one call through all stages: `Rail.call`."""
        self.state = state
        self._deps = deps
        self.principal = principal
        self.messages = messages
        self.limits = limits
        self.offered = offered
        """The tools this principal may see, by name. Fixed at the start, so that prompt caches stay warm."""
        self.hidden = hidden
        """Names that exist but not for this principal."""
        self.tool_choice: Any = "auto"
        self.null_means_default: Mapping[str, frozenset[str]] = {}
        """By tool, the arguments whose `null` only the provider's dialect allows: it stands for the default."""
        self.cancelled = False
        self.heard = bool(ports.sinks)
        """Whether anyone listens to events; when nobody does, none are built."""
        self.observer: Observer | None = None
        """Whoever streams this run: hears of tool starts, progress and results, with their content."""
        self.named = False
        """It has an id of the caller's, so its state is kept and a turn answered twice is recognised."""
        self.lease: Any = None
        """Of a run that is restored by its id."""
        self.keepers: list[Callable[[], Op]] = []
        """What else is written with each turn, such as a session's messages."""
        self.stored = False
        """The store has a row of this run."""
        self.attachments: dict[str, Any] = {}
        """What an edge keeps for this run, such as its compiled tools."""
        self.unsaved: list[CallRow] = []
        """Finished calls that go to a durable store with the next commit."""
        self._seq = 0
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.now = asyncio.get_running_loop().time
        """Seconds on the clock of the loop that the run was made on; may be asked in any thread."""
        self._mono_started = self.now()

    @property
    def deps(self) -> D_co:
        """What the application gave."""
        return self._deps

    @property
    def id(self) -> str:
        """The run's id."""
        return self.state.run_id

    @property
    def open(self) -> bool:
        """Whether the model should be asked again: no answer yet, and no limit reached."""
        if self.state.stop_reason is None:
            self.state.stop_reason = self.limit_reached()
        return self.state.stop_reason is None

    @property
    def stop_reason(self) -> str | None:
        """Why the run is over; None while it is open."""
        return self.state.stop_reason

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self.state.usage

    @property
    def last_turn(self) -> bool:
        """Whether the next model request is the last one allowed: it is sent with `tool_choice` none."""
        return self.limits.turns is not None and self.state.turn >= self.limits.turns - 1

    def limit_reached(self) -> str | None:
        """The limit that forbids another model request, as a stop reason."""
        limits, state = self.limits, self.state
        if self.ports.work.closing:
            return "shutting_down"
        if limits.turns is not None and state.turn >= limits.turns:
            return "limit:turns"
        if limits.tokens is not None and state.usage.total_tokens >= limits.tokens:
            return "limit:tokens"
        if limits.seconds is not None and self.elapsed >= limits.seconds:
            return "limit:seconds"
        return None

    def count(self, tool: str) -> str | None:
        """Counts one call; names the limit that has no room for it, and then counts nothing."""
        limits, state = self.limits, self.state
        if limits.calls is not None and state.calls >= limits.calls:
            return f"{limits.calls} calls"
        of_tool = state.calls_per_tool.get(tool, 0)
        if limits.calls_per_tool is not None and of_tool >= limits.calls_per_tool:
            return f"{limits.calls_per_tool} calls of {tool}"
        state.calls += 1
        state.calls_per_tool[tool] = of_tool + 1
        return None

    @property
    def elapsed(self) -> float:
        """Seconds that this handle has been open, on the loop's clock, and those before it was restored."""
        return self.state.seconds + self.now() - self._mono_started

    def stop(self, reason: str) -> None:
        """Ends the run; the first reason stays."""
        if self.state.stop_reason is None:
            self.state.stop_reason = reason

    def enter_now(self) -> bool:
        """Takes one of the run's parallel places if one is free."""
        free = self._busy < self.limits.parallel and not self._waiting
        self._busy += free
        return free

    async def enter(self) -> None:
        """Waits for one of the run's parallel places."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Gives the place to the next in line."""
        while self._waiting:
            granted = self._waiting.popleft()
            if not granted.done():
                granted.set_result(None)
                return
        self._busy -= 1

    def row(self) -> RunRow:
        """This run as a row of the store."""
        self.stored = True
        state = replace(self.state, seconds=self.elapsed)
        return RunRow(
            state.tenant,
            state.run_id,
            state.session,
            state.principal_id,
            state.to_json(),
            state.stop_reason,
            state.started,
            self.ports.clock.wall(),
        )

    def head(self) -> Head:
        """The next event's head."""
        self._seq += 1
        state = self.state
        return Head(
            self._seq,
            self.ports.clock.wall(),
            self.now(),
            state.tenant,
            state.session,
            state.run_id,
            state.turn,
            state.principal_id,
        )

    def emit(self, make: Callable[[Head], Event]) -> None:
        """Builds one event and gives it to the sinks. Nothing is built when nobody listens."""
        if self.heard:
            self.ports.emit(make(self.head()))


@dataclass(slots=True)
class Job:
    """One call on its way through the stages: what all of them may need, and what they leave for the record."""

    ports: Ports
    run: Run[Any]
    call: ToolCall
    index: int
    key: str
    started: float
    """On the loop's clock."""
    truncated: bool = False
    """It comes from a response that was cut off."""
    over: str | None = None
    """The limit that had no room for it when the batch was reserved."""
    after: Sequence[asyncio.Event] = ()
    """Ends of earlier calls that must come first."""
    done: asyncio.Event | None = None
    """Its own end, where a later call waits for it."""
    tool: Tool[Any] | None = None
    flags: tuple[str, ...] = ()
    attempts: int = 0
    handler_seconds: float = 0.0
    interrupt: BaseException | None = None
    """A cancellation or a Ctrl-C that arrived meanwhile; passed on when the whole batch is settled."""
    effect_key: str | None = None
    arguments_digest: str | None = None
    claimed: Any = None
    """The `started` row, once there is one."""
    frees_key: bool = True
    reference: str | None = None

    def ref(self) -> CallRef:
        """This call in events."""
        tool = self.tool
        name, digest = (tool.name, tool.digest) if tool else (self.call.name, "")
        return CallRef(self.key, self.index, self.call.id, name, digest)
