"""Who may do what: the principal is the application's, hidden tools look missing, denial wins, nobody means no."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, CountingStore, call, codes, rail_of, said, settled, virtually
from toolrail.codes import Code
from toolrail.context import RunContext
from toolrail.decisions import Allow, Approval, ApprovalRequest, Ask, Decision, Deny, Pending, PolicyRequest, Principal
from toolrail.definition import Access, tool
from toolrail.effects import once
from toolrail.errors import NotAuthorised, ToolError
from toolrail.events import ApprovalDecided, CallDecided, CallSuspended, RunStarted
from toolrail.messages import ToolResult
from toolrail.store import Forget
from toolrail.testing import run_virtual

BOB = Principal("bob")
ORDERS = {"ORD-1": "alice", "ORD-2": "carol"}


@tool(effect="read")
async def whoami(ctx: RunContext[Any], user: str = "", principal: str = "") -> list[str]:
    """Says who asks."""
    return [ctx.principal.id, *sorted(ctx.principal.permissions)]


@tool(effect="read")
async def order(ctx: RunContext[Any], id: str) -> str:
    """Shows an order of the customer's own."""
    if id not in ORDERS:
        raise ToolError(f"No order {id}.")
    if ORDERS[id] != ctx.principal.id:
        raise NotAuthorised(like=f"No order {id}.")
    return "shipped"


@tool(effect="once")
async def needs(ctx: RunContext[Any], permission: str) -> str:
    """Asks for a permission itself."""
    ctx.require(permission)
    return "done"


@promise("auth:principal")
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"user": "root"},
        {"principal": '{"id": "root", "permissions": ["*"]}'},
    ],
)
def test_what_the_model_writes_does_not_change_who_asks(arguments: dict[str, str]) -> None:
    rail, recorder = rail_of(whoami)
    (result,) = virtually(rail, [call("whoami", arguments)], principal=ALICE)
    assert result.content == '["alice","orders:read","orders:write"]'
    assert {event.head.principal for event in settled(recorder)} == {"alice"}


@promise("auth:principal")
@pytest.mark.parametrize("key", ["ctx", "deps", "run", "self"])
def test_the_context_cannot_be_given_as_an_argument(key: str) -> None:
    rail, _ = rail_of(whoami)
    (result,) = virtually(rail, [call("whoami", {key: {"id": "root"}})], principal=ALICE)
    assert codes([result]) == ["INVALID_ARGUMENTS"]


@promise("auth:principal")
def test_nobody_is_the_principal_of_a_run_that_names_none() -> None:
    rail, _ = rail_of(whoami)
    assert run_virtual(rail.batch([call("whoami")]))[0].content == '["anonymous"]'


@promise("auth:principal")
def test_a_principal_cannot_be_changed_by_a_handler() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ALICE.id = "root"  # type: ignore[misc]


@promise("auth:handler")
@pytest.mark.parametrize(
    ("permission", "code"),
    [
        ("orders:read", "ok"),
        ("orders:delete", "NOT_AUTHORISED"),
        ("orders", "NOT_AUTHORISED"),
        ("orders:*", "NOT_AUTHORISED"),
    ],
)
def test_a_handler_asks_for_a_permission_by_its_exact_name(permission: str, code: str) -> None:
    rail, recorder = rail_of(needs)
    (result,) = virtually(rail, [call("needs", {"permission": permission})], principal=ALICE)
    assert codes([result]) == [code]
    assert settled(recorder)[0].code == (None if code == "ok" else Code.NOT_AUTHORISED)


@promise("auth:handler")
def test_anothers_object_is_answered_byte_for_byte_like_a_missing_one() -> None:
    rail, recorder = rail_of(order)
    theirs, missing = virtually(
        rail, [call("order", {"id": "ORD-2"}, id="1"), call("order", {"id": "ORD-9"}, id="1")], principal=ALICE
    )
    same = dataclasses.replace(theirs, content=theirs.content.replace("ORD-2", "ORD-9"), recorded_code=None)
    assert same == missing
    assert (missing.code, missing.recorded_code) == (Code.TOOL_ERROR, None)
    assert [event.code for event in settled(recorder)] == [Code.NOT_AUTHORISED, Code.TOOL_ERROR]


@promise("tool:offered", "tool:offered/permissions")
def test_a_hidden_tool_looks_like_a_missing_one_and_is_not_near_anything() -> None:
    @tool(effect="read", requires="admin")
    async def delete_orders() -> str:
        """Hidden."""
        raise AssertionError("must not run")

    @tool(effect="read")
    async def find_orders() -> str:
        """Offered."""
        return "found"

    full, recorder = rail_of(delete_orders, find_orders)
    bare, _ = rail_of(find_orders)
    for name in ("delete_orders", "delete_order", "admin"):
        hidden, missing = (virtually(rail, [call(name)], principal=ALICE)[0] for rail in (full, bare))
        assert dataclasses.replace(hidden, recorded_code=None) == missing
        assert "delete_orders" not in hidden.content.replace(f"named '{name}'", "")
    assert [event.code for event in settled(recorder)] == [Code.NOT_AUTHORISED, Code.UNKNOWN_TOOL, Code.UNKNOWN_TOOL]
    assert [event.offered for event in recorder.of(RunStarted)] == [("find_orders",)] * 3


