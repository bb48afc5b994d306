"""The store in one SQLite file: one writer thread, and one commit for all requests that wait while another is done.

A commit costs a wait for the disk (`synchronous=FULL`), so requests share it: each stands in a savepoint of its own and
is answered only after the commit. Several processes may use one file; SQLite lets one of them write at a time.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from toolrail.pool import Handoff
from toolrail.store import Op
from toolrail.stores.failures import StoreError, check_place, explained
from toolrail.stores.schema import migrate, version_of
from toolrail.stores.statements import READS, perform

BUSY_SECONDS = 4.0
"""How long a transaction waits for another process that writes. Less than the spine waits for the store."""
GROUP = 256
"""At most so many requests share a commit, so that the first of them does not wait for ever."""


@dataclass(frozen=True, slots=True)
class _Request:
    ops: tuple[Op, ...]
    handoff: Handoff


@dataclass(frozen=True, slots=True)
class _Close:
    handoff: Handoff


_Inbox = SimpleQueue[_Request | _Close]
_Outcome = tuple[list[Any] | None, Exception | None]


class _Collapsed(Exception):
    """SQLite ended the whole transaction because of one request."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class SQLiteStore:
    """Keeps rows in one file, which is made at the first use. May be used from any event loop; reopens after `close`.

    Not across a fork: a child must not use a file that its parent had open, through whichever store.

    Args:
        path: of the file; its directory must exist.

    Example: `Rail(tools, store=SQLiteStore("rail.db"))`, or by URL: `store="sqlite:///rail.db"`.
    """

    durable = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)  # a later chdir does not move the store
        self._lock = threading.Lock()
        self._inbox: _Inbox | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    async def apply(self, *ops: Op) -> list[Any]:
        """Does all operations in one transaction, in order; answers after the commit.

        Raises:
            StoreError: the file cannot be used; nothing was written.
        """
        with self._lock:
            inbox = self._inbox or self._start()
            if self._pid != os.getpid():
                # SQLite believes to hold its parent's locks here, so that rows would be lost without an error.
                raise StoreError(
                    self.path, "this process was forked after it was opened.", "Fork before its first use."
                )
            handoff = Handoff(asyncio.get_running_loop())
            inbox.put(_Request(ops, handoff))
        answers, error = await handoff.future
        if error is not None:
            raise error
        return answers

    async def close(self) -> None:
        """Writes what is queued and closes the file."""
        with self._lock:
            inbox, thread = self._inbox, self._thread
            if inbox is None or thread is None or self._pid != os.getpid():
                return
            self._inbox = self._thread = None
            handoff = Handoff(asyncio.get_running_loop())
            inbox.put(_Close(handoff))
        await handoff.future
        thread.join()  # it has said its last word, so this does not block

    def _start(self) -> _Inbox:
        inbox: _Inbox = SimpleQueue()
        writer = _Writer(self.path, inbox)
        thread = threading.Thread(target=writer.serve, name="toolrail-store", daemon=True)
        thread.start()
        self._inbox, self._thread, self._pid = inbox, thread, os.getpid()
        return inbox


class _Writer:
    """The thread that alone touches the connection."""

    def __init__(self, path: str, inbox: _Inbox) -> None:
        self._path = path
        self._inbox = inbox
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def serve(self) -> None:
        while True:
            group, close = self._next_group()
            if group:
                self._answer(group)
            del group
            if close is not None:
                self._disconnect()
                close.handoff.set(None, None)
                return

    def _next_group(self) -> tuple[list[_Request], _Close | None]:
        """Waits for a request, and takes along whatever has come by then."""
        group: list[_Request] = []
        item = self._inbox.get()
        while isinstance(item, _Request):
            group.append(item)
            if len(group) == GROUP:
                return group, None
            try:
                item = self._inbox.get_nowait()
            except Empty:
                return group, None
        return group, item

    def _answer(self, group: list[_Request]) -> None:
        try:
            outcomes = self._commit(group)
        except _Collapsed as collapsed:
            self._answer_singly(group, collapsed.error)
            return
        except BaseException as error:
            self._roll_back()
            outcomes = [(None, explained(self._path, error)) for _ in group]
        for request, (answers, error) in zip(group, outcomes, strict=True):
            request.handoff.set(answers, error)

    def _answer_singly(self, group: list[_Request], error: Exception) -> None:
        """One request made SQLite give up the transaction of all: each tries alone, so that only that one fails."""
        if len(group) == 1:
            group[0].handoff.set(None, explained(self._path, error))
            return
        for request in group:
            self._answer([request])

    def _commit(self, group: list[_Request]) -> list[_Outcome]:
        db = self._connected()
        reading = all(isinstance(op, READS) for request in group for op in request.ops)
        # Locked from the start: a transaction that reads first and writes later could find its reading outdated.
        db.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
        outcomes = [self._one(db, request.ops) for request in group]
        db.execute("COMMIT")
        return outcomes

    def _one(self, db: sqlite3.Connection, ops: tuple[Op, ...]) -> _Outcome:
        db.execute("SAVEPOINT one")
        try:
            answers = [perform(db, op) for op in ops]
        except Exception as error:
            if not db.in_transaction:  # given up by SQLite as a whole: disk full, disk error
                raise _Collapsed(error) from error
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
            return None, explained(self._path, error)
        db.execute("RELEASE one")
        return answers, None

    def _connected(self) -> sqlite3.Connection:
        if self._file is not None and self._found() != self._file:
            # Going on would write into a file that nobody finds again; a new one would let effects happen twice.
            raise StoreError(
                self._path, "it was removed or replaced while in use.", "Put it back, restart the process."
            )
        if self._db is None:
            self._db = connect(self._path)
            self._file = self._found()
        return self._db

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _roll_back(self) -> None:
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                self._disconnect()

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error:  # the file is damaged or gone; there is nothing left to save
                return


def connect(path: str) -> sqlite3.Connection:
    """Opens a file, makes it if it is missing, and brings its schema up to date.

    Raises:
        StoreError: it is no store, damaged, too new, or cannot be opened.
    """
    check_place(path)
    db = None
    try:
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
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
