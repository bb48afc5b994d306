"""The recorder: cheap for the caller, and nothing that happens to its file blocks or breaks a run."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.records.recording import batches, calls_of, fail, find, rows, url_of
from toolrail import Rail
from toolrail.errors import DefinitionError
from toolrail.events import BudgetNear, Event, Head
from toolrail.records import recorder as module
from toolrail.records.recorder import QUEUE, Recorder

HEAD = Head(1, 1_000.0, 1.0, "default", None, "run_1", 1, "ann")


def written(recorder: Recorder) -> None:
    """Returns when all is written, however often it has to be tried."""
    for _ in range(20):
        if recorder.flush(30.0):
            return
    raise AssertionError("It could not be written.")


def _damaged(path: Path) -> Callable[[], None]:
    path.write_bytes(b"no database at all, but long enough to look at" * 100)
    return path.unlink


def _newer(path: Path) -> Callable[[], None]:
    asyncio.run(batches(f"sqlite:///{path}", calls_of("find", 1)))
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    db.commit()
    db.close()

    def mend() -> None:
        for one in path.parent.glob(f"{path.name}*"):
            one.unlink()

    return mend


def _a_directory(path: Path) -> Callable[[], None]:
    path.mkdir()
    return path.rmdir


def _locked(path: Path) -> Callable[[], None]:
    asyncio.run(batches(f"sqlite:///{path}", ()))
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")

    def mend() -> None:
        db.execute("ROLLBACK")
        db.close()

    return mend


@promise("see:cost-of-seeing/harmless")
@pytest.mark.parametrize("harm", [_damaged, _newer, _a_directory, _locked])
def test_a_file_that_cannot_be_written_breaks_no_run_is_told_of_once_and_loses_nothing_while_there_is_room(
    harm: Callable[[Path], Callable[[], None]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toolrail.records.sqlite_database.BUSY_SECONDS", 0.05)
    path = tmp_path / "rail.records.db"
    mend = harm(path)
    recorder = Recorder(f"sqlite:///{path}")

    async def run() -> list[str]:
        rail = Rail([find, fail], records=recorder)
        async with rail.run([]) as run:
            found = [result.status for result in await rail.batch(calls_of("find", 3), run)]
            for _ in range(3):
                await asyncio.to_thread(recorder.flush, 5.0)
        return found

    assert asyncio.run(run()) == ["ok"] * 3
    assert recorder.failures >= 1
    told = [one for one in caplog.records if "Telemetry cannot be written" in one.getMessage()]
    assert len(told) == 1
    assert "Mend:" in told[0].getMessage()
    mend()
    written(recorder)
    recorder.close()
    assert rows(recorder.url, "SELECT count(*), count(settled) FROM calls") == [(3, 3)]
    assert recorder.lost == 0


@promise("see:cost-of-seeing/harmless")
def test_a_file_that_was_deleted_is_begun_anew(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path))
    asyncio.run(batches(recorder, calls_of("find", 2)))
    for one in tmp_path.glob("rail.records.db*"):
        one.unlink()
    asyncio.run(batches(recorder, calls_of("find", 3)))
    recorder.close()
    assert rows(recorder.url, "SELECT count(*) FROM calls") == [(3,)]


@promise("see:cost-of-seeing/harmless")
def test_what_there_is_no_room_for_is_counted_and_the_count_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rail.records.db"
    path.mkdir()
    recorder = Recorder(f"sqlite:///{path}")
    for at in range(QUEUE + module.BATCH + 1_000):
        recorder.emit(BudgetNear(HEAD._replace(seq=at + 1), "calls", 0.1))
    assert recorder.lost >= 1_000 - 1
    path.rmdir()
    written(recorder)
    recorder.close()
    assert rows(recorder.url, "SELECT kind, lost FROM losses") == [("BudgetNear", recorder.lost)]
    assert rows(recorder.url, "SELECT count(*) FROM moments") == [(QUEUE + module.BATCH + 1_000 - recorder.lost,)]


@promise("see:cost-of-seeing/harmless")
def test_a_recorder_that_is_closed_while_nothing_can_be_written_counts_what_it_drops(tmp_path: Path) -> None:
    recorder = Recorder(f"sqlite:///{tmp_path}")
    recorder.emit(BudgetNear(HEAD, "calls", 0.1))
    recorder.flush(5.0)
    recorder.close(5.0)
    assert recorder.lost == 1


def test_an_event_that_no_row_can_hold_costs_no_other_its_row(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path))
    asyncio.run(batches(recorder, calls_of("find", 2)))
    strange: Any = HEAD._replace(run="run_2", tenant=object())  # pyright: ignore[reportArgumentType]
    recorder.emit(BudgetNear(strange, "calls", 0.1))
    recorder.emit(BudgetNear(HEAD._replace(seq=2), "calls", 0.1))
    written(recorder)
    recorder.close()
    assert rows(recorder.url, "SELECT count(*) FROM moments WHERE kind = 'BudgetNear'") == [(1,)]
    assert recorder.lost == 1


def test_a_recorder_goes_on_after_it_was_closed_and_leaves_no_thread(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path))
    before = set(threading.enumerate())
    for _ in range(2):
        asyncio.run(batches(recorder, calls_of("find", 1)))
        recorder.close()
        assert set(threading.enumerate()) <= before
    assert rows(recorder.url, "SELECT count(*) FROM runs") == [(2,)]


def test_a_quiet_recorder_gives_thread_and_file_back_and_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 0.01)
    recorder = Recorder(url_of(tmp_path), alerts=False)  # who looks for alerts goes on looking
    before = set(threading.enumerate())
    for at in range(3):
        recorder.emit(BudgetNear(HEAD._replace(seq=at + 1), "calls", 0.1))
        written(recorder)
        for thread in set(threading.enumerate()) - before:
            thread.join(10.0)
        assert set(threading.enumerate()) <= before
    assert rows(recorder.url, "SELECT count(*) FROM moments") == [(3,)]


FORKED = """
import asyncio, os, sys
from tests.records.recording import batches, calls_of
from toolrail.records.recorder import Recorder
from toolrail.events import BudgetNear, Head
recorder = Recorder(sys.argv[1])
asyncio.run(batches(recorder, calls_of("find", 2)))
recorder.emit(BudgetNear(Head(1, 1.0, 1.0, "default", None, "parent", 1, "ann"), "calls", 0.1))
child = os.fork()
asyncio.run(batches(recorder, calls_of("find", 3 if child else 5)))
recorder.close(20.0)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

