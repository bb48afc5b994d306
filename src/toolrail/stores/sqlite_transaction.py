"""Transactions of tools in the store's own SQLite file: one after another, on a connection and thread of their own.

SQLite lets one connection write at a time. So a transaction holds up the store's own writer, which waits a few seconds
for it at most, as it holds up every other process: a tool keeps it short.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from toolrail.errors import ToolError
from toolrail.pool import Handoff
from toolrail.store import Op, Settle
from toolrail.stores.failures import explained
from toolrail.stores.sqlite_file import SQLiteFile
from toolrail.stores.statements import perform
from toolrail.transaction import CommitLost

Rows = list[sqlite3.Row]
Parameters = Sequence[Any] | Mapping[str, Any]
Work = Callable[[sqlite3.Connection], Any]
Reply = Callable[[Any, BaseException | None], None]

_FORBIDDEN = frozenset({sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})
_FORBIDS = (
    "inside ctx.transaction() a tool must not begin, commit or roll back by itself, nor attach a database. Mend: leave "
    "the block; it is committed together with the end of the call, and rolled back when an exception leaves it."
)
_LOOK = 10_000
"""Steps of SQLite's machine between two looks at whether anybody still waits for a statement."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something to do in the transaction's thread, and who hears of it."""

    work: Work
    reply: Reply
    last: bool


@dataclass(frozen=True, slots=True)
class End:
    """Closes the thread."""

    reply: Reply


class Session:
    """One transaction, as its handler, the spine and its thread share it."""

    def __init__(self, begun: Reply) -> None:
        self.begun = begun
        self.commands: SimpleQueue[Command] = SimpleQueue()
        self.over = False
        """Nothing more is taken."""
        self.dropped = False
        """It is to be rolled back; what is under way need not end."""
        self._lock = threading.Lock()

    def put(self, work: Work, reply: Reply, *, last: bool = False) -> None:
        """Queues a command. Each that is taken is answered.

        Raises:
            ToolError: the transaction is over.
        """
        with self._lock:
            if self.over:
                raise ToolError("The transaction is over; nothing of it was kept.", nothing_happened=True)
            self.over = last
            self.commands.put(Command(work, reply, last))

    def drop(self, reply: Reply) -> bool:
        """Has it rolled back; False when it had ended."""
        self.dropped = not self.over
        try:
            self.put(_roll_back, reply, last=True)
        except ToolError:
            return False
        return True


class SQLiteTransaction:
    """One transaction. See `StoreTransaction`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.connection = SQLiteConnection(session)
        self.blocking = BlockingSQLiteConnection(session)

    async def commit(self, op: Settle, *beside: Op) -> bool:
        """See `StoreTransaction`."""
        return await _asked(self._session, lambda db: _commit(db, op, beside), last=True)

    async def rollback(self) -> None:
        """See `StoreTransaction`."""
        handoff = Handoff(asyncio.get_running_loop())
        if not self._session.drop(handoff.set):
            handoff.set(None, None)
        await handoff.future

    def __del__(self) -> None:  # its loop has closed, and with it whoever would have ended it
        self._session.drop(_unheard)


class SQLiteConnection:
    """What an async handler gets: `rows = await tx.execute("SELECT name FROM items WHERE id = ?", (7,))`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def execute(self, sql: str, parameters: Parameters = ()) -> Rows:
        """One statement; its rows, each by position and by column's name. The loop goes on meanwhile.

        Raises:
            sqlite3.Error: SQLite refused the statement. The transaction may go on all the same.
            ToolError: the transaction is over.
        """
        return await _asked(self._session, _statement(sql, parameters))


class BlockingSQLiteConnection:
    """What a sync handler gets: `rows = tx.execute("SELECT name FROM items WHERE id = ?", (7,))`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def execute(self, sql: str, parameters: Parameters = ()) -> Rows:
        """See `SQLiteConnection.execute`; waits in the handler's own thread."""
        answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._session.put(_statement(sql, parameters), lambda value, error: answers.put((value, error)))
        value, error = answers.get()
        if error is not None:
            raise error
        return value


