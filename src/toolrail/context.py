"""What a handler gets beside its arguments: who asks, the caller's dependencies, keys and the deadline."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeVar

from toolrail.decisions import Principal
from toolrail.errors import NotAuthorised, ToolError

DepsT_co = TypeVar("DepsT_co", covariant=True)


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

    def transaction(self) -> AbstractAsyncContextManager[Any] | None:
        """A transaction of the store's own database, if it has one."""
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
        """The same for every attempt and repeat of the same effect: pass it to the other side."""
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

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """One transaction of the store's own database that commits the effect and this call's `done` together.

        Raises:
            ToolError: the store has no database of its own to write to.
        """
        found = self._control.transaction()
        if found is None:
            raise ToolError("This tool needs a store with transactions.", nothing_happened=True)
        return found
