"""Calls in the ledger: who holds a key, and what ends it."""

from __future__ import annotations

from dataclasses import replace

from tests.stores.places import FULL, call
from tests.stores.steps import LATE, Steps, claim, find
from toolrail.codes import Code
from toolrail.store import CallRow, CallsOf, CallState, Claimed, FindCall, Forget, Held, OpenCalls, Plan, Settle

PAY = call("r1:d:0", effect_key="k")
"""Claims the effect `k`."""
RIVAL = call("r2:d:0", run="r2", effect_key="k", principal="bob")
"""Another call that wants the same effect."""
AGAIN = replace(PAY, lease_until=300.0)
"""The same call, claimed again by another process after its lease had lapsed."""
DONE = replace(PAY, state="done", status="ok", content="paid", lease_until=None, updated=101.0)
UNKNOWN = replace(PAY, state="unknown", status="unknown", code=Code.OUTCOME_UNKNOWN, lease_until=None)
PLANNED = replace(PAY, state="planned")
FAILED = replace(PAY, state="failed", status="error", code=Code.TOOL_ERROR, lease_until=None)
REPLAYED = replace(RIVAL, state="done", status="ok", content="paid", lease_until=None)
"""What `settle` writes for a call that was answered with the result of `PAY`: nothing claimed, and yet done."""
OPEN = call("r1:d:0", open_key="o")
"""Has no effect key; meets calls with the open key `o`."""
LATER = call("r2:d:0", run="r2", open_key="o", created=110.0)
"""Another with the same open key."""
LOST = replace(OPEN, state="unknown", status="unknown", lease_until=None)


def found(row: CallRow) -> tuple[CallRow]:
    return (row,)


def as_is(state: CallState) -> CallRow:
    """`PAY` in a state that it may be in before it is claimed again."""
    return replace(PAY, state=state)


FORGOTTEN: list[tuple[CallState, bool]] = [
    ("planned", False),
    ("pending", False),
    ("started", True),
    ("waiting", True),
    ("done", False),
    ("failed", False),
    ("unknown", True),
]
"""Which calls stay when their run is forgotten."""