@promise("tool:offered")
@pytest.mark.parametrize(
    ("requires", "offered"),
    [
        ("orders:read", True),
        (("orders:read", "orders:write"), True),
        (("orders:read", "admin"), False),
        ("orders", False),
    ],
)
def test_what_is_offered_depends_on_all_permissions_by_exact_name(requires: Any, offered: bool) -> None:
    @tool(effect="read", requires=requires)
    async def act() -> str:
        """Acts."""
        return "done"

    rail, _ = rail_of(act)
    assert virtually(rail, [call("act")], principal=ALICE)[0].ok == offered


@promise("tool:offered")
def test_the_offer_is_fixed_when_the_run_starts() -> None:
    @tool(effect="read", requires="late")
    async def act() -> str:
        """Acts."""
        return "done"

    rail, _ = rail_of(act)
    principal = Principal("alice", frozenset({"orders:read"}))

    async def main() -> tuple[list[str], list[str]]:
        async with rail.run([], principal=principal) as run:
            before = list(run.offered)
            run.principal = Principal("alice", frozenset({"late"}))
            return before, codes(await rail.batch([call("act")], run))

    assert run_virtual(main()) == ([], ["UNKNOWN_TOOL"])


ALLOW: Callable[[PolicyRequest], Decision] = lambda _: Allow()  # noqa: E731
DENY: Callable[[PolicyRequest], Decision] = lambda _: Deny("s3cr3t reason", "Not on Sundays.")  # noqa: E731
ASK: Callable[[PolicyRequest], Decision] = lambda _: Ask("over 100")  # noqa: E731


def BROKEN(_: PolicyRequest) -> Decision:
    raise RuntimeError("s3cr3t-value")


def SILENT(_: PolicyRequest) -> Any:
    return None


async def LATER(_: PolicyRequest) -> Decision:
    return Deny("later")


def _yes(request: ApprovalRequest) -> Approval:
    return Approval(True, "carol", request.digest)


@tool(effect="once")
async def pay(invoice: str, amount: int = 1) -> str:
    """Pays."""
    return "paid"


@promise("auth:policy")
@pytest.mark.parametrize(
    ("policies", "code"),
    [
        ([], "ok"),
        ([ALLOW], "ok"),
        ([ALLOW, DENY], "NOT_AUTHORISED"),
        ([DENY, ALLOW], "NOT_AUTHORISED"),
        ([ASK, DENY], "NOT_AUTHORISED"),
        ([DENY, ASK], "NOT_AUTHORISED"),
        ([ASK, ALLOW], "APPROVAL_REJECTED"),
        ([ALLOW, ASK], "APPROVAL_REJECTED"),
        ([ALLOW, BROKEN], "NOT_AUTHORISED"),
        ([SILENT], "NOT_AUTHORISED"),
        ([LATER], "NOT_AUTHORISED"),
        ([lambda _: True], "NOT_AUTHORISED"),
        ([lambda _: Allow], "NOT_AUTHORISED"),
    ],
)
def test_denial_wins_then_asking_and_anything_else_is_a_denial(policies: list[Any], code: str) -> None:
    rail, recorder = rail_of(pay, policies=policies)
    (result,) = virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)
    assert codes([result]) == [code]
    assert result.started == (code == "ok")
    assert "s3cr3t" not in result.content
    if policies:
        assert len(recorder.of(CallDecided)) == 1


@promise("auth:policy")
def test_only_a_denials_message_reaches_the_model_and_its_reason_the_record() -> None:
    rail, recorder = rail_of(pay, policies=[DENY])
    (result,) = virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)
    assert said(result)["error"] == "Not on Sundays."
    (decided,) = recorder.of(CallDecided)
    assert (decided.decision, decided.reason) == ("deny", "s3cr3t reason")


@promise("auth:policy")
def test_a_policy_sees_the_principal_and_validated_arguments_never_the_raw_text() -> None:
    seen: list[PolicyRequest] = []

    def look(request: PolicyRequest) -> Decision:
        seen.append(request)
        return Allow()

    rail, _ = rail_of(pay, policies=[look])
    calls = [call("pay", '{"invoice": "A1", "amount": "5"}'), call("pay", "junk"), call("nowhere")]
    virtually(rail, calls, principal=ALICE)
    (request,) = seen
    assert (request.principal, request.tool, request.effect) == (ALICE, "pay", "once")
    assert request.arguments == {"invoice": "A1", "amount": 5}
    assert '"5"' not in repr(request)


APPROVERS: list[tuple[Any, str]] = [
    (None, "APPROVAL_REJECTED"),
    (_yes, "ok"),
    (lambda r: Approval(False, "carol", r.digest), "APPROVAL_REJECTED"),
    (lambda r: Approval(True, "carol", "another digest"), "APPROVAL_REJECTED"),
    (lambda r: Pending(r.digest), "APPROVAL_PENDING"),
    (lambda r: 1 / 0, "APPROVAL_REJECTED"),
    (lambda r: True, "APPROVAL_REJECTED"),
    (lambda r: None, "APPROVAL_REJECTED"),
    (lambda r: "yes", "APPROVAL_REJECTED"),
    (lambda r: Approval, "APPROVAL_REJECTED"),
    (lambda r: Approval("yes", "carol", r.digest), "APPROVAL_REJECTED"),  # type: ignore[arg-type]
]


