"""The watchdog names the async tool that blocks the loop, once for each block, and costs nothing while nobody works."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import call, codes, in_run, rail_of, virtually
from toolrail.definition import Tool, tool
from toolrail.events import Event, LoopBlocked
from toolrail.limits import RailLimits
from toolrail.rail import Rail
from toolrail.watchdog import REST, Watchdog

SECONDS = 30.0
"""After which something that should have happened counts as never."""

Look = Callable[[float], None]


def watched(make: Callable[[Look], Tool[Any]]) -> tuple[Rail[Any], Any]:
    """A rail with a tool that looks at itself: what the watchdog's thread does, without a thread."""

    def look(now: float) -> None:
        dog_of(rail).look({threading.get_ident(): sys._getframe()}, now)  # pyright: ignore[reportPrivateUsage]

    rail, recorder = rail_of(make(look), limits=RailLimits(lag=0.5))
    dog_of(rail).awake = True
    return rail, recorder


def dog_of(rail: Rail[Any]) -> Watchdog:
    return rail.ports.watchdog


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "toolrail-watchdog"]


@promise("steady:isolation")
def test_a_step_that_is_found_twice_is_a_block_and_its_tool_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def busy(look: Look) -> Tool[Any]:
        @tool(effect="read")
        async def crunch() -> str:
            """Computes for too long."""
            look(10.0)
            look(10.25)
            return "done"

        return crunch

    rail, recorder = watched(busy)
    assert codes(virtually(rail, [call("crunch")])) == ["ok"]
    (event,) = recorder.of(LoopBlocked)
    assert (event.call.tool, event.seconds, event.head.tenant) == ("crunch", 0.25, "default")
    assert "crunch blocks the event loop: 0.25 s so far" in caplog.text
    assert "look(10.25)" in caplog.text  # the line that blocks
    assert "drive.py" not in caplog.text


@pytest.mark.parametrize(
    ("looks", "blocks"),
    [([0.0], 0), ([0.0, 0.1], 0), ([0.0, 0.1, 0.2], 0), ([0.0, 0.25], 1), ([0.0, 0.25, 0.5, 60.0], 1)],
)
def test_a_block_is_told_once_and_what_is_shorter_than_half_a_lag_never(looks: list[float], blocks: int) -> None:
    def busy(look: Look) -> Tool[Any]:
        @tool(effect="read")
        async def crunch() -> None:
            """Computes."""
            for now in looks:
                look(now)

        return crunch

    rail, recorder = watched(busy)
    virtually(rail, [call("crunch")])
    assert len(recorder.of(LoopBlocked)) == blocks


def test_a_tool_that_is_found_in_another_step_each_time_blocks_nothing() -> None:
    def patient(look: Look) -> Tool[Any]:
        @tool(effect="read")
        async def crunch() -> None:
            """Computes in small pieces."""
            for now in range(10):
                look(float(now))
                await asyncio.sleep(0)

        return crunch

    rail, recorder = watched(patient)
    virtually(rail, [call("crunch")])
    assert recorder.of(LoopBlocked) == []


def test_each_block_of_a_tool_is_told_and_events_keep_their_order() -> None:
    def twice(look: Look) -> Tool[Any]:
        @tool(effect="read")
        async def crunch() -> None:
            """Blocks, rests, blocks again while it is cancelled."""
            look(0.0)
            look(1.0)
            await asyncio.sleep(0)
            look(2.0)
            look(3.0)

        return crunch

    rail, recorder = watched(twice)
    virtually(rail, [call("crunch")])
    assert len(recorder.of(LoopBlocked)) == 2
    assert [event.head.seq for event in recorder.events] == list(range(1, len(recorder.events) + 1))


def test_a_sync_tool_in_its_thread_blocks_nothing() -> None:
    def threaded(look: Look) -> Tool[Any]:
        @tool(effect="read")
        def crunch() -> None:
            """Computes in a thread."""
            look(0.0)
            look(60.0)

        return crunch

    rail, recorder = watched(threaded)
    assert codes(virtually(rail, [call("crunch")])) == ["ok"]
    assert recorder.of(LoopBlocked) == []


