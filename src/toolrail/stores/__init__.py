"""Stores: in memory, in an SQLite file. Opened by URL."""

from __future__ import annotations

from toolrail.errors import DefinitionError
from toolrail.store import Store
from toolrail.stores.memory import MemoryStore

_MEND = 'Use "sqlite:///rail.db" (relative), "sqlite:////var/lib/rail.db" (absolute) or "memory://".'


def open_store(url: str) -> Store:
    """The store that a URL names: `memory://`, `sqlite:///rail.db` (relative), `sqlite:////var/lib/rail.db` (absolute).

    Raises:
        DefinitionError: TR303, no store has such a URL.
    """
    scheme = url.partition("://")[0]
    if scheme == "memory":
        return MemoryStore()
    if scheme == "sqlite":
        from toolrail.stores.sqlite import SQLiteStore  # sqlite3 is loaded only by those who use it

        return SQLiteStore(sqlite_path(url))
    raise DefinitionError("TR303", f"store={url!r}", "no store has this URL.", _MEND)


def sqlite_path(url: str) -> str:
    """The path in an SQLite URL, which is taken literally: three slashes before a relative path, four before the root.

    Raises:
        DefinitionError: TR303, it names no file.
    """
    path = url.removeprefix("sqlite:///")
    where = f"store={url!r}"
    if path == url:
        raise DefinitionError("TR303", where, "an SQLite URL has three slashes before its path.", _MEND)
    if path in ("", ":memory:") or path.endswith("/"):
        raise DefinitionError("TR303", where, "it names no file.", _MEND)
    if "?" in path:
        raise DefinitionError("TR303", where, "an SQLite store has no options.", _MEND)
    return path
