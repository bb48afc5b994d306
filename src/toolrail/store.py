"""The store port: what must not be lost. Operations are values, and `apply` does several in one transaction.

A store has one method that matters, so that every store has the same transaction boundary, can group commits, and can
be made to fail at each operation in a test.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, overload

from toolrail.codes import Code, Status
from toolrail.digests import blake2b
from toolrail.effects import Scope
from toolrail.frozen import frozen
from toolrail.messages import Trust

CallState = Literal["planned", "pending", "started", "waiting", "done", "failed", "unknown", "repeated"]
"""How far a call is.

planned: the model asked. pending: a person decides; nothing ran and no key is held. started: claimed, the handler may
be running; once its lease has lapsed it counts as unknown. waiting: the handler suspended itself, somebody else will
settle it. done. failed: nothing happened, the key is free. unknown: it may have happened. repeated: it was unknown, and
a later call goes on under its idempotency key; it ends as that one does.
"""

HOLDING: frozenset[CallState] = frozenset({"started", "waiting", "done", "unknown", "repeated"})
"""States in which a call that was claimed keeps its effect key."""

NOT_BEGUN: tuple[CallState, ...] = ("planned", "pending", "failed")
"""States of a call that has not begun, or did nothing: as good as no row at all."""

BUCKETS = 4096


class StoreError(Exception):
    """A store cannot do its work. The text has the path, what is wrong, and the mend.

    Example: `rail.db: it is not an SQLite database. Mend: Give the store a path of its own.`
    """

    def __init__(self, path: str, message: str, mend: str) -> None:
        super().__init__(f"{path}: {message} Mend: {mend}")
        self.path = path
        self.message = message
        self.mend = mend


def bucket_of(tenant: str, run: str) -> int:
    """Spreads rows over 4,096 buckets, for stores that shard: first 8 bytes of BLAKE2b over tenant, NUL, run."""
    return int(blake2b(f"{tenant}\0{run}", 8), 16) % BUCKETS


@frozen
class CallRow:
    """One call in the ledger, which is also the journal."""

    tenant: str
    run: str
    key: str
    """`call_key`, unique within the tenant."""
    turn: int
    index: int
    call_id: str
    tool: str
    digest: str
    principal: str
    effect: str
    state: CallState
    effect_key: str | None = None
    """Equal for calls that are the same effect; at most one of them holds it."""
    scope: Scope | None = None
    """Where the effect key holds."""
    open_key: str | None = None
    """Equal for calls that meet one another's unknown outcome: same tool, arguments and principal."""
    idempotency_key: str | None = None
    """What the other side was given. A repeat keeps that of the call it repeats."""
    repeats: str | None = None
    """Key of the call whose unknown outcome this one took over."""
    arguments: str | None = None
    """Effective arguments as canonical JSON, of calls that write or wait for a person."""
    arguments_digest: str | None = None
    status: Status | None = None
    code: Code | None = None
    content: str | None = None
    trust: Trust = "untrusted"
    flags: tuple[str, ...] = ()
    attempts: int = 0
    argument_bytes: int = 0
    result_bytes: int = 0
    seconds: float = 0.0
    created: float = 0.0
    updated: float = 0.0
    lease_until: float | None = None
    """Wall time after which a `started` row counts as unknown."""


@frozen
class RunRow:
    """One run: its serialised `RunState`, and what lists show."""

    tenant: str
    run: str
    session: str | None
    principal: str
    state: str
    """JSON."""
    stop_reason: str | None
    created: float
    updated: float
    version: int = 0
    """Counts the run's own writes: of two that cross on their way, the older changes nothing."""


@frozen
class SessionRow:
    """One conversation, in the provider's wire form."""

    tenant: str
    session: str
    principal: str
    provider: str
    messages: str
    """JSON."""
    created: float
    updated: float


ApprovalState = Literal["pending", "approved", "rejected", "used"]


