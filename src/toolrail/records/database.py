"""Where telemetry lies: one port over an SQLite file and a PostgreSQL schema. SQL stands once, with `?` for a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from os.path import realpath
from pathlib import PurePosixPath
from typing import Any, Protocol

from toolrail.errors import DefinitionError
from toolrail.stores import sqlite_path

_MEND = 'Use "sqlite:///rail.records.db" (relative), "sqlite:////var/lib/rail.records.db" or "postgresql://host/name".'
_UNHELD = re.compile("[\x00\ud800-\udfff]")


class RecordsError(Exception):
    """Telemetry cannot be read or written. The text has the place, what is wrong, and the mend.

    Example: `rail.records.db: the file is damaged. Mend: Move it away; ...`
    """

    def __init__(self, where: str, message: str, mend: str) -> None:
        super().__init__(f"{where}: {message} Mend: {mend}")
        self.where = where
        self.message = message
        self.mend = mend


class Database(Protocol):
    """A connection of one thread. It opens again at its next use after it was lost.

    All raise `RecordsError` when the file or the server cannot be used.
    """

    @property
    def where(self) -> str:
        """For people: the path, or the URL without its password."""
        ...

    def select(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows."""
        ...

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None: ...

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing of what is executed within. At most one writes at a time, over all processes; one that was
        opened read-only sees one state of things within it."""
        ...

    def size(self) -> int:
        """Bytes that rows and indexes need now, without room that deleted ones left. An estimate in PostgreSQL."""
        ...

    def tidy(self) -> None:
        """After many rows were deleted: gives room back to the disk (SQLite), or counts anew (PostgreSQL)."""
        ...

    def close(self) -> None: ...


def connect(url: str, *, readonly: bool = False) -> Database:
    """Opens telemetry. Makes its tables, or brings them up to date, unless it is opened read-only.

    Raises:
        RecordsError: no such place, damaged, locked, of a newer version; read-only: there is none.

    Example: `connect("sqlite:///rail.records.db", readonly=True).select("SELECT count(*) FROM calls")`
    """
    scheme = url.partition("://")[0]
    try:
        if scheme == "sqlite":
            from toolrail.records.sqlite_database import SQLiteDatabase  # loaded only by those who use it

            return SQLiteDatabase(sqlite_path(url), readonly=readonly)
        if scheme in ("postgresql", "postgres"):
            return _postgres(url, readonly=readonly)
    except DefinitionError as error:
        raise RecordsError(error.where.replace("store=", "records="), error.message, _MEND) from None
    shown = url if "@" not in url else f"{scheme}://..."  # there may be a password before it
    raise RecordsError(f"records={shown!r}", "no telemetry has this URL.", _MEND)


def _postgres(url: str, *, readonly: bool) -> Database:
    if find_spec("asyncpg") is None:
        mend = 'pip install "toolrail[postgres]"'
        raise RecordsError("records='postgresql://...'", "the package asyncpg is not installed.", mend)
    from toolrail.records.postgres_database import PostgresDatabase  # loaded only by those who use it

    return PostgresDatabase(url, readonly=readonly)


def records_url(store_url: str) -> str | None:
    """Where the telemetry of a store lies, unless someone says otherwise: beside it. None: the store keeps nothing.

    Example: `records_url("sqlite:///rail.db") == "sqlite:///rail.records.db"`
    """
    scheme, _, rest = store_url.partition("://")
    if scheme == "sqlite" and rest.strip("/"):
        place = PurePosixPath(rest)
        return f"sqlite://{place.with_name(f'{place.stem}.records{place.suffix}')}"
    return store_url if scheme in ("postgresql", "postgres") else None


def same_place(one: str, other: str) -> bool:
    """Whether two URLs name one SQLite file. In PostgreSQL telemetry has a schema of its own."""
    if not (one.startswith("sqlite://") and other.startswith("sqlite://")):
        return False
    return realpath(sqlite_path(one)) == realpath(sqlite_path(other))


def held(value: Any) -> Any:
    """A text that any database can hold: a model may send NUL and half characters."""
    return _UNHELD.sub("\ufffd", value) if isinstance(value, str) and _UNHELD.search(value) else value
