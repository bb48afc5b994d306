"""A person says yes to exactly one call: bound to its arguments, used once, in time, by somebody who may."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import (
    ALICE,
    BrokenStore,
    call,
    codes,
    leftover_tasks,
    rail_of,
    really,
    said,
    settled,
    virtually,
)
from toolrail.approvers import Callback, Console, deferred
from toolrail.decisions import Allow, Approval, ApprovalRequest, Ask, Decision, Deny, PolicyRequest, Principal
from toolrail.definition import Access, Tool, tool
from toolrail.effects import once
from toolrail.errors import ApprovalError
from toolrail.events import ApprovalDecided
from toolrail.rail import Rail
from toolrail.store import ApprovalRow, CallsOf, ListApprovals, RequestApproval, ask
from toolrail.stores.memory import MemoryStore
from toolrail.testing import run_virtual

CAROL = Principal("carol", frozenset({"payments:approve"}))
DAVE = Principal("dave")


class DurableMemory(MemoryStore):
    durable = True


def payments(**options: Any) -> tuple[Tool[object], list[dict[str, Any]]]:
    """A payment, and what was paid."""
    paid: list[dict[str, Any]] = []

    @tool(effect=once(by="invoice"), **options)
    async def pay(invoice: str, amount: int = 100, notes: list[str] | None = None) -> str:
        """Pays an invoice."""
        paid.append({"invoice": invoice, "amount": amount, "notes": notes})
        return f"paid {amount}"

    return pay, paid


def says(approved: bool, by: Principal | str = CAROL, **more: Any) -> Callable[[ApprovalRequest], Approval]:
    return lambda request: Approval(approved, by, request.digest, **more)


@promise("effect:approval")
@pytest.mark.parametrize(
    ("approve", "amount", "code"),
    [
        (True, 5, "APPROVAL_REJECTED"),
        (False, 5, "ok"),
        (Ask("always"), 5, "APPROVAL_REJECTED"),
        (lambda arguments: arguments["amount"] > 10, 5, "ok"),
        (lambda arguments: arguments["amount"] > 10, 50, "APPROVAL_REJECTED"),
        (lambda arguments: Ask("much") if arguments["amount"] > 10 else False, 50, "APPROVAL_REJECTED"),
        (lambda arguments: arguments["missing"], 5, "APPROVAL_REJECTED"),
        (lambda arguments: None, 5, "APPROVAL_REJECTED"),
    ],
)
def test_a_tool_says_itself_when_a_person_is_asked_and_nobody_there_means_no(
    approve: Any, amount: int, code: str
) -> None:
    for options in ({"approve": approve}, {"access": Access(approve=approve)}):
        pay, paid = payments(**options)
        rail, _ = rail_of(pay)
        (result,) = virtually(rail, [call("pay", {"invoice": "A1", "amount": amount})], principal=ALICE)
        assert codes([result]) == [code]
        assert len(paid) == (code == "ok")


@promise("effect:approval")
@pytest.mark.parametrize("who", ["condition", "policy", "approver"])
def test_whoever_is_shown_the_arguments_cannot_change_what_runs(who: str) -> None:
    def spoil(arguments: Any) -> None:
        arguments["amount"] = 9_999
        arguments["notes"].append("and more")

    def condition(arguments: Any) -> bool:
        if who == "condition":
            spoil(arguments)
        return True

    def policy(request: PolicyRequest) -> Decision:
        if who == "policy":
            spoil(request.arguments)
        return Ask("look")

    def approver(request: ApprovalRequest) -> Approval:
        assert request.request.arguments == {"invoice": "A1", "amount": 5, "notes": ["a"]}
        if who == "approver":
            spoil(request.request.arguments)
        return Approval(True, CAROL, request.digest)

    pay, paid = payments(approve=condition)
    policies: list[Any] = [policy, lambda r: Allow() if r.arguments["amount"] == 5 else Deny("spoilt")]
    rail, _ = rail_of(pay, policies=policies, approver=approver)
    (result,) = virtually(rail, [call("pay", {"invoice": "A1", "amount": 5, "notes": ["a"]})], principal=ALICE)
    assert codes([result]) == ["ok"]
    assert paid == [{"invoice": "A1", "amount": 5, "notes": ["a"]}]


@promise("effect:approval")
def test_arguments_of_rich_types_are_rebuilt_as_they_were() -> None:
    got: list[Any] = []

    @tool(effect="once", approve=True)
    async def book(day: date, price: Decimal, share: float, tags: set[str], note: str | None = None) -> str:
        """Books a day."""
        got.append((day, price, share, tags, note))
        return "booked"

    rail, _ = rail_of(book, approver=says(True))
    arguments = {"day": "2027-01-31", "price": "9.90", "share": 0.1, "tags": ["b", "a"]}
    assert codes(virtually(rail, [call("book", arguments)], principal=ALICE)) == ["ok"]
    assert got == [(date(2027, 1, 31), Decimal("9.90"), 0.1, {"a", "b"}, None)]


@promise("effect:approval")
@pytest.mark.parametrize(
    ("ask", "by", "code"),
    [
        (Ask("a"), "alice", "ok"),
        (Ask("a", four_eyes=True), "alice", "APPROVAL_REJECTED"),
        (Ask("a", four_eyes=True), ALICE, "APPROVAL_REJECTED"),
        (Ask("a", four_eyes=True), DAVE, "ok"),
        (Ask("a", needs="payments:approve"), DAVE, "APPROVAL_REJECTED"),
        (Ask("a", needs="payments:approve"), "carol", "APPROVAL_REJECTED"),
        (Ask("a", needs="payments:approve"), CAROL, "ok"),
        (Ask("a", needs="payments"), CAROL, "APPROVAL_REJECTED"),
        (Ask("a"), Principal("carol", tenant="other"), "APPROVAL_REJECTED"),
    ],
)
def test_only_somebody_who_may_approves(ask: Ask, by: Principal | str, code: str) -> None:
    pay, _ = payments()
    rail, recorder = rail_of(pay, policies=[lambda _: ask], approver=says(True, by))
    assert codes(virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)) == [code]
    assert [event.approved for event in recorder.of(ApprovalDecided)] == [code == "ok"]


@promise("effect:approval")
def test_two_that_ask_are_as_strict_as_both() -> None:
    both = Ask("a", four_eyes=True, needs="x", expires=10).with_more(Ask("b", needs="y", expires=None))
    assert (both.four_eyes, both.needs, both.expires, both.reason) == (True, "x\ny", 10, "b")
    pay, _ = payments(approve=Ask("a", needs="payments:approve"))
    rail, _ = rail_of(pay, policies=[lambda _: Ask("b")], approver=says(True, DAVE))
    assert codes(virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)) == ["APPROVAL_REJECTED"]


@promise("effect:approval")
@pytest.mark.parametrize(
    ("message", "told"),
    [
        (None, "approve this call. Do not"),
        ("  ", "approve this call. Do not"),
        ("Ask Bob.", "They say: Ask Bob. Do"),
        ("not this week", "They say: not this week. Do not"),
        ("Why? ", "They say: Why? Do not"),
        ('I said "no!"', 'They say: I said "no!" Do not'),
    ],
)
def test_only_what_a_person_says_for_the_model_reaches_it(message: str | None, told: str) -> None:
    pay, _ = payments(approve=True)
    rail, _ = rail_of(pay, approver=says(False, note="s3cr3t", message=message))
    (result,) = virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)
    assert told in said(result)["error"]
    assert "s3cr3t" not in result.content


@promise("effect:approval")
def test_an_edited_call_starts_over_and_the_model_is_told_what_was_changed() -> None:
    pay, paid = payments()
    asked: list[ApprovalRequest] = []

    def approver(request: ApprovalRequest) -> Approval:
        asked.append(request)
        return Approval(True, CAROL, request.digest, arguments={"invoice": "A1", "amount": "50"})

    rail, recorder = rail_of(pay, policies=[lambda r: Ask("much")], approver=approver)
    (result,) = virtually(rail, [call("pay", {"invoice": "A1", "amount": 900})], principal=ALICE)
    assert len(asked) == 1
    assert paid == [{"invoice": "A1", "amount": 50, "notes": None}]
    assert result.ok
    assert 'amount: 900 -> "50"' in result.content
    assert "edited" in settled(recorder)[0].flags


@promise("effect:approval")
@pytest.mark.parametrize(
    ("edited", "code"),
    [
        ({"invoice": "A1", "amount": 7}, "NOT_AUTHORISED"),
        ({"invoice": "A1", "amount": "many"}, "APPROVAL_REJECTED"),
        ({"bill": "A1"}, "APPROVAL_REJECTED"),
        ({"invoice": "A1", "amount": 2_000}, "APPROVAL_REJECTED"),
        ({"invoice": "A1", "amount": 900, "notes": None}, "ok"),
    ],
)
def test_edited_arguments_are_validated_and_authorised_as_any_others(edited: dict[str, Any], code: str) -> None:
    def policy(request: PolicyRequest) -> Decision:
        amount = request.arguments["amount"]
        if amount == 7:
            return Deny("an unlucky number")
        return Ask("very much", needs="payments:all") if amount > 1_000 else Ask("much")

    pay, paid = payments()
    rail, _ = rail_of(pay, policies=[policy], approver=says(True, arguments=edited))
    (result,) = virtually(rail, [call("pay", {"invoice": "A1", "amount": 900})], principal=ALICE)
    assert codes([result]) == [code]
    assert len(paid) == (code == "ok")


@promise("effect:approval")
@pytest.mark.parametrize("bound", ["the question's", "the approver's"])
def test_whoever_does_not_answer_in_time_has_not_approved(bound: str) -> None:
    async def think(request: ApprovalRequest) -> Approval:
        await asyncio.sleep(3_600)
        raise AssertionError("nobody waits so long")

    pay, paid = payments(approve=Ask("slow", expires=60.0 if bound == "the question's" else None))
    rail, _ = rail_of(pay, approver=think if bound == "the question's" else Callback(think, seconds=30.0))

    async def main() -> tuple[list[str], float]:
        began = asyncio.get_running_loop().time()
        async with rail.run([], principal=ALICE) as run:
            found = codes(await rail.batch([call("pay", {"invoice": "A1"})], run))
        took = asyncio.get_running_loop().time() - began
        assert await leftover_tasks() == set()
        return found, took

    found, took = run_virtual(main())
    assert found == ["APPROVAL_EXPIRED"]
    assert took == pytest.approx(60.0 if bound == "the question's" else 30.0)
    assert paid == []


@promise("effect:approval")
def test_the_persons_time_is_not_in_the_deadline() -> None:
    async def think(request: ApprovalRequest) -> Approval:
        await asyncio.sleep(86_400)
        return Approval(True, CAROL, request.digest)

    pay, _ = payments(approve=True, timeout=1.0)
    rail, _ = rail_of(pay, approver=think)
    assert codes(virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)) == ["ok"]


@promise("effect:approval")
def test_a_function_that_blocks_does_not_hold_the_loop_up() -> None:
    asked: list[str] = []

    def think(request: ApprovalRequest) -> Approval:
        asked.append("asked")
        while "read" not in asked:  # what only the loop can bring about
            time.sleep(0.001)
        return Approval(True, CAROL, request.digest)

    @tool(effect="read")
    async def look() -> str:
        """Looks."""
        while not asked:  # noqa: ASYNC110 - a thread fills it
            await asyncio.sleep(0.001)
        asked.append("read")
        return "seen"

    pay, _ = payments(approve=True)
    rail, _ = rail_of(pay, look, approver=think)
    assert codes(really(rail, [call("pay", {"invoice": "A1"}), call("look")], principal=ALICE)) == ["ok", "ok"]


@promise("effect:approval")
@pytest.mark.parametrize(
    ("typed", "present", "code"),
    [("y", True, "ok"), (" YES ", True, "ok"), ("", True, "APPROVAL_REJECTED"), ("y", False, "APPROVAL_REJECTED")],
)
def test_the_person_at_the_terminal_is_asked(typed: str, present: bool, code: str) -> None:
    shown: list[str] = []

    def question(text: str) -> str:
        shown.append(text)
        return typed

    pay, _ = payments(approve=Ask("a\x1b[2J", needs="payments:approve"))
    rail, _ = rail_of(pay, approver=Console(CAROL, question=question, present=present))
    assert codes(really(rail, [call("pay", {"invoice": "A\u202e1"})], principal=ALICE)) == [code]
    assert all(text.isascii() and text.isprintable() for text in shown)


# -- stored questions


def asking(**options: Any) -> tuple[Rail[Any], list[dict[str, Any]], DurableMemory]:
    store = DurableMemory()
    pay, paid = payments(approve=Ask("much", **options))
    rail, _ = rail_of(pay, approver=deferred, store=store)
    return rail, paid, store


async def asked(rail: Rail[Any]) -> ApprovalRow:
    async with rail.run([], principal=ALICE) as run:
        (result,) = await rail.batch([call("pay", {"invoice": "A1", "amount": 900})], run)
    assert codes([result]) == ["APPROVAL_PENDING"]
    (row,) = await rail.approvals.list()
    return row


@promise("effect:approval")
def test_the_question_and_the_call_that_waits_are_stored_with_what_binds_them() -> None:
    rail, paid, store = asking(four_eyes=True, needs="payments:approve", expires=60.0)

    async def main() -> None:
        row = await asked(rail)
        assert (row.principal, row.tool, row.state, row.reason) == ("alice", "pay", "pending", "much")
        assert json.loads(row.arguments) == {"invoice": "A1", "amount": 900, "notes": None}
        assert (row.four_eyes, row.needs, row.expires) == (True, "payments:approve", row.created + 60.0)
        (pending,) = await ask(store, CallsOf("default", row.run))
        assert (pending.key, pending.state, pending.arguments) == (row.key, "pending", row.arguments)

    run_virtual(main())
    assert paid == []


@promise("effect:approval")
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_question_that_cannot_be_stored_does_not_wait(trouble: Any) -> None:
    pay, paid = payments(approve=True)
    rail, _ = rail_of(pay, approver=deferred, store=BrokenStore(RequestApproval, trouble, durable=True))
    assert codes(virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)) == ["STORE_UNAVAILABLE"]
    assert paid == []


@promise("effect:approval")
@pytest.mark.parametrize(
    ("options", "decision", "error"),
    [
        ({}, {"by": Principal("alice")}, None),
        ({"four_eyes": True}, {"by": Principal("alice")}, "'alice' asked for the call, and another must approve it"),
        ({"four_eyes": True}, {"by": Principal("alice"), "approved": False}, None),
        ({"needs": "payments:approve"}, {"by": DAVE}, "'dave' lacks 'payments:approve'"),
        ({"needs": "payments:approve"}, {"by": DAVE, "approved": False}, "'dave' lacks 'payments:approve'"),
        ({"needs": "payments:approve"}, {"by": CAROL}, None),
        ({}, {"by": Principal("carol", tenant="other")}, "There is no approval"),
        ({}, {"by": CAROL, "approval": "apr_unknown"}, "There is no approval 'apr_unknown'"),
        ({}, {"by": CAROL, "arguments": {"invoice": "A1", "amount": "much"}}, "The arguments do not fit 'pay': "),
        ({}, {"by": CAROL, "arguments": {"amount": 1}, "approved": False}, "can be changed by an approval only"),
    ],
)
def test_a_decision_is_taken_once_in_time_by_somebody_who_may(
    options: dict[str, Any], decision: dict[str, Any], error: str | None
) -> None:
    rail, _, _ = asking(**options)

    async def main() -> None:
        row = await asked(rail)
        given: dict[str, Any] = {"approval": row.approval, "approved": True, **decision}
        if error is not None:
            with pytest.raises(ApprovalError, match=error):
                await rail.approvals.decide(**given)
            return
        after = await rail.approvals.decide(**given)
        assert (after.state, after.approver) == ("approved" if given["approved"] else "rejected", given["by"].id)
        assert await rail.approvals.list() == ()
        with pytest.raises(ApprovalError, match=f"is {after.state} already, by '{after.approver}' at 20[0-9 :-]+[.]$"):
            await rail.approvals.decide(row.approval, approved=True, by=CAROL)

    run_virtual(main())


@promise("effect:approval")
def test_a_question_expires() -> None:
    rail, _, store = asking(expires=60.0)

    async def main() -> None:
        row = await asked(rail)
        await asyncio.sleep(61)
        assert await rail.approvals.list() == ()
        assert len(await ask(store, ListApprovals())) == 1
        with pytest.raises(ApprovalError, match=r"expired at 20[0-9 :-]+[.]$"):
            await rail.approvals.decide(row.approval, approved=True, by=CAROL)

    run_virtual(main())


@promise("effect:approval")
@pytest.mark.parametrize(("approved", "state"), [(True, "used"), (False, "rejected")])
@pytest.mark.parametrize("effect", ["read", "once", "undeclared"])
def test_an_answer_at_once_is_kept_too_and_used_up_by_the_claim(effect: Any, approved: bool, state: str) -> None:
    @tool(effect=effect, approve=True)
    async def act() -> str:
        """Acts."""
        return "done"

    store = DurableMemory()
    rail, _ = rail_of(act, approver=says(approved, note="because"), store=store)

    async def main() -> ApprovalRow:
        async with rail.run([], principal=ALICE) as run:
            assert codes(await rail.batch([call("act")], run)) == ["ok" if approved else "APPROVAL_REJECTED"]
        (row,) = await ask(store, ListApprovals(state=None))
        return row

    row = run_virtual(main())
    assert (row.state, row.approver, row.note) == (state, "carol", "because")


@promise("effect:approval")
@pytest.mark.parametrize(
    ("answer", "code", "logged"),
    [
        (lambda request: Approval(True, CAROL), "ok", []),
        (lambda request: Approval(True, CAROL, "another"), "APPROVAL_REJECTED", ["is that of another question"]),
        (lambda request: Approval(False, CAROL, "another"), "APPROVAL_REJECTED", []),
        (lambda request: Approval("yes", CAROL), "APPROVAL_REJECTED", ["neither True nor False"]),  # type: ignore[arg-type]
    ],
)
def test_an_approver_in_the_process_needs_no_digest_and_a_wrong_one_is_told_to_the_operator(
    answer: Any, code: str, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    pay, paid = payments(approve=True)
    rail, _ = rail_of(pay, approver=answer)
    assert codes(virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)) == [code]
    assert len(paid) == (code == "ok")
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [part in text for part, text in zip(logged, errors, strict=True)] == [True] * len(logged)


@promise("effect:approval")
def test_where_nobody_can_say_yes_the_rail_warns_and_the_model_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    pay, paid = payments(approve=lambda arguments: True)
    free, _ = payments(name="free")
    rail, _ = rail_of(pay, free)
    warned = [record.getMessage() for record in caplog.records if "Nobody can say yes" in record.getMessage()]
    assert len(warned) == 1
    assert "calls of: pay. " in warned[0]
    assert "Rail(approver=...)" in warned[0]
    (result,) = virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)
    assert said(result)["error"] == "Nobody is there who could approve this call. Do not try it again."
    assert paid == []


@promise("effect:approval")
@pytest.mark.parametrize("why", ["there is an approver", "nothing is to be approved"])
def test_a_rail_that_can_ask_or_never_asks_is_not_warned(why: str, caplog: pytest.LogCaptureFixture) -> None:
    asks = why == "there is an approver"
    pay, _ = payments(approve=asks)
    rail_of(pay, approver=deferred if asks else None)
    assert "Nobody can say yes" not in caplog.text


@promise("effect:approval")
def test_a_policy_that_asks_on_a_rail_that_asks_nobody_is_told_to_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pay, _ = payments()
    rail, _ = rail_of(pay, policies=[lambda request: Ask("much")])
    (result,) = virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)
    assert "Nobody is there" in result.content
    assert "pay has to be approved, and the rail asks nobody" in caplog.text


@promise("effect:approval")
@pytest.mark.parametrize("edited", [{"invoice": "A1", "amount": "lots"}, {"bill": "A1"}])
def test_edited_arguments_that_do_not_fit_are_not_laid_at_the_models_door(
    edited: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    pay, paid = payments(approve=True)
    rail, _ = rail_of(pay, approver=says(True, arguments=edited))
    (result,) = virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)
    told = said(result)
    assert set(told) == {"error", "code"}
    assert told["error"].startswith("A person approved this call with other arguments, but those do not fit the tool.")
    assert "changed arguments that do not fit" in caplog.text
    assert paid == []


@promise("effect:approval")
def test_a_decision_that_is_neither_yes_nor_no_decides_nothing() -> None:
    rail, _, _ = asking()

    async def main() -> None:
        row = await asked(rail)
        with pytest.raises(ApprovalError, match="True or False, and not 'yes'"):
            await rail.approvals.decide(row.approval, approved="yes", by=CAROL)  # type: ignore[arg-type]
        assert [one.state for one in await rail.approvals.list()] == ["pending"]

    run_virtual(main())
