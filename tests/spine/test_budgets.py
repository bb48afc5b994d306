"""Budgets: calls of a session or a principal's day are reserved before a batch, exact over runs, rails, processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.promises import promise
from tests.spine.helpers import BrokenStore, call, codes, rail_of, said, settled
from toolrail import DefinitionError, Principal, Rail, RunLimits, ToolCall, ToolResult, tool
from toolrail.budgets import DAY, Account
from toolrail.events import BudgetNear
from toolrail.limits import Budget, Budgets
from toolrail.store import Op, Spend
from toolrail.stores.memory import MemoryStore
from toolrail.testing import FixedClock, run_virtual

ALICE, BOB = Principal("alice"), Principal("bob")


class Counted:
    """Two tools that count how often they ran."""

    def __init__(self) -> None:
        self.ran = 0

    @tool(effect="read")
    async def look(self, n: int = 0) -> str:
        """Looks."""
        self.ran += 1
        await asyncio.sleep(0.1)
        return f"{n}"

    @tool(effect="read")
    async def find(self, n: int = 0) -> str:
        """Finds."""
        self.ran += 1
        return f"{n}"


def budgeted(budgets: Budgets, **ports: Any) -> tuple[Rail[Any], Counted, Any]:
    counted = Counted()
    rail, recorder = rail_of(counted.look, counted.find, budgets=budgets, **ports)
    return rail, counted, recorder


def looks(count: int, *, name: str = "look") -> list[ToolCall]:
    return [call(name, {"n": n}) for n in range(count)]


async def batch_of(
    rail: Rail[Any],
    calls: Sequence[ToolCall],
    *,
    principal: Principal = ALICE,
    session: str | None = None,
    limits: RunLimits | None = None,
) -> list[ToolResult]:
    async with rail.run([], principal=principal, session=session, limits=limits) as run:
        return await rail.batch(calls, run)


def day(calls: int | None = None, **budget: Any) -> Budgets:
    return Budgets(principal_day=Budget(calls=calls, **budget))


@promise("auth:limits", "loop:limits/calls")
def test_two_hundred_runs_at_once_share_a_budget_of_fifty_calls_exactly() -> None:
    rail, counted, _ = budgeted(day(50))

    async def main() -> list[list[ToolResult]]:
        return await asyncio.gather(*(batch_of(rail, looks(2)) for _ in range(200)))

    results = run_virtual(main())
    assert counted.ran == 50
    assert sorted(code for batch in results for code in codes(batch)) == ["LIMIT_REACHED"] * 350 + ["ok"] * 50


@promise("auth:limits")
def test_two_rails_on_one_file_share_a_budget(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rail.db"
    first, one, _ = budgeted(day(30), store=url)
    second, two, _ = budgeted(day(30), store=url)

    async def main() -> None:
        async with first, second:
            await asyncio.gather(*(batch_of(rail, looks(3)) for rail in (first, second) for _ in range(20)))

    asyncio.run(main())
    assert one.ran + two.ran == 30


@promise("auth:limits")
def test_what_fits_of_a_batch_runs_in_the_models_order_and_the_rest_is_told_which_limit() -> None:
    rail, counted, _ = budgeted(day(3))
    results = run_virtual(batch_of(rail, looks(5)))
    assert codes(results) == ["ok"] * 3 + ["LIMIT_REACHED"] * 2
    assert counted.ran == 3
    assert said(results[4])["error"] == (
        "The limit of 3 calls for this user today is reached. Answer with what you have."
    )


@promise("auth:limits")
def test_principals_tenants_and_sessions_have_budgets_of_their_own() -> None:
    rail, _, _ = budgeted(Budgets(session=Budget(calls=2), principal_day=Budget(calls=3)))

    async def main() -> list[list[str]]:
        went = [
            await batch_of(rail, looks(3), session="s"),
            await batch_of(rail, looks(3), session="t"),
            await batch_of(rail, looks(3), principal=BOB, session="s"),
            await batch_of(rail, looks(3), principal=BOB),
            await batch_of(rail, looks(3), principal=Principal("alice", tenant="other"), session="s"),
        ]
        return [codes(one) for one in went]

    ok, over = "ok", "LIMIT_REACHED"
    assert run_virtual(main()) == [[ok, ok, over], [ok, over, over], [over] * 3, [ok, ok, over], [ok, ok, over]]


@promise("auth:limits")
def test_what_a_stricter_budget_refuses_is_given_back_to_the_others() -> None:
    rail, _, _ = budgeted(Budgets(session=Budget(calls=4), principal_day=Budget(calls=10, calls_per_tool={"look": 2})))

    async def main() -> list[list[str]]:
        calls = [*looks(3), *looks(1, name="find"), *looks(3)]
        first = await batch_of(rail, calls, session="s")
        second = await batch_of(rail, looks(2, name="find"), session="s")
        third = await batch_of(rail, looks(9, name="find"), session="t")
        fourth = await batch_of(rail, looks(9, name="find"), session="u")
        return [codes(one) for one in (first, second, third, fourth)]

    ok, over = "ok", "LIMIT_REACHED"
    assert run_virtual(main()) == [
        [ok, ok, over, ok, over, over, over],
        [ok, over],
        [ok] * 4 + [over] * 5,
        [ok] * 2 + [over] * 7,
    ]


@promise("auth:limits", "call:total")
@given(
    tools=st.lists(st.sampled_from(["look", "find"]), max_size=12),
    total=st.integers(1, 6) | st.none(),
    per_tool=st.integers(1, 4) | st.none(),
    shared=st.integers(1, 8),
    cuts=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_reservation_is_exact_in_the_models_order(
    tools: list[str], total: int | None, per_tool: int | None, shared: int, cuts: int
) -> None:
    """A call runs exactly when every limit, run's own and shared, has room for it after those before it."""
    rail, counted, _ = budgeted(day(shared, calls_per_tool=per_tool))

    async def main() -> list[str]:
        found: list[str] = []
        async with rail.run([], principal=ALICE, limits=RunLimits(calls=total)) as run:
            for at in range(0, len(tools), cuts):
                calls = [call(name, {"n": at + n}) for n, name in enumerate(tools[at : at + cuts])]
                found += codes(await rail.batch(calls, run))
        return found

    expected: list[str] = []
    own, granted, of_tool = 0, 0, {"look": 0, "find": 0}
    for name in tools:
        room = total is None or own < total
        own += room
        room = room and granted < shared and (per_tool is None or of_tool[name] < per_tool)
        granted += room
        of_tool[name] += room
        expected.append("ok" if room else "LIMIT_REACHED")
    assert run_virtual(main()) == expected
    assert counted.ran == granted


