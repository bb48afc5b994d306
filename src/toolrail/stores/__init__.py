"""Stores: in memory, in an SQLite file, in PostgreSQL. Opened by URL."""

from __future__ import annotations

from importlib.util import find_spec

from toolrail.errors import DefinitionError
from toolrail.store import Store
from toolrail.stores.memory import MemoryStore

_MEND = 'Use "sqlite:///rail.db" (relative), "sqlite:////var/lib/rail.db" (absolute) or "memory://".'


def open_store(url: str) -> Store:
    """The store that a URL names: `memory://`, `sqlite:///rail.db` (relative), `sqlite:////var/lib/rail.db` (absolute),
    `postgresql://user:password@host/database`.

    Raises:
        DefinitionError: TR303, no store has such a URL, or its driver is not installed.
    """
    scheme = url.partition("://")[0]
    if scheme == "memory":
        return MemoryStore()
    if scheme == "sqlite":
        from toolrail.stores.sqlite import SQLiteStore  # sqlite3 is loaded only by those who use it

        return SQLiteStore(sqlite_path(url))
    if scheme in ("postgresql", "postgres"):
        return _postgres(url)
    shown = url if "@" not in url else f"{scheme}://..."  # there may be a password before it
    raise DefinitionError("TR303", f"store={shown!r}", "no store has this URL.", _MEND)


def _postgres(url: str) -> Store:
    if find_spec("asyncpg") is None:
        mend = 'pip install "toolrail[postgres]"'
        raise DefinitionError("TR303", "store='postgresql://...'", "the package asyncpg is not installed.", mend)
    from toolrail.stores.postgres import PostgresStore  # asyncpg is loaded only by those who use it

    return PostgresStore(url)


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
