"""The shop in SQLite: catalogue with FTS5, orders, and the building of both.

One connection on one thread of its own. SQLite has a single writer anyhow and a search here takes about a millisecond,
so more threads would buy nothing; no thread would mean that a lock held by another process stops the event loop.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from examples.shop.catalogue import MAX_WORDS, Product, search_words
from examples.shop.data import DATA_VERSION, ShopData, generate
from examples.shop.orders import CANCELLABLE, Cancelled, NoSuchOrder, NotYours, Order, OrderLine, TooLate
from examples.shop.vocabulary import Category

T = TypeVar("T")

_APPLICATION_ID = 0x53484F50
_LOCK_SECONDS = 2.0
_LOOK_INSTRUCTIONS = 10_000
"""Steps of SQLite's machine, far less than a millisecond, between two looks at the clock."""
_TABLES = ("terms", "lines", "orders", "customers", "products")
_SCHEMA = (
    "CREATE TABLE products (id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, category TEXT NOT NULL,"
    " price_cents INTEGER NOT NULL, stock INTEGER NOT NULL, weight_grams INTEGER NOT NULL)",
    "CREATE VIRTUAL TABLE terms USING fts5(name, text, content='', tokenize='porter unicode61')",
    "CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE orders (id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers, state TEXT NOT NULL,"
    " placed_on TEXT NOT NULL, delivery_on TEXT)",
    "CREATE TABLE lines (order_id TEXT NOT NULL REFERENCES orders, position INTEGER NOT NULL, product_id TEXT NOT NULL"
    " REFERENCES products, quantity INTEGER NOT NULL, unit_price_cents INTEGER NOT NULL,"
    " PRIMARY KEY (order_id, position)) WITHOUT ROWID",
)
_COLUMNS = "p.id, p.name, p.description, p.category, p.price_cents, p.stock, p.weight_grams"


class SqliteDatabase:
    """One connection that is used on one thread only."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shop-sqlite")
        self._connection: sqlite3.Connection | None = None

    async def open(self, path: Path, *, fresh: bool = False) -> None:
        """Opens the file, and builds the shop in it where it is missing, outdated, or a `fresh` one is wanted.

        Raises `ValueError` for a database that is somebody else's.
        """
        self._connection = await self._on_thread(lambda: _connect(path, fresh=fresh))

    async def run(self, work: Callable[[sqlite3.Connection], T], *, within: float | None = None) -> T:
        """What `work` returns; it runs on the database's thread. After `within` seconds it neither starts nor goes on:
        a `TimeoutError`.
        """
        connection = self._connection
        if connection is None:
            raise RuntimeError("the shop's database is not open")
        if within is None:
            return await self._on_thread(lambda: work(connection))
        end = time.monotonic() + within
        return await self._on_thread(lambda: _until(end, connection, work))

    async def close(self) -> None:
        """Closes connection and thread; a second time does nothing."""
        if self._connection is not None:
            await self._on_thread(self._connection.close)
            self._connection = None
        self._thread.shutdown()

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _until(end: float, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    left = end - time.monotonic()
    if left <= 0:  # whoever asked has gone while others were served
        raise TimeoutError("the database was busy for too long")
    connection.execute(f"PRAGMA busy_timeout = {math.ceil(1000 * min(left, _LOCK_SECONDS)) + 1}")
    connection.set_progress_handler(lambda: time.monotonic() > end, _LOOK_INSTRUCTIONS)
    try:
        return work(connection)
    except sqlite3.OperationalError as error:
        if time.monotonic() > end:
            raise TimeoutError("the database did not answer in time") from error
        raise
    finally:
        connection.set_progress_handler(None, 0)
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * _LOCK_SECONDS)}")


@dataclass(frozen=True, slots=True)
class SqliteCatalogue:
    """The catalogue port on SQLite's full-text index."""

    database: SqliteDatabase

    async def search(
        self, query: str, *, category: Category | None = None, limit: int = 5, within: float | None = None
    ) -> list[Product]:
        """See `Catalogue.search`."""
        words = search_words(query)[:MAX_WORDS]
        return await self.database.run(
            lambda connection: _search(connection, words, category=category, limit=limit), within=within
        )

    async def product(self, product_id: str, *, within: float | None = None) -> Product | None:
        """See `Catalogue.product`."""
        rows = await self.database.run(
            lambda connection: connection.execute(
                f"SELECT {_COLUMNS} FROM products p WHERE p.id = ?", (product_id,)
            ).fetchall(),
            within=within,
        )
        return Product(*rows[0]) if rows else None


@dataclass(frozen=True, slots=True)
class SqliteOrders:
    """The orders port on SQLite."""

    database: SqliteDatabase

    async def find(
        self, order_id: str, *, customer_id: str, within: float | None = None
    ) -> Order | NotYours | NoSuchOrder:
        """See `Orders.find`."""
        return await self.database.run(lambda connection: _find(connection, order_id, customer_id), within=within)

    async def cancel(
        self, order_id: str, *, customer_id: str, within: float | None = None
    ) -> Cancelled | TooLate | NotYours | NoSuchOrder:
        """See `Orders.cancel`."""
        return await self.database.run(lambda connection: _cancel(connection, order_id, customer_id), within=within)


