"""What recorders share: prices of several agents, one place, a full queue, forks, and flushes that come late."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.records.recording import find, rows, url_of
from toolrail import Agent, Rail, Usage
from toolrail.errors import DefinitionError
from toolrail.events import (
    AttemptEnded,
    CallDecided,
    CallRef,
    CallRequested,
    CallSettled,
    Content,
    Event,
    Head,
    OutcomeSettled,
    RunEnded,
    RunStarted,
    RunSuspended,
)
from toolrail.records.database import connect
from toolrail.records.prices import Price
from toolrail.records.projecting import Handle
from toolrail.records.recorder import FULL, QUEUE, Recorder
from toolrail.records.writing import Flush, write
from toolrail.stores.sqlite import SQLiteStore
from toolrail.testing import Say, ScriptedModel

HEAD = Head(1, 1_000.0, 1.0, "default", None, "run_1", 1, "ann")
CALL = CallRef("run_1:1:0", 0, "c1", "find", "d1")


def dear(amount: int) -> dict[str, Price]:
    return {"m": Price(D(amount), D(amount))}


def model() -> ScriptedModel:
    return ScriptedModel([Say("done", usage=Usage(1_000_000, 0))], name="m")


@promise("see:record")
def test_the_record_has_the_cost_that_each_run_had_whoever_else_uses_the_model(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path))

    async def work() -> list[D | None]:
        first, second = Rail([find], records=recorder, prices=dear(1)), Rail([find], records=recorder, prices=dear(2))
        agents = [Agent(model(), first), Agent(model(), first, prices=dear(3)), Agent(model(), first, prices=dear(4))]
        agents.append(Agent(model(), second))
        found = [(await agent.run("Hello.")).cost.amount for agent in agents]
        for rail in (first, second):
            await rail.drain()
        return found

    assert asyncio.run(work()) == [D(1), D(3), D(4), D(2)]
    recorder.close()
    assert rows(recorder.url, "SELECT cost FROM models ORDER BY wall") == [(1.0,), (3.0,), (4.0,), (2.0,)]
    assert sorted(rows(recorder.url, "SELECT cost FROM runs")) == [(1.0,), (2.0,), (3.0,), (4.0,)]


@promise("see:record")
def test_a_recorder_prices_what_neither_agent_nor_rail_can(tmp_path: Path) -> None:
    recorder = Recorder(url_of(tmp_path), prices=dear(5))

    async def work() -> None:
        async with Rail([find], records=recorder, prices={"another": dear(9)["m"]}) as rail:
            await Agent(model(), rail).run("Hello.")

    asyncio.run(work())
    assert rows(recorder.url, "SELECT cost FROM models") == [(5.0,)]


SAME: dict[str, Callable[[str, Recorder], dict[str, Any]]] = {
    "among the sinks, too": lambda url, one: {"sinks": [one], "records": one},
    "two for one place": lambda url, one: {"sinks": [Recorder(url)], "records": one},
    "two sinks": lambda url, one: {"sinks": [Recorder(url), one]},
    "spelled otherwise": lambda url, one: {"sinks": [Recorder("sqlite:///./sub/../rail.records.db")], "records": one},
    "the store": lambda url, one: {"store": url, "records": one},
    "the store, by a URL": lambda url, one: {"store": url, "records": url},
    "the store, spelled otherwise": lambda url, one: {"store": "sqlite:///rail.records.db", "records": url},
    "the store, among the sinks": lambda url, one: {"store": url, "sinks": [one]},
    "the store as an object": lambda url, one: {"store": SQLiteStore("rail.records.db"), "records": url},
}


@promise("see:record")
@pytest.mark.parametrize("case", SAME)
def test_a_record_that_has_no_place_of_its_own_is_refused_at_once(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = url_of(tmp_path)
    options: dict[str, Any] = SAME[case](url, Recorder(url))
    with pytest.raises(DefinitionError, match=r"^TR311 Recorder\('sqlite:///"):
        Rail([find], **options)
    assert list(tmp_path.iterdir()) == []


def test_store_and_record_may_share_a_server(tmp_path: Path) -> None:
    url = "postgresql://ann:geheim@localhost/shop"
    found = [sink for sink in Rail([find], store=url, records=url).ports.sinks if isinstance(sink, Recorder)]
    assert [one.url for one in found] == [url]
    with pytest.raises(DefinitionError) as raised:
        Rail([find], sinks=[Recorder(url)], records=url)
    assert "geheim" not in str(raised.value)


@promise("see:cost-of-seeing/harmless")
def test_where_there_is_little_room_left_the_ends_of_calls_have_it(tmp_path: Path) -> None:
    going = (
        CallRequested(HEAD, CALL, 8),
        CallDecided(HEAD, CALL, "allow", "all", ""),
        AttemptEnded(HEAD, CALL, 1, None, None, 0.1, None),
    )
    settled = CallSettled(HEAD, CALL, "ok", None, 1, 8, 9, 0.5, 0.4, (), False, True)
    recorder = Recorder(f"sqlite:///{tmp_path}", content="full")
    while recorder.lost == 0:  # the thread may have some in its hands
        recorder.emit(going[0])
    for event in going:
        recorder.emit(event)
    recorder.take(Content(HEAD, "arguments", CALL, "{}"))
    lost = recorder.lost
    assert lost == 1 + len(going) + 1
    for _ in range(QUEUE - FULL):
        recorder.emit(settled)
    assert recorder.lost == lost
    recorder.emit(settled)
    assert recorder.lost == lost + 1
    recorder.close(0.0)


FORKED = """
import asyncio, multiprocessing, sys
from tests.records.recording import batches, calls_of
from toolrail.records.recorder import Recorder
before, context = Recorder(sys.argv[1]), multiprocessing.get_context("fork")
def work(recorder):
    asyncio.run(leave(recorder or Recorder(sys.argv[1])))
