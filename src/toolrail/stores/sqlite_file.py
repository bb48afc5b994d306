"""One connection to a store's SQLite file: made and migrated at its first use, refused once the file was replaced."""

from __future__ import annotations

import os
import sqlite3
import time

from toolrail.stores.failures import StoreError, check_place, explained
from toolrail.stores.schema import migrate, version_of

BUSY_SECONDS = 4.0
"""How long a transaction waits for another connection that writes. Less than the spine waits for the store."""
CACHED = 128
"""Statements that stay compiled; the driver's own default."""


class SQLiteFile:
    """The connection of one thread."""

    def __init__(self, path: str, *, cached_statements: int = CACHED) -> None:
        self._path = path
        self._cached = cached_statements
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def connected(self) -> sqlite3.Connection:
        """The connection, opened where it is not open.

        Raises:
            StoreError: the file is no store, or not the one that was opened.
        """
        if self._file is not None and self._found() != self._file:
            # Going on would write into a file that nobody finds again; a new one would let effects happen twice.
            raise StoreError(
                self._path, "it was removed or replaced while in use.", "Put it back, restart the process."
            )
        if self._db is None:
            self._db = connect(self._path, cached_statements=self._cached)
            self._file = self._found()
        return self._db

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def roll_back(self) -> None:
        """Ends a transaction that is open."""
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                self.disconnect()

    def disconnect(self) -> None:
        """Closes the connection; the next use opens it again."""
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error:  # the file is damaged or gone; there is nothing left to save
                return


def connect(path: str, *, cached_statements: int = CACHED) -> sqlite3.Connection:
    """Opens a file, makes it if it is missing, and brings its schema up to date.

    Raises:
        StoreError: it is no store, damaged, too new, or cannot be opened.
    """
    check_place(path)
    db = None
    try:
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=cached_statements)
        _prepare(db, path)
        return db
    except BaseException as error:
        if db is not None:
            db.close()
        raise explained(path, error) from error


def _prepare(db: sqlite3.Connection, path: str) -> None:
    """SQLite does not wait, as it does elsewhere, when two processes switch one new file to WAL: so we do."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            version_of(db, path)  # first, so that another's file is not even switched to WAL
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            migrate(db, path)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