@frozen
class ApprovalRow:
    """One question to a person about exactly one call, and the answer."""

    tenant: str
    approval: str
    """Id, made of the binding: the same question has the same id."""
    run: str
    key: str
    """`call_key`."""
    principal: str
    """Who asked for the call."""
    tool: str
    digest: str
    """Of the tool and its schema."""
    arguments: str
    """Effective, canonical JSON: what the handler will get."""
    binding: str
    """Digest over tenant, principal, run, call key, tool and schema, and effective arguments."""
    reason: str
    four_eyes: bool = False
    """The requester may not approve."""
    needs: str | None = None
    """Permission that the approver must have."""
    state: ApprovalState = "pending"
    approver: str | None = None
    note: str = ""
    edited: str | None = None
    """What the approver gave in its place: of an approval, arguments (JSON); of a rejection, words for the model."""
    created: float = 0.0
    expires: float | None = None
    """Wall time."""
    decided: float | None = None

    def expired(self, now: float) -> bool:
        """Whether its time is over at this wall time."""
        return self.expires is not None and now > self.expires


@frozen
class ResultRow:
    """A whole result that was too large for the conversation."""

    tenant: str
    handle: str
    """Random: it cannot be guessed."""
    run: str
    key: str
    principal: str
    trust: Trust
    content: str
    created: float


@frozen
class Claimed:
    """The call may start: its `started` row is committed."""


@frozen
class Held:
    """Another call stands in the way: it holds the effect key, or its outcome is unknown and this one meets it. Or the
    call itself was begun before."""

    row: CallRow


@frozen
class NotApproved:
    """The approval that the claim names cannot be used: not approved, expired or used before."""

    row: ApprovalRow | None


class Plan(NamedTuple):
    """Writes `planned` rows with the model's turn; rows that exist stay as they are."""

    rows: tuple[CallRow, ...]


class Claim(NamedTuple):
    """Writes `started`, or answers `Held` and writes nothing. Held by, in this order:

    1. a row of this very call key that is not planned, pending or failed (and not named by `over`);
    2. another row that holds the effect key;
    3. the oldest row with the same open key whose outcome is unknown, unless `over` is given.

    `over` names the row whose unknown outcome this call repeats. It must still be unknown, or started with a lease that
    lapsed before `now`; else it is answered as `Held`. It becomes `repeated` and gives its effect key to this call.

    `approval` names the approval to consume, of this very call key. When nothing holds the call and the approval cannot
    be used, the answer is `NotApproved`.
    """

    row: CallRow
    now: float
    """Wall time."""
    over: str | None = None
    approval: str | None = None


class Settle(NamedTuple):
    """Writes how a call ended; answers whether it did. A row that is done stays done.

    `expect` lists the states in which the row may be changed; none: any but done. A missing row counts as planned.

    When a call that repeats another ends as done, that one is done with the same content; when it failed, that one is
    unknown again and holds its key. A call that had failed and turns out done or unknown holds its key again, if nobody
    else does by then.
    """

    row: CallRow
    expect: tuple[CallState, ...] = ()
    lease: float | None = None
    """`lease_until` of the claim that this ends. A row that is started under another lease stays, unless this is done:
    whoever was away for so long must not free the key of the one who went on in his place."""


class FindEffect(NamedTuple):
    """The row that a call meets: the holder of its effect key, else the oldest with its open key whose outcome is
    unknown at `now` (state unknown, or started with a lapsed lease). A repeated one stands for the call that repeats
    it."""

    tenant: str
    effect_key: str | None
    open_key: str | None
    now: float


class FindCall(NamedTuple):
    """One call by its key, in any tenant when none is named."""

    tenant: str | None
    key: str


class OpenCalls(NamedTuple):
    """Calls whose outcome is open: started, waiting or unknown; the oldest first, of all tenants when none is named."""

    tenant: str | None = None
    limit: int = 100


class Forget(NamedTuple):
    """Drops what only this run could still use: its row, its settled calls without a key beyond the run, its
    results and its approvals. Calls whose outcome is open stay; the store in memory drops them once they are settled.
    For stores that keep nothing for later."""

    tenant: str
    run: str


class RequestApproval(NamedTuple):
    """Stores a question, unless it is there; answers the row as it stands."""

    row: ApprovalRow


class DecideApproval(NamedTuple):
    """Answers a question that is pending and not expired at `now`. Answers the row after it, or None if there is none;
    the caller looks at the row to see whether the decision was this one."""

    tenant: str
    approval: str
    approved: bool
    approver: str
    now: float
    note: str = ""
    edited: str | None = None


class FindApproval(NamedTuple):
    tenant: str | None
    approval: str


