"""`ctx.transaction()` on a real PostgreSQL: the handler has asyncpg's connection, and the same promises hold."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.promises import promise
from tests.servers import database, execute, postgres_server
from tests.spine.helpers import ALICE, call, codes, rail_of
from toolrail.context import RunContext
from toolrail.definition import Tool, tool
from toolrail.effects import transactional
from toolrail.messages import ToolResult
from toolrail.stores import open_store

pytestmark = pytest.mark.services
Ctx = RunContext[Any]
Step = Callable[[Ctx, str], Awaitable[Any]]
A1 = call("pay", {"invoice": "A1"})


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """A database of these tests' own, on a real server."""
    with postgres_server() as server, database(server, f"toolrail_tx_{os.getpid()}") as url:
        yield url


@pytest.fixture
def url(place: str) -> str:
    """The same, with the tool's table new and without rows of the store."""
    for text in (
        "DROP TABLE IF EXISTS payments",
        "CREATE TABLE payments (invoice TEXT NOT NULL, UNIQUE (invoice) DEFERRABLE INITIALLY DEFERRED)",
        "DROP SCHEMA IF EXISTS toolrail CASCADE",
    ):
        asyncio.run(execute(place, text))
    return place


def teller(*steps: Step, timeout: float = 30.0) -> Tool[Any]:
    """A tool that takes these steps, one at each attempt, and the last of them ever after."""
    left = list(steps)

    @tool(effect=transactional(by="invoice", scope="tenant"), timeout=timeout)
    async def pay(ctx: Ctx, invoice: str) -> Any:
        """Pays."""
        return await (left.pop(0) if len(left) > 1 else left[0])(ctx, invoice)

    return pay


async def well(ctx: Ctx, invoice: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES ($1)", invoice)
    return f"paid {invoice}"


async def fails_after(ctx: Ctx, invoice: str) -> str:
    await well(ctx, invoice)
    raise RuntimeError("after it")


async def is_refused(ctx: Ctx, invoice: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES (NULL)")
    return "never"


async def pays_twice(ctx: Ctx, invoice: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES ($1), ($1)", invoice)
    return "never"


async def hangs_inside(ctx: Ctx, invoice: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES ($1)", invoice)
        await tx.execute("SELECT pg_sleep(60)")
    return "never"


async def hangs_after(ctx: Ctx, invoice: str) -> str:
    await well(ctx, invoice)
    await asyncio.sleep(60)
    return "never"


async def _twice(url: str, pay: Tool[Any]) -> list[ToolResult]:
    rail, _ = rail_of(pay, store=open_store(url))
    async with rail, rail.run([], principal=ALICE) as run:
        return [*await rail.batch([A1], run), *await rail.batch([A1], run)]


def paid(url: str) -> list[Any]:
    return [invoice for (invoice,) in asyncio.run(execute(url, "SELECT invoice FROM payments"))]


def states(url: str) -> list[Any]:
    text = "SELECT state FROM toolrail.calls WHERE attempts > 0 ORDER BY created, call_key"
    return [state for (state,) in asyncio.run(execute(url, text))]


@promise("effect:transaction")
def test_the_effect_is_there_once_with_its_end(url: str) -> None:
    first, again = asyncio.run(_twice(url, teller(well)))
    assert [(r.content, r.replayed) for r in (first, again)] == [("paid A1", False), ("paid A1", True)]
    assert paid(url) == ["A1"]
    assert states(url) == ["done"]


FAILURES = [
    (fails_after, 30.0, "INTERNAL_ERROR"),
    (is_refused, 30.0, "INTERNAL_ERROR"),
    (pays_twice, 30.0, "MAX_RETRIES"),
    (hangs_inside, 1.0, "TIMEOUT"),
    (hangs_after, 1.0, "TIMEOUT"),
]


@promise("effect:transaction", "call:deadline")
@pytest.mark.parametrize(("step", "timeout", "code"), FAILURES, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_not_committed_did_nothing_and_a_repeat_pays_once(
    url: str, step: Step, timeout: float, code: str
) -> None:
    first, second = asyncio.run(_twice(url, teller(step, well, timeout=timeout)))
    assert (first.status, codes([first])) == ("error", [code])
    assert (second.content, second.replayed) == ("paid A1", False)
    assert paid(url) == ["A1"]
    assert states(url) == ["failed", "done"]


@promise("effect:transaction")
def test_a_sync_handler_is_told_to_be_async(url: str, caplog: pytest.LogCaptureFixture) -> None:
    @tool(effect=transactional(by="invoice", scope="tenant"))
    def pay(ctx: Ctx, invoice: str) -> str:
        """Pays."""
        with ctx.transaction():
            return "never"

    first, _ = asyncio.run(_twice(url, pay))
    assert (first.status, codes([first])) == ("error", ["INTERNAL_ERROR"])
    assert "Make the handler async." in caplog.text
