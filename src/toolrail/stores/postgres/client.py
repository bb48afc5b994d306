"""A pool of connections, and transactions on it. All of it lives on one event loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from toolrail.store import Op
from toolrail.stores.failures import StoreError
from toolrail.stores.postgres.failures import again, explained, lost
from toolrail.stores.postgres.locks import locks_of
from toolrail.stores.postgres.schema import migrate
from toolrail.stores.postgres.sql import Connection, Session
from toolrail.stores.postgres.statements import ALONE, READS, perform
from toolrail.stores.postgres.url import Place

APPLY_SECONDS = 4.5
"""All that one `apply` may take, with waiting and trying again. Less than the spine waits for the store."""
STATEMENT_MS = 4000
"""The server gives a statement up after this time, so that nothing is written long after its answer."""
IDLE_MS = 10_000
"""The server ends a transaction whose client says nothing for so long: one that is stopped holds no lock for ever."""
CLOSE_SECONDS = 2.0
TRIES = 5
"""How often a transaction is begun that PostgreSQL gives up for another's sake."""
_PAUSE = 0.02


class Pool(Protocol):
    """What is used of an asyncpg pool."""

    def acquire(self) -> AbstractAsyncContextManager[Connection]: ...

    async def close(self) -> None: ...

    async def expire_connections(self) -> None: ...

    def terminate(self) -> None: ...


class Client:
    """Does operations in transactions. Connects at the first, and again when the connection was lost."""

    def __init__(self, place: Place, *, connections: int) -> None:
        self._place = place
        self._connections = connections
        self._texts: dict[str, str] = {}
        self._opening = asyncio.Lock()
        self._pool: Pool | None = None
        self._last: dict[int, asyncio.Event] = {}
        """The end of the last request that changes a thing, by its lock."""

    async def apply(self, ops: Sequence[Op]) -> list[Any]:
        """Does all operations in one transaction.

        Raises:
            StoreError: the server cannot be used. Nothing was written, unless the text says that nobody knows.
        """
        locks, done = locks_of(self._place.schema, ops), asyncio.Event()
        # What changes the same things is done in the order in which it was asked for, and waits without a connection.
        before = {self._last[lock] for lock in locks if lock in self._last}
        self._last.update(dict.fromkeys(locks, done))
        try:
            async with asyncio.timeout(APPLY_SECONDS):
                for one in before:
                    await one.wait()
                return await self._tried(ops, locks)
        except TimeoutError as error:
            await self._forsake()
            raise explained(self._place.shown, error) from error
        finally:
            done.set()
            for lock in locks:
                if self._last.get(lock) is done:
                    del self._last[lock]

    async def close(self) -> None:
        """Gives the connections back; a server that does not answer keeps nobody waiting."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except Exception:
            pool.terminate()

    async def _tried(self, ops: Sequence[Op], locks: Sequence[int]) -> list[Any]:
        attempt = 0
        while True:
            try:
                return await self._once(ops, locks)
            except Exception as error:
                attempt += 1
                cut = attempt == 1 and self._pool is not None and lost(error)
                if attempt == TRIES or not (cut or again(error)):
                    raise explained(self._place.shown, error) from error
                if cut:
                    await self._forsake()
            await asyncio.sleep(random.uniform(0.5, 1.0) * _PAUSE * 2**attempt)

    async def _once(self, ops: Sequence[Op], locks: Sequence[int]) -> list[Any]:
        pool = self._pool or await self._open()
        async with pool.acquire() as connection:
            session = Session(connection, self._place.schema, self._texts)
            try:
                if len(ops) == 1 and isinstance(ops[0], ALONE):
                    return [await perform(session, ops[0])]
                await connection.execute(_begin(ops, locks))
                answers = [await perform(session, op) for op in ops]
            except BaseException as error:
                await _give_up(connection, error)
                raise
            await self._commit(connection)
            return answers

    async def _commit(self, connection: Connection) -> None:
        try:
            await connection.execute("COMMIT")
        except BaseException as error:
            connection.terminate()
            if isinstance(error, Exception) and not lost(error):
                raise
            await self._forsake()
            raise StoreError(
                self._place.shown,
                "the connection was lost in the moment of writing, and nobody knows whether it was written.",
                "Look into the store before the same is done again.",
            ) from error

    async def _open(self) -> Pool:
        """Connects and makes the tables. Whoever comes meanwhile waits."""
        async with self._opening:
            if self._pool is None:
                pool = await self._connected()
                try:
                    async with pool.acquire() as connection:
                        await self._migrated(connection)
                except BaseException:
                    pool.terminate()
                    raise
                self._pool = pool
            return self._pool

    async def _migrated(self, connection: Connection) -> None:
        try:
            await migrate(Session(connection, self._place.schema, self._texts), self._place)
        except BaseException as error:
            await _give_up(connection, error)
            raise

    async def _connected(self) -> Pool:
        async def keep(_: object) -> None:
            """Nothing to tidy up after a transaction: none of ours leaves anything behind."""

        opening: Any = asyncpg.create_pool(  # pyright: ignore[reportUnknownMemberType]
            self._place.dsn,
            min_size=0,
            max_size=self._connections,
            reset=keep,
            timeout=APPLY_SECONDS,
            command_timeout=APPLY_SECONDS,
            server_settings={
                "application_name": "toolrail",
                "statement_timeout": str(STATEMENT_MS),
                "idle_in_transaction_session_timeout": str(IDLE_MS),
            },
        )
        return cast("Pool", await opening)

    async def _forsake(self) -> None:
        """After a silence or a loss no idle connection is believed any more."""
        if self._pool is not None:
            await self._pool.expire_connections()


def _begin(ops: Sequence[Op], locks: Sequence[int]) -> str:
    """One round trip: the start of the transaction and all its locks."""
    if all(isinstance(op, READS) for op in ops):
        return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    taken = ", ".join(f"pg_advisory_xact_lock({lock})" for lock in locks)
    return "BEGIN ISOLATION LEVEL READ COMMITTED" + (f"; SELECT {taken}" if taken else "")


async def _give_up(connection: Connection, error: BaseException) -> None:
    """Ends a transaction that failed; a connection that may still be busy is cut."""
    if isinstance(error, Exception) and not connection.is_closed():
        try:
            await connection.execute("ROLLBACK")
            return
        except Exception as failed:
            failed.add_note("while rolling back")
    connection.terminate()