@promise("effect:approval")
@pytest.mark.parametrize("awaited", [False, True], ids=["at once", "awaited"])
@pytest.mark.parametrize(("approver", "code"), APPROVERS)
def test_only_a_yes_to_exactly_this_call_lets_it_go_on(approver: Any, code: str, awaited: bool) -> None:
    async def ask(request: ApprovalRequest) -> Any:
        return approver(request)

    rail, recorder = rail_of(pay, policies=[ASK], approver=ask if awaited and approver else approver)
    (result,) = virtually(rail, [call("pay", {"invoice": "A1"})], principal=ALICE)
    assert codes([result]) == [code]
    assert result.started == (code == "ok")
    decided = [event.approved for event in recorder.of(ApprovalDecided)]
    assert decided == ([] if code == "APPROVAL_PENDING" else [code == "ok"])
    assert len(recorder.of(CallSuspended)) == (code == "APPROVAL_PENDING")


@promise("effect:approval")
def test_an_approval_binds_who_what_and_with_which_arguments() -> None:
    digests: list[str] = []

    def note(request: ApprovalRequest) -> Approval:
        digests.append(request.digest)
        return _yes(request)

    rail, _ = rail_of(pay, policies=[ASK], approver=note)
    calls = [call("pay", {"invoice": "A1"}), call("pay", {"invoice": "A1"}), call("pay", {"invoice": "A2"})]
    virtually(rail, calls, principal=ALICE)
    virtually(rail, calls[:1], principal=BOB)
    assert len(set(digests)) == 4


STAGES = ["find", "validate", "ground", "authorise", "recall", "approve", "admit", "claim"]


@promise("auth:policy", "call:total")
@pytest.mark.parametrize("stage", STAGES)
def test_a_refusal_in_one_stage_means_that_no_later_stage_acted(stage: str) -> None:
    acted: list[str] = []

    def ground(*_: Any) -> Any:
        acted.append("ground")
        return ("invoice", "A1") if stage == "ground" else None

    def decide(_: PolicyRequest) -> Decision:
        acted.append("authorise")
        return Deny("no") if stage == "authorise" else Allow()

    def approve(request: ApprovalRequest) -> Approval:
        acted.append("approve")
        return Approval(stage != "approve", "carol", request.digest)

    class Gate:
        async def enter(self, job: Any, _: Any) -> ToolResult | None:
            acted.append("admit")
            return job.ports.refuse(job, Code.CIRCUIT_OPEN, values={"seconds": 1}) if stage == "admit" else None

        def leave(self, *_: Any) -> None:
            pass

    class Store(CountingStore):
        async def apply(self, *ops: Any) -> list[Any]:
            if isinstance(ops[0], Forget):  # the run has ended
                return await super().apply(*ops)
            acted.append({"FindEffect": "recall", "Claim": "claim"}.get(type(ops[0]).__name__, "settle"))
            if acted[-1] == stage:
                raise ConnectionError
            return await super().apply(*ops)

    @tool(effect=once(by="invoice"), access=Access(approve=True))
    async def spend(invoice: str) -> str:
        """Spends."""
        acted.append("execute")
        return "spent"

    rail, recorder = rail_of(spend, policies=[decide], approver=approve, grounder=ground, gates=[Gate()], store=Store())
    name = "nowhere" if stage == "find" else "spend"
    arguments = "junk" if stage == "validate" else '{"invoice": "A1"}'
    (result,) = virtually(rail, [call(name, arguments)], principal=ALICE)
    order = [one for one in STAGES if one not in ("find", "validate")]
    expected = order[: order.index(stage) + 1] if stage in order else []
    # A claim that failed may have landed all the same, so it is taken back.
    assert acted == ([*expected, "settle"] if stage == "claim" else expected)
    assert not result.started
    assert not result.ok
    assert len(settled(recorder)) == 1


@promise("call:total")
@pytest.mark.parametrize("where", ["enter", "leave"])
def test_a_gate_that_fails_costs_one_call_at_most_and_no_place(where: str) -> None:
    class Gate:
        async def enter(self, *_: Any) -> None:
            if where == "enter":
                raise RuntimeError("s3cr3t-value")

        def leave(self, *_: Any) -> None:
            if where == "leave":
                raise RuntimeError("s3cr3t-value")

    from toolrail.limits import RunLimits

    rail, _ = rail_of(pay, gates=[Gate()])
    results = virtually(rail, [call("pay", {"invoice": "A1"})] * 5, principal=ALICE, limits=RunLimits(parallel=1))
    assert codes(results) == (["INTERNAL_ERROR"] if where == "enter" else ["ok"]) * 5
    assert not [r for r in results if "s3cr3t" in r.content]
