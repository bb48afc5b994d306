"""One run: its serialisable state, and the live handle that user code and the spine share."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from toolrail.decisions import Approval, Principal
from toolrail.definition import Tool
from toolrail.effects import Scope
from toolrail.events import CallRef, Content, Event, Head, made
from toolrail.frozen import frozen
from toolrail.limits import RunLimits
from toolrail.messages import Message, ToolCall, ToolResult, Usage
from toolrail.money import PriceBook
from toolrail.store import ApprovalRow, CallRow, Op, ResultRow, RunRow

if TYPE_CHECKING:
    from toolrail.budgets import Account
    from toolrail.loops import LoopMemory
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
    cost: dict[str, str] = field(default_factory=dict[str, str])
    """What responses cost, by currency; decimal digits."""
    unpriced: int = 0
    """Responses whose cost nobody knows: with any, `cost` is a part of the whole."""
    started: float = 0.0
    """Wall time."""
    seconds: float = 0.0
    """Spent in earlier handles of this run."""
    offered: tuple[str, ...] = ()
    """Names of the tools that the model was offered; fixed at the start."""
    shut: tuple[str, ...] = ()
    """Names of those that were not, because their circuit was open."""
    answered: dict[str, str] = field(default_factory=dict[str, str])
    """Digest of the assistant message that was answered, by its position."""
    loop: dict[str, int] = field(default_factory=dict[str, int])
    """Loop memory: how often the same call had the same result."""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    """Value labels: where values came from."""
    stop_reason: str | None = None
    version: int = 0
    """How often it was written."""
    before: dict[str, int] = field(default_factory=dict[str, int])
    """While a turn is under way: the calls counted before it, in all (no name) and by tool. A process that takes over
    answers that turn again, and counts its calls once."""
    pending: tuple[str, ...] = ()
    """Keys of the calls whose placeholders stand in the messages: they wait for a person or for another system."""
    trace: str = ""
    """Where its latest handle stands in a trace, as a W3C traceparent, so that the next one can name it."""
    shift: int = 0
    """Added to positions in the messages, where some were cut off since: no two turns of a run share one."""

    def to_json(self) -> str:
        """As text, for the store."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunState:
        """Back from the store. Fields that a newer version wrote are left out."""
        data: dict[str, Any] = json.loads(text)
        data["usage"] = Usage(**data["usage"])
        data["offered"] = tuple(data["offered"])
        data["shut"] = tuple(data.get("shut", ()))
        data["pending"] = tuple(data.get("pending", ()))
        return cls(**{name: value for name, value in data.items() if name in cls.__slots__})


Spine = Callable[["Job"], Awaitable[ToolResult]]


@frozen
class ToolStarted:
    """A handler is about to run."""

    call: ToolCall


@frozen
class ToolProgress:
    """A handler said how far it is."""

    call: ToolCall
    text: str


