"""Telemetry in PostgreSQL, in a schema beside the store's: for several processes on several machines."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from toolrail.records import schema
from toolrail.records.database import RecordsError, held
from toolrail.stores.failures import StoreError
from toolrail.stores.postgres.failures import explained
from toolrail.stores.postgres.url import place_of

R = TypeVar("R")

CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 1.0
STATEMENT_SECONDS = 20.0
"""What one statement may take."""
IDLE_MS = 10_000
"""The server ends a transaction whose client says nothing for so long: one that is stopped holds no lock for ever."""
LOCK = 0x7261696C
"""Of the advisory lock by which one process writes at a time: rows that count are then never waited for in a circle."""
LONGEST_NAME = 63

_driver: Any = asyncpg
_PIECES = re.compile(r"'[^']*'|\?")
_SIZES = """
    SELECT CAST(coalesce(sum(whole * CASE WHEN rows < 0 OR width IS NULL OR heap = 0 THEN 1
        ELSE least(1, rows * (width + 28) / heap) END), 0) AS BIGINT)
    FROM (SELECT c.reltuples AS rows, pg_relation_size(c.oid) AS heap, pg_total_relation_size(c.oid) AS whole,
            (SELECT sum(s.avg_width) FROM pg_stats s
             WHERE s.schemaname = n.nspname AND s.tablename = c.relname) AS width
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ? AND c.relkind = 'r') AS tables"""
"""The share of each table that live rows take: the files themselves do not shrink when rows are deleted."""


class PostgresDatabase:
    """A connection to a schema; see `database.Database`. The tables of a store in the schema `x` have their telemetry
    in `x_records`."""

    def __init__(self, url: str, *, readonly: bool = False) -> None:
        place = place_of(url)
        self.where = place.shown
        self.schema = f"{place.schema}_records"
        if len(self.schema) > LONGEST_NAME:
            raise RecordsError(self.where, "the name of its schema is too long.", "Shorten it to 55 characters.")
        self._dsn = place.dsn
        self._readonly = readonly
        self._loop = asyncio.new_event_loop()
        self._db: Any = None
        self._texts: dict[str, str] = {}
        self._inside = False
        try:
            self._ready()
        except BaseException:
            self.close()
            raise

    def select(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        db = self._ready()
        return [tuple(row) for row in self._run(db.fetch(self._text(sql), *map(held, params)))]

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        db = self._ready()
        self._run(db.execute(self._text(sql), *map(held, params)))

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        db = self._ready()
        self._run(db.executemany(self._text(sql), [[held(value) for value in row] for row in rows]))

    @contextmanager
    def transaction(self) -> Generator[None]:
        begin = f"BEGIN; SELECT pg_advisory_xact_lock({LOCK}, hashtext('{self.schema}'))"
        self._run(self._ready().execute("BEGIN ISOLATION LEVEL REPEATABLE READ" if self._readonly else begin))
        self._inside = True
        try:
            yield
            self._run(self._ready().execute("COMMIT"))
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._inside = False

    def size(self) -> int:
        ((size,),) = self.select(_SIZES, (self.schema,))
        return size

    def tidy(self) -> None:
        for name in sorted(self.tables()):
            self.execute(f'ANALYZE "{name}"')

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._drop(gently=True)
        self._loop.close()

    def tables(self) -> set[str]:
        """Their names."""
        return {name for (name,) in self.select("SELECT tablename FROM pg_tables WHERE schemaname = ?", (self.schema,))}

    def _ready(self) -> Any:
        """The connection; a new one after it was lost, but not within a transaction, whose beginning was lost too."""
        if self._db is not None and (self._inside or not self._db.is_closed()):
            return self._db
        self._drop()
        if self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        db = self._db = self._run(self._connected())
        try:
            if self._readonly:
                schema.check_readable(self, schema.version_of(self))
            elif schema.version_of(self) != len(schema.MIGRATIONS):
                with self.transaction():
                    self.execute(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
                schema.migrate(self, blob="BYTEA")
        except BaseException:
            self._drop()
            raise
        return db

    def _drop(self, *, gently: bool = False) -> None:
        """Lets go of the connection, and of its socket, which takes the loop another turn."""
        db, self._db = self._db, None
        if db is None:
            return

        async def end() -> None:
            try:
                if gently and not db.is_closed():
                    await db.close(timeout=CLOSE_SECONDS)
            except Exception:  # nobody answers; there is nothing left to say
                db.terminate()
            if not db.is_closed():
                db.terminate()
            await asyncio.sleep(0)

        self._run(end())

    async def _connected(self) -> Any:
        db = await _driver.connect(
            self._dsn,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings={
                "application_name": "toolrail-records",
                "search_path": f'"{self.schema}"',
                "statement_timeout": str(int(STATEMENT_SECONDS * 1000)),
                "idle_in_transaction_session_timeout": str(IDLE_MS),
                "default_transaction_read_only": "on" if self._readonly else "off",
            },
        )
        # Sums of whole numbers are of this type, and are to be what they are in SQLite.
        await db.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text")
        return db

    def _roll_back(self) -> None:
        if self._db is None or self._db.is_closed():
            return
        try:
            self._run(self._db.execute("ROLLBACK"))
        except RecordsError:
            self._drop()

    def _text(self, sql: str) -> str:
        ready = self._texts.get(sql)
        if ready is None:
            ready = self._texts[sql] = numbered(sql)
        return ready

    def _run(self, work: Coroutine[Any, Any, R]) -> R:
        """Does it on our own loop: here, or in a thread where a loop runs already, as it does in a notebook."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._here(work)
        answers: list[R] = []
        errors: list[BaseException] = []

        def there() -> None:
            try:
                answers.append(self._here(work))
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=there, name="toolrail-records-read")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    def _here(self, work: Coroutine[Any, Any, R]) -> R:
        try:
            return self._loop.run_until_complete(work)
        except Exception as error:
            told = explained(self.where, error)
            if isinstance(told, StoreError):
                raise RecordsError(self.where, told.message, told.mend) from error
            raise told from None


def numbered(sql: str) -> str:
    """`?` as PostgreSQL writes it, in order; not within a text in quotes."""
    count = 0

    def one(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return _PIECES.sub(one, sql)


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
