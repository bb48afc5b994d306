"""The store port: what must not be lost. Operations are values, and `apply` does several in one transaction.

A store has one method that matters, so that every store has the same transaction boundary, can group commits, and can
be made to fail at each operation in a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, overload

from toolrail.codes import Code, Status
from toolrail.digests import blake2b
from toolrail.messages import Trust

CallState = Literal["planned", "started", "done", "failed", "unknown"]
"""planned: the model asked. started: claimed, the handler may be running. failed: nothing happened, the key is free."""

BUCKETS = 4096


def bucket_of(tenant: str, run: str) -> int:
    """Spreads rows over 4,096 buckets, for stores that shard: first 8 bytes of BLAKE2b over tenant, NUL, run."""
    return int(blake2b(f"{tenant}\0{run}", 8), 16) % BUCKETS


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Claimed:
    """The call may start: its `started` row is committed."""


@dataclass(frozen=True, slots=True)
class Held:
    """Another call holds the effect key: done, started, or unknown."""

    row: CallRow


class Plan(NamedTuple):
    """Writes `planned` rows with the model's turn; rows that exist stay as they are."""

    rows: tuple[CallRow, ...]


class Claim(NamedTuple):
    """Writes `started`, unless a row with the same effect key holds it (started, done or unknown)."""

    row: CallRow


class Settle(NamedTuple):
    """Writes how a call ended. A row that is done stays done."""

    row: CallRow


class FindEffect(NamedTuple):
    """The row that holds an effect key in a tenant."""

    tenant: str
    effect_key: str


class CallsOf(NamedTuple):
    """All calls of a run, by turn and index."""

    tenant: str
    run: str


class SaveRun(NamedTuple):
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
    | CallsOf
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
async def ask(store: Store, op: Claim) -> Claimed | Held: ...
@overload
async def ask(store: Store, op: FindEffect) -> CallRow | None: ...
@overload
async def ask(store: Store, op: CallsOf) -> tuple[CallRow, ...]: ...
@overload
async def ask(store: Store, op: LoadRun) -> RunRow | None: ...
@overload
async def ask(store: Store, op: ListRuns) -> tuple[RunRow, ...]: ...
@overload
async def ask(store: Store, op: LoadSession) -> SessionRow | None: ...
@overload
async def ask(store: Store, op: TakeLease) -> bool: ...
@overload
async def ask(store: Store, op: Plan | Settle | SaveRun | SaveSession | DropLease) -> None: ...
async def ask(store: Store, op: Op) -> Any:
    """One operation, with the type of its answer."""
    return (await store.apply(op))[0]