@frozen
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
        "_shown",
        "_waiting",
        "account",
        "attachments",
        "cancelled",
        "closely",
        "heard",
        "hidden",
        "keepers",
        "kept",
        "lease",
        "limits",
        "loops",
        "messages",
        "model",
        "named",
        "notes",
        "notices",
        "now",
        "null_means_default",
        "observer",
        "offered",
        "park",
        "ports",
        "prices",
        "principal",
        "reader",
        "result_cap",
        "shut",
        "spine",
        "state",
        "stored",
        "tool_choice",
        "trace",
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
        self.shut: Mapping[str, Tool[Any]] = {}
        """The tools that are not offered because their circuit was open when the run started."""
        self.tool_choice: Any = "auto"
        self.null_means_default: Mapping[str, frozenset[str]] = {}
        """By tool, the arguments whose `null` only the provider's dialect allows: it stands for the default."""
        self.cancelled = False
        self.heard = bool(ports.sinks)
        """Whether anyone listens to events; when nobody does, none are built."""
        self.closely = self.heard and not all(getattr(sink, "ends_only", False) for sink in ports.sinks)
        """Whether anyone listens to more than how calls, requests and runs end."""
        self.observer: Observer | None = None
        """Whoever streams this run: hears of tool starts, progress and results, with their content."""
        self.named = False
        """It has an id of the caller's, so its state is kept and a turn answered twice is recognised."""
        self.lease: Any = None
        """Of a run that is restored by its id."""
        self.keepers: list[Callable[[], Op]] = []
        """What else is written with each turn, such as a session's messages."""
        self.park: Callable[[], Op] | None = None
        """What is written besides when the run is suspended: its messages, where nobody else keeps them."""
        self.kept = False
        """The store has something of this run that is of no use without it."""
        self.stored = False
        """The store has a row of this run."""
        self.attachments: dict[str, Any] = {}
        """What an edge keeps for this run, such as its compiled tools."""
        self.result_cap: int | None = None
        """Bytes of a result that the model's context has room for, where that is known."""
        self.reader: str | None = None
        """Name of the tool that reads on in kept results; empty where none is offered, None before anyone looked."""
        self.unsaved: list[CallRow] = []
        """Finished calls that go to a durable store with the next commit."""
        self.notices: list[str] = []
        """Lines for the model that go with the next result: what became known since."""
        self.account: Account | None = None
        """What is counted beside turns; None where nothing has a limit."""
        self.prices: PriceBook = ports.prices
        """What tokens cost."""
        self.model = ""
        """The name that its price is looked up by; empty: the name that a response has."""
        self.trace: str | None = None
        """The id of the trace that it belongs to, where a sink traces."""
        self.notes: list[str] = []
        """What was noticed on the way that is no event of a call, such as a price that nobody stated."""
        self.loops: LoopMemory | None = None
        """Made with the first result."""
        self._seq = count(1)  # not a number: the watchdog's thread takes one, too
        self._shown = 0
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
        return None if self.account is None else self.account.reached()

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

    def cap_of(self, tool: Tool[Any]) -> int:
        """Bytes that a result of this tool may have."""
        cap = tool.result.max_bytes or self.ports.limits.result_bytes
        return cap if self.result_cap is None or self.result_cap > cap else self.result_cap

    def stop(self, reason: str) -> None:
        """Ends the run; the first reason stays."""
        if self.state.stop_reason is None:
            self.state.stop_reason = reason

    def remark(self, note: str) -> None:
        """Notes something, once."""
        if note not in self.notes:
            self.notes.append(note)

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
        if self.loops is not None:
            self.loops.write(self.state.loop)
        self.state.version += 1
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
            state.version,
        )

    def head(self) -> Head:
        """The next event's head. Each call has two of them at least, so it is made without `Head`'s own constructor."""
        state = self.state
        return made(
            Head,
            (
                next(self._seq),
                self.ports.clock.wall(),
                self.now(),
                state.tenant,
                state.session,
                state.run_id,
                state.turn,
                state.principal_id,
                self.trace,
            ),
        )

    def emit(self, make: Callable[[Head], Event], *, end: bool = False) -> Head | None:
        """Builds one event, gives it to the sinks and answers its head. Nothing is built when nobody listens; `end`
        marks a `CallSettled`, a `ModelSettled` and a `RunEnded`, to which some sinks listen alone."""
        if not (self.closely or (end and self.heard)):
            return None
        head = self.head()
        self.ports.emit(make(head))
        return head

    def show_messages(self, head: Head | None) -> None:
        """Gives the messages that are new since the last time to the sinks that take content."""
        if head is None or not self.ports.readers:
            return
        before = self._shown if self._shown <= len(self.messages) else 0  # it was trimmed
        new, self._shown = self.messages[before:], len(self.messages)
        if new:
            self.ports.show(Content(head, "messages", None, json.dumps(new, ensure_ascii=False, default=str)))


@frozen
class Identity:
    """What makes one call's effect the same as another's."""

    effect_key: str | None
    """Digest of scope, owner, tool and the declared fields; None where no field is declared."""
    scope: Scope | None
    open_key: str
    """Digest of owner, tool and arguments: calls with the same meet one another's unknown outcome."""
    arguments: str
    """Effective, canonical JSON."""
    arguments_digest: str


@frozen
class Resumed:
    """A call that waited, when its run goes on."""

    row: CallRow
    question: ApprovalRow | None = None
    """What a person was asked about it, if that is what it waited for."""


@frozen
class Keeping:
    """A long result that `settle` keeps whole."""

    row: ResultRow
    lost: str
    """What the preview says in place of how to read on, if it cannot be kept."""


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
    identity: Identity | None = None
    """What makes this call's effect the same as another's; of tools whose effects can stand in each other's way."""
    repeats: CallRow | None = None
    """The call whose unknown outcome this one repeats, under its idempotency key."""
    rekeyed: int = 0
    """How often the other side gave up the idempotency key, so that the next attempt needs another."""
    begun: CallRow | None = None
    """This very call as a process has left it that died in the middle of the turn."""
    approval: str | None = None
    """Id of the approval that `claim` consumes."""
    edited: str = ""
    """What a person changed in the arguments that the model wrote."""
    granted: Approval | None = None
    """What a person has said, where the call starts over with arguments of that person's."""
    resumed: Resumed | None = None
    """What is known of it, when it waited and goes on now."""
    token: str = ""
    """By which another system names it, when it has suspended itself."""
    waited: float = 0.0
    """Seconds spent waiting for another holder of the key; they count against the deadline."""
    claimed: CallRow | None = None
    """The `started` row, once there is one."""
    transaction: Any = None
    """The last attempt's `ctx.transaction()`, where its handler asked for one."""
    keeping: Keeping | None = None
    frees_key: bool = True
    reference: str | None = None
    referred: CallRef | None = None
    """What `ref` answered last."""

    @property
    def goes_on(self) -> bool:
        """Whether it goes on with itself: a process had begun it, and died. What that did is unknown, even if nothing
        comes of it now."""
        return self.repeats is not None and self.repeats.key == self.key

    def ref(self) -> CallRef:
        """This call in events."""
        known, tool = self.referred, self.tool
        if known is None or (tool is not None and known.digest != tool.digest):
            name, digest = (tool.name, tool.digest) if tool else (self.call.name, "")
            known = self.referred = made(CallRef, (self.key, self.index, self.call.id, name, digest))
        return known
