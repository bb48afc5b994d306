"""The store in PostgreSQL: for several processes on several machines.

All connections belong to one event loop in a thread of the store's own. So the store serves any loop, a tool that
blocks the application's loop holds no lock in the middle of a transaction, and time-outs hold on simulated time.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any

from toolrail.pool import Handoff
from toolrail.store import Op
from toolrail.stores.postgres.client import Client
from toolrail.stores.postgres.failures import explained
from toolrail.stores.postgres.locks import locks_of
from toolrail.stores.postgres.sql import Connection, Session
from toolrail.stores.postgres.statements import perform
from toolrail.stores.postgres.transaction import PostgresTransaction, begin
from toolrail.stores.postgres.url import Place, place_of

CONNECTIONS = 4
"""Of one store in one process, unless told otherwise."""


class PostgresStore:
    """Keeps rows in a schema of a PostgreSQL database, whose tables are made at the first use. May be used from any
    event loop; connects again after `close`, and in a forked child with connections of its own.

    Args:
        url: as libpq and asyncpg read it, with `?schema=name` for tables elsewhere than in the schema `toolrail`.
        schema: the same, before the URL's.
        connections: at most so many at once.

    Raises:
        DefinitionError: TR303, the URL cannot be read.

    Example: `Rail(tools, store="postgresql://rail@db.example/app")`
    """

    durable = True

    def __init__(self, url: str, *, schema: str | None = None, connections: int = CONNECTIONS) -> None:
        self._place = place_of(url, schema=schema)
        self._connections = connections
        self._texts: dict[str, str] = {}
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._parents: list[_Worker] = []
        """Of the process that forked this one: kept, so that nobody says farewell on its connections."""

    def __repr__(self) -> str:
        return f"PostgresStore({self._place.shown!r})"

    async def apply(self, *ops: Op) -> list[Any]:
        """Does all operations in one transaction, in order; answers after the commit.

        Raises:
            StoreError: the server cannot be used. Nothing was written, unless the text says that nobody knows.
        """
        with self._lock:
            worker = self._working()
            handoff = Handoff(asyncio.get_running_loop())
            worker.submit(worker.client.apply(ops), handoff)
        answers, error = await handoff.future
        if error is not None:
            raise error
        return answers

    async def apply_within(self, connection: Connection, *ops: Op) -> list[Any]:
        """Does operations inside a transaction that the caller has begun on an asyncpg connection of his own, to the
        same database: what he writes there and what the store writes are committed together or not at all.

        Raises:
            Exception: as the driver raises it. The transaction is lost then.
        """
        session = Session(connection, self._place.schema, self._texts)
        for lock in locks_of(self._place.schema, ops):
            await connection.execute(f"SELECT pg_advisory_xact_lock({lock})")
        return [await perform(session, op) for op in ops]

    async def begin(self) -> PostgresTransaction:
        """Begins a transaction for a tool, on a connection of its own that belongs to the running loop.

        Raises:
            StoreError: the server cannot be used; nothing happened.
        """
        try:
            return await begin(self._place.dsn, self.apply_within)
        except Exception as error:
            raise explained(self._place.shown, error) from error

    async def close(self) -> None:
        """Waits for what is under way, and gives the connections back."""
        with self._lock:
            worker, self._worker = self._worker, None
            if worker is None or worker.pid != os.getpid():
                return
            handoff = Handoff(asyncio.get_running_loop())
            worker.close(handoff)
        await handoff.future
        worker.thread.join()  # it has said its last word, so this does not block

    def _working(self) -> _Worker:
        worker = self._worker
        if worker is not None and worker.pid != os.getpid():
            self._parents.append(worker)
            worker = None
        if worker is None:
            worker = self._worker = _Worker(self._place, self._connections)
        return worker


class _Worker:
    """The thread whose loop alone touches the connections."""

    def __init__(self, place: Place, connections: int) -> None:
        self.pid = os.getpid()
        self._shown = place.shown
        self._loop = asyncio.new_event_loop()
        self.client = Client(place, connections=connections)
        self._tasks: set[asyncio.Task[None]] = set()
        self.thread = threading.Thread(target=self._serve, name="toolrail-store", daemon=True)
        self.thread.start()

    def submit(self, work: Coroutine[Any, Any, Any], handoff: Handoff) -> None:
        """Starts it on the loop of this thread; its answer goes to the loop that waits."""
        self._loop.call_soon_threadsafe(self._start, work, handoff)

    def close(self, handoff: Handoff) -> None:
        """Ends when all that was submitted has ended."""
        self._loop.call_soon_threadsafe(self._start, self._end(), handoff)

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _start(self, work: Coroutine[Any, Any, Any], handoff: Handoff) -> None:
        task = self._loop.create_task(self._answer(work, handoff))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, work: Coroutine[Any, Any, Any], handoff: Handoff) -> None:
        try:
            handoff.set(await work, None)
        except BaseException as error:
            handoff.set(None, explained(self._shown, error))

    async def _end(self) -> None:
        others = self._tasks - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)
        await self.client.close()
        self._loop.call_soon(self._loop.stop)
