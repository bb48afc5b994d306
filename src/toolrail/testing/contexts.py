"""A context for calling a handler by itself: `await find_invoice.fn(handler_context(shop, user), "ACME")`."""

from __future__ import annotations

from typing import TypeVar

from toolrail.context import KeptResult, RunContext
from toolrail.decisions import ANONYMOUS, Principal

D = TypeVar("D")


class QuietControl:
    """A call that nobody runs: no deadline, no store, nobody listens."""

    cancelled = False

    def __init__(self) -> None:
        self.begun = False
        self.told: list[str] = []

    def begin(self) -> None:
        self.begun = True

    def now(self) -> float:
        return 0.0

    def progress(self, text: str) -> None:
        self.told.append(text)

    async def read_result(self, handle: str) -> KeptResult | None:
        return None

    def transaction(self) -> None:
        return None


def handler_context(deps: D, principal: Principal = ANONYMOUS, *, remaining: float = float("inf")) -> RunContext[D]:
    """What a handler gets, for a unit test of the handler alone. Nothing of the rail runs around it.

    `remaining` is what `ctx.remaining` says, in seconds; it does not run out.

    Example: `handler_context(shop, Principal("CUS-1", permissions=frozenset({"orders:read"})))`
    """
    return RunContext(
        deps,
        principal,
        call_key="call",
        idempotency_key="call",
        deadline=remaining,
        attempt=1,
        control=QuietControl(),
    )
