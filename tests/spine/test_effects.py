"""What becomes of an effect whose outcome is unknown when the same call comes again, by the tool's effect class."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, rail_of, said
from toolrail.context import RunContext
from toolrail.decisions import ANONYMOUS, Principal
from toolrail.definition import Tool, tool
from toolrail.effects import IDEMPOTENT, Effect, Happened, Unclear, WillNotHappen, keyed, once, verified
from toolrail.errors import ToolError
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.store import CallRow, CallsOf, Claim, OpenCalls, Settle, Store, ask
from toolrail.stores.memory import MemoryStore
from toolrail.stores.sqlite import SQLiteStore
from toolrail.testing import FixedClock, run_virtual

A1 = call("pay", {"invoice": "A1", "amount": 5})
A2 = call("pay", {"invoice": "A2", "amount": 5})
BOB = Principal("bob")
Open = Callable[[], Store]


@dataclass
class Bank:
    """Does what it is told to at each call, and notes the keys that it was given."""

    effect: Effect
    script: list[Any]
    """In turn: a value to return, an error to raise, or None to hang. What follows the last is `paid`."""
    timeout: float = 5.0
    keys: list[str] = field(default_factory=list[str])

    @property
    def tool(self) -> Tool[object]:
        @tool(name="pay", effect=self.effect, timeout=self.timeout)
        async def pay(ctx: RunContext[object], invoice: str, amount: int) -> Any:
            """Pays an invoice."""
            self.keys.append(ctx.idempotency_key)
            return await self._next()

        return pay

    async def _next(self) -> Any:
        then = self.script.pop(0) if self.script else "paid"
        if then is None:
            await asyncio.sleep(3_600)
        if isinstance(then, BaseException):
            raise then
        return then


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Makes the same store again and again, as each process would."""
    memory = MemoryStore()
    return (lambda: memory) if request.param == "memory" else (lambda: SQLiteStore(tmp_path / "rail.db"))


async def _runs(rail: Rail[Any], *runs: tuple[Principal, Any]) -> list[ToolResult]:
    """One call in each of several runs, one after the other."""
    found: list[ToolResult] = []
    async with rail:
        for principal, one in runs:
            async with rail.run([], principal=principal, deps=None) as run:
                found.extend(await rail.batch([one], run))
    return found


def _in_turn(bank: Bank, opened: Open, *runs: tuple[Principal, Any]) -> list[ToolResult]:
    rail, _ = rail_of(bank.tool, store=opened())
    return run_virtual(_runs(rail, *runs))


REPEATABLE = [
    pytest.param(keyed(), id="keyed"),
    pytest.param(keyed(by="invoice", scope="principal"), id="keyed by invoice"),
    pytest.param(keyed(by="invoice", scope="run"), id="keyed within the run"),
    pytest.param(IDEMPOTENT, id="idempotent"),
]


@promise("effect:unknown")
@pytest.mark.parametrize("effect", REPEATABLE)
def test_what_is_safe_to_repeat_goes_on_under_the_old_key(effect: Effect, opened: Open) -> None:
    bank = Bank(effect, [None])
    results = _in_turn(bank, opened, (ALICE, A1), (ALICE, A1))
    assert codes(results) == ["OUTCOME_UNKNOWN", "ok"]
    assert len(bank.keys) == 2
    assert len(set(bank.keys)) == 1
    assert run_virtual(_open(opened())) == ()


async def _open(store: Store) -> tuple[CallRow, ...]:
    found = await ask(store, OpenCalls())
    await store.close()
    return found


@promise("effect:unknown")
@pytest.mark.parametrize("effect", REPEATABLE)
def test_a_repeat_that_did_nothing_leaves_the_first_unknown(effect: Effect, opened: Open) -> None:
    bank = Bank(effect, [None, ToolError("closed for today")])
    results = _in_turn(bank, opened, (ALICE, A1), (ALICE, A1))
    assert codes(results) == ["OUTCOME_UNKNOWN", "TOOL_ERROR"]
    (row,) = run_virtual(_open(opened()))
    assert (row.state, row.call_id, row.idempotency_key) == ("unknown", A1.id, bank.keys[0])


