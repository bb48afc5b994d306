"""The file of an SQLite store: made late, kept well, and refused with reasons."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.stores.places import call, run
from tests.stores.steps import claim, find
from toolrail.store import (
    CallsOf,
    Claimed,
    FindApproval,
    FindCall,
    Forget,
    Held,
    ListApprovals,
    ListRuns,
    LoadRun,
    Op,
    OpenCalls,
    SaveRun,
    Settle,
    Store,
    ask,
    bucket_of,
)
from toolrail.stores.failures import StoreError
from toolrail.stores.reading import StoreReader
from toolrail.stores.schema import MIGRATIONS, TABLES
from toolrail.stores.sqlite import SQLiteStore
from toolrail.stores.sqlite_file import connect
from toolrail.stores.statements import perform


async def saved(store: Store, *names: str) -> None:
    await store.apply(*(SaveRun(run(name)) for name in names))


async def made(path: Path, *names: str) -> None:
    store = SQLiteStore(path)
    await saved(store, *names)
    await store.close()


def sql(path: Path, *statements: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db, db:
        return [db.execute(statement).fetchall() for statement in statements][-1]


def test_nothing_is_made_before_the_first_use(path: Path) -> None:
    async def body() -> None:
        await SQLiteStore(path).close()

    asyncio.run(body())
    assert os.listdir(path.parent) == []


def test_a_closed_store_leaves_one_file(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    assert os.listdir(path.parent) == ["rail.db"]


def test_rows_are_there_when_the_file_is_opened_again(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    store = SQLiteStore(path)

    async def body() -> Any:
        try:
            return await ask(store, LoadRun("acme", "r1"))
        finally:
            await store.close()

    assert asyncio.run(body()) == run()


def test_a_closed_store_opens_itself_again(path: Path) -> None:
    async def body() -> Any:
        store = SQLiteStore(path)
        await saved(store, "r1")
        await store.close()
        await store.close()
        await saved(store, "r2")
        rows = await ask(store, ListRuns())
        await store.close()
        return rows

    assert len(asyncio.run(body())) == 2


def test_one_store_serves_two_event_loops_in_turn(path: Path) -> None:
    store = SQLiteStore(path)
    asyncio.run(saved(store, "r1"))
    assert asyncio.run(ask(store, LoadRun("acme", "r1"))) == run()
    asyncio.run(store.close())


def test_a_relative_path_stays_where_it_was_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    store = SQLiteStore("rail.db")
    (path.parent / "elsewhere").mkdir()
    monkeypatch.chdir(path.parent / "elsewhere")
    asyncio.run(saved(store, "r1"))
    asyncio.run(store.close())
    assert path.exists()


def test_the_journal_is_a_wal_and_each_commit_waits_for_the_disk(path: Path) -> None:
    seen: list[Any] = []

    class Spying(sqlite3.Connection):
        def close(self) -> None:
            seen.append([self.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")])
            super().close()

    real = sqlite3.connect

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        return real(*args, factory=Spying, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        asyncio.run(made(path, "r1"))
    assert seen == [["wal", 2]]


@pytest.mark.parametrize("table", ["calls", "runs", "sessions", "leases", "approvals", "results", "counters"])
def test_every_table_has_a_tenant_in_its_key(path: Path, table: str) -> None:
    asyncio.run(made(path, "r1"))
    keys = [name for _, name, _, _, _, position in sql(path, f"PRAGMA table_info({table})") if position]
    assert keys[0] == "tenant"


@pytest.mark.parametrize("table", ["calls", "runs", "approvals", "results"])
def test_rows_of_a_run_have_a_bucket(path: Path, table: str) -> None:
    asyncio.run(made(path, "r1"))
    assert "bucket" in [column[1] for column in sql(path, f"PRAGMA table_info({table})")]


def test_the_bucket_is_that_of_the_run(path: Path) -> None:
    async def body() -> None:
        store = SQLiteStore(path)
        await store.apply(claim(call()), SaveRun(run()))
        await store.close()

    asyncio.run(body())
    expected = [(bucket_of("acme", "r1"),)]
    assert sql(path, "SELECT bucket FROM calls") == sql(path, "SELECT bucket FROM runs") == expected


def _text(path: Path) -> None:
    path.write_text("dear diary, this is no database" * 100)


def _foreign(path: Path) -> None:
    sql(path, "CREATE TABLE Runs (id)", "CREATE TABLE invoices (id)", "CREATE VIEW leases AS SELECT id FROM invoices")


def _future(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    sql(path, "UPDATE toolrail_schema SET version = 99")


def _no_version(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    sql(path, "DELETE FROM toolrail_schema")


def _cut_off(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    path.write_bytes(path.read_bytes()[:9000])


def _scribbled(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def _no_table(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    sql(path, "DROP TABLE runs")


def _directory(path: Path) -> None:
    path.mkdir()


BROKEN = [
    (_text, "not an SQLite database.*Mend: Give the store a path of its own"),
    (
        _foreign,
        "table has a name that the store needs: runs, leases.*Mend: Rename that table, or give the store a path",
    ),
    (_future, r"a newer toolrail wrote it \(schema 99; this one knows 2\).*Mend: Upgrade toolrail"),
    (_no_version, "its schema version cannot be read.*Mend: Restore"),
    (_cut_off, "the file is damaged.*Mend: Restore it from a backup"),
    (_scribbled, "the file is damaged.*Mend: Restore it from a backup"),
    (_no_table, "a table of the store is missing.*Mend: Restore"),
    (_directory, "this is a directory.*Mend: Name a file in it"),
]


@pytest.mark.parametrize(("broken", "text"), BROKEN, ids=[row[0].__name__[1:] for row in BROKEN])
def test_a_file_that_is_no_store_is_named_with_reason_and_mend(
    path: Path, broken: Callable[[Path], None], text: str
) -> None:
    broken(path)
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match=f"^{re.escape(str(path))}: .*{text}"):
        asyncio.run(saved(store, "r2"))
    asyncio.run(store.close())
    with pytest.raises(StoreError, match=f"^{re.escape(str(path))}: .*{text}"):
        StoreReader(path).ask(ListRuns())


@pytest.mark.parametrize("broken", [_text, _foreign, _future], ids=lambda broken: broken.__name__[1:])
def test_a_file_that_is_refused_is_not_touched(path: Path, broken: Callable[[Path], None]) -> None:
    broken(path)
    before = path.read_bytes()
    store = SQLiteStore(path)
    with pytest.raises(StoreError):
        asyncio.run(saved(store, "r2"))
    asyncio.run(store.close())
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["rail.db"]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "no" / "rail.db")
    with pytest.raises(StoreError, match=r"its directory .*no does not exist\. Mend: Make the directory first"):
        asyncio.run(saved(store, "r1"))
    asyncio.run(store.close())
    assert os.listdir(tmp_path) == []


def test_a_store_works_once_its_file_is_mended(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "data" / "rail.db")
    with pytest.raises(StoreError):
        asyncio.run(saved(store, "r1"))
    (tmp_path / "data").mkdir()
    asyncio.run(saved(store, "r1"))
    asyncio.run(store.close())
    assert StoreReader(tmp_path / "data" / "rail.db").ask(ListRuns()) == (run(),)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    asyncio.run(made(path, "r1"))
    assert StoreReader(path).ask(ListRuns()) == (run(),)


def test_tables_of_others_that_were_there_first_stay_as_they_are(path: Path) -> None:
    sql(path, "CREATE TABLE invoices (id INTEGER PRIMARY KEY AUTOINCREMENT)", "INSERT INTO invoices VALUES (7)")
    with pytest.raises(StoreError, match="it holds no store yet"):
        StoreReader(path)
    asyncio.run(made(path, "r1"))
    assert sql(path, "SELECT id FROM invoices") == [(7,)]
    assert StoreReader(path).ask(ListRuns()) == (run(),)


def test_the_names_that_must_be_free_are_those_of_the_stores_tables(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    assert {name for (name,) in sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'")} == set(TABLES)


def test_a_tools_own_tables_may_stand_in_the_file(path: Path) -> None:
    asyncio.run(made(path, "r1"))
    sql(path, "CREATE TABLE invoices (id)", "PRAGMA user_version = 7", "PRAGMA application_id = 7")
    asyncio.run(made(path, "r2"))
    assert len(StoreReader(path).ask(ListRuns())) == 2


def _moved(path: Path) -> None:
    path.rename(f"{path}.old")


@pytest.mark.parametrize("vanish", [Path.unlink, _moved], ids=["removed", "moved"])
def test_a_file_that_vanishes_in_use_is_not_begun_anew(path: Path, vanish: Callable[[Path], None]) -> None:
    async def body() -> None:
        store = SQLiteStore(path)
        await store.apply(claim(call(effect_key="k")))
        vanish(path)
        for _ in range(2):
            with pytest.raises(StoreError, match="it was removed or replaced while in use"):
                await store.apply(claim(call("r2:d:0", run="r2", effect_key="k")))
        await store.close()

    asyncio.run(body())
    assert not path.exists()


def test_a_file_that_another_keeps_locked_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolrail.stores.sqlite_file.BUSY_SECONDS", 0.05)
    asyncio.run(made(path, "r1"))

    async def body(other: sqlite3.Connection) -> Any:
        store = SQLiteStore(path)
        other.execute("BEGIN IMMEDIATE")
        assert await ask(store, CallsOf("acme", "r1")) == (), "who only reads need not wait"
        with pytest.raises(StoreError, match="another process has been writing to it for too long"):
            await store.apply(claim(call()))
        other.execute("COMMIT")
        answer = await ask(store, claim(call()))
        await store.close()
        return answer

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert asyncio.run(body(other)) == Claimed()


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(made(path, "r1"))
    bad = (*MIGRATIONS, ("CREATE TABLE more (x)", "CREATE TABLE runs (x)"))
    with monkeypatch.context() as patch:
        patch.setattr("toolrail.stores.schema.MIGRATIONS", bad)
        store = SQLiteStore(path)
        with pytest.raises(StoreError, match="table runs already exists"):
            asyncio.run(saved(store, "r2"))
        asyncio.run(store.close())
    assert StoreReader(path).ask(ListRuns()) == (run(),)
    assert sql(path, "SELECT name FROM sqlite_master WHERE name = 'more'") == []


def test_an_older_file_is_migrated_and_keeps_its_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(made(path, "r1"))
    more = (*MIGRATIONS, ("ALTER TABLE leases ADD COLUMN note TEXT",), ("CREATE TABLE more (x)",))
    monkeypatch.setattr("toolrail.stores.schema.MIGRATIONS", more)
    monkeypatch.setattr("toolrail.stores.reading.MIGRATIONS", more)
    with pytest.raises(StoreError, match=r"an older toolrail wrote it \(schema 2\)"):
        StoreReader(path)
    asyncio.run(made(path, "r2"))
    assert sql(path, "SELECT version FROM toolrail_schema") == [(4,)]
    assert len(StoreReader(path).ask(ListRuns())) == 2


V1_CALL = {
    "tenant": "acme",
    "bucket": 1,
    "run": "r1",
    "call_key": "r1:d:0",
    "turn": 1,
    "call_index": 0,
    "call_id": "call_1",
    "tool": "pay",
    "digest": "d1",
    "principal": "ann",
    "effect": "once",
    "state": "started",
    "effect_key": "k",
    "holds_key": 1,
    "trust": "untrusted",
    "flags": "[]",
    "attempts": 0,
    "argument_bytes": 0,
    "result_bytes": 0,
    "seconds": 0.0,
    "created": 100.0,
    "updated": 100.0,
    "lease_until": 140.0,
}


@pytest.fixture
def first_version(path: Path) -> Path:
    """A file as the first version of the schema left it, with a call that was never settled, and one that is done."""
    insert = f"INSERT INTO calls ({', '.join(V1_CALL)}) VALUES ({', '.join('?' * len(V1_CALL))})"
    done = {**V1_CALL, "call_key": "r1:d:1", "call_index": 1, "state": "done", "effect_key": "k2", "content": "paid"}
    with closing(sqlite3.connect(path)) as db, db:
        for statement in (*MIGRATIONS[0], "UPDATE toolrail_schema SET version = 1"):
            db.execute(statement)
        db.execute(insert, tuple(V1_CALL.values()))
        db.execute(f"INSERT INTO calls ({', '.join(done)}) VALUES ({', '.join('?' * len(done))})", tuple(done.values()))
    return path


def test_a_file_of_the_first_version_is_migrated_and_its_calls_count(first_version: Path) -> None:
    held, done = call(effect_key="k"), call("r1:d:1", index=1, state="done", effect_key="k2", content="paid")

    async def body() -> list[Any]:
        store = SQLiteStore(first_version)
        answers = await store.apply(
            CallsOf("acme", "r1"),
            claim(call("r2:d:0", run="r2", effect_key="k")),
            claim(call("r2:d:1", run="r2", effect_key="k2")),
            claim(call("r2:d:0", run="r2", effect_key="k"), over="r1:d:0", now=200.0),
            OpenCalls(),
        )
        await store.close()
        return answers

    repeat = call("r2:d:0", run="r2", effect_key="k", repeats="r1:d:0")
    assert asyncio.run(body()) == [(held, done), Held(held), Held(done), Claimed(), (repeat,)]


def test_a_file_of_the_first_version_is_not_read_before_it_is_migrated(first_version: Path) -> None:
    with pytest.raises(StoreError, match=r"an older toolrail wrote it \(schema 1\)"):
        StoreReader(first_version)


INDEXED = {
    "the row of a call": FindCall("acme", "c"),
    "a call in whatever tenant": FindCall(None, "c"),
    "an effect by its key": find("k"),
    "an unknown outcome by its open key": find(open_key="o"),
    "a claim": claim(call(effect_key="k", open_key="o")),
    "a takeover": claim(call(effect_key="k", open_key="o"), over="x"),
    "an approved claim": claim(call(effect_key="k"), approval="a1"),
    "a settlement": Settle(call(effect_key="k", state="done")),
    "the calls of a run": CallsOf("acme", "r1"),
    "open calls": OpenCalls(),
    "a forgotten run": Forget("acme", "r1"),
    "a question": FindApproval("acme", "a1"),
    "a question in whatever tenant": FindApproval(None, "a1"),
    "open questions": ListApprovals(),
    "the questions of a run": ListApprovals("acme", "r1"),
    "the newest runs": ListRuns(),
    "the newest runs of a tenant": ListRuns(tenant="acme"),
}


@pytest.mark.parametrize("op", INDEXED.values(), ids=INDEXED)
def test_no_operation_looks_at_all_rows(path: Path, op: Op) -> None:
    asked: list[str] = []
    with closing(connect(str(path))) as db:
        db.set_trace_callback(asked.append)
        perform(db, op)
        db.set_trace_callback(None)
        plans = [row[3] for text in asked for row in db.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert [plan for plan in plans if plan.startswith("SCAN") and " USING INDEX " not in plan] == []
