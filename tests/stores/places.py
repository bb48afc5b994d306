"""Where stores under test live, and rows to put into them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from toolrail.codes import Code
from toolrail.store import ApprovalRow, CallRow, ResultRow, RunRow, SessionRow, Store

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Opens stores over the same rows."""

    open: Callable[[], Store]

    def run(self, body: Callable[[Store], Awaitable[T]]) -> T:
        """Runs `body` with a store, in an event loop of its own, and closes the store."""

        async def whole() -> T:
            store = self.open()
            try:
                return await body(store)
            finally:
                await store.close()

        return asyncio.run(whole())


def call(key: str = "r1:d:0", **changes: Any) -> CallRow:
    """A row as `claim` writes it."""
    row = CallRow(
        tenant="acme",
        run="r1",
        key=key,
        turn=1,
        index=0,
        call_id="call_1",
        tool="pay",
        digest="d1",
        principal="ann",
        effect="once",
        state="started",
        created=100.0,
        updated=100.0,
        lease_until=140.0,
    )
    return replace(row, **changes)


FULL = call(
    effect_key="k1",
    scope="tenant",
    open_key="o1",
    idempotency_key="i1",
    arguments='{"invoice":"A1"}',
    arguments_digest="a1",
    state="unknown",
    status="unknown",
    code=Code.OUTCOME_UNKNOWN,
    content='{"text": "Ünïcode \u0000 ☃ 𝄞"}',
    trust="trusted",
    flags=("clipped", "late, or not"),
    attempts=3,
    argument_bytes=12,
    result_bytes=34,
    seconds=0.1 + 0.2,
    updated=1_800_000_000.123456,
    lease_until=None,
)
"""A row with a value in each column."""


def run(name: str = "r1", **changes: Any) -> RunRow:
    row = RunRow(
        "acme", name, session="s1", principal="ann", state='{"turn":1}', stop_reason=None, created=1.0, updated=2.0
    )
    return replace(row, **changes)


def session(name: str = "s1", **changes: Any) -> SessionRow:
    row = SessionRow("acme", name, "ann", "openai", '[{"role":"user","content":"☃"}]', created=1.0, updated=2.0)
    return replace(row, **changes)


def approval(name: str = "a1", **changes: Any) -> ApprovalRow:
    """A question about the call `r1:d:0`."""
    row = ApprovalRow(
        tenant="acme",
        approval=name,
        run="r1",
        key="r1:d:0",
        principal="ann",
        tool="pay",
        digest="d1",
        arguments='{"invoice":"A1"}',
        binding="b1",
        reason="more than 100",
        created=100.0,
        expires=150.0,
    )
    return replace(row, **changes)


def result(handle: str = "h1", **changes: Any) -> ResultRow:
    row = ResultRow("acme", handle, run="r1", key="r1:d:0", principal="ann", trust="trusted", content="☃", created=1.0)
    return replace(row, **changes)
