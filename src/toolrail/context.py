"""What a handler gets beside its arguments: who asks, the caller's dependencies, keys and the deadline."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from toolrail.decisions import Principal
from toolrail.errors import NotAuthorised, ToolError
from toolrail.frozen import frozen
from toolrail.messages import Trust

DepsT_co = TypeVar("DepsT_co", covariant=True)


@frozen
class KeptResult:
    """A long result, whole, and what the tool that reads on in it must know."""

    content: str
    trust: Trust
    cap: int
    """Bytes that an answer may have."""
    reader: str
    """The reading tool's own name in this run."""


class Transaction(Protocol):
    """What `ctx.transaction()` gives: for `async with` in an async handler, for `with` in a sync one."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, kind: Any, error: Any, traceback: Any, /) -> None: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: Any, error: Any, traceback: Any, /) -> None: ...


class CallControl(Protocol):
    """The spine's end of a `RunContext`: what the handler said through it, and what it should hear."""

    cancelled: bool

    def begin(self) -> None:
        """Notes that an effect may take place from now on.

        Raises:
            ToolError: nobody waits for this attempt any more, so it must not.
        """
        ...

    def now(self) -> float:
        """Seconds on the loop's clock; safe in threads."""
        ...

    def progress(self, text: str) -> None:
        """Passes a handler's progress on."""
        ...

    async def read_result(self, handle: str) -> KeptResult | None:
        """A long result of this run that was kept, if there is one under this handle."""
        ...

    def transaction(self) -> Transaction | None:
        """A transaction of the store's own database, where the call has one."""
        ...


class RunContext(Generic[DepsT_co]):
    """Handed to a handler whose first parameter is annotated with it. It never appears in the schema.

    Example:

        @tool(effect="read")
        async def my_orders(ctx: RunContext[Shop]) -> list[Order]:
            '''Lists the logged-in customer's orders.'''
            ctx.require("orders:read")
            return await ctx.deps.orders.of(ctx.principal.id)
    """

    __slots__ = ("_control", "_deps", "attempt", "call_key", "deadline", "idempotency_key", "principal")

    def __init__(
        self,
        deps: DepsT_co,
        principal: Principal,
        *,
        call_key: str,
        idempotency_key: str,
        deadline: float,
        attempt: int,
        control: CallControl,
    ) -> None:
        self._deps = deps
        self.principal = principal
        """Who is logged in, as the application said."""
        self.call_key = call_key
        """This call's own key, unique for all time."""
        self.idempotency_key = idempotency_key
        """Pass it to the other side. The same for each attempt of this call, and for a later one that repeats it since
        its outcome is not known."""
        self.deadline = deadline
        """On the event loop's clock, in seconds; `remaining` is easier."""
        self.attempt = attempt
        """1 for the first."""
        self._control = control

    @property
    def deps(self) -> DepsT_co:
        """What the application gave to the run."""
        return self._deps

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never negative. Pass it on as a time-out. Safe in threads."""
        return max(0.0, self.deadline - self._control.now())

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for this call any more. A sync handler can look at it now and then."""
        return self._control.cancelled

    def require(self, permission: str) -> None:
        """Raises `NotAuthorised` unless the principal has the permission, by exact name."""
        if not self.principal.may(permission):
            raise NotAuthorised()

    def begin_effect(self) -> None:
        """Marks the point from which an effect may take place. A `once` tool that fails before it did nothing.

        Raises:
            ToolError: the call's time is over and the model was told that nothing happened; do not go on.
        """
        self._control.begin()

    def progress(self, text: str) -> None:
        """Tells whoever watches the run how far the call is. Never shown to the model."""
        self._control.progress(text)

    def transaction(self) -> Transaction:
        """One transaction of the store's own database (SQLite, PostgreSQL) that commits this call's effect and its end
        together: there it happens exactly once. Declare such a tool `effect=transactional(...)`.

        Left by an exception it is rolled back. Otherwise it stays open, and is committed with the call's result once
        the handler has returned; whatever goes wrong before that rolls it back, and the key is free again. So all that
        the tool does must be in it. Keep it short: SQLite lets nobody else write meanwhile, the store itself included,
        which waits 4 s at most. Call no other tool inside it. A call has one transaction in each attempt.

        In it, SQLite has `tx.execute(sql, parameters)`, which answers rows (awaited in an async handler, plain in a
        sync one); PostgreSQL has asyncpg's connection, in async handlers. Do not commit in it yourself.

        Raises:
            ToolError: the call's time is over, or this is its second transaction.
            DefinitionError: TR307, on entering it: the store has no database, or the tool is declared as a read.

        Example:

            async with ctx.transaction() as tx:
                await tx.execute("INSERT INTO payments (invoice) VALUES (?)", (invoice,))
        """
        found = self._control.transaction()
        if found is None:
            raise ToolError("There is no transaction here.", nothing_happened=True)
        return found


async def kept_result(ctx: RunContext[Any], handle: str) -> KeptResult | None:
    """For a tool that reads on in kept results: what stands under the handle, if it belongs to this run and principal.

    Raises:
        ToolError: the store cannot be asked now.
    """
    return await ctx._control.read_result(handle)  # pyright: ignore[reportPrivateUsage]
