"""A deadline that holds, whatever the tool does about it. In simulated time: each answer comes to the instant."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from tests.promises import promise
from toolrail.drive import Driven, Ended, Interrupted, Raised, Returned, TimedOut, drive
from toolrail.testing import run_virtual

DEADLINE = 10.0
GRACE = 0.05
LONG = 1_000.0
Tool = Callable[[], Coroutine[Any, Any, Any]]


async def at_once() -> int:
    return 7


async def in_time() -> int:
    await asyncio.sleep(3)
    return 7


def raising(error: BaseException) -> Tool:
    async def tool() -> None:
        await asyncio.sleep(3)
        raise error

    return tool


def raising_at_once(error: BaseException) -> Tool:
    async def tool() -> None:
        raise error

    return tool


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(LONG)


async def cancels_itself_and_returns() -> int:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return 7


async def own_timeout() -> None:
    async with asyncio.timeout(3):
        await asyncio.sleep(LONG)


async def own_wait_for() -> None:
    await asyncio.wait_for(asyncio.sleep(LONG), 3)


async def hangs() -> None:
    await asyncio.sleep(LONG)


async def swallows() -> None:
    until = asyncio.get_running_loop().time() + LONG
    while asyncio.get_running_loop().time() < until:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            continue


async def swallows_all() -> None:
    for _ in range(5):
        try:
            await asyncio.sleep(LONG)
        except BaseException:
            continue


async def turns_it_into_another_error() -> None:
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        raise ValueError("no") from None


async def turns_it_into_a_value() -> int:
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        return 7
    return 8


async def quick_clean_up() -> None:
    try:
        await asyncio.sleep(LONG)
    finally:
        await asyncio.sleep(0.01)


async def slow_clean_up() -> None:
    try:
        await asyncio.sleep(LONG)
    finally:
        await asyncio.sleep(LONG)


async def failing_clean_up() -> None:
    try:
        await asyncio.sleep(LONG)
    finally:
        raise SystemExit(3)


async def clean_up_that_hangs_twice() -> None:
    try:
        await slow_clean_up()
    finally:
        await asyncio.sleep(LONG)


async def waits_for_a_swallower() -> None:
    await asyncio.wait_for(swallows(), LONG * 2)


async def group_of_swallowers() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(swallows())
        group.create_task(swallows())


async def shields_a_swallower() -> None:
    await asyncio.shield(swallows())


async def gathers_swallowers() -> None:
    await asyncio.gather(swallows(), swallows())


async def waits_for_a_task_that_swallows() -> None:
    await asyncio.create_task(swallows())


async def gathers_sleepers() -> None:
    await asyncio.gather(asyncio.sleep(LONG), asyncio.sleep(LONG))


async def spins() -> None:
    until = asyncio.get_running_loop().time() + LONG
    while asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Case:
    tool: Tool
    ended: Ended | type[BaseException]
    """An exception's class stands for `Raised` of it."""
    seconds: float
    """When the answer comes."""
    children: int = 0
    """Tasks of the tool's own making that live on: not ours to end."""
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.tool.__name__


ENDS_BY_ITSELF = [
    Case(at_once, Returned(7), 0),
    Case(in_time, Returned(7), 3),
    *(
        Case(make(error), expected, seconds, name=f"{make.__name__} {type(error).__name__}")
        for make, seconds in ((raising, 3), (raising_at_once, 0))
        for error, expected in (
            (ValueError(), ValueError),
            (SystemExit(2), SystemExit),
            (KeyboardInterrupt(), KeyboardInterrupt),
            (asyncio.CancelledError(), asyncio.CancelledError),
            (GeneratorExit(), GeneratorExit),
            (StopIteration(7), RuntimeError),  # Python itself turns it into one
            (StopAsyncIteration(), StopAsyncIteration),
            (TimeoutError(), TimeoutError),
            (RecursionError(), RecursionError),
            (BaseExceptionGroup("two", [SystemExit(), ValueError()]), BaseExceptionGroup),
        )
    ),
    Case(cancels_itself, asyncio.CancelledError, 0),
    Case(cancels_itself_and_returns, Returned(7), 0),
    Case(own_timeout, TimeoutError, 3),
    Case(own_wait_for, TimeoutError, 3),
]
HANGS = [
    Case(hangs, TimedOut(False), 0),
    Case(swallows, TimedOut(False), GRACE),
    Case(turns_it_into_another_error, TimedOut(False), 0),
    Case(turns_it_into_a_value, TimedOut(False), 0),
    Case(quick_clean_up, TimedOut(False), 0.01),
    Case(slow_clean_up, TimedOut(False), GRACE),
    Case(failing_clean_up, TimedOut(False), 0),
    Case(clean_up_that_hangs_twice, TimedOut(False), GRACE),
    # Until Python 3.11 `wait_for` puts what it waits for into a task of its own.
    Case(waits_for_a_swallower, TimedOut(False), GRACE, children=int(sys.version_info < (3, 12))),
    Case(group_of_swallowers, TimedOut(False), GRACE, children=2),
    Case(shields_a_swallower, TimedOut(False), 0, children=1),
    Case(gathers_swallowers, TimedOut(True), GRACE, children=3),
    Case(waits_for_a_task_that_swallows, TimedOut(True), GRACE, children=2),
    Case(gathers_sleepers, TimedOut(False), 0),
    Case(spins, TimedOut(False), 0),
]
"""`seconds` counts from the deadline or the cancellation here."""
ROUNDS = 5
"""Rounds of the loop after which a task that was ended is gone."""


