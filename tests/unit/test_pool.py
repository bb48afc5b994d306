"""Threads for sync tools: places are given in turn, never lost, never more than there are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pools import places
from tests.promises import promise
from toolrail import pool as pools
from toolrail.drive import TimedOut, drive
from toolrail.pool import Standing, ThreadPool
from toolrail.testing import run_virtual

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds until a test that hangs fails. None waits so long when it passes."""


def run(main: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            return await main

    return asyncio.run(bounded())


async def job(pool: ThreadPool, fn: Callable[[], T]) -> T:
    """One function in a thread of the pool, as the spine runs it."""
    await pool.reserve()
    work = pool.start(fn)
    value, error = await work.future
    if error is not None:
        raise error
    return value


async def rounds(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Late:
    """Hears how abandoned work ended."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, BaseException | None]] = []
        self.told = threading.Semaphore(0)

    def __call__(self, value: Any, error: BaseException | None) -> None:
        self.heard.append((value, error))
        self.told.release()

    def wait(self) -> None:
        assert self.told.acquire(timeout=PATIENCE)


@promise("call:sync")
def test_a_hundred_blocking_jobs_use_all_places_and_never_more() -> None:
    pool, lock, full = ThreadPool(32), threading.Lock(), threading.Event()
    at_work = peak = done = 0

    def blocks() -> None:
        nonlocal at_work, peak, done
        with lock:
            at_work += 1
            peak = max(peak, at_work)
            if at_work == 32:
                full.set()
        assert full.wait(PATIENCE)
        with lock:
            at_work -= 1
            done += 1

    async def main() -> None:
        await asyncio.gather(*(job(pool, blocks) for _ in range(100)))

    run(main())
    assert (peak, done) == (32, 100)
    assert places(pool) == {"busy": 0, "free": 32, "abandoned": 0}
    pool.close()


@promise("call:sync")
def test_the_loop_goes_on_while_every_thread_is_blocked() -> None:
    pool, gate = ThreadPool(2), threading.Event()

    async def main() -> None:
        blocked = [asyncio.create_task(job(pool, gate.wait)) for _ in range(5)]
        await rounds(100)
        assert not any(task.done() for task in blocked)
        gate.set()
        assert await asyncio.gather(*blocked) == [True] * 5

    run(main())
    pool.close()


@promise("call:sync")
def test_context_variables_of_the_caller_are_kept_and_not_changed() -> None:
    tenant = ContextVar("tenant", default="nobody")
    pool = ThreadPool(1)

    def reads_and_writes() -> str:
        seen = tenant.get()
        tenant.set("changed in the thread")
        return seen

    async def as_tenant(name: str) -> tuple[str, str]:
        tenant.set(name)
        return await job(pool, reads_and_writes), tenant.get()

    async def main() -> list[tuple[str, str]]:
        return [*await asyncio.gather(as_tenant("a"), as_tenant("b"))]

    assert run(main()) == [("a", "a"), ("b", "b")]
    pool.close()


@pytest.mark.parametrize(
    "error",
    [ValueError(), SystemExit(1), KeyboardInterrupt(), StopIteration(3), GeneratorExit(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_function_raises_comes_as_a_value_and_the_thread_lives_on(error: BaseException) -> None:
    pool = ThreadPool(1)

    def raises() -> None:
        raise error

    async def main() -> tuple[Any, threading.Thread, threading.Thread]:
        before = await job(pool, threading.current_thread)
        await pool.reserve()
        answer = await pool.start(raises).future
        return answer, before, await job(pool, threading.current_thread)

    answer, before, after = run(main())
    assert answer == (None, error)
    assert before is after
    assert after.daemon, "it cannot keep the process alive"
    pool.close()


def test_an_idle_thread_is_used_again() -> None:
    pool = ThreadPool(8)

    async def main() -> set[threading.Thread]:
        return {await job(pool, threading.current_thread) for _ in range(20)}

    assert len(run(main())) == 1
    pool.close()


def test_an_idle_thread_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.01)
    pool = ThreadPool(1)
    thread = run(job(pool, threading.current_thread))
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert run(job(pool, lambda: 7)) == 7


def test_idle_threads_end_when_it_closes_and_it_works_again_after() -> None:
    pool = ThreadPool(1)
    thread = run(job(pool, threading.current_thread))
    pool.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert run(job(pool, lambda: 7)) == 7
    pool.close()


def test_places_are_given_in_the_order_of_asking() -> None:
    pool = ThreadPool(1)

    async def main() -> list[int]:
        order: list[int] = []

        async def waits(number: int) -> None:
            await pool.reserve()
            order.append(number)
            pool.release()

        await pool.reserve()
        waiters = [asyncio.create_task(waits(number)) for number in range(5)]
        await rounds()
        assert order == []
        pool.release()
        latecomer = asyncio.create_task(waits(5))
        await asyncio.gather(*waiters, latecomer)
        return order

    assert run(main()) == [0, 1, 2, 3, 4, 5]
    assert places(pool)["free"] == 1


def test_a_waiter_that_is_cancelled_leaves_the_queue() -> None:
    pool = ThreadPool(1)

    async def main() -> None:
        await pool.reserve()
        first, second = asyncio.create_task(pool.reserve()), asyncio.create_task(pool.reserve())
        await rounds()
        first.cancel()
        await rounds()
        pool.release()
        await second
        assert first.cancelled()
        pool.release()

    run(main())
    assert places(pool)["free"] == 1


@pytest.mark.parametrize("after", [0, 1, 2], ids=["as it is given", "a round later", "two rounds later"])
def test_a_waiter_that_is_cancelled_as_it_gets_its_place_passes_it_on(after: int) -> None:
    pool = ThreadPool(1)

    async def main() -> None:
        await pool.reserve()
        first, second = asyncio.create_task(pool.reserve()), asyncio.create_task(pool.reserve())
        await rounds()
        pool.release()
        await rounds(after)
        first.cancel()
        await asyncio.wait([first])
        if not first.cancelled():
            pool.release()
        await second
        pool.release()

    run(main())
    assert places(pool)["free"] == 1


@settings(max_examples=150, deadline=None)
@given(
    size=st.integers(1, 3),
    users=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.none() | st.integers(0, 8)), max_size=12),
)
def test_no_place_is_lost_or_made_however_waiters_come_and_go(
    size: int, users: list[tuple[int, int, int | None]]
) -> None:
    """Each user comes after some rounds, stays some rounds, and is perhaps cancelled after some rounds."""
    pool = ThreadPool(size)
    inside = peak = 0

    async def user(comes: int, stays: int) -> None:
        nonlocal inside, peak
        await rounds(comes)
        await pool.reserve()
        inside += 1
        peak = max(peak, inside)
        try:
            await rounds(stays)
        finally:
            inside -= 1
            pool.release()

    async def main() -> None:
        tasks = [asyncio.create_task(user(comes, stays)) for comes, stays, _ in users]
        for now in range(9):
            for task, (_, _, cancelled) in zip(tasks, users, strict=True):
                if cancelled == now:
                    task.cancel()
            await asyncio.sleep(0)
        if tasks:
            await asyncio.wait(tasks)

    run(main())
    assert peak <= size
    assert places(pool) == {"busy": 0, "free": size, "abandoned": 0}


@promise("call:deadline/threads", "call:sync")
def test_an_abandoned_thread_is_replaced_counted_and_counted_off_when_it_returns() -> None:
    pool, gate, late = ThreadPool(1), threading.Event(), Late()

    def stuck() -> str:
        gate.wait(PATIENCE)
        return "at last"

    async def main() -> threading.Thread:
        await pool.reserve()
        work = pool.start(stuck)
        assert places(pool) == {"busy": 1, "free": 0, "abandoned": 0}
        work.abandon(late)
        assert places(pool) == {"busy": 0, "free": 1, "abandoned": 1}
        return await job(pool, threading.current_thread)

    replacement = run(main())
    assert late.heard == []
    gate.set()
    late.wait()
    assert late.heard == [("at last", None)]
    assert places(pool) == {"busy": 0, "free": 1, "abandoned": 0}
    assert run(job(pool, threading.current_thread)) is replacement, "the returned thread has ended"
    pool.close()


@promise("call:sync")
def test_past_the_cap_an_abandoned_thread_costs_its_place_until_it_returns() -> None:
    pool, gate, late = ThreadPool(2, abandoned=1), threading.Event(), Late()

    async def main() -> None:
        for _ in range(2):
            await pool.reserve()
            pool.start(lambda: gate.wait(PATIENCE)).abandon(late)
        assert places(pool) == {"busy": 1, "free": 1, "abandoned": 1}
        await pool.reserve()
        pool.start(lambda: gate.wait(PATIENCE)).abandon(late)
        assert places(pool) == {"busy": 2, "free": 0, "abandoned": 1}
        waiting = asyncio.create_task(job(pool, lambda: 7))
        await rounds(20)
        assert not waiting.done()
        assert pool.standing() == Standing(2, busy=2, waiting=1, abandoned=1, lost=2)
        gate.set()
        assert await waiting == 7

    run(main())
    for _ in range(3):
        late.wait()
    assert late.heard == [(True, None)] * 3
    assert pool.standing() == Standing(2, busy=0, waiting=0, abandoned=0, lost=0)
    pool.close()


def test_work_that_ends_as_it_is_abandoned_is_heard_exactly_once() -> None:
    pool, late = ThreadPool(1), Late()

    async def main() -> None:
        await pool.reserve()
        work = pool.start(lambda: 7)
        assert await work.future == (7, None)
        work.abandon(late)

    run(main())
    assert late.heard == [(7, None)]
    assert places(pool) == {"busy": 0, "free": 1, "abandoned": 0}
    pool.close()


def test_an_abandoned_thread_that_raises_is_heard_too() -> None:
    pool, gate, late, error = ThreadPool(1), threading.Event(), Late(), SystemExit(3)

    def stuck() -> None:
        gate.wait(PATIENCE)
        raise error

    async def main() -> None:
        await pool.reserve()
        pool.start(stuck).abandon(late)

    run(main())
    gate.set()
    late.wait()
    assert late.heard == [(None, error)]
    pool.close()


def test_a_result_for_a_loop_that_has_closed_is_dropped_and_the_place_is_not() -> None:
    pool, gate, ended = ThreadPool(1), threading.Event(), threading.Event()

    def stuck() -> None:
        gate.wait(PATIENCE)
        ended.set()

    async def leaves() -> None:
        await pool.reserve()
        pool.start(stuck)

    run(leaves())
    gate.set()
    assert ended.wait(PATIENCE)
    assert run(job(pool, lambda: 7)) == 7
    pool.close()


def test_loops_in_two_threads_share_the_places() -> None:
    pool, lock = ThreadPool(3), threading.Lock()
    at_work = peak = 0

    def works() -> None:
        nonlocal at_work, peak
        with lock:
            at_work += 1
            peak = max(peak, at_work)
        with lock:
            at_work -= 1

    async def main() -> None:
        await asyncio.gather(*(job(pool, works) for _ in range(100)))

    threads = [threading.Thread(target=run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert 1 <= peak <= 3
    assert places(pool) == {"busy": 0, "free": 3, "abandoned": 0}
    pool.close()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_function_that_waits_for_the_pool_lends_its_place(depth: int) -> None:
    pool = ThreadPool(1)

    def nested(left: int) -> int:
        if left == 0:
            return 0
        with pool.lend():
            return 1 + asyncio.run(job(pool, lambda: nested(left - 1)))

    assert run(job(pool, lambda: nested(depth))) == depth
    assert places(pool) == {"busy": 0, "free": 1, "abandoned": 0}
    pool.close()


def test_a_place_that_was_lent_is_taken_back_when_waiting_fails() -> None:
    pool = ThreadPool(1)

    def fails() -> None:
        with pool.lend():
            raise LookupError

    with pytest.raises(LookupError):
        run(job(pool, fails))
    assert places(pool) == {"busy": 0, "free": 1, "abandoned": 0}
    pool.close()


def test_only_a_thread_of_this_pool_lends_a_place() -> None:
    pool, other = ThreadPool(1), ThreadPool(1)

    def lends(which: ThreadPool) -> int:
        with which.lend():
            return places(which)["free"]

    assert lends(pool) == 1, "no thread of a pool"
    assert run(job(other, lambda: lends(pool))) == 1, "a thread of another pool"
    assert run(job(pool, lambda: lends(pool))) == 1, "its own"
    assert run(job(pool, lambda: places(pool)["free"])) == 0
    pool.close()
    other.close()


def test_a_thread_that_cannot_be_started_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = ThreadPool(1)

    async def main() -> int:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more)
            with pytest.raises(RuntimeError, match="can't start"):
                await job(pool, lambda: 7)
        await asyncio.sleep(60)  # simulated time moves: nothing is held
        return await job(pool, lambda: 7)

    assert run_virtual(main()) == 7
    assert places(pool) == {"busy": 0, "free": 1, "abandoned": 0}
    pool.close()


def test_simulated_time_stands_still_while_a_thread_is_at_work() -> None:
    pool, gate = ThreadPool(1), threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        timer = loop.call_later(1000, lambda: None)
        threading.Timer(0.02, gate.set).start()
        await job(pool, lambda: gate.wait(PATIENCE))
        timer.cancel()
        return loop.time() - started

    assert run_virtual(main()) == 0
    pool.close()


@promise("call:deadline/threads")
@pytest.mark.parametrize(
    ("cap", "calls"), [(1, 1), (0, 1), (0, 5)], ids=["replaced", "lost", "others wait for its place"]
)
def test_a_deadline_holds_for_a_function_that_never_returns(cap: int, calls: int) -> None:
    pool, gate, late = ThreadPool(1, abandoned=cap), threading.Event(), Late()

    async def tool() -> Any:
        await pool.reserve()
        work = pool.start(lambda: gate.wait(PATIENCE))
        try:
            return await work.future
        except asyncio.CancelledError:
            work.abandon(late)
            raise

    async def main() -> list[Any]:
        ended = await asyncio.gather(*(drive(tool(), seconds=0.02) for _ in range(calls)))
        assert places(pool)["free"] == cap
        return ended

    assert run(main()) == [TimedOut(False)] * calls
    gate.set()
    late.wait()
    assert late.heard == [(True, None)]
    assert places(pool) == {"busy": 0, "free": 1, "abandoned": 0}
    pool.close()
