"""Reading a store from the command line: which file is meant, and which run."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import Any, overload

from toolrail.cli.problem import Problem
from toolrail.store import CallRow, CallsOf, ListRuns, LoadRun, RunRow
from toolrail.stores import sqlite_path
from toolrail.stores.failures import StoreError
from toolrail.stores.reading import StoreReader

VARIABLE = "TOOLRAIL_STORE"
DEFAULT = "sqlite:///rail.db"
SEARCHED = 10_000
"""How many of the newest runs are searched for a part of an id."""


def store_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--store`."""
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get(VARIABLE, DEFAULT),
        help=f"the store that the application writes, a URL or the path of its SQLite file; default: {VARIABLE} from "
        f"the environment, else {DEFAULT}",
    )


class Record:
    """A store's file, read only; its faults are `Problem`s.

    Raises:
        Problem: there is no such file, it is no store, or it cannot be read from outside.
    """

    def __init__(self, store: str) -> None:
        try:
            self._reader = StoreReader(_path(store))
        except StoreError as error:
            raise _problem(error) from error

    @overload
    def ask(self, op: LoadRun) -> RunRow | None: ...
    @overload
    def ask(self, op: ListRuns) -> tuple[RunRow, ...]: ...
    @overload
    def ask(self, op: CallsOf) -> tuple[CallRow, ...]: ...
    def ask(self, op: LoadRun | ListRuns | CallsOf) -> Any:
        """One question, answered."""
        try:
            return self._reader.ask(op)
        except StoreError as error:
            raise _problem(error) from error

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


def sqlite_of(store: str) -> str | None:
    """The path of the SQLite file that a URL or a path names; None for another kind of store."""
    if "://" not in store:
        return store
    return sqlite_path(store) if store.startswith("sqlite:") else None


def _path(store: str) -> str:
    path = sqlite_of(store)
    if path is not None:
        return path
    mend = "Name the SQLite file that the application's store= names."
    raise Problem(f"--store {store}", "only SQLite files can be read from outside.", mend, usage=True)


def _problem(error: StoreError) -> Problem:
    return Problem(error.path, error.message, error.mend)


def command(words: str, store: str) -> str:
    """A command to be typed as it stands, with the store where it is not the one that is looked for anyway."""
    known = os.environ.get(VARIABLE, DEFAULT)
    return f"toolrail {words}" if store == known else f"toolrail {words} --store {shlex.quote(store)}"
