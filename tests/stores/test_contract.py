"""What every store does, whichever it is."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.stores.behaviours.approvals import APPROVALS
from tests.stores.behaviours.calls import CALLS, DONE, PAY, RIVAL
from tests.stores.behaviours.rest import REST
from tests.stores.behaviours.takeovers import TAKEOVERS
from tests.stores.places import Place, call, run
from tests.stores.steps import Steps, claim, find, sentence
from toolrail.store import CallsOf, Claimed, Forget, Held, ListRuns, LoadRun, SaveRun, Settle, Store
from toolrail.stores.memory import MemoryStore

BEHAVIOURS = [*CALLS, *TAKEOVERS, *APPROVALS, *REST]


@pytest.mark.parametrize("steps", BEHAVIOURS, ids=sentence)
def test_store(steps: Steps, place: Place) -> None:
    async def body(store: Store) -> Any:
        return [(await store.apply(op))[0] for op in steps.ops][-1]

    assert place.run(body) == steps.answer


@pytest.mark.parametrize("steps", BEHAVIOURS, ids=sentence)
def test_store_in_one_transaction(steps: Steps, place: Place) -> None:
    async def body(store: Store) -> Any:
        return (await store.apply(*steps.ops))[-1]

    assert place.run(body) == steps.answer


@pytest.mark.parametrize("steps", BEHAVIOURS, ids=sentence)
def test_store_opened_anew_before_the_last_step(steps: Steps, durable_place: Place) -> None:
    async def first(store: Store) -> Any:
        return [(await store.apply(op))[0] for op in steps.ops[:-1]]

    async def last(store: Store) -> Any:
        return (await store.apply(steps.ops[-1]))[0]

    durable_place.run(first)
    assert durable_place.run(last) == steps.answer


def test_each_operation_is_answered_in_its_place(place: Place) -> None:
    async def body(store: Store) -> list[Any]:
        return await store.apply(claim(PAY), claim(RIVAL), SaveRun(run()), LoadRun("acme", "r1"), CallsOf("acme", "r2"))

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
            await store.apply(claim(PAY), SaveRun(run("r1")), bad, SaveRun(run("r2")))
        return await store.apply(ListRuns(), find("k"))

    assert durable_place.run(body) == [(run("before"),), None]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d\ude00 \ud800"])
def test_a_lone_surrogate_from_a_model_loses_no_row(text: str, durable_place: Place) -> None:
    async def body(store: Store) -> Any:
        return await store.apply(Settle(call(state="done", content="paid", call_id=text)), CallsOf("acme", "r1"))

    _, (row,) = durable_place.run(body)
    assert (row.state, row.content) == ("done", "paid")
    assert "\ufffd" in row.call_id or row.call_id == text


def test_a_durable_store_says_so(durable_place: Place) -> None:
    assert durable_place.open().durable


def test_a_memory_store_is_not_durable() -> None:
    assert not MemoryStore().durable


FORGOTTEN = [
    Steps(
        "what was open when its run was forgotten goes once it is settled",
        (claim(PAY), Forget("acme", "r1"), Settle(DONE), CallsOf("acme", "r1")),
        (),
    ),
    Steps(
        "a forgotten run that goes on keeps what it does",
        (claim(PAY), Forget("acme", "r1"), claim(call("r1:e:0", effect_key="k2")), Settle(DONE), claim(RIVAL)),
        Held(DONE),
    ),
]


@pytest.mark.parametrize("steps", FORGOTTEN, ids=sentence)
def test_a_memory_store_keeps_nothing_for_later(steps: Steps) -> None:
    async def body(store: Store) -> Any:
        return [(await store.apply(op))[0] for op in steps.ops][-1]

    assert Place(MemoryStore).run(body) == steps.answer