CALLS: list[Steps] = [
    Steps("a claim of a free key is claimed", (claim(PAY),), Claimed()),
    Steps("a claim without a key is claimed", (claim(call()),), Claimed()),
    Steps("calls without a key do not meet", (claim(call("a")), claim(call("b"))), Claimed()),
    Steps("a started call holds its key", (claim(PAY), claim(RIVAL)), Held(PAY)),
    Steps("a done call holds its key", (claim(PAY), Settle(DONE), claim(RIVAL)), Held(DONE)),
    Steps("an unknown outcome holds its key", (claim(PAY), Settle(UNKNOWN), claim(RIVAL)), Held(UNKNOWN)),
    Steps("a failed call frees its key", (claim(PAY), Settle(FAILED), claim(RIVAL)), Claimed()),
    Steps("a call that was begun is not begun again", (claim(PAY), claim(replace(PAY, attempts=1))), Held(PAY)),
    Steps(
        "a claim by the same call replaces its row",
        (claim(PAY), Settle(FAILED), claim(replace(PAY, created=200.0, attempts=2)), CallsOf("acme", "r1")),
        found(replace(PAY, created=200.0, attempts=2)),
    ),
    Steps("a call that was held leaves no row", (claim(PAY), claim(RIVAL), CallsOf("acme", "r2")), ()),
    Steps("another tenant's key is another key", (claim(PAY), claim(replace(RIVAL, tenant="zeta"))), Claimed()),
    Steps("an effect is found by its key", (claim(PAY), find("k")), PAY),
    Steps("an effect is found as it is settled", (claim(PAY), Settle(DONE), find("k")), DONE),
    Steps("a freed effect is not found", (claim(PAY), Settle(FAILED), find("k")), None),
    Steps("no effect is found in another tenant", (claim(PAY), find("k", tenant="zeta")), None),
    Steps("an effect nobody claimed is not found", (find("k"),), None),
    Steps("the next holder is found", (claim(PAY), Settle(FAILED), claim(RIVAL), find("k")), RIVAL),
    Steps(
        "a replayed call is written beside the holder, which stays the holder",
        (claim(PAY), Settle(DONE), Settle(REPLAYED), find("k")),
        DONE,
    ),
    Steps("a replayed call is kept", (claim(PAY), Settle(DONE), Settle(REPLAYED), CallsOf("acme", "r2")), (REPLAYED,)),
    Steps(
        "a failure of another call frees nothing",
        (claim(PAY), Settle(replace(RIVAL, state="failed")), find("k")),
        PAY,
    ),
    Steps("a settled row without a claim is kept", (Settle(FULL), CallsOf("acme", "r1")), found(FULL)),
    Steps("a done row stays done", (claim(PAY), Settle(DONE), Settle(FAILED), CallsOf("acme", "r1")), found(DONE)),
    Steps("a done row keeps its key", (claim(PAY), Settle(DONE), Settle(FAILED), claim(RIVAL)), Held(DONE)),
    Steps("an unknown outcome may become done", (claim(PAY), Settle(UNKNOWN), Settle(DONE), claim(RIVAL)), Held(DONE)),
    Steps(
        "an unknown outcome may become failed", (claim(PAY), Settle(UNKNOWN), Settle(FAILED), claim(RIVAL)), Claimed()
    ),
    Steps(
        "settling keeps when the row was made",
        (claim(PAY), Settle(replace(DONE, created=999.0)), CallsOf("acme", "r1")),
        found(DONE),
    ),
    Steps(
        "planned calls are kept",
        (Plan((call("a", state="planned"),)), CallsOf("acme", "r1")),
        found(call("a", state="planned")),
    ),
    Steps("planning changes no row that exists", (claim(PAY), Plan((PLANNED,)), CallsOf("acme", "r1")), found(PAY)),
    Steps("planning holds no key", (Plan((PLANNED,)), claim(RIVAL)), Claimed()),
    Steps("a planned call is claimed", (Plan((PLANNED,)), claim(PAY), CallsOf("acme", "r1")), found(PAY)),
    Steps("planning nothing is nothing", (Plan(()), CallsOf("acme", "r1")), ()),
    Steps(
        "calls come by turn and index",
        (
            Plan((call("a", turn=2, index=0), call("b", turn=1, index=10), call("c", turn=1, index=9))),
            CallsOf("acme", "r1"),
        ),
        (call("c", turn=1, index=9), call("b", turn=1, index=10), call("a", turn=2, index=0)),
    ),
    Steps("calls of another tenant are not shown", (claim(PAY), CallsOf("zeta", "r1")), ()),
    # Its own row
    *(
        Steps(f"a call that is {state} is claimed", (claim(PAY), Settle(as_is(state)), claim(PAY)), Claimed())
        for state in ("planned", "pending", "failed")
    ),
    *(
        Steps(
            f"a call that is {state} is not begun again",
            (claim(PAY), Settle(as_is(state)), claim(PAY)),
            Held(as_is(state)),
        )
        for state in ("started", "waiting", "done", "unknown")
    ),
    Steps("its own lapsed lease is no leave to begin again", (claim(PAY), claim(PAY, now=LATE)), Held(PAY)),
    Steps(
        "its own row is named before a rival",
        (claim(RIVAL), Settle(UNKNOWN), claim(PAY)),
        Held(UNKNOWN),
    ),
    Steps("a pending call holds no key", (Settle(as_is("pending")), claim(RIVAL)), Claimed()),
    Steps("a waiting call holds its key", (claim(PAY), Settle(as_is("waiting")), claim(RIVAL)), Held(as_is("waiting"))),
    Steps("a lapsed lease frees no key", (claim(PAY), claim(RIVAL, now=LATE)), Held(PAY)),
    # Settling
    Steps("settling tells that it wrote", (claim(PAY), Settle(DONE)), True),
    Steps(
        "who was away for longer than its lease does not free the key of who went on in its place",
        (claim(PAY), claim(AGAIN, over=PAY.key, now=LATE), Settle(FAILED, lease=PAY.lease_until), claim(RIVAL)),
        Held(AGAIN),
    ),
    Steps(
        "who went on does",
        (claim(PAY), claim(AGAIN, over=PAY.key, now=LATE), Settle(FAILED, lease=AGAIN.lease_until), claim(RIVAL)),
        Claimed(),
    ),
    Steps(
        "a success counts whoever tells of it",
        (claim(PAY), claim(AGAIN, over=PAY.key, now=LATE), Settle(DONE, lease=PAY.lease_until), claim(RIVAL)),
        Held(DONE),
    ),
    Steps(
        "the next attempt of a call may go under another idempotency key",
        (claim(PAY), Settle(replace(PAY, idempotency_key="second"), ("started",)), find("k")),
        replace(PAY, idempotency_key="second"),
    ),
    Steps("settling what is done tells that it did not", (claim(PAY), Settle(DONE), Settle(FAILED)), False),
    Steps("settling without a claim tells that it wrote", (Settle(FULL),), True),
    Steps("a call in an expected state is settled", (claim(PAY), Settle(DONE, ("started", "unknown"))), True),
    Steps("a call in another state is not", (claim(PAY), Settle(DONE, ("waiting",))), False),
    Steps(
        "a call in another state stays as it is",
        (claim(PAY), Settle(DONE, ("waiting",)), CallsOf("acme", "r1")),
        found(PAY),
    ),
    Steps("a missing call is in no expected state", (Settle(DONE, ("started",)),), False),
    Steps("a missing call counts as planned", (Settle(DONE, ("planned", "started")),), True),
    Steps("a missing call is not made", (Settle(DONE, ("started",)), CallsOf("acme", "r1")), ()),
    Steps("nobody expects done to change", (claim(PAY), Settle(DONE), Settle(FAILED, ("done",))), False),
    Steps(
        "settling keeps the arguments and the key that the other side was given",
        (
            claim(replace(PAY, arguments="{}", idempotency_key="i")),
            Settle(DONE),
            FindCall("acme", PAY.key),
        ),
        replace(DONE, arguments="{}", idempotency_key="i"),
    ),
    Steps(
        "settling keeps the effect key, though the row that settles has none",
        (claim(PAY), Settle(replace(DONE, effect_key=None)), claim(RIVAL)),
        Held(DONE),
    ),
    Steps(
        "settling keeps where the keys hold",
        (
            claim(replace(PAY, scope="tenant", open_key="o")),
            Settle(replace(DONE, scope=None, open_key=None)),
            find("k"),
        ),
        replace(DONE, scope="tenant", open_key="o"),
    ),
    Steps(
        "a call that failed and did happen after all holds its key again",
        (claim(PAY), Settle(FAILED), Settle(DONE), claim(RIVAL)),
        Held(DONE),
    ),
    Steps(
        "a call that failed and may have happened after all holds its key again",
        (claim(PAY), Settle(FAILED), Settle(UNKNOWN), claim(RIVAL)),
        Held(UNKNOWN),
    ),
    Steps(
        "a call that failed and did happen after all takes no key from another",
        (claim(PAY), Settle(FAILED), claim(RIVAL), Settle(DONE), find("k")),
        RIVAL,
    ),
    # Unknown outcomes, met by the open key
    Steps("an unknown outcome is met by the same open key", (claim(OPEN), Settle(LOST), claim(LATER)), Held(LOST)),
    Steps("it is found so", (claim(OPEN), Settle(LOST), find(open_key="o")), LOST),
    Steps("a running call is not met", (claim(OPEN), claim(LATER)), Claimed()),
    Steps("a running call is not found", (claim(OPEN), find(open_key="o")), None),
    Steps("a call is met once its lease has lapsed", (claim(OPEN), claim(LATER, now=LATE)), Held(OPEN)),
    Steps("it is found so, too", (claim(OPEN), find(open_key="o", now=LATE)), OPEN),
    Steps("a lease lasts to its last moment", (claim(OPEN), find(open_key="o", now=140.0)), None),
    Steps(
        "a call without a lease never lapses",
        (claim(replace(OPEN, lease_until=None)), find(open_key="o", now=1e9)),
        None,
    ),
    *(
        Steps(
            f"a call that is {state} is not met",
            (claim(OPEN), Settle(replace(OPEN, state=state)), find(open_key="o", now=LATE)),
            None,
        )
        for state in ("waiting", "done", "failed", "planned", "pending")
    ),
    Steps(
        "of two unknown outcomes the older is met",
        (claim(LATER), claim(OPEN), find(open_key="o", now=LATE)),
        OPEN,
    ),
    Steps(
        "of two as old the one with the smaller key is met",
        (claim(replace(LATER, created=100.0)), claim(OPEN), find(open_key="o", now=LATE)),
        OPEN,
    ),
    Steps(
        "the holder of the effect key is found before an unknown outcome",
        (claim(OPEN), Settle(LOST), claim(replace(RIVAL, created=50.0)), find("k", open_key="o")),
        replace(RIVAL, created=50.0),
    ),
    Steps("an unknown outcome stays in its tenant", (claim(OPEN), find(open_key="o", now=LATE, tenant="zeta")), None),
    Steps("what has no keys is not found", (claim(call()), Settle(replace(LOST, open_key=None)), find()), None),
    # Looking
    Steps("a call is found by its key", (claim(PAY), FindCall("acme", PAY.key)), PAY),
    Steps("a call of another tenant is not found", (claim(PAY), FindCall("zeta", PAY.key)), None),
    Steps("a call is found in whatever tenant", (claim(PAY), FindCall(None, PAY.key)), PAY),
    Steps(
        "of two tenants the older call is found",
        (claim(replace(PAY, tenant="zeta", created=1.0)), claim(PAY), FindCall(None, PAY.key)),
        replace(PAY, tenant="zeta", created=1.0),
    ),
    Steps("a call that was never made is not found", (FindCall(None, "x"),), None),
    Steps(
        "what is open is listed, the oldest first",
        (
            claim(call("b", created=3.0)),
            claim(call("a", created=2.0)),
            claim(call("c", created=1.0)),
            Settle(call("c", state="done")),
            Settle(call("d", state="waiting", created=0.5)),
            Plan((call("e", state="planned"),)),
            OpenCalls("acme"),
        ),
        (call("d", state="waiting", created=0.5), call("a", created=2.0), call("b", created=3.0)),
    ),
    Steps(
        "no more is listed than was asked for", (claim(call("a")), claim(call("b")), OpenCalls("acme", 1)), (call("a"),)
    ),
    Steps("what is open in another tenant is not listed", (claim(PAY), OpenCalls("zeta")), ()),
    Steps(
        "what is open in all tenants is listed",
        (claim(call(tenant="zeta")), claim(PAY), OpenCalls()),
        (PAY, call(tenant="zeta")),
    ),
    # Forgetting
    *(
        Steps(
            f"a call that is {state} is {'kept' if kept else 'forgotten'}",
            (claim(PAY), Settle(as_is(state)), Forget("acme", "r1"), CallsOf("acme", "r1")),
            found(as_is(state)) if kept else (),
        )
        for state, kept in FORGOTTEN
    ),
    Steps(
        "an effect that is done for the run is forgotten with it",
        (claim(replace(PAY, scope="run")), Settle(replace(DONE, scope="run")), Forget("acme", "r1"), claim(RIVAL)),
        Claimed(),
    ),
    *(
        Steps(
            f"an effect that is done for the {scope} is not",
            (claim(replace(PAY, scope=scope)), Settle(DONE), Forget("acme", "r1"), claim(RIVAL)),
            Held(replace(DONE, scope=scope)),
        )
        for scope in ("session", "principal", "tenant")
    ),
    Steps("only that run is forgotten", (claim(PAY), Settle(DONE), Forget("acme", "r2"), find("k")), DONE),
    Steps("only in that tenant it is forgotten", (claim(PAY), Settle(DONE), Forget("zeta", "r1"), find("k")), DONE),
]
