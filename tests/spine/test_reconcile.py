"""reconcile: unknown outcomes are settled by the tools' own verifiers, by a hook, or stay for a person."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, rail_of
from toolrail.context import RunContext
from toolrail.decisions import Principal
from toolrail.definition import Tool, tool
from toolrail.effects import Effect, Happened, Unclear, Verdict, WillNotHappen, once, transactional, verified
from toolrail.events import OutcomeSettled
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.reconcile import Reconciled
from toolrail.run import Run
from toolrail.store import CallRow, FindCall, OpenCalls, Settle, ask
from toolrail.stores.memory import MemoryStore
from toolrail.stores.sqlite import SQLiteStore
from toolrail.testing import FixedClock, run_virtual

A1 = call("pay", {"invoice": "A1"})
Ctx = RunContext[Any]


class Bank:
    """Loses its connection at the first payment, and says afterwards what it is told to say."""

    def __init__(self, effect: Any = None, *, says: Any = None, settle_after: float = 0.0) -> None:
        self.asked: list[tuple[str, Any, Any, str]] = []
        self.paid = 0
        self.says = says

        async def ask_bank(ctx: Ctx, args: Any) -> Verdict:
            self.asked.append((ctx.idempotency_key, args, ctx.deps, ctx.principal.id))
            if isinstance(self.says, Exception):
                raise self.says
            return self.says

        @tool(effect=effect or verified(ask_bank, by="invoice", settle_after=settle_after), timeout=5.0)
        async def pay(ctx: Ctx, invoice: str, amount: int = 5) -> str:
            """Pays."""
            self.paid += 1
            if self.paid == 1:
                await asyncio.sleep(3_600)
            return f"paid {invoice}"

        self.pay: Tool[Any] = pay


async def _turn(rail: Rail[Any], run: Run[Any]) -> ToolResult:
    run.messages.append({"role": "assistant"})
    return (await rail.batch([A1], run))[0]


def around(
    rail: Rail[Any], hook: Any = None, *, wait: float = 0.0, **options: Any
) -> tuple[ToolResult, Reconciled, ToolResult]:
    """A payment whose outcome is unknown, a round, and the same payment again."""

    async def main() -> tuple[ToolResult, Reconciled, ToolResult]:
        async with rail.run([], principal=ALICE, deps="the bank") as run:
            first = await _turn(rail, run)
            await asyncio.sleep(wait)
            report = await rail.reconcile(hook, deps="the bank", **options)
            return first, report, await _turn(rail, run)

    return run_virtual(main())


HAPPENED, NOTHING, NOBODY_KNOWS = Happened("paid before"), WillNotHappen(), Unclear()


@promise("effect:unknown")
@pytest.mark.parametrize(
    ("says", "report", "again"),
    [
        (HAPPENED, Reconciled(1, 1, 0), ("ok", "paid before", True)),
        (NOTHING, Reconciled(1, 1, 0), ("ok", "paid A1", False)),
    ],
    ids=["happened", "did not"],
)
def test_a_verifier_is_asked_under_the_old_key_with_the_old_arguments(
    says: Any, report: Reconciled, again: Any
) -> None:
    bank = Bank(says=NOBODY_KNOWS)
    rail, recorder = rail_of(bank.pay)

    async def main() -> tuple[Reconciled, ToolResult]:
        async with rail.run([], principal=ALICE, deps="the bank") as run:
            assert (await _turn(rail, run)).status == "unknown"
            (row,) = await ask(rail.ports.store, OpenCalls())
            bank.asked.clear()
            bank.says = says
            found = await rail.reconcile(deps="the bank", principal_for=lambda id, tenant: Principal(f"{id}@{tenant}"))
            ((key, args, deps, who),) = bank.asked
            assert (key, args, deps) == (row.idempotency_key, {"invoice": "A1", "amount": 5}, "the bank")
            assert who == "alice@default"
            return found, await _turn(rail, run)

    found, second = run_virtual(main())
    assert found == report
    assert (second.status, second.content, second.replayed) == again
    assert [event.how for event in recorder.of(OutcomeSettled)] == ["verify"]


@promise("effect:unknown")
def test_a_verifier_is_not_asked_before_its_time() -> None:
    bank = Bank(says=NOBODY_KNOWS, settle_after=60.0)
    rail, _ = rail_of(bank.pay)
    first, report, _ = around(rail, wait=30.0)
    assert first.status == "unknown"
    assert report == Reconciled(0, 0, 1)
    assert bank.asked == []


@promise("effect:unknown")
@pytest.mark.parametrize("says", [NOBODY_KNOWS, ConnectionError("down"), "rubbish"], ids=repr)
def test_what_a_verifier_cannot_say_the_hook_is_asked(says: Any) -> None:
    bank, rows = Bank(says=says), list[CallRow]()
    rail, recorder = rail_of(bank.pay)

    async def hook(row: CallRow) -> Verdict:
        rows.append(row)
        return HAPPENED

    _, report, again = around(rail, hook)
    assert report == Reconciled(1, 1, 0)
    assert (again.content, again.replayed) == ("paid before", True)
    assert [(row.tool, row.principal, row.arguments) for row in rows] == [
        ("pay", "alice", '{"amount":5,"invoice":"A1"}')
    ]
    assert [event.how for event in recorder.of(OutcomeSettled)] == ["hand"]


@promise("effect:unknown")
@pytest.mark.parametrize(
    ("answer", "report", "again"),
    [
        (HAPPENED, Reconciled(1, 1, 0), "ok"),
        (NOTHING, Reconciled(1, 1, 0), "ok"),
        (NOBODY_KNOWS, Reconciled(1, 0, 1), "OUTCOME_UNKNOWN"),
        (RuntimeError("bug"), Reconciled(1, 0, 1), "OUTCOME_UNKNOWN"),
        (None, Reconciled(0, 0, 1), "OUTCOME_UNKNOWN"),
    ],
    ids=["happened", "did not", "unclear", "raises", "no hook"],
)
def test_of_a_tool_that_nobody_can_ask_the_hook_decides_and_else_it_stays(
    answer: Any, report: Reconciled, again: str
) -> None:
    bank = Bank(once(by="invoice"))
    rail, _ = rail_of(bank.pay)

    async def hook(_: CallRow) -> Verdict:
        if isinstance(answer, Exception):
            raise answer
        return answer

    first, found, second = around(rail, hook if answer is not None else None)
    assert first.status == "unknown"
    assert found == report
    assert codes([second]) == [again]
    assert bank.paid == (2 if isinstance(answer, WillNotHappen) else 1)


def _row(key: str, **changes: Any) -> CallRow:
    row = CallRow("default", "run", key, 1, 0, "id", "pay", "digest", "alice", "once", "started", lease_until=0.0)
    return replace(row, **changes)


async def _report(store: Any, *rows: CallRow, effect: Effect | None = None, hook: Any = None) -> Reconciled:
    rail, _ = rail_of(Bank(effect or once(by="invoice")).pay, store=store)
    await store.apply(*(Settle(row) for row in rows))
    return await rail.reconcile(hook)


async def _settles(_: CallRow) -> Verdict:
    return NOTHING


@promise("effect:unknown")
def test_calls_that_run_or_wait_are_left_alone_and_lapsed_ones_are_not() -> None:
    store = MemoryStore()
    running = _row("a", lease_until=9e9)
    waiting = _row("b", state="waiting", lease_until=None)
    lapsed = _row("c")
    assert run_virtual(_report(store, running, waiting, lapsed, hook=_settles)) == Reconciled(1, 1, 0)
    assert {row.key for row in run_virtual(ask(store, OpenCalls()))} == {"a", "b"}


@promise("effect:transaction", "effect:unknown")
def test_what_was_to_be_committed_and_was_not_is_settled_without_asking_anybody(tmp_path: Path) -> None:
    async def main() -> tuple[Reconciled, str | None]:
        store = SQLiteStore(tmp_path / "rail.db")
        effect = transactional(by="invoice")
        report = await _report(store, _row("a", flags=("transaction",), effect="verified"), effect=effect)
        row = await ask(store, FindCall(None, "a"))
        await store.close()
        return report, row.state if row else None

    assert run_virtual(main()) == (Reconciled(1, 1, 0), "failed")


@promise("effect:unknown")
@pytest.mark.parametrize(
    ("arguments", "tool_name"), [("not json", "pay"), ('{"amount":"much"}', "pay"), (None, "pay"), ("{}", "gone")]
)
def test_arguments_that_no_longer_fit_and_tools_that_are_gone_stay_unknown(
    arguments: str | None, tool_name: str
) -> None:
    bank, store = Bank(says=HAPPENED), MemoryStore()
    rail, _ = rail_of(bank.pay, store=store)

    async def main() -> Reconciled:
        row = _row("a", arguments=arguments, tool=tool_name)
        await store.apply(Settle(row))
        return await rail.reconcile()

    assert run_virtual(main()).left == 1
    assert bank.asked == []


@promise("effect:unknown")
def test_two_workers_at_once_ask_once() -> None:
    store, asked = MemoryStore(), list[str]()

    async def hook(row: CallRow) -> Verdict:
        asked.append(row.key)
        await asyncio.sleep(1)
        return NOTHING

    async def main() -> list[Reconciled]:
        rails = [rail_of(Bank(once()).pay, store=store, clock=FixedClock(seed=n))[0] for n in range(2)]
        await store.apply(*(Settle(_row(key)) for key in "abc"))
        first = await asyncio.gather(*(rail.reconcile(hook) for rail in rails))
        return [*first, await rails[1].reconcile(hook)]

    assert run_virtual(main()) == [Reconciled(3, 3, 0), Reconciled(busy=True), Reconciled()]
    assert asked == ["a", "b", "c"]


@promise("effect:unknown")
def test_a_worker_that_stops_in_the_middle_gives_its_turn_back() -> None:
    store = MemoryStore()

    async def hangs(_: CallRow) -> Verdict:
        await asyncio.sleep(3_600)
        return NOTHING

    async def main() -> Reconciled:
        rail, _ = rail_of(Bank(once()).pay, store=store)
        await store.apply(Settle(_row("a")))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(200):  # longer than a lease lasts
                await rail.reconcile(hangs, timeout=3_600.0)
        return await rail.reconcile(_settles)

    assert run_virtual(main()) == Reconciled(1, 1, 0)


@promise("effect:unknown")
def test_a_holder_that_was_faster_is_not_overruled() -> None:
    store = MemoryStore()

    async def slow(row: CallRow) -> Verdict:
        await store.apply(Settle(_row("a", state="done", status="ok", content="paid", lease_until=None)))
        return NOTHING

    assert run_virtual(_report(store, _row("a"), hook=slow)) == Reconciled(1, 0, 1)
    row = run_virtual(ask(store, FindCall(None, "a")))
    assert row is not None
    assert (row.state, row.content) == ("done", "paid")


@promise("effect:unknown")
def test_a_round_takes_the_oldest_up_to_its_limit() -> None:
    store, asked = MemoryStore(), list[str]()

    async def hook(row: CallRow) -> Verdict:
        asked.append(row.key)
        return NOTHING

    async def main() -> Reconciled:
        rail, _ = rail_of(Bank(once()).pay, store=store)
        waiting = [_row(f"w{n}", state="waiting", lease_until=None, created=float(n)) for n in range(5)]
        await store.apply(*(Settle(row) for row in (*waiting, *(_row(key, created=9.0) for key in "abc"))))
        return await rail.reconcile(hook, limit=2)

    assert run_virtual(main()) == Reconciled(2, 2, 0)
    assert asked == ["a", "b"]


@promise("effect:unknown")
@pytest.mark.parametrize("answer", [None, "yes", True, WillNotHappen], ids=repr)
def test_a_hook_that_gives_no_verdict_settles_nothing_and_is_told_of_once(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def hook(_: CallRow) -> Any:
        return answer

    report = run_virtual(_report(MemoryStore(), _row("a"), _row("b"), hook=hook))
    assert report == Reconciled(2, 0, 2)
    assert [record.getMessage() for record in caplog.records] == [
        f"The reconcile hook returned {answer!r}, a {type(answer).__name__}, which counts as Unclear(). "
        "Mend: return Happened(value), WillNotHappen() or Unclear() from toolrail.effects."
    ]


@promise("effect:unknown")
def test_a_plain_function_is_a_hook_too() -> None:
    def hook(row: CallRow) -> Verdict:
        return NOTHING if row.key == "a" else NOBODY_KNOWS

    assert run_virtual(_report(MemoryStore(), _row("a"), _row("b"), hook=hook)) == Reconciled(2, 1, 1)


@promise("effect:unknown")
def test_a_hook_that_hangs_is_left_and_the_next_call_is_asked_of() -> None:
    async def hook(row: CallRow) -> Verdict:
        if row.key == "a":
            await asyncio.Event().wait()
        return NOTHING

    assert run_virtual(_report(MemoryStore(), _row("a"), _row("b"), hook=hook)) == Reconciled(2, 1, 1)


@promise("effect:unknown")
def test_one_call_that_makes_trouble_does_not_stop_the_round(caplog: pytest.LogCaptureFixture) -> None:
    bank, store = Bank(says=NOTHING), MemoryStore()
    rail, _ = rail_of(bank.pay, store=store)

    def principal_for(id: str, tenant: str) -> Principal:
        if id == "gone":
            raise LookupError(id)
        return Principal(id, tenant=tenant)

    async def main() -> Reconciled:
        arguments = '{"invoice":"A1"}'
        await store.apply(
            Settle(_row("a", principal="gone", arguments=arguments)), Settle(_row("b", arguments=arguments))
        )
        return await rail.reconcile(principal_for=principal_for)

    assert run_virtual(main()) == Reconciled(2, 1, 1)
    assert "What became of a could not be found out; its outcome stays unknown." in caplog.text


@promise("effect:unknown")
def test_an_undeclared_call_whose_process_died_is_no_open_question() -> None:
    assert run_virtual(_report(MemoryStore(), _row("a", effect="undeclared"), hook=_settles)) == Reconciled()
