"""The ledger as the command line sees it: any store by its URL, and its calls by a part of their id."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any, Literal, cast

from toolrail.cli.places import command, sqlite_of
from toolrail.cli.problem import Problem
from toolrail.cli.reading import Record
from toolrail.errors import RunBusy, RunError, ToolError
from toolrail.rail import Rail
from toolrail.records.database import RecordsError
from toolrail.records.reading import Records
from toolrail.records.recorder import Recorder
from toolrail.settling import settle_call
from toolrail.store import CallRow, CallsOf, FindCall, ListRuns, Op, OpenCalls, RunRow
from toolrail.stores import open_store
from toolrail.stores.failures import StoreError
from toolrail.stores.reading import StoreReader

SEARCHED = 10_000
"""How many of the oldest open calls are searched for a part of an id."""


class Ledger:
    """The calls of a store. An SQLite file is only read, until something is settled; then the record, where there is
    one, is told as well: a dashboard and alerts must not go on waiting.

    Args:
        store: a URL, or the path of an SQLite file.
        records: the record's URL, where it may be.

    Raises:
        Problem: the store cannot be read.
    """

    def __init__(self, store: str, records: str | None) -> None:
        self._named = store
        self._records = records
        self.url = store if "://" in store else f"sqlite:///{store}"
        self.path = sqlite_of(store)
        if self.path is not None:
            Record(store)  # says so when there is no such file, and makes none

    def open_calls(self, tenant: str | None) -> tuple[CallRow, ...]:
        """The oldest first."""
        return self._ask(OpenCalls(tenant, SEARCHED))

    def find(self, text: str, *, tenant: str | None) -> CallRow:
        """The call with this key, or the only one whose key begins or ends so: among the open ones, else among those of
        the newest runs.

        Raises:
            Problem: there is none, or there are several.
        """
        exact: CallRow | None = self._ask(FindCall(tenant, text))
        if exact is not None:
            return exact
        found = [row for row in self.open_calls(tenant) if _matches(row.key, text)] or self._settled(text, tenant)
        if len(found) == 1:
            return found[0]
        if not found:
            listing = command("effects list", self._named)
            mend = f"`{listing}` shows the open ones; a settled one of an old run is found by its whole key."
            raise Problem(f"call {text}", "no open call has this id, and none of the newest runs.", mend)
        some = ", ".join(row.key for row in found[:3])
        raise Problem(f"call {text}", f"{len(found)} calls match: {some}{', ...' if len(found) > 3 else ''}.", _LONGER)

    def _settled(self, text: str, tenant: str | None) -> list[CallRow]:
        """Calls of the newest runs, whose keys begin with their run's id."""
        runs: tuple[RunRow, ...] = self._ask(ListRuns(SEARCHED, tenant))
        of = [self._ask(CallsOf(run.tenant, run.run)) for run in runs if _may_have(run.run, text)]
        return [row for rows in of for row in rows if _matches(row.key, text)]

    def settle(self, row: CallRow, *, value: Any, error: ToolError | None, flags: tuple[str, ...]) -> bool:
        """Says how a call ended. False: it was settled meanwhile.

        Raises:
            Problem: it runs, or has not begun.
        """
        rail = Rail[object]((), store=self.url, sinks=(), records=recorder_of(self._records))
        try:
            return asyncio.run(settle_by_hand(rail, row, value=value, error=error, flags=flags))
        except RunBusy as running:
            mend = f"Wait for it, at most until its lease has lapsed; `{self._show(row)}` tells when that is."
            raise Problem(f"call {row.key}", "its handler may still be at work.", mend) from running
        except RunError as other:
            raise Problem(f"call {row.key}", str(other), f"`{self._show(row)}` tells how it stands.") from other
        except StoreError as failed:
            raise Problem(failed.path, failed.message, failed.mend) from failed

    def _show(self, row: CallRow) -> str:
        return command(f"effects show {shlex.quote(row.key)}", self._named)

    def _ask(self, op: Op) -> Any:
        try:
            if self.path is None:
                return asyncio.run(_asked(self.url, op))
            return cast("Any", StoreReader(self.path)).ask(op)
        except StoreError as error:
            raise Problem(error.path, error.message, error.mend) from error


_LONGER = "Give more of the id, from its beginning or its end, or --tenant."


async def _asked(url: str, op: Op) -> Any:
    store = open_store(url)
    try:
        return (await store.apply(op))[0]
    finally:
        await store.close()


async def settle_by_hand(
    rail: Rail[object], row: CallRow, *, value: Any, error: ToolError | None, flags: tuple[str, ...]
) -> bool:
    """Settles it as an application would, though without its tools."""
    async with rail:
        return await settle_call(rail.ports, None, row.key, value=value, error=error, tenant=row.tenant, flags=flags)


def recorder_of(url: str | None) -> Recorder | Literal[False]:
    """What writes a record that is there. Alerts are for the application to look at."""
    if url is None:
        return False
    try:
        with Records(url):
            return Recorder(url, alerts=False)
    except RecordsError:
        return False


def _may_have(run: str, text: str) -> bool:
    """Whether a call's key may begin or end so, where it is this run's id, a colon and the call's place."""
    heads = [text[:at] for at, sign in enumerate(text) if sign == ":" and at]
    return bool(text) and (run.startswith((text, f"run_{text}")) or any(run.endswith(head) for head in heads))


def _matches(key: str, text: str) -> bool:
    return bool(text) and (key.startswith((text, f"run_{text}")) or key.endswith(text))