class ListApprovals(NamedTuple):
    """The oldest first. None: whatever tenant, run or state."""

    tenant: str | None = None
    run: str | None = None
    state: ApprovalState | None = "pending"
    limit: int = 100


class KeepResult(NamedTuple):
    row: ResultRow


class ReadResult(NamedTuple):
    tenant: str
    handle: str


class Spend(NamedTuple):
    """Adds to a counter, at most up to its limit; answers `Spent`. A counter without a row, or past its `expires`,
    begins at zero. A negative amount gives back, at most what was spent."""

    tenant: str
    name: str
    amount: float
    limit: float | None
    now: float
    expires: float
    """Wall time after which it begins at zero again."""


@frozen
class Spent:
    """What was granted of a `Spend`, and the counter after it."""

    granted: float
    total: float


class CallsOf(NamedTuple):
    """All calls of a run, by turn and index."""

    tenant: str
    run: str


class SaveRun(NamedTuple):
    """Writes a run, unless a later version of it is there."""

    row: RunRow


class LoadRun(NamedTuple):
    tenant: str
    run: str


class ListRuns(NamedTuple):
    """The newest runs first, of all tenants when none is named."""

    limit: int = 50
    tenant: str | None = None
    since: float = 0.0
    """Only those updated after this wall time."""


class SaveSession(NamedTuple):
    row: SessionRow


class LoadSession(NamedTuple):
    tenant: str
    session: str


class TakeLease(NamedTuple):
    """Takes or renews a named lease for a holder; False while another holder's has not lapsed."""

    tenant: str
    name: str
    holder: str
    now: float
    until: float


class DropLease(NamedTuple):
    """Gives a lease back, if the holder still has it."""

    tenant: str
    name: str
    holder: str


Op = (
    Plan
    | Claim
    | Settle
    | FindEffect
    | FindCall
    | OpenCalls
    | CallsOf
    | Forget
    | RequestApproval
    | DecideApproval
    | FindApproval
    | ListApprovals
    | KeepResult
    | ReadResult
    | Spend
    | SaveRun
    | LoadRun
    | ListRuns
    | SaveSession
    | LoadSession
    | TakeLease
    | DropLease
)
"""All operations. Named tuples, because they cost a fifth of a frozen dataclass to define, and each `ask` makes one."""


class Store(Protocol):
    """Keeps calls, runs, sessions and leases.

    Raises:
        Exception: anything; the spine answers STORE_UNAVAILABLE where nothing ran, and flags the result where it did.
    """

    @property
    def durable(self) -> bool:
        """Whether rows outlive the process. Reads and unkeyed calls are only written to a durable store."""
        ...

    async def apply(self, *ops: Op) -> list[Any]:
        """Does all operations in one transaction, in order, and answers each."""
        ...

    async def close(self) -> None:
        """Writes what is queued and closes."""
        ...


@overload
async def ask(store: Store, op: Claim) -> Claimed | Held | NotApproved: ...
@overload
async def ask(store: Store, op: Settle | TakeLease) -> bool: ...
@overload
async def ask(store: Store, op: FindEffect | FindCall) -> CallRow | None: ...
@overload
async def ask(store: Store, op: CallsOf | OpenCalls) -> tuple[CallRow, ...]: ...
@overload
async def ask(store: Store, op: RequestApproval) -> ApprovalRow: ...
@overload
async def ask(store: Store, op: DecideApproval | FindApproval) -> ApprovalRow | None: ...
@overload
async def ask(store: Store, op: ListApprovals) -> tuple[ApprovalRow, ...]: ...
@overload
async def ask(store: Store, op: ReadResult) -> ResultRow | None: ...
@overload
async def ask(store: Store, op: Spend) -> Spent: ...
@overload
async def ask(store: Store, op: LoadRun) -> RunRow | None: ...
@overload
async def ask(store: Store, op: ListRuns) -> tuple[RunRow, ...]: ...
@overload
async def ask(store: Store, op: LoadSession) -> SessionRow | None: ...
@overload
async def ask(store: Store, op: Plan | SaveRun | SaveSession | DropLease | Forget | KeepResult) -> None: ...
async def ask(store: Store, op: Op) -> Any:
    """One operation, with the type of its answer."""
    return (await store.apply(op))[0]
