"""The shop in PostgreSQL keeps the same contract, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from examples.shop.data import CUSTOMER, PAID_ORDER
from examples.shop.open import open_shop
from examples.shop.orders import Order
from examples.shop.tools import cancel_order, get_order_status
from tests.promises import promise
from tests.shop.contract import CONTRACT, OPENINGS, Behaviour, keep_to, sentence
from toolrail import CallLimits, Principal, Rail, Tool, ToolCall


@promise("reach:sql/postgres")
@pytest.mark.services
@pytest.mark.parametrize("behaviour", CONTRACT, ids=sentence)
def test_a_shop_in_postgres(behaviour: Behaviour, postgres_url: str) -> None:
    asyncio.run(keep_to(behaviour, postgres_url))


@promise("reach:sql/postgres")
@pytest.mark.services
@pytest.mark.parametrize("behaviour", OPENINGS, ids=sentence)
def test_an_empty_database_of_postgres(behaviour: Callable[[str], Awaitable[None]], empty_postgres_url: str) -> None:
    async def run() -> None:
        await behaviour(empty_postgres_url)

    asyncio.run(run())


@asynccontextmanager
async def locked(url: str) -> AsyncGenerator[Any]:
    """Another connection, which holds the orders so that every question about them has to wait."""
    connection = await import_module("asyncpg").connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE toolrail_shop.orders IN ACCESS EXCLUSIVE MODE")
            yield connection
    finally:
        await connection.close()


WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND state = 'active'"
)


@promise("call:deadline/reach")
@pytest.mark.services
@pytest.mark.parametrize("question", ["find", "cancel"])
def test_the_server_itself_gives_up_a_statement_that_nobody_waits_for(question: str, postgres_url: str) -> None:
    """Also where the caller waits on, so that it cannot have been the caller who ended it."""

    async def run() -> None:
        async with open_shop(postgres_url) as shop:
            async with locked(postgres_url) as other:
                with pytest.raises(TimeoutError):
                    await getattr(shop.orders, question)(PAID_ORDER, customer_id=CUSTOMER, within=0.05)
                assert await other.fetchval(WAITING) == 0
            kept = await shop.orders.find(PAID_ORDER, customer_id=CUSTOMER)
            assert isinstance(kept, Order)
            assert kept.state == "paid"

    asyncio.run(run())


@promise("call:deadline/reach")
@pytest.mark.services
@pytest.mark.parametrize(
    ("tool", "code"), [(get_order_status, "TIMEOUT"), (cancel_order, "OUTCOME_UNKNOWN")], ids=["read", "once"]
)
def test_a_tools_deadline_ends_its_statement_on_the_server(tool: Tool[Any], code: str, postgres_url: str) -> None:
    rail = Rail([replace(tool, limits=CallLimits(timeout=0.3))], sinks=[])
    principal = Principal(CUSTOMER, frozenset({"orders:read", "orders:cancel"}))

    async def run() -> None:
        async with open_shop(postgres_url) as shop:
            async with locked(postgres_url) as other, rail.run([], principal=principal, deps=shop) as one:
                call = ToolCall("1", tool.name, f'{{"order_id": "{PAID_ORDER}"}}')
                (result,) = await rail.batch([call], one)
                assert result.code == code
                async with asyncio.timeout(30.0):
                    while await other.fetchval(WAITING):
                        pass
            kept = await shop.orders.find(PAID_ORDER, customer_id=CUSTOMER)
            assert isinstance(kept, Order)
            assert kept.state == "paid"  # and nothing is done late

    asyncio.run(run())


@promise("call:deadline/reach")
@pytest.mark.services
def test_a_connection_forgets_the_deadline_of_the_call_before(postgres_url: str) -> None:
    async def run() -> None:
        async with open_shop(postgres_url) as shop:
            await shop.orders.find(PAID_ORDER, customer_id=CUSTOMER, within=5.0)
            pool: Any = getattr(shop.orders, "pool")  # noqa: B009 - the port has none
            async with pool.acquire() as connection:
                assert await connection.fetchval("SHOW statement_timeout") == "0"

    asyncio.run(run())