async def _asked(session: Session, work: Work, *, last: bool = False) -> Any:
    handoff = Handoff(asyncio.get_running_loop())
    try:
        session.put(work, handoff.set, last=last)
    except ToolError as error:
        handoff.set(None, error)
    answer, error = await handoff.future
    if error is not None:
        raise error
    return answer


def _statement(sql: str, parameters: Parameters) -> Work:
    def work(db: sqlite3.Connection) -> Rows:
        cursor = db.cursor()
        cursor.row_factory = sqlite3.Row
        db.set_authorizer(_allowed)
        try:
            return cursor.execute(sql, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            if "not authorized" in str(error):
                raise sqlite3.DatabaseError(f"{error}: {_FORBIDS}") from error
            raise
        finally:
            db.set_authorizer(None)
            cursor.close()

    return work


def _allowed(action: int, *_: Any) -> int:
    """A tool that commits by itself would do its effect without a word of it in the ledger."""
    return sqlite3.SQLITE_DENY if action in _FORBIDDEN else sqlite3.SQLITE_OK


def _commit(db: sqlite3.Connection, op: Settle, beside: Sequence[Op]) -> bool:
    if not db.in_transaction:
        raise sqlite3.OperationalError("SQLite gave the transaction up before its end")
    if not perform(db, op):
        _roll_back(db)
        return False
    for other in beside:
        perform(db, other)
    try:
        db.execute("COMMIT")
    except sqlite3.IntegrityError:  # such as a deferred foreign key: refused, as a whole
        raise
    except sqlite3.Error as error:
        raise CommitLost(str(error)) from error
    return True


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")


def _unheard(_: Any, __: BaseException | None) -> None:
    return None


class Transactions:
    """The thread that takes transactions in their turn, and alone touches their connection."""

    def __init__(self, path: str) -> None:
        self._path = path
        # Without a cache of statements: one that we ran ourselves would pass a tool's authoriser unseen.
        self._file = SQLiteFile(path, cached_statements=0)
        self._inbox: SimpleQueue[Session | End] = SimpleQueue()
        threading.Thread(target=self._serve, name="toolrail-transactions", daemon=True).start()

    async def begin(self) -> SQLiteTransaction:
        """See `Transactional`."""
        handoff = Handoff(asyncio.get_running_loop())
        transaction = SQLiteTransaction(session := Session(handoff.set))
        self._inbox.put(session)
        try:
            _, error = await handoff.future
        except BaseException:
            session.drop(_unheard)
            raise
        if error is not None:
            raise error
        return transaction

    async def close(self) -> None:
        """Waits for the transactions that were begun, and closes the file."""
        handoff = Handoff(asyncio.get_running_loop())
        self._inbox.put(End(handoff.set))
        await handoff.future

    def _serve(self) -> None:
        while True:
            item = self._inbox.get()
            if isinstance(item, End):
                self._file.disconnect()
                item.reply(None, None)
                return
            self._take(item)

    def _take(self, session: Session) -> None:
        """One transaction, from its begin to its end."""
        try:
            db = self._begun(session)
        except BaseException as error:
            session.over = True
            session.begun(None, explained(self._path, error))
            return
        session.begun(None, None)
        last = False
        while not last:
            command = session.commands.get()
            last = command.last
            answer, error = self._done(db, command)
            command.reply(answer, error)

    def _begun(self, session: Session) -> sqlite3.Connection:
        db = self._file.connected()
        if not session.over:
            db.execute("BEGIN IMMEDIATE")
        db.set_progress_handler(lambda: session.dropped, _LOOK)
        return db

    def _done(self, db: sqlite3.Connection, command: Command) -> tuple[Any, BaseException | None]:
        try:
            return command.work(db), None
        except BaseException as error:
            if not command.last:
                return None, error
            self._file.roll_back()
            return None, error if isinstance(error, CommitLost) else explained(self._path, error)
