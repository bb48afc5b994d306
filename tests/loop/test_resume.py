"""A run that waits for a person, or for another system, is suspended, holds nothing, and goes on days later."""

# pyright: reportUnknownLambdaType=false
from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import leftover_tasks
from toolrail import Agent, Principal, Rail, RunBusy, RunNotFound, ToolError, tool
from toolrail.agent import AgentResult
from toolrail.approvals import decide
from toolrail.approvers import deferred
from toolrail.codes import Code
from toolrail.decisions import Allow, Approval, Ask, Deny, PolicyRequest
from toolrail.definition import Tool
from toolrail.effects import Later, once
from toolrail.errors import ApprovalError, RunError
from toolrail.events import ApprovalDecided, OutcomeSettled, RunEnded, RunSuspended
from toolrail.history.check import check
from toolrail.messages import Message, ToolResult
from toolrail.providers.anthropic_codec import AnthropicCodec
from toolrail.providers.chat_codec import ChatCodec
from toolrail.providers.responses_codec import ResponsesCodec
from toolrail.resuming import resume_turn
from toolrail.session import PARKED, held_session
from toolrail.store import CallsOf, Claim, LoadSession, Op, ask
from toolrail.stores.memory import MemoryStore
from toolrail.testing import Calls, FixedClock, Recorder, ScriptedModel, run_virtual
from toolrail.turn import settle_turn

ALICE = Principal("alice", frozenset({"pay"}))
CAROL = Principal("carol")
DAY = 86_400.0


