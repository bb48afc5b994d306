"""What recording asks of the caller: a bounded number of steps, and none that waits: no lock, no file, no socket.

The microseconds stand in `benchmarks/recording.py`; here it is counted, which no busy machine can disturb.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.promises import promise
from toolrail import Allow, Rail, ToolCall, tool
from toolrail.events import Sink
from toolrail.records.logging import LogSink
from toolrail.records.metrics import Metrics
from toolrail.records.recorder import Recorder

MOST = {"metrics": 28, "default sinks, recorded": 84}
"""Python functions and built-in ones that a recorded call may call more than one that nobody listens to."""
FORBIDDEN = ("acquire", "wait", "execute", "write", "send", "open", "fsync", "sleep", "start", "put")
"""What blocks, or may."""


@tool(effect="read")
async def find(order: str) -> dict[str, str]:
    """Tells how far an order is."""
    return {"order": order}


async def steps(sinks: list[Sink]) -> list[str]:
    """The functions that one call calls in this thread, once all is warm."""
    called: list[str] = []

    def note(_: FrameType, what: str, who: Any) -> None:
        if what == "call":
            called.append("")
        elif what == "c_call":
            called.append(who.__name__)

    rail = Rail([find], policies=[lambda _: Allow("all")], sinks=sinks)
    async with rail.run([]) as run:
        for at in range(3):
            await rail.batch([ToolCall("c", "find", f'{{"order": "warm {at}"}}')], run)
        calls = [ToolCall("c", "find", '{"order": "one more"}')]
        sys.setprofile(note)
        try:
            await rail.batch(calls, run)
        finally:
            sys.setprofile(None)
    return called


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer is at work")
@promise("see:cost-of-seeing/cheap")
@pytest.mark.parametrize("name", MOST)
def test_a_recorded_call_takes_few_steps_more_and_none_that_waits(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "toolrail")  # a line of log is its handler's cost
    recorder = Recorder(f"sqlite:///{tmp_path}/rail.records.db", alerts=False)
    sinks: dict[str, Callable[[], list[Sink]]] = {
        "metrics": lambda: [Metrics()],
        "default sinks, recorded": lambda: [Metrics(), LogSink(), recorder],
    }
    plain = asyncio.run(steps([]))
    recorded = asyncio.run(steps(sinks[name]()))
    recorder.close()

    more = list(recorded)
    for step in plain:
        if step in more:
            more.remove(step)
    assert len(recorded) - len(plain) <= MOST[name], f"{len(recorded) - len(plain)} more: {more}"
    assert [step for step in more if step in FORBIDDEN] == []