async def leave(recorder):
    from tests.records.recording import find
    from toolrail import Rail
    await Rail([find], records=recorder).batch(calls_of("find", 3))
if __name__ == "__main__":
    for recorder in (before, before, None):
        child = context.Process(target=work, args=(recorder,))
        child.start()
        child.join()
        assert child.exitcode == 0
"""


@promise("see:cost-of-seeing/harmless")
@pytest.mark.skipif(sys.platform == "win32", reason="There is no fork.")
def test_workers_of_multiprocessing_write_their_last_events(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    command = [sys.executable, "-c", FORKED, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(url, "SELECT count(*), count(settled) FROM calls") == [(9, 9)]


def handle_of(at: int, last: Any) -> list[Event]:
    """A handle of the run, opened at a moment, with its last word 5 s later."""
    start = RunStarted(HEAD._replace(seq=1, wall=1_000.0 + 10 * at), ("find",), at > 0)
    return [start, last._replace(head=HEAD._replace(seq=2, wall=1_005.0 + 10 * at))]


SUSPENDED = RunSuspended(HEAD, 2)
LEFT_OPEN = RunSuspended(HEAD, 0)
ENDED = RunEnded(HEAD, "answer", 3, 4, Usage(), 1.0)
KNOWN = OutcomeSettled(HEAD._replace(wall=1_500.0), CALL, "ok", "hand")
"""A word from outside, later than all."""


@st.composite
def flushes(draw: st.DrawFn) -> tuple[Event, list[tuple[int, list[Event]]]]:
    """The last word, and flushes of several processes in the order in which they are written."""
    words: list[Event] = [*draw(st.lists(st.sampled_from([SUSPENDED, LEFT_OPEN]), max_size=3))]
    words.append(draw(st.sampled_from([SUSPENDED, LEFT_OPEN, ENDED])))
    order: list[tuple[int, list[Event]]] = []
    queues: list[list[list[Event]]] = []
    for at, word in enumerate(words):
        start, last = handle_of(at, word)
        queues.append([[start], [last]] if draw(st.booleans()) else [[start, last]])
    while any(queues):
        at = draw(st.sampled_from([at for at, queue in enumerate(queues) if queue]))
        order.append((at, queues[at].pop(0)))
        if draw(st.booleans()):
            order.append((9, [KNOWN]))
    return words[-1], order


@promise("see:record")
@given(flushes())
def test_a_run_stands_as_its_newest_handle_left_it_in_whichever_order_processes_write(
    case: tuple[Any, list[tuple[int, list[Event]]]],
) -> None:
    word, order = case
    with tempfile.TemporaryDirectory() as place:
        url = f"sqlite:///{place}/rail.records.db"
        db = connect(url)
        handles: dict[int, dict[tuple[str, str], Handle]] = {}
        for process, events in order:
            mine = handles.setdefault(process, {})
            facts = write(
                db, events, handles=mine, costing=lambda _: (None, "USD"), flush=Flush(f"p{process}", {}, 1_000.0)
            )
            mine.update(facts.handles)
        db.close()
        found = rows(url, "SELECT pending, reason, started FROM runs")
    expected = (0, "answer") if word is ENDED else (2, None) if word is SUSPENDED else (0, "open")
    assert found == [(*expected, 1_000.0)]


@promise("see:record")
def test_a_clock_that_is_set_back_does_not_keep_a_run_going(tmp_path: Path) -> None:
    db, handles = connect(url_of(tmp_path)), dict[Any, Handle]()
    for event in (RunStarted(HEAD, ()), ENDED._replace(head=HEAD._replace(seq=2, wall=900.0))):
        flush = Flush("p", {}, 1_000.0)
        handles = write(db, [event], handles=handles, costing=lambda _: (None, "USD"), flush=flush).handles
    db.close()
    assert rows(url_of(tmp_path), "SELECT reason FROM runs") == [("answer",)]