async def timed(awaitable: Awaitable[Any]) -> tuple[Any, float, int]:
    """What came, after how many seconds, and how many tasks are left then."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = await awaitable
    seconds = loop.time() - started
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
    return answer, seconds, len(asyncio.all_tasks()) - 1


def agrees(ended: Ended, expected: Ended | type[BaseException]) -> bool:
    if isinstance(expected, type):
        return isinstance(ended, Raised) and type(ended.error) is expected
    return ended == expected


@promise("call:deadline/async")
@pytest.mark.parametrize("case", ENDS_BY_ITSELF, ids=str)
def test_a_tool_that_ends_in_time_is_answered_as_it_ended(case: Case) -> None:
    ended, seconds, left = run_virtual(timed(drive(case.tool(), seconds=DEADLINE)))
    assert agrees(ended, case.ended)
    assert seconds == pytest.approx(case.seconds)
    assert left == 0


@promise("call:deadline/async")
@pytest.mark.parametrize("case", HANGS, ids=str)
def test_a_tool_that_hangs_is_answered_at_its_deadline(case: Case) -> None:
    ended, seconds, left = run_virtual(timed(drive(case.tool(), seconds=DEADLINE, grace=GRACE)))
    assert ended == case.ended
    assert seconds == pytest.approx(DEADLINE + case.seconds, abs=0.002)
    assert left == case.children


@promise("call:deadline/async")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_tool_that_swallows_even_its_end_is_answered() -> None:
    ended, seconds, left = run_virtual(timed(drive(swallows_all(), seconds=DEADLINE, grace=GRACE)))
    gc.collect()  # Python complains of such a coroutine when it is collected: here, and in no other test
    assert (ended, left) == (TimedOut(False), 0)
    assert seconds == pytest.approx(DEADLINE + GRACE)


@promise("call:deadline/async")
@pytest.mark.parametrize("seconds", [0.0, -1.0])
@pytest.mark.parametrize("case", HANGS, ids=str)
def test_a_deadline_that_is_over_holds_too(case: Case, seconds: float) -> None:
    ended, took, _ = run_virtual(timed(drive(case.tool(), seconds=seconds, grace=GRACE)))
    assert isinstance(ended, TimedOut)
    assert took <= GRACE + 0.002


def test_a_tool_that_never_waits_ends_even_when_its_deadline_is_over() -> None:
    assert run_virtual(drive(at_once(), seconds=0.0)) == Returned(7)


async def cancelled_at(tool: Tool, *times: float, seconds: float = DEADLINE) -> tuple[Ended, int]:
    """What the waiter is told when it is cancelled at these times, and how often it knows itself cancelled."""

    async def waiter() -> tuple[Ended, int]:
        ended = await drive(tool(), seconds=seconds, grace=GRACE)
        task = asyncio.current_task()
        assert task is not None
        return ended, task.cancelling()

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(waiter())
    for time in times:
        loop.call_at(loop.time() + time, task.cancel)
    return await task


CANCELLATIONS = [
    ("once", (4.0,)),
    ("twice at once", (4.0, 4.0)),
    ("again in the grace", (4.0, 4.0 + GRACE / 2)),
    ("again as the grace ends", (4.0, 4.0 + GRACE)),
]


@promise("call:deadline/async")
@pytest.mark.parametrize("case", HANGS, ids=str)
@pytest.mark.parametrize("times", [row[1] for row in CANCELLATIONS], ids=[row[0] for row in CANCELLATIONS])
def test_cancelling_the_waiter_ends_the_tool(case: Case, times: tuple[float, ...]) -> None:
    (ended, cancelling), seconds, left = run_virtual(timed(cancelled_at(case.tool, *times)))
    assert isinstance(case.ended, TimedOut)
    assert ended == Interrupted(case.ended.abandoned)
    assert seconds == pytest.approx(4.0 + case.seconds, abs=0.002)
    assert left == case.children
    assert 1 <= cancelling <= len(times), "the caller can pass the cancellation on"


@promise("call:deadline/async")
@pytest.mark.parametrize("case", HANGS, ids=str)
@pytest.mark.parametrize("offset", [0.0, GRACE / 2, GRACE, -0.0001])
def test_a_cancellation_about_the_deadline_is_answered_once(case: Case, offset: float) -> None:
    (ended, _), seconds, left = run_virtual(timed(cancelled_at(case.tool, DEADLINE + offset)))
    assert isinstance(ended, Interrupted | TimedOut)
    assert seconds <= DEADLINE + GRACE + 0.002
    assert left == case.children


def test_a_result_that_was_there_before_the_cancellation_is_kept() -> None:
    async def main() -> tuple[Ended, int]:
        finished = asyncio.Event()

        async def tool() -> int:
            await asyncio.sleep(1)
            task.cancel()  # in the very step in which the tool returns
            finished.set()
            return 7

        async def waiter() -> Ended:
            return await drive(tool(), seconds=DEADLINE)

        task = asyncio.create_task(waiter())
        return await task, task.cancelling()

    ended, cancelling = run_virtual(main())
    assert ended == Interrupted(False, Returned(7))
    assert cancelling == 1


def test_an_abandoned_tool_goes_on_to_no_further_effect() -> None:
    effects: list[str] = []

    async def child() -> int:
        for _ in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(60)
        return 3

    async def stubborn() -> None:
        await asyncio.create_task(child())
        effects.append("after the deadline")

    async def main() -> Ended:
        ended = await drive(stubborn(), seconds=1)
        await asyncio.sleep(LONG)
        return ended

    assert run_virtual(main()) == TimedOut(True)
    assert effects == []


def test_what_is_under_way_can_be_made_to_expire() -> None:
    async def main() -> tuple[Ended, float, int]:
        active: set[Driven] = set()
        loop = asyncio.get_running_loop()
        started = loop.time()

        def expire() -> None:
            assert len(active) == 1
            for driven in list(active):
                driven.expire()

        loop.call_later(2, expire)
        ended = await drive(swallows(), seconds=DEADLINE, grace=GRACE, active=active)
        return ended, loop.time() - started, len(active)

    ended, seconds, left = run_virtual(main())
    assert (ended, left) == (TimedOut(False), 0)
    assert seconds == pytest.approx(2 + GRACE)


def test_a_tool_that_expires_before_its_first_step_has_done_nothing() -> None:
    steps: list[str] = []

    async def tool() -> None:
        steps.append("ran")

    async def main() -> tuple[Ended, int]:
        active: set[Driven] = set()
        waiter = asyncio.ensure_future(drive(tool(), seconds=DEADLINE, active=active))
        await asyncio.sleep(0)
        for driven in active:
            driven.expire()
        ended = await waiter
        await asyncio.sleep(0)
        return ended, len(asyncio.all_tasks())

    assert run_virtual(main()) == (TimedOut(False), 1)
    assert steps == []


def test_an_expiry_that_comes_after_the_end_takes_no_result_away() -> None:
    async def main() -> Ended:
        active: set[Driven] = set()

        async def tool() -> int:
            await asyncio.sleep(1)
            # The rail closes in the round between the tool's last step and the waiter's next.
            asyncio.get_running_loop().call_soon(lambda: [driven.expire() for driven in active])
            return 7

        return await drive(tool(), seconds=DEADLINE, active=active)

    assert run_virtual(main()) == Returned(7)


def test_a_waiter_that_is_closed_takes_its_tool_with_it() -> None:
    """A tool that itself waits for tools is closed at its own deadline when it swallows: they must not go on."""
    ended: list[str] = []
    active: set[Driven] = set()

    async def inner() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append("inner")

    async def outer() -> None:
        while True:
            await drive(inner(), seconds=LONG * 2, active=active)

    async def main() -> int:
        waiting = outer()
        task = asyncio.get_running_loop().create_task(drive(waiting, seconds=1, grace=GRACE))
        assert await task == TimedOut(False)
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        return len(asyncio.all_tasks()) - 1

    assert run_virtual(main()) == 0
    assert set(ended) == {"inner"}
    assert active == set()


def test_context_variables_of_the_caller_are_seen() -> None:
    tenant = ContextVar("tenant", default="nobody")

    async def tool() -> str:
        await asyncio.sleep(1)
        return tenant.get()

    async def main() -> Ended:
        tenant.set("acme")
        return await drive(tool(), seconds=DEADLINE)

    assert run_virtual(main()) == Returned("acme")


def test_a_hundred_tools_of_all_kinds_are_each_answered() -> None:
    cases = [case for case in (ENDS_BY_ITSELF + HANGS) * 3 if not case.children][:100]

    async def main() -> list[Ended]:
        return await asyncio.gather(*(drive(case.tool(), seconds=DEADLINE, grace=GRACE) for case in cases))

    for ended, case in zip(run_virtual(main()), cases, strict=True):
        assert agrees(ended, case.ended), str(case)


PROCESS = """
import asyncio
from tests.unit.test_drive import TOOLS_THAT_STAY
from toolrail.drive import drive

async def main():
    for tool in TOOLS_THAT_STAY:
        print(type(await drive(tool(), seconds=0.02, grace=0.02)).__name__)

asyncio.run(main())
print("over")
"""
TOOLS_THAT_STAY = (
    swallows,
    swallows_all,
    slow_clean_up,
    raising_at_once(SystemExit(3)),
    raising_at_once(KeyboardInterrupt()),
)


@promise("call:deadline/async")
def test_a_process_ends_after_tools_that_did_not_want_to() -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROCESS],
        timeout=60,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    assert told.split() == ["TimedOut"] * 3 + ["Raised"] * 2 + ["over"]