class Bank:
    """What was paid, and tools that pay."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, int]] = []
        self.looked = 0
        self.orders: dict[str, str] = {}

    def tools(self, *, approve: Any = True) -> list[Tool[Any]]:
        @tool(effect=once(by="invoice", scope="tenant"), requires="pay", approve=approve)
        async def pay(invoice: str, amount: int = 100) -> str:
            """Pays an invoice."""
            self.paid.append((invoice, amount))
            return f"paid {amount} for {invoice}"

        @tool(effect="read")
        async def look(order: str) -> str:
            """Looks an order up."""
            self.looked += 1
            return f"{order} is shipped"

        @tool(effect=once(by="invoice", scope="tenant"))
        async def order(invoice: str) -> Later:
            """Orders a bank transfer."""
            self.paid.append((invoice, 0))
            return Later(f"bank-{invoice}")

        return [pay, look, order]


class Office:
    """A bank, a store and a model; each `agent` is a new process as far as toolrail can tell."""

    def __init__(self, *script: Any, store: Any = None, **options: Any) -> None:
        self.bank = Bank()
        self.store = store or MemoryStore()
        self.model = ScriptedModel(list(script))
        self.recorder = Recorder()
        self.clock = FixedClock()
        self.options = options

    def agent(self, tools: Sequence[Tool[Any]] | None = None, **ports: Any) -> Agent[Any]:
        rail = Rail(
            tools or self.bank.tools(**self.options),
            store=self.store,
            sinks=[self.recorder],
            clock=self.clock,
            approver=deferred,
            **ports,
        )
        return Agent(self.model, rail)

    async def suspend(self, **options: Any) -> AgentResult:
        result = await self.agent().run("Pay A1.", principal=ALICE, **options)
        assert result.stop_reason == "pending"
        assert check(result.messages, "openai_chat") == []
        return result


def answers(result: AgentResult | list[Message]) -> list[str]:
    """What the model reads of each call, in order: the code of a refusal, else the text."""
    messages = result if isinstance(result, list) else result.messages
    return [said(message["content"]) for message in messages if message["role"] == "tool"]


def said(content: str) -> str:
    try:
        return json.loads(content)["code"]
    except (ValueError, KeyError):
        return content


PAY = Calls(("pay", {"invoice": "A1"}))


@promise("effect:approval", "effect:resume/clean-restart")
@pytest.mark.parametrize("session", [None, "desk"])
def test_a_suspended_run_goes_on_days_later_and_the_result_takes_the_placeholders_place(session: str | None) -> None:
    office = Office(PAY, "It is paid.")

    async def main() -> None:
        first = await office.suspend(session=session)
        (waiting,) = first.pending
        assert (waiting.tool, waiting.code) == ("pay", Code.APPROVAL_PENDING)
        assert json.loads(waiting.arguments or "") == {"amount": 100, "invoice": "A1"}
        assert answers(first) == ["APPROVAL_PENDING"]
        assert office.bank.paid == []
        await asyncio.sleep(3 * DAY)
        agent = office.agent()
        await agent.rail.approvals.decide(waiting.approval, approved=True, by=CAROL)
        result = await agent.resume(first.run_id, principal=ALICE)
        assert (result.stop_reason, result.text, result.run_id) == ("answer", "It is paid.", first.run_id)
        assert answers(result) == ["paid 100 for A1"]
        assert check(result.messages, "openai_chat") == []
        assert result.pending == ()
        assert office.model.requests[1][0] == result.messages[:-1]

    run_virtual(main())
    assert office.bank.paid == [("A1", 100)]
    assert [event.pending for event in office.recorder.of(RunSuspended)] == [1]
    assert [event.reason for event in office.recorder.of(RunEnded)] == ["answer"]
    assert [event.approver for event in office.recorder.of(ApprovalDecided)] == ["carol"]


@promise("effect:approval")
@pytest.mark.parametrize(
    ("decision", "answer", "paid"),
    [
        (True, "paid 100 for A1", [("A1", 100)]),
        (False, "APPROVAL_REJECTED", []),
        (Approval(True, CAROL), "paid 100 for A1", [("A1", 100)]),
        (Approval(False, CAROL, message="Too much."), "APPROVAL_REJECTED", []),
        (Approval(True, CAROL, arguments={"invoice": "A1", "amount": 50}), "paid 50 for A1", [("A1", 50)]),
    ],
)
def test_a_run_is_resumed_with_decisions(decision: Any, answer: str, paid: list[Any]) -> None:
    office = Office(PAY, "Done.")

    async def main() -> AgentResult:
        first = await office.suspend()
        return await office.agent().resume(
            first.run_id, approvals={first.pending[0].approval: decision}, principal=ALICE
        )

    result = run_virtual(main())
    (content,) = [message["content"] for message in result.messages if message["role"] == "tool"]
    assert answer in content
    if isinstance(decision, Approval):
        assert ("Too much." in content) == (decision.message is not None)
        assert ("amount: 100 -> 50" in content) == (decision.arguments is not None)
    assert office.bank.paid == paid


@promise("effect:approval")
def test_two_of_three_siblings_wait_and_only_they_go_on_one_by_one() -> None:
    three = Calls(("pay", {"invoice": "A1"}), ("look", {"order": "O1"}), ("pay", {"invoice": "A2"}))
    office = Office(three, "Done.")

    async def main() -> AgentResult:
        first = await office.suspend()
        assert answers(first) == ["APPROVAL_PENDING", "O1 is shipped", "APPROVAL_PENDING"]
        one, other = (waiting.approval for waiting in first.pending)
        second = await office.agent().resume(first.run_id, approvals={other: True}, principal=ALICE)
        assert second.stop_reason == "pending"
        assert [waiting.approval for waiting in second.pending] == [one]
        assert answers(second) == ["APPROVAL_PENDING", "O1 is shipped", "paid 100 for A2"]
        assert check(second.messages, "openai_chat") == []
        return await office.agent().resume(first.run_id, approvals={one: False}, principal=ALICE)

    result = run_virtual(main())
    assert answers(result) == ["APPROVAL_REJECTED", "O1 is shipped", "paid 100 for A2"]
    assert (office.bank.looked, office.bank.paid) == (1, [("A2", 100)])
    assert len(office.model.requests) == 2


@promise("effect:approval")
def test_the_same_payment_approved_twice_is_made_once() -> None:
    office = Office(Calls(("pay", {"invoice": "A1"}), ("pay", {"invoice": "A1"})), "Done.")

    async def main() -> AgentResult:
        first = await office.suspend()
        both = {waiting.approval: True for waiting in first.pending}
        assert len(both) == 2
        return await office.agent().resume(first.run_id, approvals=both, principal=ALICE)

    assert answers(run_virtual(main())) == ["paid 100 for A1"] * 2
    assert office.bank.paid == [("A1", 100)]


@promise("effect:approval")
def test_a_question_that_has_expired_is_answered_so() -> None:
    office = Office(PAY, "Too late.", approve=Ask("much", expires=DAY))

    async def main() -> AgentResult:
        first = await office.suspend()
        await asyncio.sleep(2 * DAY)
        return await office.agent().resume(first.run_id, principal=ALICE)

    assert answers(run_virtual(main())) == ["APPROVAL_EXPIRED"]
    assert office.bank.paid == []


@promise("effect:approval")
def test_an_approval_is_too_late_when_it_is_used_too_late() -> None:
    office = Office(PAY, "Too late.", approve=Ask("much", expires=DAY))

    async def main() -> AgentResult:
        first = await office.suspend()
        await office.agent().rail.approvals.decide(first.pending[0].approval, approved=True, by=CAROL)
        await asyncio.sleep(2 * DAY)
        return await office.agent().resume(first.run_id, principal=ALICE)

    assert answers(run_virtual(main())) == ["APPROVAL_EXPIRED"]
    assert office.bank.paid == []


@promise("effect:approval")
def test_edited_arguments_may_still_be_denied_by_a_policy() -> None:
    def policy(request: PolicyRequest) -> Any:
        return Deny("unlucky") if request.arguments.get("amount") == 13 else Allow()

    office = Office(PAY, "Denied.")

    async def main() -> AgentResult:
        first = await office.suspend()
        agent = office.agent(policies=[policy])
        edited = {"invoice": "A1", "amount": 13}
        await agent.rail.approvals.decide(first.pending[0].approval, approved=True, by=CAROL, arguments=edited)
        return await agent.resume(first.run_id, principal=ALICE)

    assert answers(run_virtual(main())) == ["NOT_AUTHORISED"]
    assert office.bank.paid == []


@promise("effect:approval")
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"four_eyes": True}, "another must approve"),
        ({"needs": "payments:approve"}, "lacks 'payments:approve'"),
    ],
)
def test_who_resumes_a_run_approves_only_what_he_may(options: dict[str, Any], error: str) -> None:
    office = Office(PAY, "Done.", approve=Ask("much", **options))

    async def main() -> AgentResult:
        first = await office.suspend()
        approval = first.pending[0].approval
        with pytest.raises(ApprovalError, match=error):
            await office.agent().resume(first.run_id, approvals={approval: True}, principal=ALICE)
        with pytest.raises(ApprovalError, match="There is no approval 'x'"):
            await office.agent().resume(first.run_id, approvals={"x": True}, principal=ALICE)
        boss = Principal("boss", frozenset({"payments:approve"}))
        return await office.agent().resume(first.run_id, approvals={approval: Approval(True, boss)}, principal=ALICE)

    assert answers(run_virtual(main())) == ["paid 100 for A1"]


@promise("effect:approval")
@pytest.mark.parametrize("changed", ["schema", "gone", "permission"])
def test_a_tool_that_is_not_the_one_that_was_approved_does_not_run(changed: str) -> None:
    office = Office(PAY, "Hm.")

    @tool(effect=once(by="invoice", scope="tenant"), name="pay")
    async def changed_pay(invoice: str, amount: int = 100, urgent: bool = True) -> str:
        """Pays an invoice."""
        raise AssertionError("nobody approved this")

    async def main() -> AgentResult:
        first = await office.suspend()
        _, look, order = office.bank.tools()
        tools = {"schema": [changed_pay, look, order], "gone": [look, order]}.get(changed)
        agent = office.agent(tools)
        approval = first.pending[0].approval
        who = Principal("alice") if changed == "permission" else ALICE
        return await agent.resume(first.run_id, approvals={approval: True}, principal=who)

    result = run_virtual(main())
    assert answers(result) == ["TOOL_CHANGED" if changed == "schema" else "UNKNOWN_TOOL"]
    assert office.bank.paid == []


@promise("effect:approval")
def test_a_stricter_policy_is_not_satisfied_by_an_older_approval() -> None:
    office = Office(PAY, "Hm.")

    async def main() -> AgentResult:
        first = await office.suspend()
        await office.agent().rail.approvals.decide(first.pending[0].approval, approved=True, by=CAROL)
        agent = office.agent(policies=[lambda _: Ask("new rule", needs="payments:approve")])
        return await agent.resume(first.run_id, principal=ALICE)

    assert answers(run_virtual(main())) == ["APPROVAL_REJECTED"]
    assert office.bank.paid == []


@promise("effect:resume/clean-restart")
@pytest.mark.parametrize("who", [Principal("bob"), Principal("alice", tenant="other"), Principal("alice")])
def test_a_run_belongs_to_its_principal(who: Principal) -> None:
    office = Office(PAY, "Done.")

    async def main() -> None:
        first = await office.suspend()
        if who == Principal("alice"):
            with pytest.raises(RunNotFound, match="There is no run 'run_x'"):
                await office.agent().resume("run_x", principal=who)
            return
        with pytest.raises(RunNotFound, match=f"There is no run '{first.run_id}'"):
            await office.agent().resume(first.run_id, principal=who)

    run_virtual(main())


@promise("effect:resume/clean-restart")
@pytest.mark.parametrize("session", [None, "desk"])
def test_of_two_that_resume_a_run_one_is_busy_and_a_run_that_is_over_waits_for_nothing(session: str | None) -> None:
    office = Office(PAY, "Done.")

    async def main() -> None:
        first = await office.suspend(session=session)
        await office.agent().rail.approvals.decide(first.pending[0].approval, approved=True, by=CAROL)
        agents = [office.agent(), office.agent()]
        found = await asyncio.gather(
            *(agent.resume(first.run_id, principal=ALICE) for agent in agents), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in found) == ["AgentResult", "RunBusy"]
        with pytest.raises(RunError, match="waits for nothing; it has ended: answer"):
            await office.agent().resume(first.run_id, principal=ALICE)

    run_virtual(main())
    assert office.bank.paid == [("A1", 100)]


@promise("effect:park")
@pytest.mark.parametrize("session", [None, "desk"])
def test_a_suspended_run_holds_no_task_and_no_memory(session: str | None) -> None:
    office = Office(PAY, "Done.")

    class Deps:
        pass

    async def main() -> None:
        deps = Deps()
        agent = office.agent()
        result = await agent.run("Pay A1.", principal=ALICE, deps=deps, session=session)
        assert result.stop_reason == "pending"
        assert await leftover_tasks() == set()
        kept = [weakref.ref(deps), weakref.ref(agent), weakref.ref(agent.rail)]
        del deps, agent, result
        gc.collect()
        assert [one() for one in kept] == [None, None, None]
        office.recorder.events.clear()
        loop: Any = asyncio.get_running_loop()
        assert [handle for handle in loop._scheduled if not handle.cancelled()] == []

    run_virtual(main())


@promise("effect:park")
def test_nothing_of_a_conversation_is_kept_when_its_run_is_over() -> None:
    office = Office(PAY, "Done.")

    async def main() -> None:
        first = await office.suspend()
        name = f"@run:{first.run_id}"
        row = await ask(office.store, LoadSession("default", name))
        assert row is not None
        assert len(json.loads(row.messages)) == 3
        with pytest.raises(RunError, match="must not begin with '@run:'"):
            await office.agent().run("Hello.", principal=ALICE, session=name)
        approval = first.pending[0].approval
        await office.agent().resume(first.run_id, approvals={approval: True}, principal=ALICE)
        row = await ask(office.store, LoadSession("default", name))
        assert row is not None
        assert row.messages == "[]"

    run_virtual(main())


@promise("effect:approval")
def test_a_session_goes_on_while_a_run_waits_and_hears_of_it_later() -> None:
    office = Office(PAY, "It is sunny.", "By the way, A1 is paid.")

    async def main() -> AgentResult:
        first = await office.suspend(session="desk")
        talk = await office.agent().run("And the weather?", principal=ALICE, session="desk")
        assert (talk.stop_reason, answers(talk)) == ("answer", ["APPROVAL_PENDING"])
        assert check(talk.messages, "openai_chat") == []
        await office.agent().rail.approvals.decide(first.pending[0].approval, approved=True, by=CAROL)
        return await office.agent().resume(first.run_id, principal=ALICE)

    result = run_virtual(main())
    assert answers(result) == ["paid 100 for A1"]
    assert check(result.messages, "openai_chat") == []
    assert [message["role"] for message in result.messages] == [
        *("user", "assistant", "tool"),
        *("user", "assistant"),
        *("user", "assistant"),
    ]
    assert "pay" in result.messages[-2]["content"]


@promise("effect:resume/clean-restart")
def test_a_call_that_cannot_begin_now_keeps_its_approval() -> None:
    class Moody(MemoryStore):
        down = False

        async def apply(self, *ops: Op) -> list[Any]:
            if self.down and any(isinstance(op, Claim) for op in ops):
                raise ConnectionError
            return await super().apply(*ops)

    store = Moody()
    office = Office(PAY, "Done.", store=store)

    async def main() -> AgentResult:
        first = await office.suspend()
        approval = first.pending[0].approval
        store.down = True
        second = await office.agent().resume(first.run_id, approvals={approval: True}, principal=ALICE)
        assert (second.stop_reason, answers(second)) == ("pending", ["APPROVAL_PENDING"])
        store.down = False
        return await office.agent().resume(first.run_id, principal=ALICE)

    assert answers(run_virtual(main())) == ["paid 100 for A1"]
    assert office.bank.paid == [("A1", 100)]


def process(directory: Path, effect: str, phase: str, *ids: str) -> Any:
    """What a process of its own made of one phase; its exit code where it died."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.loop.process", str(directory), effect, phase, *ids],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 9), done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else done.returncode


