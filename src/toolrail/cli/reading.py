"""Reading a store from the command line: which file is meant, and which run."""

from __future__ import annotations

import asyncio
from typing import Any, cast, overload

from toolrail.cli.places import command, masked, sqlite_of, without
from toolrail.cli.problem import Problem
from toolrail.store import CallRow, CallsOf, ListRuns, LoadRun, Op, OpenCalls, RunRow
from toolrail.stores import open_store
from toolrail.stores.failures import StoreError
from toolrail.stores.reading import StoreReader

SEARCHED = 10_000
"""How many of the newest runs are searched for a part of an id."""


class Record:
    """A store, only read; its faults are `Problem`s.

    Raises:
        Problem: there is no such file, it is no store, or it cannot be read from outside.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        try:
            self._reader = _reader(store)
        except StoreError as error:
            raise _problem(error, store) from error

    def close(self) -> None:
        """Gives back the connection, where it has one."""
        if isinstance(self._reader, _Server):
            self._reader.close()

    @overload
    def ask(self, op: LoadRun) -> RunRow | None: ...
    @overload
    def ask(self, op: ListRuns) -> tuple[RunRow, ...]: ...
    @overload
    def ask(self, op: CallsOf | OpenCalls) -> tuple[CallRow, ...]: ...
    def ask(self, op: LoadRun | ListRuns | CallsOf | OpenCalls) -> Any:
        """One question, answered."""
        try:
            return cast("Any", self._reader).ask(op)
        except StoreError as error:
            raise _problem(error, self._store) from error

    def find(self, text: str, *, tenant: str | None) -> RunRow:
        """The run with this id, or the only one whose id begins or ends so.

        Raises:
            Problem: there is none, or there are several.
        """
        exact = self.ask(LoadRun(tenant or "default", text))
        if exact is not None:
            return exact
        rows = self.ask(ListRuns(SEARCHED, tenant))
        found = [row for row in rows if _matches(row.run, text)]
        if len(found) == 1:
            return found[0]
        if not found:
            listing = f"`{command('tail --once', self._reader.path)}` shows the newest calls with their runs' ids."
            raise Problem(f"run {text}", f"no run in {self._reader.path} has this id.", listing)
        some = ", ".join(row.run for row in found[:3])
        raise Problem(f"run {text}", f"{len(found)} runs match: {some}{', ...' if len(found) > 3 else ''}.", _LONGER)


_LONGER = "Give more of the id, from its beginning or its end, or --tenant."


def _matches(run: str, text: str) -> bool:
    return bool(text) and (run.startswith((text, f"run_{text}")) or run.endswith(text))


class _Server:
    """A store on a server, asked from one thread that has no loop of its own."""

    def __init__(self, url: str) -> None:
        self.path = masked(url)
        self._runner = asyncio.Runner()
        self._store = open_store(url)

    def ask(self, op: Op) -> Any:
        async def asked() -> Any:
            return (await self._store.apply(op))[0]

        return self._runner.run(asked())

    def close(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()


def _reader(store: str) -> StoreReader | _Server:
    path = sqlite_of(store)
    if path is not None:
        return StoreReader(path)
    if store.startswith(("postgres:", "postgresql:")):
        return _Server(store)
    mend = "Name the SQLite file, or the PostgreSQL database, that the application's store= names."
    where = f"--store {masked(store)}"
    raise Problem(where, "only SQLite files and PostgreSQL can be read from outside.", mend, usage=True)


def _problem(error: StoreError, store: str) -> Problem:
    return Problem(without(error.path, store), without(error.message, store), without(error.mend, store))