@promise("effect:unknown")
@pytest.mark.parametrize("effect", REPEATABLE)
def test_a_repeat_that_is_unknown_too_is_listed_as_the_only_one_and_repeated_under_the_first_key(
    effect: Effect, opened: Open
) -> None:
    bank = Bank(effect, [None, None, None])
    results = _in_turn(bank, opened, (ALICE, A1), (ALICE, A1), (ALICE, A1))
    assert codes(results) == ["OUTCOME_UNKNOWN"] * 3
    assert len(set(bank.keys)) == 1
    assert len(run_virtual(_open(opened()))) == 1


@promise("effect:unknown", "effect:once")
@pytest.mark.parametrize("effect", REPEATABLE)
def test_when_a_repeat_of_a_repeat_is_done_all_of_them_are(effect: Effect, opened: Open) -> None:
    bank = Bank(effect, [None, None])
    results = _in_turn(bank, opened, (ALICE, A1), (ALICE, A1), (ALICE, A1))
    assert codes(results) == ["OUTCOME_UNKNOWN", "OUTCOME_UNKNOWN", "ok"]
    assert run_virtual(_open(opened())) == ()


@dataclass(frozen=True)
class Again:
    """A first call ends unknown; what a second one is answered, and how often the handler ran."""

    sentence: str
    effect: Effect
    second: tuple[Principal, Any]
    answer: str
    handlers: int


ONCE = [
    Again("the same call is refused", once(), (ALICE, A1), "OUTCOME_UNKNOWN", 1),
    Again("with a key, too", once(by="invoice"), (ALICE, A1), "OUTCOME_UNKNOWN", 1),
    Again("whatever its key", once(by="invoice", scope="run"), (ALICE, A1), "OUTCOME_UNKNOWN", 1),
    Again("other arguments are another call", once(), (ALICE, A2), "ok", 2),
    Again("another principal is another call", once(), (BOB, A1), "ok", 2),
    Again("unless the effect is the tenant's", once(by="invoice", scope="tenant"), (BOB, A1), "OUTCOME_UNKNOWN", 1),
]


@promise("effect:unknown")
@pytest.mark.parametrize("again", ONCE, ids=lambda again: again.sentence)
def test_what_is_not_safe_to_repeat_waits_until_somebody_settles_it(again: Again, opened: Open) -> None:
    bank = Bank(again.effect, [None])
    results = _in_turn(bank, opened, (ALICE, A1), again.second)
    assert codes(results) == ["OUTCOME_UNKNOWN", again.answer]
    assert len(bank.keys) == again.handlers
    assert len(run_virtual(_open(opened()))) == 1, "a refused call is no second unknown"


@promise("effect:unknown")
@pytest.mark.parametrize("state", ["done", "failed"])
def test_once_it_is_settled_the_same_call_is_answered_or_made(state: Any, opened: Open) -> None:
    bank = Bank(once(by="invoice", scope="principal"), [None])
    assert codes(_in_turn(bank, opened, (ALICE, A1))) == ["OUTCOME_UNKNOWN"]
    (row,) = run_virtual(_open(opened()))
    ended = replace(row, state=state, status="ok", code=None, content="by hand")

    async def by_hand() -> bool:
        store = opened()
        written = await ask(store, Settle(ended, ("unknown",)))
        await store.close()
        return written

    assert run_virtual(by_hand())
    (result,) = _in_turn(bank, opened, (ALICE, A1))
    assert (result.content, len(bank.keys)) == (("by hand", 1) if state == "done" else ("paid", 2))


@promise("effect:once", "effect:unknown")
@pytest.mark.parametrize("scope", [None, "principal"])
def test_two_anonymous_people_never_meet_one_anothers_effects(scope: Any, opened: Open) -> None:
    bank = Bank(keyed(by="invoice", scope=scope), [None])
    results = _in_turn(bank, opened, (ANONYMOUS, A1), (ANONYMOUS, A1))
    assert codes(results) == ["OUTCOME_UNKNOWN", "ok"]
    assert len(set(bank.keys)) == 2


@dataclass
class OtherSide:
    """Answers questions about effects, in turn."""

    answers: list[Any]
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    async def __call__(self, ctx: RunContext[Any], arguments: dict[str, Any]) -> Any:
        self.asked.append((ctx.idempotency_key, dict(arguments)))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


