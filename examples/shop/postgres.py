"""The shop in PostgreSQL through asyncpg: the same ports, in a schema of its own inside the database of the URL."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import astuple, dataclass
from typing import Any, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  # untyped: `Pool` below says what is used of it

from examples.shop.catalogue import MAX_WORDS, Product, search_words
from examples.shop.data import DATA_VERSION, ShopData, generate
from examples.shop.orders import CANCELLABLE, Cancelled, NoSuchOrder, NotYours, Order, OrderLine, TooLate
from examples.shop.vocabulary import Category

_SCHEMA_NAME = "toolrail_shop"
_BUILD_LOCK = 0x53484F50
_POOL_SIZE = 8
_COMMAND_SECONDS = 10.0
_SERVER_LATER_MS = 100
_SCHEMA = f"""
DROP SCHEMA IF EXISTS {_SCHEMA_NAME} CASCADE;
CREATE SCHEMA {_SCHEMA_NAME};
SET LOCAL search_path TO {_SCHEMA_NAME};
CREATE TABLE products (
    id text PRIMARY KEY, name text NOT NULL, description text NOT NULL, category text NOT NULL,
    price_cents integer NOT NULL, stock integer NOT NULL, weight_grams integer NOT NULL,
    name_terms text NOT NULL, text_terms text NOT NULL,
    terms tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', name_terms), 'A') || setweight(to_tsvector('english', text_terms), 'C')
    ) STORED);