def test_another_rails_tool_is_left_to_its_own_watchdog() -> None:
    other, _ = rail_of()

    @tool(effect="read")
    async def crunch() -> None:
        """Computes."""
        for now in (0.0, 60.0):
            dog_of(other).look({threading.get_ident(): sys._getframe()}, now)  # pyright: ignore[reportPrivateUsage]

    rail, recorder = rail_of(crunch)
    virtually(rail, [call("crunch")])
    assert recorder.of(LoopBlocked) == []


class Releases:
    """Lets a tool that blocks the loop go on as soon as the record names it."""

    def __init__(self) -> None:
        self.named = threading.Event()
        self.blocked: list[LoopBlocked] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, LoopBlocked):
            self.blocked.append(event)
            self.named.set()


@promise("steady:isolation")
def test_a_tool_that_would_block_for_ever_is_named_while_it_does(caplog: pytest.LogCaptureFixture) -> None:
    sink = Releases()

    @tool(effect="read", timeout=SECONDS)
    async def block() -> bool:
        """Blocks the loop until somebody notices."""
        return sink.named.wait(SECONDS)

    async def main() -> list[str]:
        async with Rail([block], sinks=[sink], limits=RailLimits(lag=0.1)) as rail:
            return [result.content for result in await in_run(rail, [call("block")])]

    with caplog.at_level(logging.WARNING, "toolrail"):
        assert asyncio.run(main()) == ["true"]
    assert [event.call.tool for event in sink.blocked] == ["block"]
    assert "block blocks the event loop" in caplog.text
    assert "sink.named.wait(SECONDS)" in caplog.text


@tool(effect="read")
async def ping() -> str:
    """Answers."""
    return "pong"


def test_the_thread_is_there_only_once_something_ran_and_ends_when_the_rail_drains() -> None:
    async def main() -> tuple[int, list[threading.Thread]]:
        before = len(threads())
        async with Rail([ping], sinks=[]) as rail:
            await in_run(rail, [])
            unused = len(threads()) - before
            await in_run(rail, [call("ping")] * 3)
            return unused, threads()

    unused, started = asyncio.run(main())
    assert unused == 0
    assert len(started) >= 1
    started[-1].join(SECONDS)
    assert not started[-1].is_alive()


def test_the_thread_keeps_no_rail_alive_and_ends_with_it() -> None:
    before = threads()

    async def main() -> None:
        await in_run(Rail([ping], sinks=[], limits=RailLimits(lag=0.02)), [call("ping")])

    asyncio.run(main())
    gc.collect()
    for one in set(threads()) - set(before):
        one.join(SECONDS)
        assert not one.is_alive()


def test_the_thread_rests_when_nothing_is_under_way_and_says_so_one_look_before() -> None:
    driven: set[Any] = set()
    dog = Watchdog(driven, 0.5)
    stop = dog._stop  # pyright: ignore[reportPrivateUsage]
    dog.awake = True
    assert [dog.rests(stop) for _ in range(REST - 1)] == [False] * (REST - 1)
    assert dog.awake
    assert not dog.rests(stop)
    assert not dog.awake
    driven.add(object())  # a call that had not heard it
    assert not dog.rests(stop)
    assert dog.awake
    driven.clear()
    assert [dog.rests(stop) for _ in range(REST + 1)] == [False] * REST + [True]
    assert dog.rests(threading.Event())  # another thread has taken over


def test_no_thread_looks_at_simulated_time() -> None:
    rail, _ = rail_of(ping)
    virtually(rail, [call("ping")])
    assert not dog_of(rail).awake


def test_a_child_process_wakes_a_watchdog_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    dog = Watchdog(set(), 0.5)
    dog.awake = True
    dog.after_fork()
    assert dog.awake
    monkeypatch.setattr("os.getpid", lambda: -1)
    dog.after_fork()
    assert not dog.awake


def test_nobody_looks_where_nobody_wants_to_know() -> None:
    before = len(threads())

    async def main() -> int:
        rail = Rail([ping], sinks=[], limits=RailLimits(lag=None))
        await in_run(rail, [call("ping")])
        await rail.drain()
        await in_run(rail, [call("ping")])
        return len(threads()) - before

    assert asyncio.run(main()) == 0
