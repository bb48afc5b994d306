"""What every store does, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest

from tests.stores.places import FULL, Place, call, run, session
from toolrail.codes import Code
from toolrail.store import (
    CallRow,
    CallsOf,
    Claim,
    Claimed,
    DropLease,
    FindEffect,
    Held,
    ListRuns,
    LoadRun,
    LoadSession,
    Op,
    Plan,
    SaveRun,
    SaveSession,
    Settle,
    Store,
    TakeLease,
)
from toolrail.stores.memory import MemoryStore

PAY = call("r1:d:0", effect_key="k")
"""Claims the effect `k`."""
RIVAL = call("r2:d:0", run="r2", effect_key="k", principal="bob")
"""Another call that wants the same effect."""
DONE = replace(PAY, state="done", status="ok", content="paid", lease_until=None, updated=101.0)
UNKNOWN = replace(PAY, state="unknown", status="unknown", code=Code.OUTCOME_UNKNOWN, lease_until=None)
PLANNED = replace(PAY, state="planned")
FAILED = replace(PAY, state="failed", status="error", code=Code.TOOL_ERROR, lease_until=None)
REPLAYED = replace(RIVAL, state="done", status="ok", content="paid", lease_until=None)
"""What `settle` writes for a call that was answered with the result of `PAY`: nothing claimed, and yet done."""


@dataclass(frozen=True)
class Steps:
    """Operations, each in a transaction of its own, and the answer of the last."""

    sentence: str
    ops: tuple[Op, ...]
    answer: Any


def take(holder: str, now: float, until: float) -> TakeLease:
    return TakeLease("acme", "x", holder, now, until)


def drop(holder: str) -> DropLease:
    return DropLease("acme", "x", holder)


def found(row: CallRow) -> tuple[CallRow]:
    return (row,)


BEHAVIOURS = [
    Steps("a claim of a free key is claimed", (Claim(PAY),), Claimed()),
    Steps("a claim without a key is claimed", (Claim(call()),), Claimed()),
    Steps("calls without a key do not meet", (Claim(call("a")), Claim(call("b"))), Claimed()),
    Steps("a started call holds its key", (Claim(PAY), Claim(RIVAL)), Held(PAY)),
    Steps("a done call holds its key", (Claim(PAY), Settle(DONE), Claim(RIVAL)), Held(DONE)),
    Steps("an unknown outcome holds its key", (Claim(PAY), Settle(UNKNOWN), Claim(RIVAL)), Held(UNKNOWN)),
    Steps("a failed call frees its key", (Claim(PAY), Settle(FAILED), Claim(RIVAL)), Claimed()),
    Steps("the holder may claim again", (Claim(PAY), Claim(replace(PAY, attempts=1))), Claimed()),
    Steps(
        "a claim by the same call replaces its row",
        (Claim(PAY), Claim(replace(PAY, created=200.0, attempts=2)), CallsOf("acme", "r1")),
        found(replace(PAY, created=200.0, attempts=2)),
    ),
    Steps("a call that was held leaves no row", (Claim(PAY), Claim(RIVAL), CallsOf("acme", "r2")), ()),
    Steps("another tenant's key is another key", (Claim(PAY), Claim(replace(RIVAL, tenant="zeta"))), Claimed()),
    Steps("an effect is found by its key", (Claim(PAY), FindEffect("acme", "k")), PAY),
    Steps("an effect is found as it is settled", (Claim(PAY), Settle(DONE), FindEffect("acme", "k")), DONE),
    Steps("a freed effect is not found", (Claim(PAY), Settle(FAILED), FindEffect("acme", "k")), None),
    Steps("no effect is found in another tenant", (Claim(PAY), FindEffect("zeta", "k")), None),
    Steps("an effect nobody claimed is not found", (FindEffect("acme", "k"),), None),
    Steps("the next holder is found", (Claim(PAY), Settle(FAILED), Claim(RIVAL), FindEffect("acme", "k")), RIVAL),
    Steps(
        "a replayed call is written beside the holder, which stays the holder",
        (Claim(PAY), Settle(DONE), Settle(REPLAYED), FindEffect("acme", "k")),
        DONE,
    ),
    Steps("a replayed call is kept", (Claim(PAY), Settle(DONE), Settle(REPLAYED), CallsOf("acme", "r2")), (REPLAYED,)),
    Steps(
        "a failure of another call frees nothing",
        (Claim(PAY), Settle(replace(RIVAL, state="failed")), FindEffect("acme", "k")),
        PAY,
    ),
    Steps("a settled row without a claim is kept", (Settle(FULL), CallsOf("acme", "r1")), found(FULL)),
    Steps("a done row stays done", (Claim(PAY), Settle(DONE), Settle(FAILED), CallsOf("acme", "r1")), found(DONE)),
    Steps("a done row keeps its key", (Claim(PAY), Settle(DONE), Settle(FAILED), Claim(RIVAL)), Held(DONE)),
    Steps("an unknown outcome may become done", (Claim(PAY), Settle(UNKNOWN), Settle(DONE), Claim(RIVAL)), Held(DONE)),
    Steps(
        "an unknown outcome may become failed", (Claim(PAY), Settle(UNKNOWN), Settle(FAILED), Claim(RIVAL)), Claimed()
    ),
    Steps(
        "settling keeps when the row was made",
        (Claim(PAY), Settle(replace(DONE, created=999.0)), CallsOf("acme", "r1")),
        found(DONE),
    ),
    Steps(
        "planned calls are kept",
        (Plan((call("a", state="planned"),)), CallsOf("acme", "r1")),
        found(call("a", state="planned")),
    ),
    Steps("planning changes no row that exists", (Claim(PAY), Plan((PLANNED,)), CallsOf("acme", "r1")), found(PAY)),
    Steps("planning holds no key", (Plan((PLANNED,)), Claim(RIVAL)), Claimed()),
    Steps("a planned call is claimed", (Plan((PLANNED,)), Claim(PAY), CallsOf("acme", "r1")), found(PAY)),
    Steps("planning nothing is nothing", (Plan(()), CallsOf("acme", "r1")), ()),
    Steps(
        "calls come by turn and index",
        (
            Plan((call("a", turn=2, index=0), call("b", turn=1, index=10), call("c", turn=1, index=9))),
            CallsOf("acme", "r1"),
        ),
        (call("c", turn=1, index=9), call("b", turn=1, index=10), call("a", turn=2, index=0)),
    ),
    Steps("calls of another tenant are not shown", (Claim(PAY), CallsOf("zeta", "r1")), ()),
    Steps("a run comes back", (SaveRun(run()), LoadRun("acme", "r1")), run()),
    Steps(
        "a run is saved over itself",
        (SaveRun(run()), SaveRun(run(state="{}", stop_reason="answer")), LoadRun("acme", "r1")),
        run(state="{}", stop_reason="answer"),
    ),
    Steps("a run without a session comes back", (SaveRun(run(session=None)), LoadRun("acme", "r1")), run(session=None)),
    Steps("a missing run is None", (LoadRun("acme", "r1"),), None),
    Steps("a run of another tenant is missing", (SaveRun(run()), LoadRun("zeta", "r1")), None),
    Steps(
        "runs come newest first, at most as many as asked for",
        (*(SaveRun(run(f"r{n}", updated=float(n))) for n in (2, 3, 1)), ListRuns(limit=2)),
        (run("r3", updated=3.0), run("r2", updated=2.0)),
    ),
    Steps("only runs after a time are listed", (SaveRun(run()), ListRuns(since=2.0)), ()),
    Steps(
        "runs of all tenants are listed",
        (SaveRun(run()), SaveRun(run(tenant="zeta", updated=1.0)), ListRuns()),
        (run(), run(tenant="zeta", updated=1.0)),
    ),
    Steps(
        "runs of one tenant are listed",
        (SaveRun(run()), SaveRun(run(tenant="zeta")), ListRuns(tenant="zeta")),
        (run(tenant="zeta"),),
    ),
    Steps("a session comes back", (SaveSession(session()), LoadSession("acme", "s1")), session()),
    Steps(
        "a session is saved over itself",
        (SaveSession(session()), SaveSession(session(messages="[]")), LoadSession("acme", "s1")),
        session(messages="[]"),
    ),
    Steps("a missing session is None", (LoadSession("acme", "s1"),), None),
    Steps("a session of another tenant is missing", (SaveSession(session()), LoadSession("zeta", "s1")), None),
    Steps("a free lease is taken", (TakeLease("acme", "run:r1", "a", 0.0, 10.0),), True),
    Steps("a held lease is refused", (take("a", 0.0, 10.0), take("b", 9.9, 20.0)), False),
    Steps("a lapsed lease is taken", (take("a", 0.0, 10.0), take("b", 10.0, 20.0)), True),
    Steps("a holder renews its lease", (take("a", 0.0, 10.0), take("a", 5.0, 15.0)), True),
    Steps(
        "a renewed lease lasts longer",
        (take("a", 0.0, 10.0), take("a", 5.0, 15.0), take("b", 12.0, 20.0)),
        False,
    ),
    Steps("a dropped lease is free", (take("a", 0.0, 10.0), drop("a"), take("b", 1.0, 9.0)), True),
    Steps("nobody drops another's lease", (take("a", 0.0, 10.0), drop("b"), take("b", 1.0, 9.0)), False),
    Steps("dropping a lease that nobody has is nothing", (drop("a"),), None),
    Steps("leases of two tenants do not meet", (take("a", 0.0, 10.0), TakeLease("zeta", "x", "b", 0.0, 9.0)), True),
]


@pytest.mark.parametrize("steps", BEHAVIOURS, ids=lambda steps: steps.sentence)
def test_store(steps: Steps, place: Place) -> None:
    async def body(store: Store) -> Any:
        return [(await store.apply(op))[0] for op in steps.ops][-1]

    assert place.run(body) == steps.answer


@pytest.mark.parametrize("steps", BEHAVIOURS, ids=lambda steps: steps.sentence)
def test_store_in_one_transaction(steps: Steps, place: Place) -> None:
    async def body(store: Store) -> Any:
        return (await store.apply(*steps.ops))[-1]

    assert place.run(body) == steps.answer


@pytest.mark.parametrize("steps", BEHAVIOURS, ids=lambda steps: steps.sentence)
def test_store_opened_anew_before_the_last_step(steps: Steps, durable_place: Place) -> None:
    async def first(store: Store) -> Any:
        return [(await store.apply(op))[0] for op in steps.ops[:-1]]

    async def last(store: Store) -> Any:
        return (await store.apply(steps.ops[-1]))[0]

    durable_place.run(first)
    assert durable_place.run(last) == steps.answer


def test_each_operation_is_answered_in_its_place(place: Place) -> None:
    async def body(store: Store) -> list[Any]:
        return await store.apply(Claim(PAY), Claim(RIVAL), SaveRun(run()), LoadRun("acme", "r1"), CallsOf("acme", "r2"))

    assert place.run(body) == [Claimed(), Held(PAY), None, run(), ()]


def test_no_operation_is_no_answer(place: Place) -> None:
    async def body(store: Store) -> list[Any]:
        return await store.apply()

    assert place.run(body) == []


class Unheard(NamedTuple):
    """An operation that no store knows."""


@pytest.mark.parametrize(
    ("bad", "error"),
    [(Unheard(), TypeError), (Settle(call("z", attempts=2**70)), Exception)],
    ids=["an unknown operation", "a number too large"],
)
def test_a_failing_operation_leaves_nothing_of_its_transaction(
    bad: Any, error: type[Exception], durable_place: Place
) -> None:
    async def body(store: Store) -> list[Any]:
        await store.apply(SaveRun(run("before")))
        with pytest.raises(error):
            await store.apply(Claim(PAY), SaveRun(run("r1")), bad, SaveRun(run("r2")))
        return await store.apply(ListRuns(), FindEffect("acme", "k"))

    assert durable_place.run(body) == [(run("before"),), None]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d\ude00 \ud800"])
def test_a_lone_surrogate_from_a_model_loses_no_row(text: str, durable_place: Place) -> None:
    async def body(store: Store) -> Any:
        return await store.apply(Settle(call(state="done", content="paid", call_id=text)), CallsOf("acme", "r1"))

    _, (row,) = durable_place.run(body)
    assert (row.state, row.content) == ("done", "paid")
    assert "\ufffd" in row.call_id


def test_a_durable_store_says_so(durable_place: Place) -> None:
    assert durable_place.open().durable


def test_a_memory_store_is_not_durable() -> None:
    assert not MemoryStore().durable