VERDICTS = [
    pytest.param(Happened("paid before"), "ok", 1, id="it happened: its result is the answer"),
    pytest.param(WillNotHappen(), "ok", 2, id="it will not happen: the call is made"),
    pytest.param(Unclear(), "OUTCOME_UNKNOWN", 1, id="unclear: still unknown"),
    pytest.param(ConnectionError("down"), "OUTCOME_UNKNOWN", 1, id="an exception is unclear"),
    pytest.param("yes", "OUTCOME_UNKNOWN", 1, id="anything else is unclear"),
]


@promise("effect:unknown")
@pytest.mark.parametrize(("verdict", "answer", "handlers"), VERDICTS)
@pytest.mark.parametrize("by", [(), "invoice"], ids=["without a key", "by invoice"])
def test_a_later_call_asks_the_other_side(
    verdict: Any, answer: str, handlers: int, by: Any, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    other = OtherSide([verdict])
    bank = Bank(verified(other, by=by), [None])
    first, second = _in_turn(bank, opened, (ALICE, A1), (ALICE, A1))
    assert codes([first, second]) == ["OUTCOME_UNKNOWN", answer]
    assert len(bank.keys) == handlers
    assert other.asked == [(bank.keys[0], {"invoice": "A1", "amount": 5})]
    if isinstance(verdict, Happened):
        assert (second.content, second.replayed) == ("paid before", True)


@promise("effect:unknown", "call:retry")
@pytest.mark.parametrize(
    ("verdict", "answer", "handlers"),
    [
        pytest.param(Happened("paid before"), "paid before", 1, id="it happened"),
        pytest.param(WillNotHappen(), "paid", 2, id="it will not happen"),
        pytest.param(Unclear(), None, 1, id="unclear"),
    ],
)
def test_within_one_call_a_failed_attempt_is_asked_about_before_the_next(
    verdict: Any, answer: str | None, handlers: int, opened: Open
) -> None:
    other = OtherSide([verdict])
    bank = Bank(verified(other), [ConnectionError("reset")])
    (result,) = _in_turn(bank, opened, (ALICE, A1))
    assert codes([result]) == (["ok"] if answer else ["OUTCOME_UNKNOWN"])
    assert answer is None or result.content == answer
    assert len(bank.keys) == handlers


@promise("effect:unknown")
def test_the_other_side_is_not_asked_before_its_time(opened: Open) -> None:
    other = OtherSide([Happened("paid")])
    bank = Bank(verified(other, settle_after=60.0), [None])
    clock = FixedClock()

    async def main() -> list[ToolResult]:
        rail, _ = rail_of(bank.tool, store=opened(), clock=clock)
        async with rail:
            found: list[ToolResult] = []
            for seconds in (0.0, 30.0, 31.0):
                await asyncio.sleep(seconds)
                async with rail.run([], principal=ALICE) as run:
                    found.extend(await rail.batch([A1], run))
            return found

    assert codes(run_virtual(main())) == ["OUTCOME_UNKNOWN", "OUTCOME_UNKNOWN", "ok"]
    assert len(other.asked) == 1


def _begun_elsewhere(row: CallRow, opened: Open, clock: FixedClock, *, lease: float) -> None:
    """Another process has claimed the call, and has died."""

    async def main() -> None:
        store = opened()
        claim = replace(row, run="elsewhere", key="elsewhere:0:0", state="started", lease_until=clock.wall() + lease)
        await ask(store, Claim(claim, clock.wall()))
        await store.close()

    run_virtual(main())


def _row_of(effect: Effect, opened: Open) -> CallRow:
    """What a call of such a tool writes."""
    probe = MemoryStore()
    bank = Bank(effect, [None])
    rail, _ = rail_of(bank.tool, store=_Durable(probe) if isinstance(opened(), SQLiteStore) else probe)

    async def main() -> CallRow:
        async with rail.run([], principal=ALICE) as run:
            await rail.batch([A1], run)
            (row,) = await ask(probe, CallsOf("default", run.id))
            return row

    return run_virtual(main())


class _Durable:
    durable = True

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def apply(self, *ops: Any) -> list[Any]:
        return await self._store.apply(*ops)

    async def close(self) -> None:
        return None


@promise("effect:unknown", "effect:once")
@pytest.mark.parametrize(
    ("effect", "lease", "answer"),
    [
        pytest.param(once(by="invoice", scope="principal"), -1.0, "OUTCOME_UNKNOWN", id="once, lapsed"),
        pytest.param(once(by="invoice", scope="principal"), 3_600.0, "TIMEOUT", id="once, alive"),
        pytest.param(keyed(by="invoice", scope="principal"), -1.0, "ok", id="keyed, lapsed"),
        pytest.param(keyed(by="invoice", scope="principal"), 3_600.0, "TIMEOUT", id="keyed, alive"),
        pytest.param(once(), -1.0, "OUTCOME_UNKNOWN", id="once without a key, lapsed"),
        pytest.param(once(), 3_600.0, "ok", id="once without a key, alive: another call"),
    ],
)
def test_a_holder_that_died_leaves_an_unknown_once_its_lease_has_lapsed(
    effect: Effect, lease: float, answer: str, opened: Open
) -> None:
    clock = FixedClock()
    row = _row_of(effect, opened)
    _begun_elsewhere(row, opened, clock, lease=lease)
    bank = Bank(effect, [])
    rail, _ = rail_of(bank.tool, store=opened(), clock=clock)
    (result,) = run_virtual(_runs(rail, (ALICE, A1)))
    assert codes([result]) == [answer]
    assert result.started == (answer == "ok")
    if answer == "TIMEOUT":
        assert "still under way" in said(result)["error"]


@promise("call:deadline")
def test_waiting_for_another_holder_counts_against_the_deadline() -> None:
    async def main() -> tuple[list[ToolResult], float]:
        loop = asyncio.get_running_loop()
        waits = iter([3.0, None])

        @tool(effect=once(by="invoice", scope="tenant"), timeout=5.0)
        async def pay(invoice: str) -> str:
            """Pays."""
            seconds = next(waits)
            if seconds is None:
                await asyncio.sleep(3_600)
            await asyncio.sleep(3.0)
            raise ToolError("no money")

        rail, _ = rail_of(pay, store=MemoryStore())
        began = loop.time()
        async with rail.run([], principal=ALICE) as run:
            pay_a1 = call("pay", {"invoice": "A1"})
            return await rail.batch([pay_a1, pay_a1], run), loop.time() - began

    results, seconds = run_virtual(main())
    assert codes(results) == ["TOOL_ERROR", "OUTCOME_UNKNOWN"]
    assert 4.9 < seconds < 5.6


@promise("effect:once")
def test_the_same_payment_five_times_in_a_message_and_over_five_turns_is_one_payment_with_five_answers(
    opened: Open,
) -> None:
    async def main() -> list[ToolResult]:
        found: list[ToolResult] = []
        rail, _ = rail_of(bank.tool, store=opened())
        async with rail:
            async with rail.run([], principal=ALICE) as run:
                found.extend(await rail.batch([A1] * 5, run))
            for _ in range(5):
                async with rail.run([], principal=ALICE) as run:
                    found.extend(await rail.batch([A1], run))
        return found

    bank = Bank(once(by="invoice", scope="tenant"), ["paid"])
    results = run_virtual(main())
    assert [result.content for result in results] == ["paid"] * 10
    assert len(bank.keys) == 1


@promise("steady:soak")
def test_a_store_in_memory_forgets_a_run_with_its_keys_and_keeps_what_nobody_knows() -> None:
    store = MemoryStore()
    bank = Bank(once(by="invoice"), ["paid", "paid", None])

    async def main() -> tuple[int, tuple[CallRow, ...]]:
        rail, _ = rail_of(bank.tool, store=store)
        for _ in range(2):
            async with rail.run([], principal=ALICE) as run:
                await rail.batch([A1, A1], run)
        kept: list[Any] = [rows for rows in vars(store).values() if isinstance(rows, dict)]
        sizes = sum(len(rows) for rows in kept)
        async with rail.run([], principal=ALICE) as run:
            await rail.batch([A1, A2], run)
        return sizes, await ask(store, OpenCalls())

    left, unknown = run_virtual(main())
    assert left == 0
    assert [row.state for row in unknown] == ["unknown"]