ENDS = """
import sys
from toolrail.records.recorder import Recorder
from toolrail.events import BudgetNear, Head
recorder = Recorder(sys.argv[1])
recorder.emit(BudgetNear(Head(1, 1.0, 1.0, "default", None, "run_1", 1, "ann"), "calls", 0.1))
"""

FULL = """
import asyncio, resource, sys
from tests.records.recording import batches, calls_of, find
from toolrail import Rail
from toolrail.records.recorder import Recorder
recorder = Recorder(sys.argv[1])
asyncio.run(batches(recorder, calls_of("find", 1)))
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
async def run():
    async with Rail([find], records=recorder) as rail:
        return await rail.batch(calls_of("find", 50))
assert all(result.ok for result in asyncio.run(run()))
recorder.close()
print(recorder.failures > 0, recorder.lost > 0)
"""


def program(text: str, url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", text, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@promise("see:cost-of-seeing/harmless")
def test_a_forked_process_writes_what_is_its_own_and_its_parent_the_rest(tmp_path: Path) -> None:
    done = program(FORKED, url_of(tmp_path))
    assert done.returncode == 0, done.stderr
    assert rows(url_of(tmp_path), "SELECT count(*), count(DISTINCT run) FROM calls") == [(10, 3)]
    assert rows(url_of(tmp_path), "SELECT count(*) FROM moments WHERE run = 'parent'") == [(1,)]


@promise("see:cost-of-seeing/harmless")
def test_what_waits_is_written_when_the_interpreter_ends(tmp_path: Path) -> None:
    done = program(ENDS, url_of(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(url_of(tmp_path), "SELECT count(*) FROM moments") == [(1,)]


@promise("see:cost-of-seeing/harmless")
def test_an_interpreter_ends_though_nothing_can_be_written(tmp_path: Path) -> None:
    mend = _locked(tmp_path / "rail.records.db")
    done = program(ENDS, url_of(tmp_path))
    mend()
    assert done.returncode == 0, done.stderr


@promise("see:cost-of-seeing/harmless")
def test_a_full_disk_loses_telemetry_counted_and_nothing_else(tmp_path: Path) -> None:
    done = program(FULL, url_of(tmp_path))
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr


class Own:
    def emit(self, event: Event) -> None: ...


@promise("see:record")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"store": "memory://"}, None),
        ({"store": "sqlite:///rail.db"}, "sqlite:///rail.records.db"),
        ({"store": "sqlite:///rail.db", "sinks": [Own()]}, None),
        ({"store": "sqlite:///rail.db", "records": False}, None),
        ({"store": "sqlite:///rail.db", "records": "sqlite:///other.db"}, "sqlite:///other.db"),
        ({"sinks": [Own()], "records": "sqlite:///other.db"}, "sqlite:///other.db"),
    ],
)
def test_telemetry_lies_beside_a_store_that_was_chosen_unless_someone_says_otherwise(
    options: dict[str, Any], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rail = Rail([find], **options)
    assert [sink.url for sink in rail.ports.sinks if isinstance(sink, Recorder)] == ([expected] if expected else [])
    assert list(tmp_path.iterdir()) == []


@promise("see:record")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "rail.db"}, "TR311"),
        ({"url": "sqlite://rail.db"}, "TR311"),
        ({"url": "sqlite:///"}, "TR311"),
        ({"url": "mysql://ann:geheim@host/db"}, "TR311"),
        ({"content": "all"}, "TR311"),
        ({"keep_days": -1}, "TR301"),
        ({"keep_days": 0}, "TR301"),
        ({"keep_bytes": "1 GB"}, "TR301"),
    ],
)
def test_a_recorder_says_what_is_wrong_with_its_settings_at_once(options: dict[str, Any], said: str) -> None:
    made: Any = Recorder
    with pytest.raises(DefinitionError, match=f"^{said} ") as raised:
        made(**{"url": "sqlite:///rail.records.db", **options})
    assert "geheim" not in str(raised.value)


def test_events_of_other_processes_are_numbered_on(tmp_path: Path) -> None:
    first, second = Recorder(url_of(tmp_path)), Recorder(url_of(tmp_path))
    for recorder in (first, second):
        for at in range(3):
            recorder.emit(BudgetNear(HEAD._replace(seq=at + 1), "calls", 0.1))
        written(recorder)
        recorder.close()
    assert rows(first.url, "SELECT seq FROM moments ORDER BY seq") == [(at,) for at in range(1, 7)]


def test_logging_is_quiet_where_all_goes_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="toolrail")
    asyncio.run(batches(url_of(tmp_path), calls_of("find", 5)))
    assert [one.getMessage() for one in caplog.records if one.name == "toolrail"] == []
    assert os.path.exists(tmp_path / "rail.records.db")