@promise("auth:limits")
def test_a_new_day_begins_at_midnight_utc() -> None:
    rail, _, _ = budgeted(day(2), clock=FixedClock(wall=20_000 * DAY - 1_000 - 10))

    async def main() -> list[list[str]]:
        async with rail.run([], principal=ALICE) as run:
            before = codes(await rail.batch(looks(3), run))
            await asyncio.sleep(9.8)
            still = codes(await rail.batch(looks(1), run))
            await asyncio.sleep(0.2)
            return [before, still, codes(await rail.batch(looks(3), run))]

    ok, over = "ok", "LIMIT_REACHED"
    assert run_virtual(main()) == [[ok, ok, over], [over], [ok, ok, over]]


@promise("auth:limits", "call:total")
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_store_that_cannot_be_asked_allows_nothing(trouble: Any) -> None:
    rail, counted, recorder = budgeted(day(5), store=BrokenStore(Spend, trouble))
    results = run_virtual(batch_of(rail, looks(3)))
    assert codes(results) == ["STORE_UNAVAILABLE"] * 3
    assert (counted.ran, len(settled(recorder))) == (0, 3)


class SlowStore(MemoryStore):
    """Takes a second to count, and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.transactions: list[tuple[Op, ...]] = []

    async def apply(self, *ops: Op) -> list[Any]:
        if any(isinstance(op, Spend) for op in ops):
            self.transactions.append(ops)
            await asyncio.sleep(1.0)
        return await super().apply(*ops)


@promise("auth:limits", "call:cancel")
@pytest.mark.parametrize("moment", [0.5, 1.5], ids=["reserving", "giving back"])
def test_a_cancellation_before_the_calls_begin_starts_nothing_and_gives_all_back(moment: float) -> None:
    rail, counted, recorder = budgeted(day(3, calls_per_tool=2), store=SlowStore())

    async def main() -> list[str]:
        async with rail.run([], principal=ALICE) as run:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(moment):
                    await rail.batch(looks(3), run)
            await asyncio.sleep(3.0)
            assert [event.code for event in settled(recorder)] == ["CANCELLED"] * 3
            assert counted.ran == 0
            return codes(await rail.batch([*looks(3), *looks(2, name="find")], run))

    assert run_virtual(main()) == ["ok", "ok", "LIMIT_REACHED", "ok", "LIMIT_REACHED"]


class Moody(MemoryStore):
    """Counts, and gives nothing back."""

    async def apply(self, *ops: Op) -> list[Any]:
        if any(isinstance(op, Spend) and op.amount < 0 for op in ops):
            raise ConnectionError("gone")
        return await super().apply(*ops)


@promise("auth:limits")
def test_what_cannot_be_given_back_stays_spent_and_the_calls_run() -> None:
    rail, counted, _ = budgeted(day(4, calls_per_tool=1), store=Moody())

    async def main() -> list[str]:
        calls = [*looks(3), *looks(2, name="find")]
        return [code for at in (0, 3) for code in codes(await batch_of(rail, calls[at : at + 3]))]

    assert run_virtual(main()) == ["ok", "LIMIT_REACHED", "LIMIT_REACHED", "ok", "LIMIT_REACHED"]
    assert counted.ran == 2


class Ticking(FixedClock):
    """Goes on a little with each look, as a real clock does."""

    def wall(self) -> float:
        self._wall += 0.001
        return super().wall()


@promise("auth:limits")
def test_a_clock_that_goes_on_makes_no_second_counter() -> None:
    store = SlowStore()
    rail, _, _ = budgeted(Budgets(session=Budget(calls=5)), store=store, clock=Ticking())
    results = run_virtual(batch_of(rail, looks(4)))
    assert [len(ops) for ops in store.transactions] == [1]
    assert results[-1].content == "3\n\n1 of 5 calls is left in this session."


@promise("auth:limits", "call:cancel")
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_cancellation_while_the_store_fails_is_a_cancellation(trouble: Any) -> None:
    class Late(BrokenStore):
        async def apply(self, *ops: Op) -> list[Any]:
            if any(isinstance(op, Spend) for op in ops):
                await asyncio.sleep(1.0)
            return await super().apply(*ops)

    rail, counted, recorder = budgeted(day(3), store=Late(Spend, trouble))

    async def main() -> None:
        async with rail.run([], principal=ALICE) as run:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await rail.batch(looks(3), run)

    run_virtual(main())
    assert [event.code for event in settled(recorder)] == ["CANCELLED"] * 3
    assert counted.ran == 0


@promise("auth:limits")
def test_all_budgets_of_a_batch_are_one_transaction() -> None:
    store = SlowStore()
    budgets = Budgets(session=Budget(calls=9, calls_per_tool=9), principal_day=Budget(calls=9, calls_per_tool=9))
    rail, _, _ = budgeted(budgets, store=store)
    run_virtual(batch_of(rail, [*looks(2), *looks(1, name="find")]))
    assert [[op.amount for op in ops if isinstance(op, Spend)] for ops in store.transactions] == [[3, 2, 3, 2, 1, 1]]


@promise("auth:limits")
def test_calls_that_cannot_run_anyway_take_nothing() -> None:
    store = SlowStore()
    rail, _, _ = budgeted(day(9, calls_per_tool=9), store=store)

    async def main() -> None:
        async with rail.run([], principal=ALICE, limits=RunLimits(calls=1)) as run:
            await rail.batch(looks(2), run, truncated=True)
            await rail.batch(looks(2), run)

    run_virtual(main())
    assert store.transactions == []


@promise("auth:limits")
def test_a_name_that_a_model_made_up_opens_no_counter_of_its_own() -> None:
    store = SlowStore()
    rail, _, _ = budgeted(day(9, calls_per_tool=9), store=store)
    assert codes(run_virtual(batch_of(rail, [call("made_up")]))) == ["UNKNOWN_TOOL"]
    assert [len(ops) for ops in store.transactions] == [1]


@promise("loop:limits/calls", "auth:limits")
@pytest.mark.parametrize(
    ("budgets", "limits", "words", "label"),
    [
        (None, RunLimits(calls=20), "2 of 20 calls are left in this run.", "run:calls"),
        (None, RunLimits(calls=19), "1 of 19 calls is left in this run.", "run:calls"),
        (None, RunLimits(calls=18), "0 of 18 calls are left in this run.", "run:calls"),
        (None, RunLimits(calls_per_tool=20), "2 of 20 calls of look are left in this run.", "run:calls of look"),
        (day(20), None, "2 of 20 calls are left for this user today.", "principal_day:calls"),
        (
            Budgets(session=Budget(calls_per_tool=20)),
            None,
            "2 of 20 calls of look are left in this session.",
            "session:calls of look",
        ),
    ],
)
def test_the_model_is_told_what_is_left_when_it_is_nearly_spent(
    budgets: Any, limits: Any, words: str, label: str
) -> None:
    rail, recorder = rail_of(Counted().look, budgets=budgets)

    async def main() -> list[list[ToolResult]]:
        async with rail.run([], principal=ALICE, limits=limits, session="s") as run:
            return [await rail.batch(looks(18)[at : at + 3], run) for at in range(0, 18, 3)]

    results = [one.content for batch in run_virtual(main()) for one in batch]
    assert results[:12] == [str(n) for n in range(12)]
    assert results[15:] == ["15", "16", f"17\n\n{words}"]
    assert [event.budget for event in recorder.of(BudgetNear)] == [label]


@promise("auth:limits")
@pytest.mark.parametrize(("budgets", "limits"), [(day(20), None), (None, RunLimits(calls=20))])
def test_passing_four_fifths_is_an_event_once(budgets: Budgets | None, limits: RunLimits | None) -> None:
    rail, recorder = rail_of(Counted().look, budgets=budgets)

    async def main() -> None:
        async with rail.run([], principal=ALICE, limits=limits) as run:
            for _ in range(8):
                await rail.batch(looks(3), run)

    run_virtual(main())
    ((_, label, left),) = recorder.of(BudgetNear)
    assert (label.endswith(":calls"), left) == (True, 2.0)


@promise("auth:limits")
def test_a_refusal_is_told_in_its_own_form() -> None:
    rail, _, _ = budgeted(day(4, calls_per_tool=2))
    results = run_virtual(batch_of(rail, [*looks(3), call("find", '{"n": "x"}')]))
    assert said(results[3])["note"] == "0 of 2 calls of look are left for this user today."
    assert said(results[3])["code"] == "INVALID_ARGUMENTS"


@promise("auth:limits")
def test_a_rail_without_budgets_keeps_no_account() -> None:
    rail, _ = rail_of(Counted().look)

    async def main() -> list[Account | None]:
        found: list[Account | None] = []
        for limits in (None, RunLimits(turns=3), RunLimits(calls=1)):
            async with rail.run([], limits=limits) as run:
                found.append(run.account)
        return found

    assert [account is None for account in run_virtual(main())] == [True, True, False]


@promise("auth:limits")
@pytest.mark.parametrize(
    "wrong",
    [{"calls": 0}, {"tokens": -1}, {"calls_per_tool": 0}, {"calls_per_tool": {"look": 0}}, {"money": Decimal(0)}],
)
def test_a_budget_that_allows_nothing_is_an_error_at_start_up(wrong: dict[str, Any]) -> None:
    for budgets in (Budgets(session=Budget(**wrong)), Budgets(principal_day=Budget(**wrong))):
        with pytest.raises(DefinitionError, match="TR301 Budget"):
            budgeted(budgets)


@promise("auth:limits")
def test_money_is_a_decimal() -> None:
    half: Any = 0.5
    with pytest.raises(DefinitionError, match=r"TR301 RunLimits.*Decimal\(\"0.5\"\)"):
        RunLimits(money=half)
    with pytest.raises(DefinitionError, match=r"TR301 Budget.*Decimal\(\"0.5\"\)"):
        budgeted(Budgets(session=Budget(money=half)))
