"""Small helpers around PostgreSQL statements: tables in a schema, and any text in a column.

Table names are written `@calls`; the schema is put before them, so that the search path of the connection stays as it
is: it may be one that the application lends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

R = TypeVar("R")


class Connection(Protocol):
    """What is used of an asyncpg connection."""

    async def execute(self, query: str, *args: object) -> str: ...

    async def fetch(self, query: str, *args: object) -> Sequence[Iterable[Any]]: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...


class Session:
    """A connection in the store's schema."""

    __slots__ = ("_texts", "connection", "schema")

    def __init__(self, connection: Connection, schema: str, texts: dict[str, str]) -> None:
        self.connection = connection
        self.schema = schema
        self._texts = texts
        """Statements with the schema in them, kept by the store."""

    def text(self, statement: str) -> str:
        """A statement with the schema before each table."""
        ready = self._texts.get(statement)
        if ready is None:
            ready = self._texts[statement] = statement.replace("@", f'"{self.schema}".')
        return ready

    async def run(self, statement: str, values: Sequence[Any]) -> bool:
        """Executes; whether it changed a row."""
        told = await self.connection.execute(self.text(statement), *map(storable, values))
        return not told.endswith(" 0")

    async def all(self, read: Callable[[Sequence[Any]], R], statement: str, *values: Any) -> tuple[R, ...]:
        """All rows, read."""
        found = await self.connection.fetch(self.text(statement), *map(storable, values))
        return tuple(read(tuple(map(readable, row))) for row in found)

    async def one(self, read: Callable[[Sequence[Any]], R], statement: str, *values: Any) -> R | None:
        """The first row, read, or None."""
        found = await self.all(read, statement, *values)
        return found[0] if found else None


def insert(table: str, columns: Sequence[str]) -> str:
    """One row of all these columns."""
    values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"INSERT INTO @{table} AS t ({', '.join(columns)}) VALUES ({values})"


def upsert(table: str, columns: Sequence[str], *, keys: Sequence[str]) -> str:
    """One row; where its keys are known, the other columns change."""
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in keys)
    return f"{insert(table, columns)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"


def given(**values: str | None) -> tuple[str, tuple[str, ...]]:
    """A WHERE clause of the columns that are asked for, and their values."""
    known = {column: value for column, value in values.items() if value is not None}
    clause = " AND ".join(f"{column} = ${number}" for number, column in enumerate(known, 1))
    return (f" WHERE {clause}" if clause else ""), tuple(known.values())


# PostgreSQL holds neither NUL nor half characters, and a model can send both. They stand as U+001A (which means
# "substitute") and four hex digits, and so does U+001A itself: every text comes back as it was.
_UNHELD = re.compile("[\x00\x1a\ud800-\udfff]")
_HELD = re.compile("\x1a([0-9a-f]{4})")


def storable(value: Any) -> Any:
    """A value as PostgreSQL holds it."""
    if isinstance(value, str) and _UNHELD.search(value):
        return _UNHELD.sub(lambda found: f"\x1a{ord(found[0]):04x}", value)
    return value


def readable(value: Any) -> Any:
    """A value as it was before `storable`."""
    if isinstance(value, str) and "\x1a" in value:
        return _HELD.sub(lambda found: chr(int(found[1], 16)), value)
    return value