def paid_in(directory: Path) -> list[str]:
    """The keys under which something was paid."""
    return (directory / "paid").read_text().split() if (directory / "paid").exists() else []


@promise("effect:approval", "effect:resume/clean-restart", "effect:park")
def test_a_run_is_suspended_approved_and_resumed_in_three_processes_days_apart(tmp_path: Path) -> None:
    first = process(tmp_path, "once", "suspend")
    assert first["stop"] == "pending"
    ids = (first["run"], first["approval"])
    assert process(tmp_path, "once", "decide", *ids) == {"state": "approved"}
    assert paid_in(tmp_path) == []
    last = process(tmp_path, "once", "resume", *ids)
    assert last == {"stop": "answer", "said": ["paid A1"], "faults": [], "open": [], "tasks": 1}
    assert len(paid_in(tmp_path)) == 1


@promise("effect:approval", "effect:resume/clean-restart")
@pytest.mark.parametrize(
    ("effect", "answer", "left", "attempts"),
    [("once", "OUTCOME_UNKNOWN", ["started"], 1), ("keyed", "paid A1", [], 2)],
)
def test_a_resume_that_is_killed_between_claim_and_settle_leaves_exactly_one_unknown(
    tmp_path: Path, effect: str, answer: str, left: list[str], attempts: int
) -> None:
    first = process(tmp_path, effect, "suspend")
    ids = (first["run"], first["approval"])
    process(tmp_path, effect, "decide", *ids)
    assert process(tmp_path, effect, "die", *ids) == 9
    last = process(tmp_path, effect, "resume", *ids)
    assert ([said(content) for content in last["said"]], last["faults"], last["open"]) == ([answer], [], left)
    assert len(paid_in(tmp_path)) == attempts
    assert len(set(paid_in(tmp_path))) == 1


