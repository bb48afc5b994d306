"""Retention: the oldest runs go by age and by size; totals, open questions and shared texts stay."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.promises import promise
from tests.records.recording import batches, calls_of, rows, url_of
from toolrail import Rail, ToolCall, tool
from toolrail.effects import once
from toolrail.records.database import connect
from toolrail.records.recorder import Recorder
from toolrail.records.retention import DAY, SLICE, SLICES, Keep, Retention

PARTS = ("runs", "calls", "attempts", "moments", "contents", "blobs")


def looked(url: str, keep: Keep, wall: float) -> int:
    """One look at a moment; how many runs went."""
    db = connect(url)
    try:
        retention = Retention(keep)
        retention.look(db, wall)
        return retention.deleted
    finally:
        db.close()


def counts(url: str) -> dict[str, int]:
    return {table: rows(url, f"SELECT count(*) FROM {table}")[0][0] for table in PARTS}


@promise("see:record")
def test_runs_that_are_too_old_go_with_all_their_parts_and_totals_stay(records_place: str) -> None:
    recorder = Recorder(records_place, content="full")
    asyncio.run(batches(recorder, calls_of("find", 3), [ToolCall("c", "fail", '{"order": "%s"}' % ("x" * 9_000))]))
    recorder.close()
    ((updated,),) = rows(records_place, "SELECT updated FROM runs")
    assert looked(records_place, Keep(30.0, None), updated + 29 * DAY) == 0
    assert counts(records_place)["blobs"] == 1
    assert looked(records_place, Keep(30.0, None), updated + 31 * DAY) == 1
    assert set(counts(records_place).values()) == {0}
    assert rows(records_place, "SELECT DISTINCT grain FROM tool_rollups ORDER BY grain") == [(0,), (3600,)]
    assert rows(records_place, "SELECT sum(calls) FROM tool_rollups WHERE grain = 0") == [(4,)]


@promise("see:record")
def test_a_run_whose_outcome_is_unknown_stays_until_that_is_known(tmp_path: Path) -> None:
    @tool(effect=once(by="order"), timeout=0.02)
    async def pay(order: str) -> str:
        """Pays, perhaps."""
        await asyncio.sleep(60)
        return order

    async def run() -> None:
        async with Rail([pay], records=url_of(tmp_path)) as rail:
            await rail.batch(calls_of("pay", 1))

    asyncio.run(run())
    asyncio.run(batches(url_of(tmp_path), calls_of("find", 1)))
    assert looked(url_of(tmp_path), Keep(1.0, None), 9e9) == 1
    assert rows(url_of(tmp_path), "SELECT status FROM calls") == [("unknown",)]


def test_a_text_that_a_run_that_stays_has_too_stays(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path), content="full")
    long = [ToolCall("c", "find", '{"order": "%s"}' % ("x" * 9_000))]
    for _ in range(2):
        asyncio.run(batches(recorder, long))
    recorder.close()
    before = counts(recorder.url)["blobs"]
    db = connect(recorder.url)
    with db.transaction():
        db.execute("UPDATE runs SET updated = 1.0 WHERE run = (SELECT min(run) FROM runs)")
    db.close()
    assert looked(recorder.url, Keep(30.0, None), 40 * DAY) == 1
    assert (counts(recorder.url)["runs"], counts(recorder.url)["blobs"]) == (1, before)


@promise("see:record")
def test_what_is_too_large_is_brought_down_from_its_oldest_runs(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path))

    async def run() -> None:
        async with Rail([find_big], records=recorder) as rail:
            for at in range(120):
                await rail.batch(calls_of("find_big", 30, start=at))

    asyncio.run(run())
    recorder.close()
    db = connect(recorder.url)
    most = db.size() // 2
    newest = db.select("SELECT run FROM runs ORDER BY updated DESC LIMIT 10")
    db.close()
    assert looked(recorder.url, Keep(None, most), 9e9) > 0
    db = connect(recorder.url)
    assert db.size() <= most
    assert set(newest) <= set(db.select("SELECT run FROM runs"))
    assert db.size() > 0
    db.close()


@tool(effect="read")
async def find_big(order: str) -> str:
    """Finds."""
    return order


def test_one_look_does_only_so_much_and_the_next_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path))
    asyncio.run(batches(recorder, calls_of("find", 1)))
    recorder.close()
    db = connect(recorder.url)
    names = [name for (name,) in db.select("SELECT name FROM pragma_table_info('runs')")]
    others = ", ".join(name for name in names if name not in ("run", "updated"))
    numbers = range(SLICE * SLICES + 10)
    sql = f"INSERT INTO runs (run, updated, {others}) SELECT ?, 5.0, {others} FROM runs WHERE updated > 5.0"
    with db.transaction():
        db.executemany(sql, [(f"r{at}",) for at in numbers])
    retention = Retention(Keep(1.0, None), every=0.0)
    retention.look(db, 10 * DAY)
    assert retention.deleted == SLICE * SLICES
    retention.look(db, 10 * DAY)
    assert retention.deleted == SLICE * SLICES + 10
    db.close()
