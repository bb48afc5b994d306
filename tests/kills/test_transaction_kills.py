"""Processes pay through `ctx.transaction()` and are killed at random: their own table and the ledger always agree."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kills.committers import INVOICES, PROCESSES, TABLE
from tests.kills.races import open_calls
from tests.promises import promise
from tests.servers import database, execute, postgres_server
from toolrail.rail import Rail
from toolrail.stores.sqlite_file import connect

Rows = list[tuple[object, ...]]
Query = Callable[[str], Rows]
DONE = "SELECT call_key FROM {schema}calls WHERE state = 'done' AND attempts > 0 ORDER BY call_key"
"""Calls that were answered with an earlier result were not attempted."""
PAID = "SELECT call_key FROM payments ORDER BY call_key"
INVOICE = "SELECT invoice FROM payments ORDER BY invoice"


def payers(url: str, *, hours: int, seed: int, deadly: str = "") -> list[str]:
    """Runs them; how each of those was answered that lived."""
    command = [sys.executable, "-m", "tests.kills.committers", url, str(hours), str(seed), deadly]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def check_agreement(url: str, seed: int, query: Query, *, schema: str = "") -> None:
    """Rounds in which some die, and an hour later one in which nobody does."""
    for hour in range(2):
        payers(url, hours=hour, seed=10 * seed + hour, deadly="some")
        assert query(PAID) == query(DONE.format(schema=schema))
    answers = payers(url, hours=2, seed=seed)
    assert answers == [" ".join(["ok"] * INVOICES)] * PROCESSES
    assert query(PAID) == query(DONE.format(schema=schema))
    assert query(INVOICE) == [(str(number),) for number in range(INVOICES)]
    assert open_calls(url) == ()


@promise("effect:transaction", "effect:once")
@pytest.mark.parametrize("seed", range(2))
def test_whoever_dies_the_tools_own_table_in_the_file_agrees_with_the_ledger(seed: int, tmp_path: Path) -> None:
    path = str(tmp_path / "rail.db")

    def query(text: str) -> Rows:
        db = connect(path)
        try:
            return [tuple(row) for row in db.execute(text)]
        finally:
            db.close()

    query(TABLE)
    check_agreement(f"sqlite:///{path}", seed, query)


@pytest.fixture(scope="module")
def postgres_place() -> Iterator[str]:
    """A database of these tests' own, on a real server."""
    with postgres_server() as server, database(server, f"toolrail_commits_{os.getpid()}") as url:
        yield url


@promise("effect:transaction", "effect:once")
@pytest.mark.services
@pytest.mark.parametrize("seed", range(2))
def test_whoever_dies_the_tools_own_table_in_postgres_agrees_with_the_ledger(seed: int, postgres_place: str) -> None:
    def query(text: str) -> Rows:
        return asyncio.run(execute(postgres_place, text))

    query("DROP TABLE IF EXISTS payments")
    query(TABLE)
    schema = f"s{seed}"
    url = f"{postgres_place}{'&' if '?' in postgres_place else '?'}schema={schema}"
    check_agreement(url, seed, query, schema=f"{schema}.")


@promise("effect:unknown", "effect:transaction")
def test_what_a_dead_process_had_not_committed_is_settled_by_a_reconciler_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    db = connect(str(tmp_path / "rail.db"))
    db.execute(TABLE)
    db.close()
    payers(url, hours=-1, seed=1, deadly="all")
    left = len(open_calls(url))
    assert left > 0

    async def main() -> int:
        async with Rail[object]((), store=url, sinks=()) as rail:
            return (await rail.reconcile()).settled

    assert asyncio.run(main()) == left
    assert open_calls(url) == ()