# -- `Later`

ORDER = Calls(("order", {"invoice": "A1"}))


@promise("effect:resume/clean-restart", "effect:park")
@pytest.mark.parametrize("by", ["token", "key"])
@pytest.mark.parametrize("outcome", ["value", "error"])
def test_a_call_that_suspends_itself_is_settled_from_a_webhook_and_its_run_goes_on(by: str, outcome: str) -> None:
    office = Office(ORDER, "Done.")

    async def main() -> AgentResult:
        first = await office.suspend()
        (waiting,) = first.pending
        assert (waiting.code, answers(first)) == (Code.WAITING, ["WAITING"])
        still = await office.agent().resume(first.run_id, principal=ALICE)
        assert still.stop_reason == "pending"
        await asyncio.sleep(DAY)
        rail = office.agent().rail
        name = "bank-A1" if by == "token" else waiting.call_key
        given: dict[str, Any] = {"value": {"paid": True}} if outcome == "value" else {"error": ToolError("Refused.")}
        assert await rail.settle(name, **given)
        assert not await rail.settle(name, "something else")
        assert await leftover_tasks() == set()
        return await office.agent().resume(first.run_id, principal=ALICE)

    result = run_virtual(main())
    contents = [message["content"] for message in result.messages if message["role"] == "tool"]
    assert contents == (['{"paid":true}'] if outcome == "value" else ['{"error": "Refused.", "code": "TOOL_ERROR"}'])
    assert office.bank.paid == [("A1", 0)]
    assert [event.how for event in office.recorder.of(OutcomeSettled)] == ["hand"]


