"""What can be wrong with a PostgreSQL server, as a `StoreError` that names the URL without its password."""

from __future__ import annotations

from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from toolrail.stores.failures import StoreError

_driver: Any = asyncpg

_OTHER_SCHEMA = "Give the store a schema of its own (?schema=name)."
_BY_STATE = (
    ("28", "it refused the user or the password.", "Correct them in the store's URL."),
    ("3D000", "there is no such database.", "Create it, or correct the store's URL."),
    ("3F000", "the schema of the store is missing.", "Restore it from a backup; tables are not made twice."),
    ("42P01", "a table of the store is missing.", "Restore it from a backup; tables are not made twice."),
    ("42P07", "a table of that name is there already, and is not ours.", _OTHER_SCHEMA),
    ("42703", "a column of the store is missing.", "Restore the table from a backup."),
    ("42501", "this user may not do that.", "Let it create a schema in the database, or own the schema of the store."),
    ("25006", "it may not be written.", "Name the primary server, not a standby."),
    ("53300", "it has no connection left.", "Let it have more, or give the stores fewer (connections=)."),
    ("53", "it has no disk or memory left.", "Make room; nothing of this transaction was kept."),
    ("57014", "it did not answer in time.", "Look for a transaction that is never ended (pg_stat_activity)."),
    ("55P03", "another transaction holds a lock for too long.", "Look for one that is never ended (pg_stat_activity)."),
    ("57P", "it is shutting down or starting.", "The next use tries again."),
    ("08", "the connection was lost.", "The next use connects again."),
    ("40", "it gave this transaction up again and again.", "Try again."),
)
_RETRIED = {"40001", "40P01"}
_OURS = {"calls_one_holder", "calls_one_follower"}


def again(error: BaseException) -> bool:
    """Whether PostgreSQL gave the transaction up for another's sake: the same once more may succeed."""
    return _state(error) in _RETRIED or getattr(error, "constraint_name", None) in _OURS


def lost(error: BaseException) -> bool:
    """Whether the connection is gone, and with it what was not committed."""
    state = _state(error)
    if state is not None:
        return state.startswith(("08", "57P"))
    # The driver calls it an error of its own when the server's farewell comes between two requests.
    gone = (OSError, EOFError, _driver.InterfaceError, _driver.exceptions.InternalClientError)
    return isinstance(error, gone) and not isinstance(error, ValueError)  # a ValueError: a mistake in what was asked


def explained(shown: str, error: BaseException) -> Exception:
    """An error of the server or the way to it as a `StoreError`; any other as it is, for it is a mistake in what was
    asked."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, TimeoutError):
        mend = "Look whether the server is busy or cut off; the next use connects again."
        return StoreError(shown, "it did not answer in time.", mend)
    state = _state(error)
    if state is not None:
        return _by_state(shown, state, error)
    if lost(error):
        return StoreError(shown, f"it cannot be reached ({type(error).__name__}: {error}).", "Start the server.")
    return error if isinstance(error, Exception) else RuntimeError(f"{shown}: {error!r}")


def _by_state(shown: str, state: str, error: BaseException) -> Exception:
    for prefix, message, mend in _BY_STATE:
        if state.startswith(prefix):
            return StoreError(shown, f"{message} ({state}: {error})", mend)
    if state.startswith(("22", "23")):  # a value or a row that cannot be: a mistake in what was asked
        return error if isinstance(error, Exception) else RuntimeError(str(error))
    return StoreError(shown, f"PostgreSQL refused ({state}: {error}).", "See PostgreSQL's error codes.")


def _state(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(error, _driver.PostgresError) and isinstance(state, str) else None
