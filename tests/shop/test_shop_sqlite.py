"""The shop in SQLite keeps the contract, and is careful with files."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from examples.shop.data import CUSTOMER, PAID_ORDER, TRAP_PRODUCT
from examples.shop.open import DEFAULT_PATH, open_shop
from examples.shop.orders import Order
from examples.shop.sqlite import SqliteCatalogue
from tests.promises import promise
from tests.shop.contract import CONTRACT, OPENINGS, Behaviour, keep_to, sentence


@promise("reach:sql/sqlite")
@pytest.mark.parametrize("behaviour", CONTRACT, ids=sentence)
def test_a_shop_in_sqlite(behaviour: Behaviour, sqlite_url: str) -> None:
    asyncio.run(keep_to(behaviour, sqlite_url))


@promise("reach:sql/sqlite")
@pytest.mark.parametrize("behaviour", OPENINGS, ids=sentence)
def test_an_empty_place_for_sqlite(behaviour: Callable[[str], Awaitable[None]], tmp_path: Path) -> None:
    async def run() -> None:
        await behaviour(f"sqlite:///{tmp_path}/deep/down/shop.db")

    asyncio.run(run())


def test_without_a_url_the_shop_is_a_file_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert asyncio.run(_trap_is_there(None))
    assert (tmp_path / DEFAULT_PATH).exists()


def test_a_shop_of_another_version_is_built_anew(sqlite_url: str) -> None:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    with connection:
        connection.execute("DELETE FROM products")
        connection.execute("PRAGMA user_version = 0")
    connection.close()
    assert asyncio.run(_trap_is_there(sqlite_url))


def test_a_file_with_other_tables_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE orders (id TEXT)")
        connection.execute("INSERT INTO orders VALUES ('precious')")
    with pytest.raises(ValueError, match="left alone"):
        asyncio.run(_trap_is_there(f"sqlite:///{path}"))
    assert connection.execute("SELECT id FROM orders").fetchall() == [("precious",)]
    connection.close()


def test_a_fresh_shop_is_not_forced_into_a_file_with_other_tables(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id TEXT)")
    with pytest.raises(ValueError, match="left alone"):
        asyncio.run(_trap_is_there(f"sqlite:///{path}", fresh=True))
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]
    connection.close()


@pytest.mark.parametrize("url", ["mysql://localhost/shop", "sqlite://", "sqlite:///", "shop.db", ""])
def test_a_url_of_another_kind_is_refused_with_the_kinds_that_work(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///path or postgresql://"):
        asyncio.run(_trap_is_there(url))


@promise("call:deadline/reach")
def test_what_nobody_waits_for_any_more_is_not_done(sqlite_url: str) -> None:
    async def run() -> None:
        async with open_shop(sqlite_url) as shop:
            with pytest.raises(TimeoutError):
                await shop.orders.cancel(PAID_ORDER, customer_id=CUSTOMER, within=0.0)
            with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(TimeoutError):
                    await shop.orders.cancel(PAID_ORDER, customer_id=CUSTOMER, within=0.05)
            kept = await shop.orders.find(PAID_ORDER, customer_id=CUSTOMER, within=60.0)
            assert isinstance(kept, Order)
            assert kept.state == "paid"

    asyncio.run(run())


@promise("call:deadline/reach")
def test_a_search_without_an_end_stops_in_mid_way(sqlite_url: str) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    async def run() -> None:
        async with open_shop(sqlite_url) as shop:
            assert isinstance(shop.catalogue, SqliteCatalogue)
            with pytest.raises(TimeoutError):
                await shop.catalogue.database.run(lambda one: one.execute(endless).fetchone(), within=0.05)
            assert await shop.catalogue.product(TRAP_PRODUCT, within=60.0) is not None

    asyncio.run(run())


async def _trap_is_there(url: str | None, *, fresh: bool = False) -> bool:
    async with open_shop(url, fresh=fresh) as shop:
        return await shop.catalogue.product(TRAP_PRODUCT) is not None
