"""Small helpers around SQLite statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from toolrail.stores.rows import storable

R = TypeVar("R")


def insert(table: str, columns: Sequence[str]) -> str:
    """One row of all these columns."""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def upsert(table: str, columns: Sequence[str], *, keys: Sequence[str]) -> str:
    """One row; where its keys are known, the other columns change."""
    changed = _updates(column for column in columns if column not in keys)
    return f"{insert(table, columns)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"


def _updates(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns)


def given(**values: str | None) -> tuple[str, tuple[str, ...]]:
    """A WHERE clause of the columns that are asked for, and their values. Its own text for each, so that an index of
    those columns is used."""
    known = {column: value for column, value in values.items() if value is not None}
    clause = " AND ".join(f"{column} = ?" for column in known)
    return (f" WHERE {clause}" if clause else ""), tuple(known.values())


def run(db: sqlite3.Connection, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
    """Executes; text that UTF-8 cannot hold is made so."""
    try:
        return db.execute(statement, values)
    except UnicodeEncodeError:
        return db.execute(statement, storable(values))


def one(read: Callable[[Sequence[Any]], R], cursor: sqlite3.Cursor) -> R | None:
    """The first row, read, or None."""
    values = cursor.fetchone()
    return None if values is None else read(values)
