"""Reads a store's file from outside: nothing is made, migrated or locked. For the command line."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Any, overload
from urllib.parse import quote

from toolrail.store import (
    ApprovalRow,
    CallRow,
    CallsOf,
    FindCall,
    ListApprovals,
    ListRuns,
    LoadRun,
    Op,
    OpenCalls,
    RunRow,
)
from toolrail.stores.failures import StoreError, check_place, explained
from toolrail.stores.schema import MIGRATIONS, version_of
from toolrail.stores.statements import perform

ANSWERED = (ListRuns, LoadRun, CallsOf, OpenCalls, FindCall, ListApprovals)
"""What a reader answers."""


class StoreReader:
    """Answers questions about runs, calls and approvals from a file that others may be writing. Each opens it anew.

    Raises:
        StoreError: there is no such file, or it is not a store that this version reads.

    Example: `runs = StoreReader("rail.db").ask(ListRuns(limit=10))`
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)
        with _opened(self.path):
            pass

    @overload
    def ask(self, op: LoadRun) -> RunRow | None: ...
    @overload
    def ask(self, op: ListRuns) -> tuple[RunRow, ...]: ...
    @overload
    def ask(self, op: CallsOf | OpenCalls) -> tuple[CallRow, ...]: ...
    @overload
    def ask(self, op: FindCall) -> CallRow | None: ...
    @overload
    def ask(self, op: ListApprovals) -> tuple[ApprovalRow, ...]: ...
    def ask(self, op: Op) -> Any:
        """One operation that reads, with the type of its answer.

        Raises:
            StoreError: the file cannot be read any more.
            TypeError: the operation would write.
        """
        if not isinstance(op, ANSWERED):
            raise TypeError(f"a reader does not answer {type(op).__name__}")
        with _opened(self.path) as db:
            return perform(db, op)


@contextmanager
def _opened(path: str) -> Generator[sqlite3.Connection]:
    check_place(path)
    if not os.path.isfile(path):
        raise StoreError(path, "there is no such file.", "Name the file that the application's store= names.")
    # A plain read-only connection leaves two side files behind where no writer has any; without them nobody writes.
    mode = "mode=ro" if os.path.exists(f"{path}-wal") else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?{mode}", uri=True, timeout=1.0, isolation_level=None)) as db:
            _check(db, path)
            yield db
    except sqlite3.Error as error:
        raise explained(path, error) from error


def _check(db: sqlite3.Connection, path: str) -> None:
    version = version_of(db, path)
    if version == 0:
        raise StoreError(path, "it holds no store yet.", "Run the application once.")
    if version < len(MIGRATIONS):
        raise StoreError(
            path, f"an older toolrail wrote it (schema {version}).", "Run the application once: it migrates."
        )