@promise("effect:resume/clean-restart")
def test_a_call_that_waits_keeps_its_key_and_a_second_one_waits_with_it() -> None:
    office = Office(ORDER, Calls(("order", {"invoice": "A1"})), "Done.", "Done too.")

    async def main() -> tuple[AgentResult, AgentResult]:
        first, second = await office.suspend(), await office.suspend()
        assert answers(second) == ["WAITING"]
        assert await office.agent().rail.settle("bank-A1", "paid")
        agent = office.agent()
        return await agent.resume(first.run_id, principal=ALICE), await agent.resume(second.run_id, principal=ALICE)

    assert [answers(result) for result in run_virtual(main())] == [["paid"], ["paid"]]
    assert office.bank.paid == [("A1", 0)]


@promise("effect:approval", "effect:resume/clean-restart")
def test_a_call_that_was_approved_may_suspend_itself_then() -> None:
    sent: list[str] = []

    @tool(effect=once(by="invoice", scope="tenant"), approve=True)
    async def transfer(invoice: str) -> Later:
        """Orders a bank transfer."""
        sent.append(invoice)
        return Later("t-1")

    office = Office(Calls(("transfer", {"invoice": "A1"})), "Done.")

    async def main() -> AgentResult:
        first = await office.agent([transfer]).run("Pay.", principal=ALICE)
        assert answers(first) == ["APPROVAL_PENDING"]
        approval = first.pending[0].approval
        second = await office.agent([transfer]).resume(first.run_id, approvals={approval: True}, principal=ALICE)
        assert (second.stop_reason, answers(second)) == ("pending", ["WAITING"])
        assert [(one.code, one.approval) for one in second.pending] == [(Code.WAITING, "")]
        await office.agent([transfer]).rail.settle("t-1", "arrived")
        return await office.agent([transfer]).resume(first.run_id, principal=ALICE)

    assert answers(run_virtual(main())) == ["arrived"]
    assert sent == ["A1"]


