"""The ledger: a store that fails starts nothing and loses nothing; one effect for one key, told as what it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, BrokenStore, Trouble, call, codes, rail_of, said, settled
from toolrail.decisions import Principal
from toolrail.definition import Tool, tool
from toolrail.effects import once
from toolrail.errors import ToolError
from toolrail.limits import RunLimits
from toolrail.messages import ToolCall, ToolResult
from toolrail.rail import Rail
from toolrail.run import Run
from toolrail.store import CallsOf, Claim, FindEffect, Settle, ask
from toolrail.stores.memory import MemoryStore
from toolrail.testing import run_virtual

A1 = call("pay", {"invoice": "A1", "amount": 5})


class Bank:
    """Notes what it was asked, and does what it is told to."""

    def __init__(self, *, then: Any = "paid", scope: Any = None, sync: bool = False, timeout: float = 30.0) -> None:
        self.asked: list[tuple[str, int]] = []
        self.then = then
        effect = once(by="invoice", scope=scope)

        @tool(name="pay", effect=effect, timeout=timeout)
        async def pay(invoice: str, amount: int) -> Any:
            """Pays an invoice."""
            self.asked.append((invoice, amount))
            await asyncio.sleep(0.5)
            return await self.answer()

        @tool(name="pay", effect=effect, timeout=timeout)
        def pay_in_a_thread(invoice: str, amount: int) -> Any:
            """Pays an invoice."""
            self.asked.append((invoice, amount))
            return self.then

        self.tool: Tool[object] = pay_in_a_thread if sync else pay

    async def answer(self) -> Any:
        if isinstance(self.then, BaseException):
            raise self.then
        if self.then is None:
            await asyncio.sleep(3_600)
        return self.then


async def _turns(rail: Rail[Any], *turns: list[ToolCall], limits: RunLimits | None = None) -> list[list[ToolResult]]:
    """Several batches of one run, each at its own position."""
    async with rail.run([], principal=ALICE, limits=limits) as run:
        return [await _turn(rail, run, calls) for calls in turns]


async def _turn(rail: Rail[Any], run: Run[Any], calls: list[ToolCall]) -> list[ToolResult]:
    run.messages.append({"role": "assistant"})
    return await rail.batch(calls, run)


@promise("effect:once")
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_five_identical_calls_in_one_batch_are_one_effect_and_five_answers(sync: bool) -> None:
    bank = Bank(sync=sync)
    rail, recorder = rail_of(bank.tool)
    (results,) = run_virtual(_turns(rail, [A1] * 5))
    assert [r.content for r in results] == ["paid"] * 5
    assert sorted(r.replayed for r in results) == [False, True, True, True, True]
    assert bank.asked == [("A1", 5)]
    assert sum(event.replayed for event in settled(recorder)) == 4
    assert sum(event.started for event in settled(recorder)) == 1


@promise("effect:once")
@pytest.mark.parametrize("parallel", [1, 2, 32])
def test_it_does_not_matter_how_many_run_at_the_same_time(parallel: int) -> None:
    bank = Bank()
    rail, _ = rail_of(bank.tool)
    (results,) = run_virtual(_turns(rail, [A1] * 5, limits=RunLimits(parallel=parallel)))
    assert [r.content for r in results] == ["paid"] * 5
    assert len(bank.asked) == 1


@promise("effect:once")
def test_the_first_result_is_given_again_in_a_later_turn() -> None:
    bank = Bank(then={"receipt": 17})
    rail, _ = rail_of(bank.tool)
    (first,), (second,) = run_virtual(_turns(rail, [A1], [call("pay", {"amount": 5, "invoice": "A1"}, id="other")]))
    assert (second.content, second.replayed, second.call_id) == (first.content, True, "other")
    assert len(bank.asked) == 1


@promise("effect:conflict")
def test_the_same_key_with_other_arguments_is_refused() -> None:
    bank = Bank()
    rail, _ = rail_of(bank.tool)
    results = run_virtual(
        _turns(rail, [A1, call("pay", {"invoice": "A1", "amount": 6})], [call("pay", {"invoice": "A1", "amount": 7})])
    )
    assert codes(results[0] + results[1]) == ["ok", "EFFECT_CONFLICT", "EFFECT_CONFLICT"]
    assert not results[1][0].started
    assert bank.asked == [("A1", 5)]


@promise("effect:once")
def test_other_keys_are_other_effects() -> None:
    bank = Bank()
    rail, _ = rail_of(bank.tool)
    (results,) = run_virtual(_turns(rail, [A1, call("pay", {"invoice": "A2", "amount": 5})]))
    assert codes(results) == ["ok", "ok"]
    assert sorted(bank.asked) == [("A1", 5), ("A2", 5)]


@promise("effect:once")
def test_a_failure_that_did_nothing_frees_the_key() -> None:
    bank = Bank(then=ToolError("The bank is closed."))
    rail, _ = rail_of(bank.tool)

    async def main() -> list[str]:
        async with rail.run([], principal=ALICE) as run:
            first = await _turn(rail, run, [A1, A1])
            bank.then = "paid"
            return codes(first + await _turn(rail, run, [A1]))

    assert run_virtual(main()) == ["TOOL_ERROR", "TOOL_ERROR", "ok"]
    assert len(bank.asked) == 3


@promise("effect:once", "effect:unknown")
@pytest.mark.parametrize("then", [RuntimeError("bug"), ConnectionResetError(), None], ids=repr)
def test_an_unknown_outcome_holds_the_key_and_is_never_repeated(then: Any) -> None:
    bank = Bank(then=then)
    rail, _ = rail_of(bank.tool)
    results = run_virtual(_turns(rail, [A1], [A1], [A1, A1]))
    assert [r.status for turn in results for r in turn] == ["unknown"] * 4
    assert [r.started for turn in results for r in turn] == [True, False, False, False]
    assert "It is not known whether pay took effect." in said(results[1][0])["error"]
    assert len(bank.asked) == 1


@promise("effect:once")
@pytest.mark.parametrize(
    ("scope", "again"),
    [
        ("run", {"same run": 0, "other run": 1, "other principal": 1, "other tenant": 1}),
        ("principal", {"same run": 0, "other run": 0, "other principal": 1, "other tenant": 1}),
        ("tenant", {"same run": 0, "other run": 0, "other principal": 0, "other tenant": 1}),
    ],
)
def test_a_key_holds_within_its_scope(scope: Any, again: dict[str, int]) -> None:
    found: dict[str, int] = {}
    for where in again:
        bank = Bank(scope=scope)
        rail, _ = rail_of(bank.tool, store="memory://")
        principal = {"other principal": Principal("bob"), "other tenant": Principal("alice", tenant="t2")}.get(
            where, ALICE
        )

        async def main(rail: Rail[Any] = rail, where: str = where, principal: Principal = principal) -> None:
            async with rail.run([], principal=ALICE) as run:
                await _turn(rail, run, [A1])
                if where == "same run":
                    await _turn(rail, run, [A1])
            if where != "same run":
                async with rail.run([], principal=principal) as other:
                    await _turn(rail, other, [A1])

        run_virtual(main())
        found[where] = len(bank.asked) - 1
    assert found == again


@promise("effect:once")
def test_whoever_waits_for_another_holder_waits_no_longer_than_its_deadline() -> None:
    bank = Bank(then=None, timeout=5.0)
    rail, recorder = rail_of(bank.tool)
    (results,) = run_virtual(_turns(rail, [A1, A1]))
    assert results[0].status == "unknown"
    assert codes(results)[1] in ("TIMEOUT", "OUTCOME_UNKNOWN")
    assert not results[1].started
    assert all(event.seconds <= 5.2 for event in settled(recorder))


@promise("effect:once")
def test_two_runs_at_once_share_one_effect() -> None:
    bank = Bank(scope="tenant")
    rail, _ = rail_of(bank.tool, store="memory://")

    async def main() -> list[str]:
        turns = await asyncio.gather(*(_turns(rail, [A1]) for _ in range(10)))
        return [turn[0][0].content for turn in turns]

    assert run_virtual(main()) == ["paid"] * 10
    assert len(bank.asked) == 1


@promise("call:total", "effect:once")
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_store_that_cannot_claim_starts_nothing(trouble: Trouble, caplog: pytest.LogCaptureFixture) -> None:
    bank = Bank()
    rail, _ = rail_of(bank.tool, store=BrokenStore(Claim, trouble))
    (results,) = run_virtual(_turns(rail, [A1, A1]))
    assert codes(results) == ["STORE_UNAVAILABLE"] * 2
    assert [r.started for r in results] == [False, False]
    assert bank.asked == []
    assert "s3cr3t" not in "".join(r.content for r in results)
    assert "could not claim" in caplog.text


@promise("call:total", "effect:once")
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_store_that_cannot_be_asked_starts_nothing(trouble: Trouble) -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool, store=BrokenStore(FindEffect, trouble))
    (results,) = run_virtual(_turns(rail, [A1, A1]))
    assert codes(results) == ["STORE_UNAVAILABLE"] * 2
    assert bank.asked == []
    assert all(event.seconds <= 5.1 for event in settled(recorder))


@promise("call:total", "effect:once")
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_result_that_cannot_be_recorded_stands_and_is_flagged(trouble: Trouble) -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool, store=BrokenStore(Settle, trouble))
    (results,) = run_virtual(_turns(rail, [A1]))
    assert (results[0].content, results[0].flags) == ("paid", ("not_recorded",))
    assert settled(recorder)[0].flags == ("not_recorded",)


@promise("effect:once")
def test_reads_do_not_come_to_a_store_in_memory_and_tools_without_a_key_only_ask() -> None:
    @tool(effect="read")
    async def look() -> str:
        """Looks."""
        return "seen"

    @tool(effect="undeclared")
    async def guess() -> str:
        """Guesses."""
        return "guessed"

    @tool(effect="once")
    async def act() -> str:
        """Acts."""
        return "done"

    class Asked(MemoryStore):
        asked: ClassVar[list[str]] = []

        async def apply(self, *ops: Any) -> list[Any]:
            self.asked.extend(type(op).__name__ for op in ops)
            return await super().apply(*ops)

    rail, _ = rail_of(look, guess, act, store=Asked())
    (results,) = run_virtual(_turns(rail, [call("look"), call("guess"), call("act")]))
    assert codes(results) == ["ok", "ok", "ok"]
    assert Asked.asked == ["FindEffect"]


@promise("effect:once", "call:total")
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_in_a_file_the_effect_is_one_for_all_runs_and_rails_and_all_calls_are_kept(tmp_path: Path, sync: bool) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    bank = Bank(sync=sync)
    bad = [call("pay", "junk"), call("nowhere"), ToolCall("\ud800", "\ud800", "\ud800")]

    async def main() -> list[list[str]]:
        found: list[list[str]] = []
        for _ in range(2):
            rail, _ = rail_of(bank.tool, store=url)
            async with rail:
                async with rail.run([], principal=ALICE, run_id=f"run-{len(found)}") as run:
                    found.append([r.status for r in await _turn(rail, run, [A1, *bad, A1, A1])])
                rows = await ask(rail.ports.store, CallsOf("default", run.id))
                assert len(rows) == 6
        return found

    expected = ["ok", "error", "error", "error", "ok", "ok"]
    assert run_virtual(main()) == [expected, expected]
    assert len(bank.asked) == 1


@promise("effect:once")
def test_a_cancelled_claim_is_taken_back() -> None:
    bank = Bank()

    class Slow(BrokenStore):
        async def apply(self, *ops: Any) -> list[Any]:
            if isinstance(ops[0], Claim):
                await asyncio.sleep(2)
            return await super().apply(*ops)

    rail, _ = rail_of(bank.tool, store=Slow(type(None), "raises"))  # type: ignore[arg-type]

    async def main() -> list[str]:
        async with rail.run([], principal=ALICE) as run:
            task = asyncio.ensure_future(_turn(rail, run, [A1]))
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(2)
            return codes(await _turn(rail, run, [A1]))

    assert run_virtual(main()) == ["ok"]
    assert len(bank.asked) == 1


@promise("effect:once")
def test_batches_of_one_run_have_keys_of_their_own_even_when_no_message_was_added() -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool)
    a2 = call("pay", {"invoice": "A2", "amount": 5})

    async def main() -> list[str]:
        async with rail.run([], principal=ALICE) as run:
            return codes([(await rail.batch([one], run))[0] for one in (A1, a2, A1)])

    assert run_virtual(main()) == ["ok", "ok", "ok"]
    assert len({event.call.key for event in settled(recorder)}) == 3
    assert settled(recorder)[2].replayed


@promise("effect:unknown")
@pytest.mark.parametrize(("failures", "written"), [(0, True), (5, True), (6, False)])
def test_an_outcome_that_is_known_nowhere_else_is_written_once_the_store_is_back(failures: int, written: bool) -> None:
    asked: list[Any] = []

    class Away(MemoryStore):
        async def apply(self, *ops: Any) -> list[Any]:
            asked.append(ops)
            if len(asked) <= failures:
                raise ConnectionError("the store is away")
            return await super().apply(*ops)

    rail, _ = rail_of(Bank().tool, store=Away())
    run_virtual(rail.ports.insist("call", FindEffect("default", "key", None, 0.0)))
    assert len(asked) == min(failures + 1, 6)
    assert (len(asked) > failures) == written
