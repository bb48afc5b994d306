"""A transaction of a tool in the store's own database: what it writes is committed with the end of its call.

It has a connection of its own, on the loop of the handler: an asyncpg connection belongs to the loop that made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from toolrail.store import Op, Settle
from toolrail.stores.postgres.failures import lost
from toolrail.transaction import CommitLost, EndedByTool

_driver: Any = asyncpg

CONNECT_SECONDS = 4.0
IDLE_MS = 60_000
"""The server ends the transaction of a handler that says nothing for so long."""
CLOSE_SECONDS = 1.0
# A setting of this transaction alone: a handler that commits by itself, and so loses it, is found out.
_BEGIN = "BEGIN; SET LOCAL toolrail.transaction = 'ours'"
_OURS = "SELECT current_setting('toolrail.transaction', true)"

Within = Callable[..., Awaitable[list[Any]]]


class PostgresTransaction:
    """See `StoreTransaction`. An async handler works with an asyncpg connection; there is nothing for a sync one."""

    blocking = None

    def __init__(self, connection: Any, within: Within, dsn: str) -> None:
        self.connection = connection
        self._within = within
        self._dsn = dsn
        self._process = connection.get_server_pid()

    async def commit(self, op: Settle, *beside: Op) -> bool:
        """See `StoreTransaction`."""
        try:
            await self._check()
            if not (await self._within(self.connection, op))[0]:
                return False
            await self._within(self.connection, *beside)
            await self._commit()
        finally:
            await self.rollback()
        return True

    async def rollback(self) -> None:
        """See `StoreTransaction`."""
        connection = self.connection
        if connection.is_closed():
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if connection.is_in_transaction():
                    await connection.execute("ROLLBACK")
                await connection.close()
        except Exception:  # a statement is under way, or the server is gone
            connection.terminate()
            await self._end_process()
        except BaseException:
            connection.terminate()
            raise

    async def _end_process(self) -> None:
        """The server does not notice that nobody waits any more, and a statement goes on and keeps its locks."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                other = await _driver.connect(self._dsn)
                try:
                    await other.execute("SELECT pg_terminate_backend($1)", self._process)
                finally:
                    await other.close()
        except Exception:
            return  # it cannot be reached; it ends the transaction itself, when the statement has ended

    async def _check(self) -> None:
        if (await self.connection.fetchval(_OURS)) != "ours":
            raise EndedByTool("the handler ended the transaction by itself")

    async def _commit(self) -> None:
        try:
            await self.connection.execute("COMMIT")
        except BaseException as error:
            if isinstance(error, Exception) and not lost(error):
                raise  # refused as a whole, such as a deferred foreign key
            raise CommitLost(str(error)) from error


async def begin(dsn: str, within: Within) -> PostgresTransaction:
    """Connects and begins.

    Args:
        dsn: for the driver.
        within: does operations of the store on a connection: `PostgresStore.apply_within`.

    Raises:
        Exception: as the driver raises it; nothing happened.
    """
    connection = await _driver.connect(
        dsn,
        timeout=CONNECT_SECONDS,
        server_settings={"application_name": "toolrail", "idle_in_transaction_session_timeout": str(IDLE_MS)},
    )
    try:
        await connection.execute(_BEGIN)
    except BaseException:
        connection.terminate()
        raise
    return PostgresTransaction(connection, within, dsn)
