"""Runs that are not as they should be, or not ours alone: their process died, or the application has its own loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.played import PRICES, takes
from tests.dashboard.served import serving
from tests.promises import promise
from toolrail import Rail
from toolrail.dashboard.app import Settings
from toolrail.dashboard.spent import spent
from toolrail.dashboard.waterfall import waterfall
from toolrail.events import Event
from toolrail.messages import ToolCall, Usage
from toolrail.model import ModelResponse
from toolrail.records.reading import Records
from toolrail.records.recorder import Recorder
from toolrail.records.views import RunDetail
from toolrail.testing import FixedClock, run_virtual
from toolrail.testing.scripted import ScriptedCodec
from toolrail.turn import settle_turn

pytestmark = promise("see:dashboard")
HOUR = 3_600.0


class _Dies:
    """A sink of a process that dies: from then on nothing is heard."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.dead = False
        self.run = ""

    def emit(self, event: Event) -> None:
        self.run = self.run or event.head.run
        if not self.dead:
            self.recorder.emit(event)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rail.records.db'}"


def _recorded(url: str, work: Any, *, ago: float, store: str | None = None) -> RunDetail:
    """The record of `work(rail, sink)`, which happened on simulated time, so long ago."""
    recorder = Recorder(url, prices=PRICES, alerts=False)
    sink = _Dies(recorder)
    clock = FixedClock(wall=time.time() - ago - 1_000.0)

    async def main() -> None:
        tools = (takes("slow", HOUR, effect="keyed", timeout=2 * HOUR), takes("find", 0.5, effect="read"))
        rail = Rail(tools, sinks=[sink], clock=clock, store=store)
        made: Coroutine[Any, Any, None] = work(rail, sink)
        await made
        await rail.ports.store.close()

    run_virtual(main())
    recorder.close()
    with Records(url) as records:
        found = records.run(sink.run)
    assert found is not None
    return found


async def _killed(rail: Rail[Any], sink: _Dies) -> None:
    """Two calls at once, of which one is answered; then the process is gone."""
    async with rail.run([]) as run:
        calls = [ToolCall("1", "slow", '{"what": "INV-9"}'), ToolCall("2", "find", '{"what": "INV-9"}')]
        batch = asyncio.ensure_future(rail.batch(calls, run))
        await asyncio.sleep(2.0)
        sink.dead = True
        batch.cancel()
        await asyncio.wait([batch])


async def _own_loop(rail: Rail[Any], _: _Dies) -> None:
    """The application asks its model itself, which takes three seconds."""
    async with rail.run([]) as run:
        await asyncio.sleep(3.0)
        call = ToolCall("1", "find", '{"what": "INV-9"}')
        wire = {"role": "assistant", "content": None}
        response = ModelResponse((wire,), (call,), "", "calls", Usage(10, 10), "scripted")
        await settle_turn(run, response, ScriptedCodec().results)


async def _alone(rail: Rail[Any], _: _Dies) -> None:
    """A batch without a run."""
    await rail.batch([ToolCall("1", "find", '{"what": "a"}'), ToolCall("2", "find", '{"what": "b"}')])


def test_a_call_of_a_process_that_died_stands_open_and_the_silence_is_cut_out(url: str, tmp_path: Path) -> None:
    detail = _recorded(url, _killed, ago=HOUR, store=f"sqlite:///{tmp_path / 'rail.db'}")
    chart = waterfall(detail, now=time.time())
    slow, find = chart.bars
    assert (slow.open, slow.tone, find.tone) == (True, "open", "ok")
    assert [cut.why for cut in chart.cuts] == ["open"]
    assert find.width > 0.5, "half a second of work is seen beside an hour of silence"
    with serving(Settings(records=url)) as served, served.browser() as browser:
        page = browser.get(f"/run?id={detail.run.run}").text
        assert "Nothing heard any more" in page
        why = browser.get(f"/why?key={slow.key}").text
        assert "under way, or its process died" in why
        assert "toolrail effects show" in why


def test_time_that_toolrail_knows_nothing_of_is_not_given_to_anybody(url: str) -> None:
    detail = _recorded(url, _own_loop, ago=60.0)
    chart = waterfall(detail, now=time.time())
    assert [(one.on, one.name, round(one.seconds, 3)) for one in spent(chart) if one.on != "suspended"] == [
        ("outside", "", 3.0),
        ("tool", "find", 0.5),
    ]
    with serving(Settings(records=url)) as served, served.browser() as browser:
        assert "not known" in browser.get(f"/run?id={detail.run.run}").text


def test_a_batch_without_a_run_has_a_page_too(url: str) -> None:
    detail = _recorded(url, _alone, ago=60.0)
    chart = waterfall(detail, now=time.time())
    assert [(bar.tone, round(bar.start, 3), round(bar.seconds, 3)) for bar in chart.bars] == [("ok", 0.0, 0.5)] * 2
    with serving(Settings(records=url)) as served, served.browser() as browser:
        assert browser.get(f"/run?id={detail.run.run}").status_code == 200