@promise("effect:resume/clean-restart")
def test_an_effect_that_did_not_take_place_may_be_tried_again() -> None:
    office = Office(ORDER, Calls(("order", {"invoice": "A1"})))

    async def main() -> None:
        first = await office.suspend()
        await office.agent().rail.settle(first.pending[0].call_key, error=ToolError("Refused."))
        again = await office.agent().resume(first.run_id, principal=ALICE)
        assert again.stop_reason == "pending"
        assert answers(again) == ["TOOL_ERROR", "WAITING"]

    run_virtual(main())
    assert office.bank.paid == [("A1", 0)] * 2


@pytest.mark.parametrize(("name", "error"), [("nowhere", RunNotFound), ("pending", RunError), ("started", RunBusy)])
def test_what_cannot_be_settled_says_why(name: str, error: type[Exception]) -> None:
    store = MemoryStore()
    store.durable = True
    office = Office(PAY, store=store)

    async def main() -> None:
        first = await office.suspend()
        key = first.pending[0].call_key
        if name == "started":
            (row,) = await ask(store, CallsOf("default", first.run_id))
            now = office.clock.wall()
            await ask(store, Claim(replace(row, state="started", lease_until=now + 30), now))
        with pytest.raises(error):
            await office.agent().rail.settle("nowhere" if name == "nowhere" else key, "paid")

    run_virtual(main())


# -- other wire forms

