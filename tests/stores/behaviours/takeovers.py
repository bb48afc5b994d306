"""Calls that go on with another's unknown outcome: A is repeated by B, and B perhaps by C."""

from __future__ import annotations

from dataclasses import replace

from tests.stores.places import call
from tests.stores.steps import LATE, Steps, claim, find
from toolrail.codes import Code
from toolrail.store import CallRow, CallsOf, CallState, Claimed, FindCall, Forget, Held, Op, OpenCalls, Settle

A = call("a", run="ra", effect_key="k", open_key="o", idempotency_key="ia")
B = call("b", run="rb", effect_key="k", open_key="o", idempotency_key="ia", created=110.0)
C = call("c", run="rc", effect_key="k", open_key="o", idempotency_key="ia", created=120.0)
NARROW = replace(B, effect_key="k2")
"""The same effect in another scope: it has a key of its own."""
OTHER = call("x", run="rx", effect_key="k", open_key="o2", created=130.0)
"""Wants the key `k`, with other arguments."""
UNKEYED = replace(A, effect_key=None)


def ended(row: CallRow, state: CallState = "done") -> CallRow:
    return replace(row, state=state, lease_until=None, updated=130.0)


def paid(row: CallRow) -> CallRow:
    return replace(
        ended(row), status="ok", content="paid", trust="trusted", flags=("f",), code=Code.TIMEOUT, result_bytes=4
    )


def lost(row: CallRow) -> CallRow:
    return ended(row, "unknown")


def repeated(row: CallRow) -> CallRow:
    return ended(row, "repeated")


A_LOST: tuple[Op, ...] = (claim(A), Settle(lost(A)))
B_OVER_A: tuple[Op, ...] = (*A_LOST, claim(B, over="a"))
C_OVER_B: tuple[Op, ...] = (*B_OVER_A, Settle(lost(B)), claim(C, over="b"))
NARROW_OVER_A: tuple[Op, ...] = (*A_LOST, claim(NARROW, over="a"))
WIDE_OVER_NARROW: tuple[Op, ...] = (*NARROW_OVER_A, Settle(lost(NARROW)), claim(C, over="b"))
"""A has the key k, its repeat k2, and the repeat of that k again."""

