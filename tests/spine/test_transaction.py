"""`ctx.transaction()`: a tool's own rows and the end of its call are committed together, or neither is."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, in_run, rail_of, said, settled
from toolrail.context import RunContext
from toolrail.definition import Tool, tool
from toolrail.effects import Effect, Later, once, transactional
from toolrail.errors import DefinitionError, ToolError
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.run import Run
from toolrail.store import CallRow, FindCall, Settle, ask
from toolrail.stores.sqlite import SQLiteStore
from toolrail.stores.sqlite_transaction import SQLiteTransaction
from toolrail.testing import run_virtual
from toolrail.transaction import CommitLost

A1 = call("pay", {"invoice": "A1"})
TENANT = transactional(by="invoice", scope="tenant")
Ctx = RunContext[Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store's file in which the tool has a table of its own."""
    path = tmp_path / "rail.db"

    async def make() -> None:
        store = SQLiteStore(path)
        await ask(store, FindCall(None, ""))
        await store.close()

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE payments (invoice TEXT NOT NULL, key TEXT NOT NULL)")
    return path


def paid(path: Path) -> list[str]:
    """What the tool's own table has."""
    with closing(sqlite3.connect(path)) as db:
        return [invoice for (invoice,) in db.execute("SELECT invoice FROM payments")]


def states(path: Path) -> list[str]:
    """The states of all calls in the ledger, in the order in which they were made."""
    with closing(sqlite3.connect(path)) as db:
        return [state for (state,) in db.execute("SELECT state FROM calls ORDER BY rowid")]


async def pay_in(ctx: Ctx, invoice: str) -> None:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES (?, ?)", (invoice, ctx.idempotency_key))


Step = Callable[[Ctx, str], Awaitable[Any]]


def teller(*steps: Step, effect: Effect = TENANT, timeout: float = 30.0) -> Tool[Any]:
    """A tool that takes these steps, one at each attempt, and the last of them ever after."""
    left = list(steps)

    @tool(effect=effect, timeout=timeout)
    async def pay(ctx: Ctx, invoice: str) -> Any:
        """Pays."""
        return await (left.pop(0) if len(left) > 1 else left[0])(ctx, invoice)

    return pay


async def well(ctx: Ctx, invoice: str) -> str:
    await pay_in(ctx, invoice)
    return f"paid {invoice}"


