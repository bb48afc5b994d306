"""Questions to a person: asked once, answered once, used once."""

from __future__ import annotations

from dataclasses import replace

from tests.stores.behaviours.calls import DONE, PAY, RIVAL
from tests.stores.places import approval, call
from tests.stores.steps import NOW, Steps, claim, find
from toolrail.store import (
    ApprovalRow,
    CallsOf,
    Claimed,
    DecideApproval,
    FindApproval,
    Forget,
    Held,
    ListApprovals,
    NotApproved,
    RequestApproval,
    Settle,
)

ASKED = approval()
FULL = approval(four_eyes=True, needs="pay:big", edited='{"invoice":"A2"}', note="☃", approver="bob", decided=1.0)


def decide(
    approved: bool = True, *, name: str = "a1", approver: str = "bob", now: float = NOW, edited: str | None = None
) -> DecideApproval:
    return DecideApproval("acme", name, approved, approver, now, "fine", edited)


def decided(row: ApprovalRow = ASKED, approved: bool = True, edited: str | None = None) -> ApprovalRow:
    state = "approved" if approved else "rejected"
    return replace(row, state=state, approver="bob", note="fine", decided=NOW, edited=edited)


ASK = RequestApproval(ASKED)
FIND = FindApproval("acme", "a1")
APPROVED = decided()
USED = replace(APPROVED, state="used")
USE = claim(PAY, approval="a1")

APPROVALS: list[Steps] = [
    Steps("a question is kept as it was asked", (ASK,), ASKED),
    Steps("a question comes back", (ASK, FIND), ASKED),
    Steps("all of a question comes back", (RequestApproval(FULL), FIND), FULL),
    Steps(
        "a question without an end comes back", (RequestApproval(approval(expires=None)), FIND), approval(expires=None)
    ),
    Steps("a question that stands is not asked again", (ASK, RequestApproval(approval(reason="else"))), ASKED),
    Steps("a question that was answered is not asked again", (ASK, decide(), ASK), APPROVED),
    Steps("a question that nobody asked is None", (FIND,), None),
    Steps("a question of another tenant is None", (ASK, FindApproval("zeta", "a1")), None),
    Steps("a question is found in whatever tenant", (ASK, FindApproval(None, "a1")), ASKED),
    # Answers
    Steps("yes is written", (ASK, decide()), APPROVED),
    Steps("yes is kept", (ASK, decide(), FIND), APPROVED),
    Steps("no is written", (ASK, decide(False)), decided(approved=False)),
    Steps("changed arguments are kept beside those asked for", (ASK, decide(edited="{}"), FIND), decided(edited="{}")),
    Steps("a second answer changes nothing", (ASK, decide(), decide(False, approver="eve")), APPROVED),
    Steps("a no is not turned into a yes", (ASK, decide(False), decide(), FIND), decided(approved=False)),
    Steps("an answer that comes too late changes nothing", (ASK, decide(now=150.5), FIND), ASKED),
    Steps("the last moment is not too late", (ASK, decide(now=150.0)), replace(APPROVED, decided=150.0)),
    Steps(
        "a question without an end may be answered any time",
        (RequestApproval(approval(expires=None)), decide(now=1e9)),
        replace(decided(approval(expires=None)), decided=1e9),
    ),
    Steps("an answer to no question is None", (decide(),), None),
    Steps("an answer in another tenant is None", (RequestApproval(approval(tenant="zeta")), decide()), None),
    # Use
    Steps("an approved call is claimed", (ASK, decide(), USE), Claimed()),
    Steps("its approval is used with it", (ASK, decide(), USE, FIND), USED),
    Steps("a used approval is not answered again", (ASK, decide(), USE, decide(False)), USED),
    Steps(
        "an approval is used once",
        (ASK, decide(), USE, Settle(replace(PAY, state="failed")), USE),
        NotApproved(USED),
    ),
    Steps("an open question is no approval", (ASK, USE), NotApproved(ASKED)),
    Steps("a no is no approval", (ASK, decide(False), USE), NotApproved(decided(approved=False))),
    Steps(
        "an approval whose time is over is none",
        (ASK, decide(), claim(PAY, approval="a1", now=151.0)),
        NotApproved(APPROVED),
    ),
    Steps("a missing approval is none", (USE,), NotApproved(None)),
    Steps(
        "an approval of another tenant is none",
        (RequestApproval(replace(APPROVED, tenant="zeta")), USE),
        NotApproved(None),
    ),
    Steps("an approval of another call is none", (ASK, decide(), claim(RIVAL, approval="a1")), NotApproved(APPROVED)),
    Steps("what is not approved leaves no row", (ASK, USE, CallsOf("acme", "r1")), ()),
    Steps("what is not approved holds no key", (ASK, USE, find("k")), None),
    Steps("who is held is told by whom", (claim(RIVAL), ASK, decide(), USE), Held(RIVAL)),
    Steps("and keeps the approval", (claim(RIVAL), ASK, decide(), USE, FIND), APPROVED),
    Steps(
        "and may use it afterwards",
        (claim(RIVAL), ASK, decide(), USE, Settle(replace(RIVAL, state="failed")), USE),
        Claimed(),
    ),
    Steps(
        "a call that is done is told so, though its approval is used",
        (ASK, decide(), USE, Settle(DONE), USE),
        Held(DONE),
    ),
    Steps(
        "a takeover uses its approval, too",
        (
            claim(call("x", effect_key="k")),
            Settle(call("x", effect_key="k", state="unknown")),
            ASK,
            decide(),
            claim(PAY, over="x", approval="a1"),
            FIND,
        ),
        USED,
    ),
    # Lists
    Steps(
        "open questions are listed, the oldest first",
        (
            RequestApproval(approval("a3", created=3.0)),
            RequestApproval(approval("a1", created=2.0)),
            RequestApproval(approval("a2", created=1.0)),
            decide(),
            ListApprovals(),
        ),
        (approval("a2", created=1.0), approval("a3", created=3.0)),
    ),
    Steps("answered ones are listed when asked for", (ASK, decide(), ListApprovals(state="approved")), (APPROVED,)),
    Steps(
        "all are listed when asked for",
        (ASK, decide(), RequestApproval(approval("a2")), ListApprovals(state=None)),
        (APPROVED, approval("a2")),
    ),
    Steps(
        "those of a tenant are listed",
        (ASK, RequestApproval(approval(tenant="zeta")), ListApprovals("zeta")),
        (approval(tenant="zeta"),),
    ),
    Steps(
        "those of a run are listed",
        (ASK, RequestApproval(approval("a2", run="r2")), ListApprovals("acme", "r2")),
        (approval("a2", run="r2"),),
    ),
    Steps(
        "at most as many as asked for are listed",
        (ASK, RequestApproval(approval("a2")), ListApprovals(limit=1)),
        (ASKED,),
    ),
    Steps("questions of a forgotten run are gone", (ASK, Forget("acme", "r1"), FIND), None),
    Steps("those of another run stay", (ASK, Forget("acme", "r2"), FIND), ASKED),
]
