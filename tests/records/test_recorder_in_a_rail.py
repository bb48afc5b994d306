"""A recorder among rails, processes and too many events: prices, doubles, late flushes, what is dropped first."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.records.recording import rows, url_of
from toolrail import Agent, Rail, RunLimits, Usage
from toolrail.errors import DefinitionError
from toolrail.events import CallRef, CallRequested, CallSettled, Head, RunEnded, RunStarted, RunSuspended
from toolrail.records.prices import Price
from toolrail.records.recorder import FULL, Recorder
from toolrail.testing import Say, ScriptedModel

HEAD = Head(1, 1_000.0, 1.0, "default", None, "run_1", 1, "ann")
CALL = CallRef("run_1:1:0", 0, "c1", "find", "d1")
SETTLED = CallSettled(HEAD, CALL, "ok", None, 1, 2, 2, 0.1, 0.1, (), False, True, None, "find")


@promise("see:cost")
def test_a_recorder_without_prices_has_those_of_its_rail(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path), alerts=False)
    model = ScriptedModel([Say("Done.", usage=Usage(1_000_000, 0))])

    async def main() -> None:
        async with Rail[object]([], records=recorder, prices={model.name: Price(Decimal(3), Decimal(1))}) as rail:
            await Agent(model, rail).run("Hello.")

    asyncio.run(main())
    assert rows(recorder.url, "SELECT cost, unpriced FROM runs") == [(3.0, 0)]


def _twice(tmp_path: Path) -> dict[str, Any]:
    recorder = Recorder(url_of(tmp_path))
    return {"sinks": [recorder], "records": recorder}


def _two(tmp_path: Path) -> dict[str, Any]:
    return {"sinks": [Recorder(url_of(tmp_path))], "records": url_of(tmp_path)}


def _the_store(tmp_path: Path) -> dict[str, Any]:
    return {"store": url_of(tmp_path), "records": url_of(tmp_path)}


def _the_store_by_another_name(tmp_path: Path) -> dict[str, Any]:
    near = os.path.relpath(tmp_path / "rail.db")
    return {"store": f"sqlite:///{tmp_path}/rail.db", "records": Recorder(f"sqlite:///{near}")}


@promise("see:cost-of-seeing/harmless")
@pytest.mark.parametrize(
    ("options", "said"),
    [(_twice, "twice"), (_two, "twice"), (_the_store, "the store is"), (_the_store_by_another_name, "the store is")],
)
def test_a_rail_refuses_a_record_that_would_count_twice_or_harm_its_store(
    options: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError, match=f"TR311.*{said}"):
        Rail[object]([], **options(tmp_path))


def test_a_flush_that_wrote_nothing_says_so(tmp_path: Path) -> None:
    recorder = Recorder(f"sqlite:///{tmp_path}/missing/rail.records.db", alerts=False)
    recorder.emit(SETTLED)
    assert not recorder.flush(10.0)
    recorder.close(0.1)


def _at(wall: float) -> Head:
    return HEAD._replace(wall=wall)


@promise("see:record")
def test_what_one_process_writes_late_does_not_undo_how_another_ended_the_run(tmp_path: Path) -> None:
    first, second = (Recorder(url_of(tmp_path), alerts=False, keep_days=None) for _ in range(2))
    second.emit(RunStarted(_at(2_000.0), ("find",), True, {}, "m"))
    second.emit(RunEnded(_at(2_001.0), "answer", 2, 2, Usage(), 1.0))
    second.close()
    first.emit(RunStarted(_at(1_000.0), ("find",), False, {}, "m"))
    first.emit(RunSuspended(_at(1_001.0), 2))
    first.close()

    assert rows(first.url, "SELECT pending, reason, ended FROM runs") == [(0, "answer", 2_001.0)]


@promise("see:cost-of-seeing/harmless")
def test_where_too_much_comes_at_once_how_calls_ended_is_kept_before_how_they_went(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path), alerts=False, keep_days=None)
    recorder._wake = lambda *, hurry: None  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    for at in range(FULL):
        recorder.emit(CallRequested(HEAD._replace(seq=at), CALL, 2))
    recorder.emit(CallRequested(HEAD, CALL, 2))
    assert recorder.lost == 1
    recorder.emit(SETTLED)
    assert recorder.lost == 1
    del recorder._wake  # pyright: ignore[reportPrivateUsage]
    recorder.close(30.0)
    assert rows(recorder.url, "SELECT status FROM calls") == [("ok",)]


WORKERS = """
import asyncio, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from toolrail import Rail, ToolCall, tool
from toolrail.records.recorder import Recorder

@tool(effect="read")
async def find(n: int) -> int:
    "Finds."
    return n

rail = Rail([find], records=Recorder(sys.argv[1], alerts=False))

def work(n):
    asyncio.run(rail.batch([ToolCall("c", "find", '{"n": %d}' % n)]))

if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(work, range(6)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@promise("see:cost-of-seeing/harmless")
def test_workers_of_multiprocessing_write_their_last_calls_before_they_leave(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    subprocess.run([sys.executable, str(script), url], check=True, timeout=120)
    assert rows(url, "SELECT count(*) FROM calls") == [(6,)]


def test_a_run_that_is_limited_is_recorded_with_its_limits(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path), alerts=False)

    async def main() -> None:
        async with Rail[object]([], records=recorder) as rail, rail.run([], limits=RunLimits(calls=7)):
            pass

    asyncio.run(main())
    [(limits,)] = rows(recorder.url, "SELECT limits FROM runs")
    assert '"calls":7' in limits.replace(" ", "")
