"""Telemetry in an SQLite file: one process writes at a time, any number reads meanwhile."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from toolrail.records import schema
from toolrail.records.database import RecordsError, held

BUSY_SECONDS = 4.0
"""How long to wait for another process that writes."""

_AWAY = "Move it away: a new one is begun, and the store of the runs is not touched."
_OTHER = "Give telemetry a file of its own, apart from the store and from other applications."
_BY_TEXT = (
    ("not a database", "it is not an SQLite database.", _OTHER),
    ("malformed", "the file is damaged.", f"{_AWAY} `sqlite3 FILE .recover` saves what can still be read."),
    ("no such table", "a table is missing: the file is damaged, or another application's.", _AWAY),
    ("no such column", "a column is missing: the file is damaged, or another application's.", _AWAY),
    ("locked", "another process has been writing to it for too long.", "Look for a transaction that is never ended."),
    ("readonly", "it may not be written.", "Let this user write the file and its directory."),
    ("full", "the disk is full.", "Make room, or let telemetry keep less."),
    ("unable to open", "it cannot be opened.", "Let this user read and write the file and its directory."),
    ("i/o error", "the disk reports an error.", "Check the disk."),
)


class SQLiteDatabase:
    """A connection to a file; see `database.Database`."""

    def __init__(self, path: str, *, readonly: bool = False) -> None:
        self.where = path
        self._readonly = readonly
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, ...] | None = None
        self._frozen = False
        """Opened as a file that nobody writes: SQLite looks for no change of it then, so we do."""
        self._ready()

    def select(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._explained():
            return _run(self._ready(), sql, params).fetchall()

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        with self._explained():
            _run(self._ready(), sql, params)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._explained():
            db = self._ready()
            db.execute("SAVEPOINT many")
            try:
                db.executemany(sql, rows)
            except UnicodeEncodeError:
                db.execute("ROLLBACK TO many")
                db.executemany(sql, [[held(value) for value in row] for row in rows])
            db.execute("RELEASE many")

    @contextmanager
    def transaction(self) -> Generator[None]:
        with self._explained():
            db = self._ready()
            db.execute("BEGIN" if self._readonly else "BEGIN IMMEDIATE")
        try:
            yield
            with self._explained():
                db.execute("COMMIT")
        finally:
            self._roll_back()

    def size(self) -> int:
        ((pages,),) = self.select("PRAGMA page_count")
        ((free,),) = self.select("PRAGMA freelist_count")
        ((each,),) = self.select("PRAGMA page_size")
        return (pages - free) * each

    def tidy(self) -> None:
        with self._explained():
            db = self._ready()
            db.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page and stop
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error:  # damaged or gone; there is nothing left to save
                return

    def tables(self) -> set[str]:
        """Their names."""
        return {name for (name,) in self.select("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):  # a mistake in what was asked
            self._roll_back()
            raise
        except sqlite3.Error as error:
            self._roll_back()
            raise _explained(self.where, error) from error

    def _roll_back(self) -> None:
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()

    def _ready(self) -> sqlite3.Connection:
        """The connection to the file that now has this name: one that was moved away is not written to."""
        if self._db is not None and self._db.in_transaction:
            return self._db
        found = self._found()
        if self._db is not None and found == self._file:
            return self._db
        if self._db is not None:
            self.close()
        if found is None and self._readonly:
            raise RecordsError(
                self.where, "there is no such file.", "Name the file of telemetry, or let a run make it."
            )
        _check_place(self.where)
        with self._explained():
            try:
                self._frozen = False
                self._db = self._connected()
                self._file = self._found()
                self._prepare(self._db)
            except BaseException:
                self.close()
                raise
        return self._db

    def _found(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self.where)
        except OSError:
            return None
        if self._frozen:
            return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, _waiting(self.where)
        return found.st_dev, found.st_ino

    def _connected(self) -> sqlite3.Connection:
        if not self._readonly:
            return sqlite3.connect(self.where, timeout=BUSY_SECONDS, isolation_level=None)
        url = f"file:{quote(self.where)}?mode=ro"
        db = sqlite3.connect(url, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            # A file in WAL mode needs two files beside it, which who may not write the directory cannot make.
            if "locked" in str(error) or os.access(Path(self.where).absolute().parent, os.W_OK):
                return db
            db.close()
            if not os.access(self.where, os.R_OK):
                raise
            if _waiting(self.where):
                text = "this user may not write its directory, and a part of it is still in the file -wal beside it."
                mend = "Let this user write the directory, or let the writer end: it moves all into the one file."
                raise RecordsError(self.where, text, mend) from error
            self._frozen = True
            db = sqlite3.connect(f"{url}&immutable=1", uri=True, isolation_level=None)
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        """SQLite does not wait, as it does elsewhere, when two processes switch one new file to WAL: so we do."""
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                found = schema.version_of(self)  # first, so that another's file is not even switched to WAL
                if self._readonly:
                    schema.check_readable(self, found)
                    return
                if found == 0:
                    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                db.execute("PRAGMA journal_mode = WAL").fetchall()
                db.execute("PRAGMA synchronous = NORMAL")
                schema.migrate(self, blob="BLOB")
                return
            except (sqlite3.OperationalError, RecordsError) as error:
                cause = error.__cause__ or error
                if "locked" not in str(cause) or time.monotonic() > until:
                    raise
                time.sleep(0.01)


def _waiting(path: str) -> int:
    """Bytes that were written and are not yet in the file itself."""
    try:
        return os.stat(f"{path}-wal").st_size
    except OSError:
        return 0


def _run(db: sqlite3.Connection, sql: str, params: Sequence[Any]) -> sqlite3.Cursor:
    try:
        return db.execute(sql, params)
    except UnicodeEncodeError:
        return db.execute(sql, [held(value) for value in params])


def _explained(path: str, error: sqlite3.Error) -> RecordsError:
    text = str(error).lower()
    for part, message, mend in _BY_TEXT:
        if part in text:
            return RecordsError(path, f"{message} ({error})", mend)
    return RecordsError(path, f"SQLite refused ({error}).", "See SQLite's result codes for the text in brackets.")


def _check_place(path: str) -> None:
    """Finds out beforehand what SQLite would only call "unable to open database file"."""
    place = Path(path)
    if place.is_dir():
        mend = 'Name a file in it, as in "sqlite:///data/rail.records.db".'
        raise RecordsError(path, "this is a directory.", mend)
    if not place.parent.is_dir():
        raise RecordsError(path, f"its directory {place.parent} does not exist.", "Make the directory first.")