CREATE INDEX products_terms ON products USING gin (terms);
CREATE TABLE customers (id text PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (
    id text PRIMARY KEY, customer_id text NOT NULL REFERENCES customers, state text NOT NULL,
    placed_on date NOT NULL, delivery_on date);
CREATE TABLE lines (
    order_id text NOT NULL REFERENCES orders, position integer NOT NULL, product_id text NOT NULL REFERENCES products,
    quantity integer NOT NULL, unit_price_cents integer NOT NULL, PRIMARY KEY (order_id, position));
CREATE TABLE version (number integer NOT NULL);
INSERT INTO version VALUES ({DATA_VERSION});
"""
_PRODUCT = "id, name, description, category, price_cents, stock, weight_grams"


class Connection(Protocol):
    """What is used of an asyncpg connection."""

    async def execute(self, query: str, *args: object) -> str: ...

    async def fetch(self, query: str, *args: object) -> list[Sequence[Any]]: ...

    async def fetchrow(self, query: str, *args: object) -> Sequence[Any] | None: ...

    async def fetchval(self, query: str, *args: object) -> Any: ...

    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[tuple[object, ...]],
        columns: Sequence[str] | None,
        schema_name: str,
    ) -> str: ...

    def transaction(self) -> AbstractAsyncContextManager[object]: ...


class Pool(Protocol):
    """What is used of an asyncpg pool."""

    def acquire(self) -> AbstractAsyncContextManager[Connection]: ...

    async def close(self) -> None: ...

    def terminate(self) -> None: ...


async def connect(url: str, *, fresh: bool = False) -> Pool:
    """A pool on the database of `url`, with the shop built where it is missing, outdated, or a `fresh` one is wanted.

    Only the schema `toolrail_shop` is touched. Close the pool when done.
    """
    opening: Any = asyncpg.create_pool(  # pyright: ignore[reportUnknownMemberType]
        url,
        min_size=1,
        max_size=_POOL_SIZE,
        command_timeout=_COMMAND_SECONDS,
        server_settings={"search_path": _SCHEMA_NAME},
    )
    pool = cast("Pool", await opening)
    try:
        async with pool.acquire() as connection, connection.transaction():
            # The lock goes with the transaction: of two processes that start at once, one builds.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _BUILD_LOCK)
            if fresh or not await _is_built(connection):
                await _build(connection, generate())
    except BaseException:
        pool.terminate()
        raise
    return pool


@dataclass(frozen=True, slots=True)
class PostgresCatalogue:
    """The catalogue port on PostgreSQL's text search."""

    pool: Pool

    async def search(
        self, query: str, *, category: Category | None = None, limit: int = 5, within: float | None = None
    ) -> list[Product]:
        """See `Catalogue.search`."""
        words = search_words(query)[:MAX_WORDS]
        if not words:
            return await self._browse(category, limit, within=within)
        for joint in (" & ", " | "):
            found = await self._products(
                ", to_tsquery('english', $1) AS wanted WHERE terms @@ wanted AND ($2::text IS NULL OR category = $2)"
                " ORDER BY ts_rank(terms, wanted) DESC, id LIMIT $3",
                joint.join(words),
                category,
                limit,
                within=within,
            )
            if found:
                return found
        return []

    async def product(self, product_id: str, *, within: float | None = None) -> Product | None:
        """See `Catalogue.product`."""
        found = await self._products(" WHERE id = $1", product_id, within=within)
        return found[0] if found else None

    async def _browse(self, category: Category | None, limit: int, *, within: float | None) -> list[Product]:
        # COLLATE "C" sorts by bytes, as SQLite does, whatever the database's own locale.
        where = ' WHERE $1::text IS NULL OR category = $1 ORDER BY name COLLATE "C", id LIMIT $2'
        return await self._products(where, category, limit, within=within)

    async def _products(self, rest: str, *args: object, within: float | None) -> list[Product]:
        async with _connection(self.pool, within) as connection:
            rows = await connection.fetch(f"SELECT {_PRODUCT} FROM products{rest}", *args)
        return [Product(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class PostgresOrders:
    """The orders port on PostgreSQL."""

    pool: Pool

    async def find(
        self, order_id: str, *, customer_id: str, within: float | None = None
    ) -> Order | NotYours | NoSuchOrder:
        """See `Orders.find`."""
        async with _connection(self.pool, within) as connection:
            return await _find(connection, order_id, customer_id)

    async def cancel(
        self, order_id: str, *, customer_id: str, within: float | None = None
    ) -> Cancelled | TooLate | NotYours | NoSuchOrder:
        """See `Orders.cancel`."""
        async with _connection(self.pool, within) as connection, connection.transaction():
            changed = await connection.fetchval(
                "UPDATE orders SET state = 'cancelled', delivery_on = NULL"
                " WHERE id = $1 AND customer_id = $2 AND state = ANY($3::text[]) RETURNING id",
                order_id,
                customer_id,
                CANCELLABLE,
            )
            found = await _find(connection, order_id, customer_id)
        if not isinstance(found, Order):
            return found
        return Cancelled(found) if changed else TooLate(found)


@asynccontextmanager
async def _connection(pool: Pool, within: float | None) -> AsyncGenerator[Connection]:
    """A connection whose every statement the server ends by itself, a little after the caller has stopped waiting: the
    caller's own time-out comes first, and what is still at work then, also when this process died, does nothing late.
    """
    async with pool.acquire() as connection:
        if within is not None:
            milliseconds = math.ceil(1000 * min(within, _COMMAND_SECONDS)) + _SERVER_LATER_MS
            # For the session and not only for a transaction; the pool resets it when the connection comes back.
            await connection.execute("SELECT set_config('statement_timeout', $1, false)", str(milliseconds))
        try:
            yield connection
        except asyncpg.QueryCanceledError as error:
            raise TimeoutError("the database did not answer in time") from error


async def _find(connection: Connection, order_id: str, customer_id: str) -> Order | NotYours | NoSuchOrder:
    row = await connection.fetchrow(
        "SELECT customer_id, state, placed_on, delivery_on FROM orders WHERE id = $1", order_id
    )
    if row is None:
        return NoSuchOrder()
    if row[0] != customer_id:
        return NotYours()
    lines = await connection.fetch(
        "SELECT product_id, name, quantity, unit_price_cents FROM lines JOIN products ON products.id = product_id"
        " WHERE order_id = $1 ORDER BY position",
        order_id,
    )
    return Order(order_id, *row, lines=tuple(OrderLine(*line) for line in lines))


async def _is_built(connection: Connection) -> bool:
    if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{_SCHEMA_NAME}.version"):
        return False
    return await connection.fetchval("SELECT number FROM version") == DATA_VERSION


async def _build(connection: Connection, data: ShopData) -> None:
    await connection.execute(_SCHEMA)
    products = [(*astuple(p), *_terms(p)) for p in data.products]
    await _copy(connection, "products", products, columns=(*_PRODUCT.split(", "), "name_terms", "text_terms"))
    await _copy(connection, "customers", [(c.id, c.name) for c in data.customers])
    await _copy(connection, "orders", [(o.id, o.customer_id, o.state, o.placed_on, o.delivery_on) for o in data.orders])
    lines = (
        (order.id, position, line.product_id, line.quantity, line.unit_price_cents)
        for order in data.orders
        for position, line in enumerate(order.lines)
    )
    await _copy(connection, "lines", lines)
    await connection.execute("ANALYZE products")


async def _copy(
    connection: Connection,
    table: str,
    records: Iterable[tuple[object, ...]],
    *,
    columns: Sequence[str] | None = None,
) -> None:
    await connection.copy_records_to_table(table, schema_name=_SCHEMA_NAME, records=records, columns=columns)


def _terms(product: Product) -> tuple[str, str]:
    name, text = search_words(product.name), search_words(f"{product.category} {product.description}")
    return " ".join(name), " ".join(text)