async def fails_inside(ctx: Ctx, invoice: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES (?, ?)", (invoice, ctx.idempotency_key))
        raise RuntimeError("in the middle")


async def fails_after(ctx: Ctx, invoice: str) -> str:
    await pay_in(ctx, invoice)
    raise ConnectionResetError("after it")


async def states_after(ctx: Ctx, invoice: str) -> str:
    await pay_in(ctx, invoice)
    raise ToolError("no after all")


async def fails_before(ctx: Ctx, invoice: str) -> str:
    raise ConnectionResetError("before it")


async def hangs_inside(ctx: Ctx, invoice: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES (?, ?)", (invoice, ctx.idempotency_key))
        await asyncio.sleep(3_600)
    return "never"


async def hangs_after(ctx: Ctx, invoice: str) -> str:
    await pay_in(ctx, invoice)
    await asyncio.sleep(3_600)
    return "never"


async def never_ends(ctx: Ctx, invoice: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
    return "never"


async def returns_inside(ctx: Ctx, invoice: str) -> str:
    tx = await ctx.transaction().__aenter__()
    await tx.execute("INSERT INTO payments VALUES (?, ?)", (invoice, ctx.idempotency_key))
    return "not left"


async def returns_what_nobody_can_read(ctx: Ctx, invoice: str) -> Any:
    await pay_in(ctx, invoice)
    return {"connection": object()}


async def commits_by_itself(ctx: Ctx, invoice: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO payments VALUES (?, ?)", (invoice, ctx.idempotency_key))
        await tx.execute("COMMIT")
    return "never"


async def begins_twice(ctx: Ctx, invoice: str) -> str:
    await pay_in(ctx, invoice)
    await pay_in(ctx, invoice)
    return "never"


FAILURES = [
    (fails_inside, "INTERNAL_ERROR"),
    (fails_after, "MAX_RETRIES"),
    (states_after, "TOOL_ERROR"),
    (fails_before, "MAX_RETRIES"),
    (hangs_inside, "TIMEOUT"),
    (hangs_after, "TIMEOUT"),
    (returns_inside, "INTERNAL_ERROR"),
    (returns_what_nobody_can_read, "INTERNAL_ERROR"),
    (commits_by_itself, "INTERNAL_ERROR"),
    (begins_twice, "TOOL_ERROR"),
]


def rail_on(path: Path, *tools: Tool[Any], **ports: Any) -> tuple[Rail[Any], Any]:
    return rail_of(*tools, store=SQLiteStore(path), **ports)


async def _turns(rail: Rail[Any], count: int) -> list[ToolResult]:
    async with rail, rail.run([], principal=ALICE) as run:
        return [(await _turn(rail, run))[0] for _ in range(count)]


async def _turn(rail: Rail[Any], run: Run[Any]) -> list[ToolResult]:
    run.messages.append({"role": "assistant"})
    return await rail.batch([A1], run)


@promise("effect:transaction")
def test_the_effect_and_the_end_of_its_call_are_there_together_and_a_repeat_is_told_the_result(path: Path) -> None:
    rail, recorder = rail_on(path, teller(well))
    first, again = run_virtual(_turns(rail, 2))
    assert (first.status, first.content, first.replayed) == ("ok", "paid A1", False)
    assert (again.content, again.replayed) == ("paid A1", True)
    assert paid(path) == ["A1"]
    assert states(path)[0] == "done"
    assert [event.status for event in settled(recorder)] == ["ok", "ok"]


@promise("effect:transaction")
@pytest.mark.parametrize("effect", [TENANT, once(by="invoice", marked=True)], ids=["transactional", "once"])
@pytest.mark.parametrize(("behaviour", "code"), FAILURES, ids=lambda value: getattr(value, "__name__", value))
def test_whatever_fails_before_the_commit_did_nothing_frees_the_key_and_a_repeat_pays_once(
    path: Path, behaviour: Any, code: str, effect: Effect
) -> None:
    attempts = 3 if code == "MAX_RETRIES" else 1
    rail, _ = rail_on(path, teller(*[behaviour] * attempts, well, effect=effect, timeout=20.0))
    first, second = run_virtual(_turns(rail, 2))
    assert (first.status, codes([first])) == ("error", [code])
    assert (second.status, second.content, second.replayed) == ("ok", "paid A1", False)
    assert paid(path) == ["A1"]
    assert states(path) == ["failed", "done"]


@promise("effect:transaction", "call:deadline")
def test_a_statement_that_does_not_end_is_stopped_at_the_deadline_and_others_write_again(path: Path) -> None:
    rail, _ = rail_on(path, teller(never_ends, well, timeout=0.2))
    results = asyncio.run(_turns(rail, 2))
    assert codes(results) == ["TIMEOUT", "ok"]
    assert [r.status for r in results] == ["error", "ok"]
    assert states(path) == ["failed", "done"]


@promise("effect:transaction")
def test_a_cancelled_call_did_nothing(path: Path) -> None:
    rail, _ = rail_on(path, teller(hangs_after, well))

    async def main() -> ToolResult:
        async with rail, rail.run([], principal=ALICE) as run:
            task = asyncio.ensure_future(_turn(rail, run))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.wait([task])
            return (await _turn(rail, run))[0]

    assert run_virtual(main()).content == "paid A1"
    assert paid(path) == ["A1"]
    assert states(path) == ["failed", "done"]


@promise("effect:transaction")
def test_a_failed_attempt_is_rolled_back_before_the_next_one(path: Path) -> None:
    rail, _ = rail_on(path, teller(fails_after, well))
    (result,) = run_virtual(_turns(rail, 1))
    assert result.content == "paid A1"
    assert paid(path) == ["A1"]


@promise("effect:transaction")
def test_transactions_of_one_response_take_their_turn(path: Path) -> None:
    rail, _ = rail_on(path, teller(well))
    calls = [call("pay", {"invoice": f"A{n}"}) for n in range(10)]

    async def main() -> list[ToolResult]:
        async with rail:
            return await in_run(rail, calls, principal=ALICE)

    assert codes(run_virtual(main())) == ["ok"] * 10
    assert sorted(paid(path)) == [f"A{n}" for n in range(10)]
    assert states(path) == ["done"] * 10


@promise("effect:transaction")
def test_a_statement_answers_rows_by_position_and_by_name(path: Path) -> None:
    async def reads(ctx: Ctx, invoice: str) -> list[Any]:
        async with ctx.transaction() as tx:
            await tx.execute("INSERT INTO payments VALUES (:invoice, 'k')", {"invoice": invoice})
            (row,) = await tx.execute("SELECT invoice, key FROM payments")
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                await tx.execute("SELECT * FROM none_such")
        return [row[0], row["key"]]

    rail, _ = rail_on(path, teller(reads))
    (result,) = run_virtual(_turns(rail, 1))
    assert result.content == '["A1","k"]'


@promise("effect:transaction")
def test_a_handler_that_leaves_by_an_exception_and_returns_all_the_same_has_written_nothing(path: Path) -> None:
    async def recovers(ctx: Ctx, invoice: str) -> str:
        try:
            await fails_inside(ctx, invoice)
        except RuntimeError:
            return "not paid"
        return "never"

    rail, _ = rail_on(path, teller(recovers))
    (result,) = run_virtual(_turns(rail, 1))
    assert (result.status, result.content) == ("ok", "not paid")
    assert paid(path) == []
    assert states(path) == ["done"]


@promise("effect:transaction")
def test_a_handler_that_waits_for_another_system_commits_what_it_wrote_with_that(path: Path) -> None:
    async def waits(ctx: Ctx, invoice: str) -> Any:
        await pay_in(ctx, invoice)
        return Later("order-1")

    rail, _ = rail_on(path, teller(waits))

    async def main() -> tuple[ToolResult, bool, ToolResult]:
        async with rail, rail.run([], principal=ALICE) as run:
            (first,) = await _turn(rail, run)
            assert states(path) == ["waiting"]
            return first, await rail.settle("order-1", "paid in the end"), (await _turn(rail, run))[0]

    first, by_token, again = run_virtual(main())
    assert (codes([first]), by_token) == (["WAITING"], True)
    assert (again.content, again.replayed) == ("paid in the end", True)
    assert paid(path) == ["A1"]


class Commit:
    """Makes a commit go wrong in a given way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, before: BaseException | None, after: bool) -> None:
        real = SQLiteTransaction.commit

        async def commit(this: SQLiteTransaction, op: Settle, *beside: Any) -> bool:
            monkeypatch.undo()
            if before is not None:
                await this.rollback()
                raise before
            done = await real(this, op, *beside)
            if after:
                raise CommitLost("the line went dead")
            return done

        monkeypatch.setattr(SQLiteTransaction, "commit", commit)


@promise("effect:transaction")
@pytest.mark.parametrize("error", [sqlite3.IntegrityError("deferred"), CommitLost("dead")], ids=repr)
def test_a_commit_that_failed_for_sure_is_an_error_and_not_the_result(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    rail, recorder = rail_on(path, teller(well))
    Commit(monkeypatch, before=error, after=False)
    first, second = run_virtual(_turns(rail, 2))
    assert (first.status, codes([first])) == ("error", ["MAX_RETRIES"])
    assert said(first)["error"] == "pay did nothing: what it had written could not be committed. Try later."
    assert (second.status, second.replayed) == ("ok", False)
    assert paid(path) == ["A1"]
    assert states(path) == ["failed", "done"]
    assert [event.status for event in settled(recorder)] == ["error", "ok"]


@promise("effect:transaction")
def test_a_commit_that_was_done_although_its_answer_was_lost_is_the_result(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rail, _ = rail_on(path, teller(well))
    Commit(monkeypatch, before=None, after=True)
    first, second = run_virtual(_turns(rail, 2))
    assert (first.status, first.content) == ("ok", "paid A1")
    assert second.replayed
    assert paid(path) == ["A1"]


class Dead(SQLiteStore):
    """Cannot be asked any more once a commit was lost, until it is told to live again."""

    dead = False

    async def apply(self, *ops: Any) -> list[Any]:
        if self.dead:
            raise ConnectionError("dead")
        return await super().apply(*ops)


@promise("effect:transaction", "effect:unknown")
@pytest.mark.parametrize("landed", [True, False])
def test_an_outcome_that_nobody_can_find_out_now_is_unknown_and_its_row_tells_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    store = Dead(path)
    rail, recorder = rail_of(teller(well), store=store)
    real = SQLiteTransaction.commit

    async def commit(this: SQLiteTransaction, op: Settle, *beside: Any) -> bool:
        monkeypatch.undo()
        store.dead = True
        if landed:
            await real(this, op, *beside)
        else:
            await this.rollback()
        raise CommitLost("dead")

    monkeypatch.setattr(SQLiteTransaction, "commit", commit)

    async def main() -> list[ToolResult]:
        async with rail, rail.run([], principal=ALICE) as run:
            (first,) = await _turn(rail, run)
            store.dead = False
            assert states(path) == ["done" if landed else "started"]
            await asyncio.sleep(100)  # the lease lapses
            return [first, *await _turn(rail, run)]

    first, second = run_virtual(main())
    assert (first.status, codes([first]), first.started) == ("unknown", ["OUTCOME_UNKNOWN"], True)
    assert (second.status, second.content, second.replayed) == ("ok", "paid A1", landed)
    assert paid(path) == ["A1"]
    assert settled(recorder)[0].status == "unknown"


@promise("effect:transaction")
def test_a_holder_whose_call_was_settled_by_another_meanwhile_commits_nothing(path: Path) -> None:
    store = SQLiteStore(path)

    async def overtaken(ctx: Ctx, invoice: str) -> str:
        row = await ask(store, FindCall(None, ctx.call_key))
        assert isinstance(row, CallRow)
        await store.apply(Settle(_failed(row), ("started",)))
        return await well(ctx, invoice)

    rail, _ = rail_of(teller(overtaken, well), store=store)
    first, second = run_virtual(_turns(rail, 2))
    assert codes([first, second]) == ["MAX_RETRIES", "ok"]
    assert paid(path) == ["A1"]


def _failed(row: CallRow) -> CallRow:
    return replace(row, state="failed", status="error", lease_until=None)


# Sync handlers


@pytest.fixture
def gate() -> Generator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@promise("effect:transaction")
def test_a_sync_handler_has_it_in_its_thread(path: Path) -> None:
    @tool(effect=TENANT)
    def pay(ctx: Ctx, invoice: str) -> str:
        """Pays."""
        with ctx.transaction() as tx:
            tx.execute("INSERT INTO payments VALUES (?, 'k')", (invoice,))
            ((count,),) = tx.execute("SELECT count(*) FROM payments")
        return f"paid {count}"

    rail, _ = rail_on(path, pay)
    (result,) = run_virtual(_turns(rail, 1))
    assert result.content == "paid 1"
    assert paid(path) == ["A1"]


@promise("effect:transaction", "call:deadline/threads")
@pytest.mark.parametrize("where", ["before", "inside", "after"])
def test_a_thread_past_its_deadline_writes_nothing_whatever_it_does_later(
    path: Path, gate: threading.Event, where: str
) -> None:
    ended, over = threading.Event(), [False]

    @tool(effect=TENANT, timeout=0.05)
    def pay(ctx: Ctx, invoice: str) -> str:
        """Pays, the first time too late."""
        late, over[0] = not over[0], True
        try:
            _wait(gate, late and where == "before")
            with ctx.transaction() as tx:
                tx.execute("INSERT INTO payments VALUES (?, 'k')", (invoice,))
                _wait(gate, late and where == "inside")
            _wait(gate, late and where == "after")
            return "paid"
        finally:
            if late:
                ended.set()

    rail, _ = rail_on(path, pay)

    async def main() -> list[ToolResult]:
        async with rail, rail.run([], principal=ALICE) as run:
            first = await _turn(rail, run)
            gate.set()
            assert await asyncio.to_thread(ended.wait, 10)
            return [*first, *await _turn(rail, run)]

    first, second = asyncio.run(main())
    assert codes([first, second]) == ["TIMEOUT", "ok"]
    assert first.status == "error"
    assert paid(path) == ["A1"]


def _wait(gate: threading.Event, wanted: bool) -> None:
    if wanted:
        gate.wait(10)


# What cannot be


@promise("effect:transaction", "tool:errors")
def test_a_tool_that_declares_it_needs_a_store_with_a_database() -> None:
    with pytest.raises(DefinitionError, match="TR307"):
        Rail([teller(well)], store="memory://")


@promise("effect:transaction")
@pytest.mark.parametrize("effect", [once(), Effect("undeclared")], ids=["once", "undeclared"])
def test_one_that_does_not_is_told_so_at_its_call_and_did_nothing(
    effect: Effect, caplog: pytest.LogCaptureFixture
) -> None:
    rail, _ = rail_of(teller(well, effect=effect))
    (result,) = run_virtual(_turns(rail, 1))
    assert (result.status, codes([result])) == ("error", ["INTERNAL_ERROR"])
    assert "TR307" in caplog.text


@promise("effect:transaction")
def test_a_read_has_none(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rail, _ = rail_on(path, teller(well, effect=Effect("read")))
    (result,) = run_virtual(_turns(rail, 1))
    assert codes([result]) == ["INTERNAL_ERROR"]
    assert "declared as a read" in caplog.text
    assert paid(path) == []
