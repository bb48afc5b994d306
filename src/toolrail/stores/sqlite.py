"""The store in one SQLite file: one writer thread, and one commit for all requests that wait while another is done.

A commit costs a wait for the disk (`synchronous=FULL`), so requests share it: each stands in a savepoint of its own and
is answered only after the commit. Several processes may use one file; SQLite lets one of them write at a time.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from toolrail.pool import Handoff
from toolrail.store import Op
from toolrail.stores.failures import StoreError, explained
from toolrail.stores.sqlite_file import SQLiteFile
from toolrail.stores.sqlite_transaction import SQLiteTransaction, Transactions
from toolrail.stores.statements import READS, perform

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
        self._transactions: Transactions | None = None
        self._pid = 0

    async def apply(self, *ops: Op) -> list[Any]:
        """Does all operations in one transaction, in order; answers after the commit.

        Raises:
            StoreError: the file cannot be used; nothing was written.
        """
        with self._lock:
            inbox = self._inbox or self._start()
            self._check_process()
            handoff = Handoff(asyncio.get_running_loop())
            inbox.put(_Request(ops, handoff))
        answers, error = await handoff.future
        if error is not None:
            raise error
        return answers

    async def begin(self) -> SQLiteTransaction:
        """Begins a transaction for a tool, when those before it have ended.

        Raises:
            StoreError: the file cannot be used, or somebody else writes to it for too long; nothing happened.
        """
        with self._lock:
            if self._inbox is None:
                self._start()
            self._check_process()
            transactions = self._transactions = self._transactions or Transactions(self.path)
        return await transactions.begin()

    async def close(self) -> None:
        """Writes what is queued, waits for the transactions of tools, and closes the file."""
        with self._lock:
            transactions = self._transactions if self._pid == os.getpid() else None
            self._transactions = None
        if transactions is not None:
            await transactions.close()
        with self._lock:
            inbox, thread = self._inbox, self._thread
            if inbox is None or thread is None or self._pid != os.getpid():
                return
            self._inbox = self._thread = None
            handoff = Handoff(asyncio.get_running_loop())
            inbox.put(_Close(handoff))
        await handoff.future
        thread.join()  # it has said its last word, so this does not block

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            # SQLite believes to hold its parent's locks here, so that rows would be lost without an error.
            raise StoreError(self.path, "this process was forked after it was opened.", "Fork before its first use.")

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
        self._file = SQLiteFile(path)

    def serve(self) -> None:
        while True:
            group, close = self._next_group()
            if group:
                self._answer(group)
            del group
            if close is not None:
                self._file.disconnect()
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
            self._file.roll_back()
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
        db = self._file.connected()
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
