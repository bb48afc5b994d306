"""Sync handlers: threads of our own, deadlines that hold there too, and what an abandoned one may still do."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.pools import places
from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, in_run, rail_of, really, said, settled, virtually
from toolrail.background import BackgroundLoop
from toolrail.context import RunContext
from toolrail.definition import tool
from toolrail.effects import Happened, Verdict, WillNotHappen, once, verified
from toolrail.errors import ToolError
from toolrail.events import OutcomeSettled
from toolrail.limits import CallLimits, RailLimits
from toolrail.messages import ToolResult
from toolrail.pool import ThreadPool
from toolrail.rail import Rail
from toolrail.store import OpenCalls, ask
from toolrail.stores.sqlite import SQLiteStore

SHORT = 0.05


@pytest.fixture
def gate() -> Generator[threading.Event]:
    """What hanging threads wait for; it opens at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


async def _until(holds: Callable[[], bool]) -> None:
    """Waits for something that a thread does."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  a thread cannot set an event of the loop's
            await asyncio.sleep(0.001)


@promise("call:sync")
def test_a_sync_handler_runs_off_the_loop_with_the_callers_context_variables() -> None:
    user = contextvars.ContextVar("user", default="nobody")

    @tool(effect="read")
    def who() -> list[Any]:
        """Says who and where."""
        return [user.get(), threading.current_thread() is not threading.main_thread()]

    rail, _ = rail_of(who)
    user.set("alice")
    (result,) = virtually(rail, [call("who")])
    assert result.content == '["alice",true]'


@promise("call:sync")
def test_a_context_variable_set_by_one_handler_is_not_seen_by_the_next() -> None:
    mark = contextvars.ContextVar("mark", default=0)

    @tool(effect="read")
    def bump() -> int:
        """Counts in its own context."""
        mark.set(mark.get() + 1)
        return mark.get()

    rail, _ = rail_of(bump, limits=RailLimits(threads=1))
    results = virtually(rail, [call("bump")] * 5)
    assert [r.content for r in results] == ["1"] * 5


@promise("call:sync")
def test_a_hundred_blocking_handlers_share_the_pool_and_all_are_answered() -> None:
    lock, now, most = threading.Lock(), [0], [0]
    all_busy = threading.Barrier(4)

    @tool(effect="read")
    def block(n: int) -> int:
        """Blocks until the pool is full."""
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        all_busy.wait(5)
        with lock:
            now[0] -= 1
        return n

    rail, _ = rail_of(block, limits=RailLimits(threads=4))
    results = virtually(rail, [call("block", {"n": n}) for n in range(100)])
    assert [r.content for r in results] == [str(n) for n in range(100)]
    assert most == [4]


@promise("call:sync")
def test_the_loop_goes_on_while_threads_block(gate: threading.Event) -> None:
    @tool(effect="read")
    def block() -> str:
        """Blocks until an async sibling opens the gate."""
        return "opened" if gate.wait(5) else "starved"

    @tool(effect="read")
    async def open_gate() -> str:
        """Opens it."""
        gate.set()
        return "open"

    rail, _ = rail_of(block, open_gate, limits=RailLimits(threads=8))
    results = virtually(rail, [*[call("block")] * 8, call("open_gate")])
    assert [r.content for r in results] == ["opened"] * 8 + ["open"]


@promise("call:sync", "call:deadline/threads")
def test_hanging_threads_are_replaced_counted_and_come_back(gate: threading.Event) -> None:
    @tool(effect="read", timeout=SHORT)
    def hang() -> None:
        """Hangs."""
        gate.wait(10)

    @tool(effect="read")
    def work() -> str:
        """Works."""
        return "done"

    pool = ThreadPool(2, abandoned=64)
    rail, _ = rail_of(hang, work, pool=pool)

    async def main() -> None:
        results = await rail.batch([call("hang"), call("hang"), *[call("work")] * 20])
        assert codes(results) == ["TIMEOUT"] * 2 + ["ok"] * 20
        assert places(pool) == {"busy": 0, "free": 2, "abandoned": 2}
        gate.set()
        await _until(lambda: not places(pool)["abandoned"])
        assert places(pool) == {"busy": 0, "free": 2, "abandoned": 0}

    asyncio.run(main())


@promise("call:sync", "call:deadline/threads")
def test_when_all_threads_are_lost_a_call_is_answered_at_its_deadline_and_was_not_started(
    gate: threading.Event,
) -> None:
    @tool(effect="read", timeout=SHORT)
    def hang() -> None:
        """Hangs."""
        gate.wait(10)

    pool = ThreadPool(1, abandoned=0)
    rail, recorder = rail_of(hang, pool=pool)

    async def main() -> list[ToolResult]:
        return [*await rail.batch([call("hang")]), *await rail.batch([call("hang")])]

    results = asyncio.run(main())
    assert codes(results) == ["TIMEOUT", "TIMEOUT"]
    assert [r.started for r in results] == [True, False]
    assert [event.started for event in settled(recorder)] == [True, False]


@promise("call:deadline/threads")
@pytest.mark.parametrize(("effect", "code"), [("read", "TIMEOUT"), ("once", "OUTCOME_UNKNOWN")])
def test_a_hanging_thread_is_answered_at_its_deadline(effect: Any, code: str, gate: threading.Event) -> None:
    @tool(effect=effect, timeout=SHORT)
    def hang() -> None:
        """Hangs."""
        gate.wait(10)

    rail, _ = rail_of(hang)
    assert codes(really(rail, [call("hang")])) == [code]


@promise("call:deadline/threads")
def test_a_thread_is_told_that_nobody_waits_and_the_next_attempt_starts_afresh(gate: threading.Event) -> None:
    seen: list[tuple[int, bool]] = []

    @tool(effect="read", limits=CallLimits(timeout=10.0, attempt_timeout=SHORT))
    def look(ctx: RunContext[Any]) -> str:
        """Hangs the first time, until it is told."""
        seen.append((ctx.attempt, ctx.cancelled))
        while ctx.attempt == 1 and not ctx.cancelled:
            time.sleep(0.001)
        if ctx.attempt == 1:
            gate.set()
        return f"attempt {ctx.attempt}"

    rail, _ = rail_of(look)
    (result,) = really(rail, [call("look")])
    assert result.content == "attempt 2"
    assert gate.wait(5)
    assert seen == [(1, False), (2, False)]


@promise("call:deadline/threads", "call:retry")
def test_an_effect_cannot_begin_after_the_model_was_told_that_nothing_happened(gate: threading.Event) -> None:
    effects: list[str] = []
    refused = threading.Event()

    @tool(effect=once(marked=True), timeout=SHORT)
    def pay(ctx: RunContext[Any]) -> None:
        """Prepares too long, then would pay."""
        gate.wait(10)
        try:
            ctx.begin_effect()
        except Exception:
            refused.set()
            raise
        effects.append("paid")

    rail, _ = rail_of(pay)
    (result,) = really(rail, [call("pay")])
    assert (result.status, codes([result])) == ("error", ["TIMEOUT"])
    gate.set()
    assert refused.wait(5)
    assert not effects


@promise("call:sync", "call:deadline/threads")
def test_a_late_return_settles_the_ledger_and_is_an_event(gate: threading.Event) -> None:
    @tool(effect=once(by="invoice"), timeout=SHORT)
    def pay(invoice: str) -> str:
        """Pays, late."""
        gate.wait(10)
        return f"paid {invoice}"

    rail, recorder = rail_of(pay)

    async def main() -> list[ToolResult]:
        async with rail.run([], principal=ALICE) as run:
            first = await rail.batch([call("pay", {"invoice": "A1"})], run)
            run.messages.append({"role": "user", "content": "again"})
            again = await rail.batch([call("pay", {"invoice": "A1"})], run)
            gate.set()
            await _until(lambda: bool(recorder.of(OutcomeSettled)))
            run.messages.append({"role": "user", "content": "and again"})
            last = await rail.batch([call("pay", {"invoice": "A1"})], run)
            return [*first, *again, *last]

    results = asyncio.run(main())
    assert [r.status for r in results] == ["unknown", "unknown", "ok"]
    since = "Since then: the earlier call call-pay of pay, whose outcome was not known, has taken effect."
    assert results[2].content == f"paid A1\n\n{since}"
    assert results[2].replayed
    assert [(e.status, e.how) for e in recorder.of(OutcomeSettled)] == [("ok", "late")]


@promise("effect:once", "effect:unknown", "call:deadline/threads")
def test_while_a_thread_of_a_call_is_at_work_the_other_side_is_not_asked_whether_it_will_happen(
    gate: threading.Event,
) -> None:
    paid: list[str] = []

    async def ask_bank(_: RunContext[object], arguments: Any) -> Verdict:
        return Happened("paid before") if arguments["invoice"] in paid else WillNotHappen()

    @tool(effect=verified(ask_bank, by="invoice"), timeout=SHORT)
    def pay(invoice: str) -> str:
        """Pays, late."""
        gate.wait(10)
        paid.append(invoice)
        return f"paid {invoice}"

    rail, recorder = rail_of(pay)

    async def main() -> list[ToolResult]:
        async with rail.run([], principal=ALICE) as run:
            found: list[ToolResult] = []
            for turn in range(3):
                run.messages.append({"role": "user", "content": "pay"})
                found.extend(await rail.batch([call("pay", {"invoice": "A1"})], run))
                if turn == 1:
                    gate.set()
                    await _until(lambda: bool(recorder.of(OutcomeSettled)))
            return found

    results = asyncio.run(main())
    assert [r.status for r in results] == ["unknown", "unknown", "ok"]
    assert "abandoned" in results[0].flags
    assert paid == ["A1"]
    assert not rail.ports.work.adrift


@promise("call:sync", "call:deadline/threads", "effect:unknown")
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "says that nothing happened"])
def test_a_late_end_is_told_to_the_model_with_the_last_result_of_the_next_turn_once(
    gate: threading.Event, fails: bool, tmp_path: Path
) -> None:
    @tool(effect=once(by="invoice"), timeout=SHORT)
    def pay(invoice: str) -> str:
        """Pays, late."""
        gate.wait(10)
        if fails:
            raise ToolError("refused", nothing_happened=True)
        return f"paid {invoice}"

    @tool(effect="read")
    async def look(at: str) -> str:
        """Looks."""
        return f"seen {at}"

    store = SQLiteStore(tmp_path / "rail.db")
    rail, recorder = rail_of(pay, look, store=store)
    looks = [call("look", {"at": "a"}), call("look", {"at": "b"})]

    async def main() -> list[list[ToolResult]]:
        async with rail, rail.run([], principal=ALICE) as run:
            first = await rail.batch([call("pay", {"invoice": "A1"}, id="c1")], run)
            assert [row.state for row in await ask(store, OpenCalls())] == ["unknown"]
            gate.set()
            await _until(lambda: bool(recorder.of(OutcomeSettled)))
            turns = [first, await rail.batch(looks, run), await rail.batch(looks, run)]
            await rail.drain(5)
            assert await ask(store, OpenCalls()) == ()
            return turns

    (unknown,), then, later = asyncio.run(main())
    assert unknown.status == "unknown"
    what = "did nothing" if fails else "has taken effect"
    line = f"Since then: the earlier call c1 of pay, whose outcome was not known, {what}."
    assert [r.content for r in then] == ["seen a", f"seen b\n\n{line}"]
    assert [r.content for r in later] == ["seen a", "seen b"]


@promise("call:sync", "call:deadline/threads")
def test_a_late_end_of_the_same_turn_is_told_beside_the_error(gate: threading.Event) -> None:
    @tool(effect=once(by="invoice"), timeout=SHORT)
    def pay(invoice: str) -> str:
        """Pays, late."""
        gate.wait(10)
        return "paid"

    @tool(effect="read")
    async def wait() -> str:
        """Waits until the payment has returned after all."""
        await _until(lambda: bool(settled(recorder)))
        gate.set()
        await _until(lambda: bool(recorder.of(OutcomeSettled)))
        raise ToolError("no")

    rail, recorder = rail_of(pay, wait)
    unknown, error = really(rail, [call("pay", {"invoice": "A1"}, id="c1"), call("wait")], principal=ALICE)
    assert unknown.status == "unknown"
    assert said(error) == {
        "error": "no",
        "code": "TOOL_ERROR",
        "since": "Since then: the earlier call c1 of pay, whose outcome was not known, has taken effect.",
    }


@promise("call:sync", "call:encode")
def test_a_late_value_that_cannot_be_encoded_is_settled_all_the_same(gate: threading.Event) -> None:
    class Hostile:
        @property
        def __class__(self) -> Any:  # type: ignore[override]
            raise RuntimeError("no")

    @tool(effect=once(by="invoice"), timeout=SHORT)
    def pay(invoice: str) -> Any:
        """Pays, late."""
        gate.wait(10)
        return Hostile()

    rail, recorder = rail_of(pay)

    async def main() -> ToolResult:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: pytest.fail(str(context)))
        async with rail.run([], principal=ALICE) as run:
            await rail.batch([call("pay", {"invoice": "A1"})], run)
            gate.set()
            await _until(lambda: bool(recorder.of(OutcomeSettled)))
            run.messages.append({"role": "user", "content": "again"})
            return (await rail.batch([call("pay", {"invoice": "A1"})], run))[0]

    result = asyncio.run(main())
    assert (result.status, result.flags) == ("ok", ("unencodable",))


@promise("call:sync")
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_sync_handlers_may_call_the_rail_again_even_in_a_pool_of_one(depth: int) -> None:
    background = BackgroundLoop()

    @tool(effect="read")
    def nest(left: int) -> str:
        """Calls itself through the rail."""
        if left == 0:
            return "bottom"
        work = rail.batch([call("nest", {"left": left - 1})])
        (inner,) = background.run(work, lending=rail.ports.pool.lend())
        return f"{left}>{inner.content}"

    rail: Rail[Any] = Rail([nest], sinks=[], limits=RailLimits(threads=1))
    results = background.run(in_run(rail, [call("nest", {"left": depth})]))
    assert results[0].content.endswith("bottom")
    assert places(rail.ports.pool)["busy"] == 0  # type: ignore[attr-defined]


@promise("call:deadline/threads")
def test_a_sync_handler_that_returns_a_coroutine_has_it_awaited_within_the_deadline() -> None:
    async def inner(n: int) -> str:
        await asyncio.sleep(n)
        return "awaited"

    @tool(effect="read", timeout=5.0)
    def wait(n: int) -> Any:
        """Only makes the coroutine."""
        return inner(n)

    rail, _ = rail_of(wait)
    results = virtually(rail, [call("wait", {"n": 1}), call("wait", {"n": 60})])
    assert codes(results) == ["ok", "TIMEOUT"]