FORMS: Mapping[str, tuple[Any, Message]] = {
    "openai_chat": (
        ChatCodec(),
        {
            "choices": [
                {
                    "finish_reason": "tool_calls",
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
                            for n, (name, arguments) in enumerate(
                                [("pay", '{"invoice":"A1"}'), ("look", '{"order":"O1"}'), ("pay", '{"invoice":"A2"}')]
                            )
                        ],
                    },
                }
            ]
        },
    ),
    "openai_responses": (
        ResponsesCodec(),
        {
            "status": "completed",
            "output": [
                {"type": "function_call", "call_id": f"c{n}", "name": name, "arguments": arguments}
                for n, (name, arguments) in enumerate(
                    [("pay", '{"invoice":"A1"}'), ("look", '{"order":"O1"}'), ("pay", '{"invoice":"A2"}')]
                )
            ],
        },
    ),
    "anthropic": (
        AnthropicCodec(),
        {
            "role": "assistant",
            "stop_reason": "tool_use",
            "content": [
                {"type": "tool_use", "id": f"c{n}", "name": name, "input": given}
                for n, (name, given) in enumerate(
                    [("pay", {"invoice": "A1"}), ("look", {"order": "O1"}), ("pay", {"invoice": "A2"})]
                )
            ],
        },
    ),
}


@promise("effect:approval", "loop:history")
@pytest.mark.parametrize("wire", FORMS)
@pytest.mark.parametrize("moved_on", [False, True])
def test_results_take_their_placeholders_place_in_every_wire_form(wire: Any, moved_on: bool) -> None:
    codec, body = FORMS[wire]
    office = Office()
    messages: list[Message] = [codec.user("Pay both.")]

    async def main() -> None:
        rail = office.agent().rail
        async with rail.run(messages, principal=ALICE) as run:
            await settle_turn(run, codec.decode(body), codec.results)
            assert not run.open
            assert run.stop_reason == "pending"
        assert check(messages, wire) == []
        before = [id(message) for message in messages]
        if moved_on:
            messages.append(codec.user("Hello?"))
        kept = json.loads(json.dumps(messages))
        first, second = sorted(await rail.approvals.list(), key=lambda row: row.arguments)
        async with office.agent().rail.run(messages, run_id=run.id, principal=ALICE) as again:
            assert not again.open
            batch = await resume_turn(again, codec, approvals={first.approval: True})
            assert [one.content for one in batch.results] == ["paid 100 for A1"]
            assert not again.open
            assert check(messages, wire) == []
            batch = await resume_turn(again, codec, approvals={second.approval: True})
            assert again.open
        assert check(messages, wire) == []
        text = json.dumps(messages)
        assert "APPROVAL_PENDING" not in text
        assert all(word in text for word in ("paid 100 for A1", "O1 is shipped", "paid 100 for A2"))
        assert len(messages) == len(kept) + 2 * moved_on
        changed = [at for at, message in enumerate(kept) if message != messages[at]]
        assert all(id(messages[at]) not in before for at in changed)

    run_virtual(main())
    assert office.bank.paid == [("A1", 100), ("A2", 100)]


