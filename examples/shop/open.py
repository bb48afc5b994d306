"""Opens the shop: the database that a URL names, the shipping service, and a client for it, closed together."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from examples.shop.catalogue import Catalogue
from examples.shop.orders import Orders
from examples.shop.quotes import QuoteService
from examples.shop.shop import Shop
from examples.shop.sqlite import SqliteCatalogue, SqliteDatabase, SqliteOrders

DEFAULT_PATH = Path(".demo/shop.db")
_QUOTE_SECONDS = 2.0


@asynccontextmanager
async def open_shop(
    url: str | None = None, *, fresh: bool = False, quotes: QuoteService | None = None
) -> AsyncGenerator[Shop]:
    """The shop, open for as long as the block runs; its database is built first where it is missing.

    `url` is None (a file below the working directory), `sqlite:///path` or `postgresql://...`. `fresh` builds the
    database anew, so that orders which were cancelled are open again. A service that is handed in stays the caller's
    to close. Raises `ValueError` for another URL and for a SQLite file that is somebody else's.

        async with open_shop() as shop:
            lamps = await shop.catalogue.search("desk lamp")
    """
    service = quotes or QuoteService()
    try:
        async with _open_database(url, fresh=fresh) as (catalogue, orders), _client() as http:
            yield Shop(catalogue=catalogue, orders=orders, http=http, quotes_url=service.url)
    finally:
        if quotes is None:
            service.close()


def _client() -> httpx2.AsyncClient:
    # The service is on this machine and speaks plain HTTP: a proxy from the environment would only be in the way, and
    # certificates take a tenth of a second to load. This context trusts none.
    trusts_none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx2.AsyncClient(timeout=_QUOTE_SECONDS, trust_env=False, verify=trusts_none)


@asynccontextmanager
async def _open_database(url: str | None, *, fresh: bool) -> AsyncGenerator[tuple[Catalogue, Orders]]:
    if url is not None and url.startswith(("postgresql://", "postgres://")):
        # Imported here, as an optional extra: the shop in SQLite needs no asyncpg.
        from examples.shop.postgres import PostgresCatalogue, PostgresOrders, connect

        pool = await connect(url, fresh=fresh)
        try:
            yield PostgresCatalogue(pool), PostgresOrders(pool)
        finally:
            await pool.close()
        return
    database = SqliteDatabase()
    try:
        await database.open(_sqlite_path(url), fresh=fresh)
        yield SqliteCatalogue(database), SqliteOrders(database)
    finally:
        await database.close()


def _sqlite_path(url: str | None) -> Path:
    if url is None:
        return DEFAULT_PATH
    scheme, found, path = url.partition(":///")
    if scheme != "sqlite" or not found or not path:
        raise ValueError("the shop's URL is sqlite:///path or postgresql://..., or none at all")
    return Path(path)
