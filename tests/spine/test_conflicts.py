"""An effect's key with other arguments: refused, unless it turns out that the earlier call did nothing."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, rail_of, said
from toolrail.context import RunContext
from toolrail.definition import Tool, tool
from toolrail.effects import Effect, Happened, Unclear, Verdict, WillNotHappen, keyed, once, transactional, verified
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.run import Run
from toolrail.stores.sqlite import SQLiteStore
from toolrail.testing import run_virtual

FIVE = call("pay", {"invoice": "A1", "amount": 5})
SIX = call("pay", {"invoice": "A1", "amount": 6})
Ctx = RunContext[Any]
NOT_KNOWN = "It is not known whether that earlier call took effect."


class Bank:
    """Breaks at the first payment, and says afterwards what it is told to say."""

    def __init__(self, effect: Effect | None = None, *, says: Any = None, settle_after: float = 0.0) -> None:
        self.says: Any = Unclear()
        self.then = says
        self.asked: list[tuple[str, Any]] = []
        self.paid: list[int] = []

        async def ask_bank(ctx: Ctx, args: Any) -> Verdict:
            self.asked.append((ctx.idempotency_key, dict(args)))
            return self.says

        @tool(effect=effect or verified(ask_bank, by="invoice", settle_after=settle_after), timeout=5.0)
        async def pay(invoice: str, amount: int) -> str:
            """Pays."""
            self.paid.append(amount)
            if len(self.paid) == 1:
                raise RuntimeError("in the middle")
            return f"paid {amount}"

        self.pay: Tool[Any] = pay


async def _turn(rail: Rail[Any], run: Run[Any], one: Any) -> ToolResult:
    run.messages.append({"role": "assistant"})
    return (await rail.batch([one], run))[0]


def five_then_six(bank: Bank) -> tuple[ToolResult, ToolResult]:
    """A payment whose outcome is unknown, and one with corrected arguments."""

    async def main() -> tuple[ToolResult, ToolResult]:
        rail, _ = rail_of(bank.pay)
        async with rail.run([], principal=ALICE) as run:
            first = await _turn(rail, run, FIVE)
            bank.asked.clear()
            bank.says = bank.then
            return first, await _turn(rail, run, SIX)

    return run_virtual(main())


@promise("effect:conflict", "effect:unknown")
@pytest.mark.parametrize("effect", [once(by="invoice"), keyed(by="invoice")], ids=lambda effect: effect.kind)
def test_where_nobody_can_be_asked_the_refusal_says_that_the_earlier_outcome_is_not_known(effect: Effect) -> None:
    bank = Bank(effect)
    first, second = five_then_six(bank)
    assert codes([first, second]) == ["OUTCOME_UNKNOWN", "EFFECT_CONFLICT"]
    assert NOT_KNOWN in said(second)["error"]
    assert bank.paid == [5]


@promise("effect:conflict")
def test_of_an_effect_that_is_done_no_doubt_is_said() -> None:
    bank = Bank(once(by="invoice"))
    bank.paid.append(0)
    first, second = five_then_six(bank)
    assert codes([first, second]) == ["ok", "EFFECT_CONFLICT"]
    assert said(second)["error"] == (
        "pay was already called for the same invoice with other arguments. It was not called again."
    )


@promise("effect:conflict", "effect:unknown")
@pytest.mark.parametrize(
    ("says", "code", "doubt", "paid"),
    [
        (WillNotHappen(), "ok", False, [5, 6]),
        (Happened("paid 5"), "EFFECT_CONFLICT", False, [5]),
        (Unclear(), "EFFECT_CONFLICT", True, [5]),
    ],
    ids=["did not", "happened", "unclear"],
)
def test_the_other_side_is_asked_of_the_earlier_call_as_it_was(says: Any, code: str, doubt: bool, paid: Any) -> None:
    bank = Bank(says=says)
    _, second = five_then_six(bank)
    assert codes([second]) == [code]
    assert (NOT_KNOWN in second.content) is doubt
    assert bank.paid == paid
    ((_, arguments),) = bank.asked
    assert arguments == {"invoice": "A1", "amount": 5}


@promise("effect:conflict")
def test_nobody_is_asked_before_the_time_for_that() -> None:
    bank = Bank(says=WillNotHappen(), settle_after=60.0)
    _, second = five_then_six(bank)
    assert codes([second]) == ["EFFECT_CONFLICT"]
    assert NOT_KNOWN in said(second)["error"]
    assert bank.asked == []


# Tools that write to the store's own file


@tool(name="pay", effect=transactional(by="invoice", scope="tenant"))
async def in_the_file(ctx: Ctx, invoice: str, amount: int) -> str:
    """Pays."""
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES (?, ?)", (invoice, amount))
    return f"paid {amount}"


def _sql(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db, db:
        return db.execute(statement).fetchall()


async def _in_file(path: Path, *calls: Any, of: Tool[Any] = in_the_file) -> list[ToolResult]:
    rail, _ = rail_of(of, store=SQLiteStore(path))
    async with rail, rail.run([], principal=ALICE) as run:
        return [await _turn(rail, run, one) for one in calls]


@promise("effect:transaction", "effect:conflict")
@pytest.mark.parametrize(("lease", "code"), [(0.0, "ok"), (9e9, "EFFECT_CONFLICT")], ids=["lapsed", "at work"])
def test_a_transaction_whose_process_died_leaves_its_key_to_corrected_arguments(
    tmp_path: Path, lease: float, code: str
) -> None:
    path = tmp_path / "app.db"
    _sql(path, "CREATE TABLE payments (invoice TEXT, amount INTEGER)")
    run_virtual(_in_file(path, FIVE))
    died = f"state = 'started', status = NULL, content = NULL, lease_until = {lease}, flags = '[\"transaction\"]'"
    _sql(path, f"UPDATE calls SET {died}")
    _sql(path, "DELETE FROM payments")
    (second,) = run_virtual(_in_file(path, SIX))
    assert codes([second]) == [code]
    assert _sql(path, "SELECT amount FROM payments") == ([(6,)] if code == "ok" else [])


@promise("effect:transaction")
def test_the_first_step_may_be_a_table_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    _sql(path, "CREATE TABLE payments (invoice TEXT, amount INTEGER)")
    first, again = run_virtual(_in_file(path, FIVE, FIVE))
    assert (first.content, first.replayed, again.replayed) == ("paid 5", False, True)
    assert _sql(path, "SELECT amount FROM payments") == [(5,)]


@promise("effect:transaction")
def test_a_transactional_tool_without_its_transaction_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @tool(name="pay", effect=transactional(by="invoice"))
    async def outside(ctx: Ctx, invoice: str, amount: int) -> str:
        """Pays elsewhere."""
        return "paid elsewhere"

    other = call("pay", {"invoice": "A2", "amount": 5})
    results = run_virtual(_in_file(tmp_path / "app.db", FIVE, other, of=outside))
    assert codes(results) == ["ok", "ok"]
    said_of_it = [record.getMessage() for record in caplog.records if "declared transactional" in record.getMessage()]
    assert len(said_of_it) == 1
    assert said_of_it[0].startswith("pay is declared transactional, but succeeded without")


@promise("effect:transaction")
@pytest.mark.parametrize(
    ("statement", "inside", "says"),
    [
        (
            "SELECT 1",
            False,
            "execute: a transaction is used inside its block. Mend: `async with ctx.transaction() as tx:`",
        ),
        (
            "COMMIT",
            True,
            "not authorized: inside ctx.transaction() a tool must not begin, commit or roll back by itself",
        ),
    ],
    ids=["not entered", "commits by itself"],
)
def test_a_transaction_used_wrongly_says_how_it_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, statement: str, inside: bool, says: str
) -> None:
    @tool(name="pay", effect=transactional(by="invoice"))
    async def wrongly(ctx: Ctx, invoice: str, amount: int) -> str:
        """Pays."""
        tx: Any = ctx.transaction()
        if inside:
            async with tx as entered:
                await entered.execute(statement)
        else:
            await tx.execute(statement)
        return "never"

    (result,) = run_virtual(_in_file(tmp_path / "app.db", FIVE, of=wrongly))
    assert codes([result]) == ["INTERNAL_ERROR"]
    assert says in caplog.text


@promise("effect:transaction")
def test_a_store_that_cannot_be_used_is_logged_in_one_line_a_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "app.db"
    _sql(path, "CREATE TABLE calls (number TEXT)")
    with caplog.at_level(logging.ERROR, "toolrail"):
        results = asyncio.run(_in_file(path, FIVE))
    assert codes(results) == ["STORE_UNAVAILABLE"]
    (record,) = [record for record in caplog.records if "was not started" in record.getMessage()]
    assert record.exc_info is None
    assert "app.db: another application's table has a name that the store needs: calls." in record.getMessage()