TAKEOVERS: list[Steps] = [
    Steps("an unknown outcome is taken over", B_OVER_A, Claimed()),
    Steps("the one that is repeated says so", (*B_OVER_A, FindCall("acme", "a")), repeated(A)),
    Steps("the one that repeats says whom", (*B_OVER_A, FindCall("acme", "b")), replace(B, repeats="a")),
    Steps("a caller cannot say so himself", (claim(replace(A, repeats="z")), FindCall("acme", "a")), A),
    Steps("nor with an outcome", (Settle(replace(ended(A), repeats="z")), FindCall("acme", "a")), ended(A)),
    Steps("a lapsed lease is taken over", (claim(A), claim(B, over="a", now=LATE)), Claimed()),
    Steps("a lease that lasts is not", (claim(A), claim(B, over="a")), Held(A)),
    *(
        Steps(
            f"a call that is {state} is not taken over",
            (claim(A), Settle(ended(A, state)), claim(B, over="a", now=LATE)),
            Held(ended(A, state)),
        )
        for state in ("done", "failed", "waiting", "planned", "pending")
    ),
    Steps("of two that take over one has it", (*B_OVER_A, claim(C, over="a")), Held(repeated(A))),
    Steps(
        "a call of another tenant is not taken over", (*A_LOST, claim(replace(B, tenant="zeta"), over="a")), Claimed()
    ),
    Steps("and stays as it is", (*A_LOST, claim(replace(B, tenant="zeta"), over="a"), FindCall("acme", "a")), lost(A)),
    Steps(
        "a missing call to take over is no leave to pass an unknown outcome",
        (claim(UNKEYED), Settle(lost(UNKEYED)), claim(replace(B, effect_key=None), over="z")),
        Held(lost(UNKEYED)),
    ),
    Steps(
        "another holder stands in the way of a takeover",
        (claim(UNKEYED), Settle(lost(UNKEYED)), claim(OTHER), claim(B, over="a")),
        Held(OTHER),
    ),
    Steps(
        "who takes one unknown outcome over passes others",
        (
            claim(replace(C, effect_key=None, created=1.0)),
            Settle(lost(replace(C, effect_key=None))),
            claim(UNKEYED),
        ),
        Held(lost(replace(C, effect_key=None, created=1.0))),
    ),
    # Meanwhile
    Steps("the key goes along", (*B_OVER_A, claim(C)), Held(replace(B, repeats="a"))),
    Steps("the one that repeats is found", (*B_OVER_A, find("k", open_key="o")), replace(B, repeats="a")),
    Steps("the one that is repeated is not met", (*B_OVER_A, find(open_key="o")), None),
    Steps("nor is it open", (*B_OVER_A, OpenCalls()), (replace(B, repeats="a"),)),
    Steps("nor is it begun again", (*B_OVER_A, claim(A)), Held(repeated(A))),
    Steps(
        "it is kept when its run is forgotten", (*B_OVER_A, Forget("acme", "ra"), FindCall("acme", "a")), repeated(A)
    ),
    Steps("it does not fail any more", (*B_OVER_A, Settle(ended(A, "failed"))), False),
    Steps("it does not become unknown any more", (*B_OVER_A, Settle(lost(A))), False),
    Steps(
        "an unknown repeat is met in its turn",
        (*B_OVER_A, Settle(lost(B)), claim(C)),
        Held(lost(replace(B, repeats="a"))),
    ),
    Steps(
        "a repeat that lapsed is met in its turn", (*B_OVER_A, find(open_key="o", now=LATE)), replace(B, repeats="a")
    ),
    # How it ends
    Steps(
        "when the repeat is done, what it repeated is done with the same result",
        (*B_OVER_A, Settle(paid(B)), FindCall("acme", "a")),
        paid(A),
    ),
    Steps(
        "the key stays with the repeat",
        (*B_OVER_A, Settle(ended(B)), find("k")),
        replace(ended(B), repeats="a"),
    ),
    Steps(
        "when the repeat failed, what it repeated is unknown again",
        (*B_OVER_A, Settle(ended(B, "failed")), FindCall("acme", "a")),
        lost(A),
    ),
    Steps("and holds its key", (*B_OVER_A, Settle(ended(B, "failed")), claim(C)), Held(lost(A))),
    Steps("and is met", (*B_OVER_A, Settle(ended(B, "failed")), find(open_key="o")), lost(A)),
    Steps("and is taken over by the next", (*B_OVER_A, Settle(ended(B, "failed")), claim(C, over="a")), Claimed()),
    Steps(
        "who failed does not count as its repeat any more",
        (*B_OVER_A, Settle(ended(B, "failed")), claim(C, over="a"), Settle(ended(B, "failed")), find("k")),
        replace(C, repeats="a"),
    ),
    Steps(
        "who failed repeats nothing",
        (*B_OVER_A, Settle(ended(B, "failed")), FindCall("acme", "b")),
        ended(B, "failed"),
    ),
    Steps(
        "who failed may take it over again",
        (*B_OVER_A, Settle(ended(B, "failed")), claim(B, over="a"), Settle(ended(B)), FindCall("acme", "a")),
        ended(A),
    ),
    Steps(
        "an unknown call goes on with itself",
        (*A_LOST, claim(A, over="a"), FindCall("acme", "a")),
        A,
    ),
    Steps(
        "a repeat that goes on with itself still repeats the same",
        (*B_OVER_A, Settle(lost(B)), claim(B, over="b"), Settle(ended(B)), FindCall("acme", "a")),
        ended(A),
    ),
    # A late word of the first
    Steps("a late done of the repeated one is written", (*B_OVER_A, Settle(paid(A))), True),
    Steps(
        "and stays when the repeat is done",
        (*B_OVER_A, Settle(paid(A)), Settle(ended(B)), FindCall("acme", "a")),
        paid(A),
    ),
    Steps(
        "it takes no key from the repeat that runs",
        (*B_OVER_A, Settle(ended(A)), claim(C)),
        Held(replace(B, repeats="a")),
    ),
    Steps(
        "it holds the key when the repeat failed",
        (*B_OVER_A, Settle(ended(A)), Settle(ended(B, "failed")), claim(C)),
        Held(ended(A)),
    ),
    Steps("a late done is written where it is expected", (*B_OVER_A, Settle(ended(A), ("started", "repeated"))), True),
    Steps("and not where it is not", (*B_OVER_A, Settle(ended(A), ("started",))), False),
    # Chains
    Steps("a repeat is repeated", C_OVER_B, Claimed()),
    Steps("of a chain the last is found", (*C_OVER_B, find("k", open_key="o")), replace(C, repeats="b")),
    *(
        Steps(
            f"when the last of a chain is done, {row.key} is",
            (*C_OVER_B, Settle(paid(C)), FindCall("acme", row.key)),
            paid(row),
        )
        for row in (A, replace(B, repeats="a"))
    ),
    Steps(
        "when the last of a chain failed, the one before is unknown again",
        (*C_OVER_B, Settle(ended(C, "failed")), find("k")),
        lost(replace(B, repeats="a")),
    ),
    Steps(
        "the first of it stays repeated", (*C_OVER_B, Settle(ended(C, "failed")), FindCall("acme", "a")), repeated(A)
    ),
    Steps(
        "when two of a chain failed, the first is unknown and holds the key",
        (*C_OVER_B, Settle(ended(C, "failed")), Settle(ended(B, "failed")), claim(OTHER)),
        Held(lost(A)),
    ),
    # Keys of two scopes
    Steps("who has another key leaves the first its own", (*NARROW_OVER_A, find("k")), replace(NARROW, repeats="a")),
    Steps("and is met under both", (*NARROW_OVER_A, claim(OTHER)), Held(replace(NARROW, repeats="a"))),
    Steps("under its own, too", (*NARROW_OVER_A, find("k2")), replace(NARROW, repeats="a")),
    Steps(
        "once it is done the first answers for its key", (*NARROW_OVER_A, Settle(ended(NARROW)), find("k")), ended(A)
    ),
    Steps("once it failed its own key is free", (*NARROW_OVER_A, Settle(ended(NARROW, "failed")), find("k2")), None),
    Steps(
        "and the first holds its own", (*NARROW_OVER_A, Settle(ended(NARROW, "failed")), claim(OTHER)), Held(lost(A))
    ),
    Steps("a key goes on along a chain to who has the same", WIDE_OVER_NARROW, Claimed()),
    Steps("then it is found under the wide key", (*WIDE_OVER_NARROW, find("k")), replace(C, repeats="b")),
    Steps("and under the narrow one", (*WIDE_OVER_NARROW, find("k2")), replace(C, repeats="b")),
    Steps(
        "when it fails the narrow one is unknown again",
        (*WIDE_OVER_NARROW, Settle(ended(C, "failed")), find("k2")),
        lost(replace(NARROW, repeats="a")),
    ),
    Steps(
        "and stands for the wide key, which went back to the first",
        (*WIDE_OVER_NARROW, Settle(ended(C, "failed")), claim(OTHER)),
        Held(lost(replace(NARROW, repeats="a"))),
    ),
    Steps(
        "an unknown call that holds no key gets none by being repeated",
        (Settle(lost(A)), claim(OTHER), claim(NARROW, over="a"), find("k")),
        OTHER,
    ),
    Steps(
        "all of a run are there",
        (*B_OVER_A, CallsOf("acme", "ra")),
        (repeated(A),),
    ),
]
