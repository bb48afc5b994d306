"""What can be wrong with a store's file, as one exception that names the path, the fault and the mend."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from toolrail.store import StoreError as StoreError  # the port's own: the spine knows it too

OWN_FILE = "Give the store a path of its own, or move that file away."
_BY_TEXT = (
    ("not a database", "it is not an SQLite database.", OWN_FILE),
    (
        "malformed",
        "the file is damaged.",
        "Restore it from a backup, or save what `sqlite3 FILE .recover` still reads.",
    ),
    ("no such table", "a table of the store is missing.", "Restore the file from a backup; tables are not made twice."),
    ("no such column", "a column of the store is missing.", "Restore the file from a backup."),
    ("locked", "another process has been writing to it for too long.", "Look for a transaction that is never ended."),
    ("readonly", "it may not be written.", "Let this user write the file and its directory."),
    ("full", "the disk is full.", "Make room; nothing of this transaction was kept."),
    ("unable to open", "it cannot be opened.", "Let this user write the file and its directory."),
    ("i/o error", "the disk reports an error.", "Check the disk; nothing of this transaction was kept."),
)


def explained(path: str, error: BaseException) -> Exception:
    """An error of SQLite as a `StoreError`; any other as it is, for it is a mistake in what was asked."""
    if isinstance(error, StoreError):
        return StoreError(error.path, error.message, error.mend)  # one for each waiter: tracebacks are not shared
    if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
        text = str(error).lower()
        for part, message, mend in _BY_TEXT:
            if part in text:
                return StoreError(path, f"{message} ({error})", mend)
        return StoreError(path, f"SQLite refused ({error}).", "See SQLite's result codes for the text in brackets.")
    return error if isinstance(error, Exception) else RuntimeError(f"{path}: {error!r}")


def check_place(path: str) -> None:
    """Finds out beforehand what SQLite would only call "unable to open database file".

    Raises:
        StoreError: the directory is missing, or the path is a directory.
    """
    place = Path(path)
    if place.is_dir():
        raise StoreError(path, "this is a directory.", 'Name a file in it, as in "sqlite:///data/rail.db".')
    if not place.parent.is_dir():
        raise StoreError(path, f"its directory {place.parent} does not exist.", "Make the directory first.")
