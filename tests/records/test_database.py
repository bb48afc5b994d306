"""Where telemetry lies: one port over two databases, and clear errors for what is wrong with them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises import promise
from toolrail.records import schema
from toolrail.records.database import Database, RecordsError, connect, records_url
from toolrail.store import ListRuns
from toolrail.stores.sqlite import SQLiteStore

PUT = "INSERT INTO meta (name, value) VALUES (?, ?)"
MANY = "SELECT name, value FROM meta WHERE name <> 'version' ORDER BY name"
OPEN_AND_PUT = """
import sys
from toolrail.records.database import connect
db = connect(sys.argv[1])
for number in range(50):
    with db.transaction():
        db.execute("INSERT INTO meta (name, value) VALUES (?, '1')", (f"{sys.argv[2]}-{number}",))
db.close()
"""


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rail.records.db'}"


# Both databases


def test_rows_come_back_as_they_were_written(records_place: str) -> None:
    db = connect(records_place)
    try:
        db.executemany(PUT, [("a", "1"), ("b?", "it's '?'")])
        assert db.select(MANY) == [("a", "1"), ("b?", "it's '?'")]
        assert db.select("SELECT value FROM meta WHERE name = 'b?' AND value <> ?", ("x",)) == [("it's '?'",)]
        assert db.select("SELECT coalesce(sum(value), 7), count(*) FROM (SELECT calls AS value FROM runs) AS t") == [
            (7, 0)
        ]
        assert db.size() > 0
    finally:
        db.close()


def test_text_that_no_database_holds_is_written_with_a_mark_in_its_place(records_place: str) -> None:
    db = connect(records_place)
    try:
        with db.transaction():
            db.executemany(PUT, [("first", "1"), ("half", "a\ud800b")])
            db.execute(PUT, ("other", "c\udfffd"))
        assert db.select(MANY) == [("first", "1"), ("half", "a\ufffdb"), ("other", "c\ufffdd")]
    finally:
        db.close()


def test_what_fails_in_the_middle_of_a_transaction_leaves_nothing(records_place: str) -> None:
    db = connect(records_place)
    try:
        with pytest.raises(ZeroDivisionError):
            _half_done(db)
        assert db.select(MANY) == []
        with db.transaction():
            db.execute(PUT, ("b", "1"))
        assert db.select(MANY) == [("b", "1")]
    finally:
        db.close()


def _half_done(db: Database) -> None:
    with db.transaction():
        db.execute(PUT, ("a", "1"))
        raise ZeroDivisionError


def test_a_reader_sees_what_was_committed_and_one_state_within_a_transaction(records_place: str) -> None:
    writer = connect(records_place)
    reader = connect(records_place, readonly=True)
    try:
        with writer.transaction():
            writer.execute(PUT, ("a", "1"))
            assert reader.select(MANY) == []
        with reader.transaction():
            assert reader.select(MANY) == [("a", "1")]
            writer.execute(PUT, ("b", "2"))
            assert reader.select(MANY) == [("a", "1")]
        assert reader.select(MANY) == [("a", "1"), ("b", "2")]
        with pytest.raises(RecordsError, match="may not be written"):
            reader.execute(PUT, ("c", "3"))
    finally:
        reader.close()
        writer.close()


def test_a_reader_makes_nothing_where_nothing_is(records_place: str) -> None:
    with pytest.raises(RecordsError, match="Mend: "):
        connect(records_place, readonly=True)
    if records_place.startswith("sqlite"):
        assert not path_of(records_place).exists()


def test_a_newer_version_is_refused_and_an_unreadable_one_too(records_place: str) -> None:
    db = connect(records_place)
    for version, text in (("99", "newer toolrail wrote it"), ("soon", "cannot be read")):
        db.execute("UPDATE meta SET value = ? WHERE name = 'version'", (version,))
        for readonly in (False, True):
            with pytest.raises(RecordsError, match=text):
                connect(records_place, readonly=readonly)
    db.close()


def test_an_older_version_is_brought_forward_with_its_rows(records_place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    db = connect(records_place)
    db.execute(PUT, ("kept", "1"))
    db.close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("ALTER TABLE runs ADD COLUMN mood TEXT",)))
    with pytest.raises(RecordsError, match="older toolrail"):
        connect(records_place, readonly=True)
    db = connect(records_place)
    try:
        assert db.select("SELECT mood FROM runs") == []
        assert db.select(MANY) == [("kept", "1")]
    finally:
        db.close()


def test_many_processes_that_open_a_new_place_at_once_all_write(records_place: str) -> None:
    command = [sys.executable, "-c", OPEN_AND_PUT, records_place]
    started = [subprocess.Popen([*command, str(number)]) for number in range(4)]
    assert [one.wait() for one in started] == [0, 0, 0, 0]
    db = connect(records_place, readonly=True)
    assert len(db.select(MANY)) == 200
    db.close()


def test_it_can_be_read_where_an_event_loop_runs(records_place: str) -> None:
    async def read(db: Database) -> int:
        return len(db.select(MANY))

    db = connect(records_place)
    try:
        db.execute(PUT, ("a", "1"))
        assert asyncio.run(read(db)) == 1
    finally:
        db.close()


def test_room_is_given_back_after_rows_were_deleted(records_place: str) -> None:
    db = connect(records_place)
    try:
        db.executemany(PUT, [(f"{number:06}", "x" * 500) for number in range(4_000)])
        db.tidy()
        before = db.size()
        db.execute("DELETE FROM meta WHERE name <> 'version'")
        db.tidy()
        assert db.size() < before / 4
        db.close()
        if records_place.startswith("sqlite"):
            assert path_of(records_place).stat().st_size < before / 4
    finally:
        db.close()


# A file


def test_a_file_that_is_damaged_is_told_with_a_mend(file_url: str) -> None:
    db = connect(file_url)
    db.executemany(PUT, [(f"{number:06}", "x" * 500) for number in range(1_000)])
    db.close()
    with path_of(file_url).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path_of(file_url).stat().st_size - 4096))
    with pytest.raises(RecordsError) as told:
        connect(file_url, readonly=True).select(MANY)
    assert "damaged" in told.value.message
    assert "Move it away" in told.value.mend


@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_that_is_none_of_ours_is_left_as_it_is(tmp_path: Path, readonly: bool) -> None:
    text, other, store = tmp_path / "text.db", tmp_path / "other.db", tmp_path / "rail.db"
    text.write_bytes(b"no database " * 500)
    made = sqlite3.connect(other)
    made.execute("CREATE TABLE runs (distance REAL)")
    made.commit()
    made.close()
    asyncio.run(_used(store))
    for path in (text, other, store):
        before = path.read_bytes()
        with pytest.raises(RecordsError, match="of its own"):
            connect(f"sqlite:///{path}", readonly=readonly)
        assert path.read_bytes() == before


async def _used(path: Path) -> None:
    store = SQLiteStore(str(path))
    await store.apply(ListRuns())
    await store.close()


def test_a_file_that_another_keeps_locked_is_told(file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolrail.records.sqlite_database.BUSY_SECONDS", 0.05)
    connect(file_url).close()
    other = sqlite3.connect(path_of(file_url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    db = connect(file_url)
    try:
        with pytest.raises(RecordsError, match="another process has been writing"), db.transaction():
            pass
        assert db.select(MANY) == []
    finally:
        other.close()
        db.close()


def test_a_file_that_was_moved_away_is_begun_anew(file_url: str) -> None:
    db = connect(file_url)
    reader = connect(file_url, readonly=True)
    try:
        db.execute(PUT, ("a", "1"))
        for name in os.listdir(path_of(file_url).parent):
            path = path_of(file_url).with_name(name)
            path.rename(path.with_name(f"old-{name}"))
        with pytest.raises(RecordsError, match="no such file"):
            reader.select(MANY)
        with db.transaction():
            db.execute(PUT, ("b", "2"))
        assert db.select(MANY) == reader.select(MANY) == [("b", "2")]
    finally:
        reader.close()
        db.close()


def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    for place, text in ((tmp_path, "this is a directory"), (tmp_path / "none" / "a.db", "does not exist")):
        with pytest.raises(RecordsError, match=text):
            connect(f"sqlite:///{place}")


def test_a_path_with_signs_of_urls_in_it_is_taken_literally(tmp_path: Path) -> None:
    (tmp_path / "50% #1").mkdir()
    url = f"sqlite:///{tmp_path / '50% #1' / 'a&b.db'}"
    connect(url).close()
    connect(url, readonly=True).close()
    assert (tmp_path / "50% #1" / "a&b.db").exists()


# URLs


@pytest.mark.parametrize(
    ("store", "records"),
    [
        ("sqlite:///rail.db", "sqlite:///rail.records.db"),
        ("sqlite:////var/lib/rail.sqlite3", "sqlite:////var/lib/rail.records.sqlite3"),
        ("sqlite:///data/rail", "sqlite:///data/rail.records"),
        ("postgresql://rail:secret@host/app?schema=a", "postgresql://rail:secret@host/app?schema=a"),
        ("memory://", None),
        ("sqlite:///", None),
    ],
)
def test_telemetry_lies_beside_its_store(store: str, records: str | None) -> None:
    assert records_url(store) == records


@promise("see:record")
@pytest.mark.parametrize(
    "url",
    [
        "mysql://rail:hunter2@host/app",
        "sqlite:rail.db",
        "sqlite:///",
        "postgresql://rail:hunter2@127.0.0.1:1/app",
        "postgresql://rail:hunter2@127.0.0.1:none/app",
        "postgresql://rail:hunter2@127.0.0.1/app?schema=No",
        f"postgresql://rail:hunter2@127.0.0.1/app?schema={'s' * 60}",
    ],
)
def test_a_url_that_leads_nowhere_is_told_without_its_password(url: str) -> None:
    with pytest.raises(RecordsError) as told:
        connect(url, readonly=True)
    assert "hunter2" not in f"{told.value} {told.value.where} {told.value.message} {told.value.mend}"