@promise("effect:approval", "loop:history")
@pytest.mark.parametrize("wire", FORMS)
@pytest.mark.parametrize("kept", ["a new conversation", "nothing", "results of others"])
def test_what_has_no_place_any_more_is_told_at_the_end_so_that_no_result_is_lost(
    wire: Any, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    codec, body = FORMS[wire]
    office = Office()

    async def main() -> list[Message]:
        rail = office.agent().rail
        async with rail.run([codec.user("Pay both.")], principal=ALICE) as run:
            await settle_turn(run, codec.decode(body), codec.results)
        left = {
            "a new conversation": [codec.user("Hello?")],
            "nothing": [],
            "results of others": codec.results([ToolResult("other", "look", "ok", "O9 is shipped")]),
        }
        messages: list[Message] = list(left[kept])
        questions = await rail.approvals.list()
        answers_ = {one.approval: "A1" in one.arguments for one in questions}
        async with office.agent().rail.run(messages, run_id=run.id, principal=ALICE) as again:
            batch = await resume_turn(again, codec, approvals=answers_)
            assert again.open
        assert len(batch.results) == 2
        assert messages[:-1] == left[kept]
        return messages

    messages = run_virtual(main())
    assert office.bank.paid == [("A1", 100)]
    (last,) = messages[-1:]
    text = json.dumps(last, ensure_ascii=False)
    assert last["role"] == "user"
    assert "paid 100 for A1" in text
    assert "did not approve this call" in text
    assert "stands above" not in text
    assert caplog.text.count("its result was added as a message at their end") == 2


@promise("effect:approval")
@pytest.mark.parametrize("answer", ["yes", None, 1, Approval("yes", CAROL)])  # type: ignore[arg-type]
def test_a_decision_that_is_neither_true_nor_false_decides_nothing_at_all(answer: Any) -> None:
    office = Office(Calls(("pay", {"invoice": "A1"}), ("pay", {"invoice": "A2"})), "Done.")

    async def main() -> None:
        first = await office.suspend()
        one, two = (waiting.approval for waiting in first.pending)
        with pytest.raises(ApprovalError, match="True, False or an Approval"):
            await office.agent().resume(first.run_id, approvals={one: True, two: answer}, principal=ALICE)
        rows = await office.agent().rail.approvals.list(run=first.run_id)
        assert {row.approval for row in rows} == {one, two}

    run_virtual(main())
    assert office.bank.paid == []


@promise("effect:approval")
def test_arguments_changed_without_the_tool_at_hand_that_do_not_fit_end_as_not_approved(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office(PAY, "Sorry.")

    async def main() -> AgentResult:
        first = await office.suspend()
        given = Approval(True, CAROL, arguments={"invoice": "A1", "amount": "lots"})
        await decide(office.agent().rail.ports, None, first.pending[0].approval, given)
        result = await office.agent().resume(first.run_id, principal=ALICE)
        assert result.stop_reason == "answer"
        return result

    result = run_virtual(main())
    assert answers(result) == ["APPROVAL_REJECTED"]
    assert "those do not fit the tool. It was not made." in result.calls[0].content
    assert "edited" not in json.loads(result.calls[0].content)
    assert "approved with changed arguments that do not fit" in caplog.text
    assert office.bank.paid == []


@promise("effect:approval", "effect:resume/clean-restart")
def test_a_token_leads_to_one_call_and_the_other_that_names_it_is_settled_by_its_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @tool(effect=once(by="invoice", scope="tenant"))
    async def transfer(invoice: str) -> Later:
        """Orders a bank transfer."""
        return Later("same")

    office = Office(Calls(("transfer", {"invoice": "A1"}), ("transfer", {"invoice": "A2"})), "Done.")

    async def main() -> AgentResult:
        agent = office.agent([transfer])
        first = await agent.run("Pay.", principal=ALICE)
        assert answers(first) == ["WAITING", "WAITING"]
        (told,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert "the token 'same'" in told
        (loser,) = [one.call_key for one in first.pending if f"call {one.call_key} over" in told]
        (winner,) = {one.call_key for one in first.pending} - {loser}
        assert f"under which {winner} waits already" in told
        assert await agent.rail.settle("same", "by token")
        assert not await agent.rail.settle("same", "again")
        states = {row.key: row.state for row in await ask(office.store, CallsOf("default", first.run_id))}
        assert states == {winner: "done", loser: "waiting"}
        assert await agent.rail.settle(loser, "by key")
        return await agent.resume(first.run_id, principal=ALICE)

    assert sorted(answers(run_virtual(main()))) == ["by key", "by token"]


@promise("effect:resume/clean-restart")
def test_a_token_is_free_again_once_its_call_is_settled(caplog: pytest.LogCaptureFixture) -> None:
    @tool(effect=once(by="invoice", scope="tenant"))
    async def transfer(invoice: str) -> Later:
        """Orders a bank transfer."""
        return Later("same")

    office = Office(Calls(("transfer", {"invoice": "A1"})), "Done.", Calls(("transfer", {"invoice": "A2"})), "Done.")

    async def main() -> list[str]:
        agent = office.agent([transfer])
        found: list[str] = []
        for text in ("first", "second"):
            waiting = await agent.run("Pay.", principal=ALICE)
            await agent.rail.settle("same", text)
            found += answers(await agent.resume(waiting.run_id, principal=ALICE))
        return found

    assert run_virtual(main()) == ["first", "second"]
    assert "the token" not in caplog.text


@promise("effect:resume/clean-restart")
def test_a_suspended_run_that_is_held_is_named_as_a_run() -> None:
    office = Office(PAY, "Done.")

    async def main() -> None:
        first = await office.suspend()
        rail = office.agent().rail
        async with held_session(rail.ports, f"{PARKED}{first.run_id}", principal=ALICE, provider="openai_chat"):
            with pytest.raises(RunBusy, match=f"^Run '{first.run_id}' is held by another"):
                await office.agent().resume(first.run_id, principal=ALICE)

    run_virtual(main())