def _search(
    connection: sqlite3.Connection, words: list[str], *, category: Category | None, limit: int
) -> list[Product]:
    if not words:
        return _browse(connection, category=category, limit=limit)
    for joint in (" AND ", " OR "):
        match = joint.join(f'"{word}"' for word in words)
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM terms JOIN products p ON p.rowid = terms.rowid WHERE terms MATCH :match"
            " AND (:category IS NULL OR p.category = :category) ORDER BY bm25(terms, 5.0, 1.0), p.id LIMIT :limit",
            {"match": match, "category": category, "limit": limit},
        ).fetchall()
        if rows:
            return [Product(*row) for row in rows]
    return []


def _browse(connection: sqlite3.Connection, *, category: Category | None, limit: int) -> list[Product]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM products p WHERE :category IS NULL OR p.category = :category"
        " ORDER BY p.name, p.id LIMIT :limit",
        {"category": category, "limit": limit},
    )
    return [Product(*row) for row in rows]


def _find(connection: sqlite3.Connection, order_id: str, customer_id: str) -> Order | NotYours | NoSuchOrder:
    row = connection.execute("SELECT customer_id, state, placed_on, delivery_on FROM orders WHERE id = ?", (order_id,))
    match row.fetchone():
        case None:
            return NoSuchOrder()
        case (owner, *_) if owner != customer_id:
            return NotYours()
        case (_, state, placed_on, delivery_on):
            delivery = date.fromisoformat(delivery_on) if delivery_on else None
            lines = _lines(connection, order_id)
            return Order(order_id, customer_id, state, date.fromisoformat(placed_on), delivery, lines)
        case other:
            raise AssertionError(f"four columns were asked for: {other!r}")


def _lines(connection: sqlite3.Connection, order_id: str) -> tuple[OrderLine, ...]:
    rows = connection.execute(
        "SELECT l.product_id, p.name, l.quantity, l.unit_price_cents"
        " FROM lines l JOIN products p ON p.id = l.product_id WHERE l.order_id = ? ORDER BY l.position",
        (order_id,),
    )
    return tuple(OrderLine(*row) for row in rows)


def _cancel(
    connection: sqlite3.Connection, order_id: str, customer_id: str
) -> Cancelled | TooLate | NotYours | NoSuchOrder:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        changed = connection.execute(
            "UPDATE orders SET state = 'cancelled', delivery_on = NULL WHERE id = ? AND customer_id = ?"
            f" AND state IN ({', '.join('?' * len(CANCELLABLE))})",
            (order_id, customer_id, *CANCELLABLE),
        ).rowcount
        found = _find(connection, order_id, customer_id)
    if not isinstance(found, Order):
        return found
    return Cancelled(found) if changed else TooLate(found)


def _connect(path: Path, *, fresh: bool) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
    try:
        # One transaction from the look to the last row: of two processes that start at once, one builds, and a build
        # that is interrupted leaves nothing.
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            # The look comes first: it refuses a file that is not ours, also where a fresh shop is wanted.
            if not _is_built(connection, path) or fresh:
                _build(connection, generate())
    except BaseException:
        connection.close()
        raise
    return connection


def _is_built(connection: sqlite3.Connection, path: Path) -> bool:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application_id != _APPLICATION_ID:
        raise ValueError(f"{path} holds other tables than the shop's; it is left alone")
    return bool(tables) and version == DATA_VERSION


def _build(connection: sqlite3.Connection, data: ShopData) -> None:
    for table in _TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA:
        connection.execute(statement)
    _fill(connection, data)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {DATA_VERSION}")


def _fill(connection: sqlite3.Connection, data: ShopData) -> None:
    connection.executemany(
        "INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((p.id, p.name, p.description, p.category, p.price_cents, p.stock, p.weight_grams) for p in data.products),
    )
    # A table without gaps numbers its rows 1, 2, 3 ... in the order of insertion; the index relies on that.
    connection.executemany(
        "INSERT INTO terms (rowid, name, text) VALUES (?, ?, ?)",
        (
            (row, " ".join(search_words(p.name)), " ".join(search_words(f"{p.category} {p.description}")))
            for row, p in enumerate(data.products, 1)
        ),
    )
    connection.executemany("INSERT INTO customers VALUES (?, ?)", ((c.id, c.name) for c in data.customers))
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?)",
        ((o.id, o.customer_id, o.state, str(o.placed_on), o.delivery_on and str(o.delivery_on)) for o in data.orders),
    )
    connection.executemany(
        "INSERT INTO lines VALUES (?, ?, ?, ?, ?)",
        (
            (order.id, position, line.product_id, line.quantity, line.unit_price_cents)
            for order in data.orders
            for position, line in enumerate(order.lines)
        ),
    )
