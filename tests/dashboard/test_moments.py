"""A run at any of its events: what was spent, under way and said by then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.dashboard.made import MONO, ZERO, attempt, call, detail, model, moment
from toolrail.dashboard.moments import events, state_at
from toolrail.messages import Usage
from toolrail.records.views import ContentLine, RunDetail


def _run() -> RunDetail:
    """Asked, two calls at once of which one was tried twice and its circuit opened, and answered."""
    return detail(
        call("a", 1, 4, seq=4, settled_seq=9, decision="allow", rule="r", decided_seq=6, decided_mono=MONO + 1),
        call("b", 1, 1, seq=5, settled_seq=7, status="error", code="MAX_RETRIES", index=1),
        models=[model(1, 1, seq=3, turn=0), model(7, 2, seq=11, turn=1, cost=None, usage=Usage(10, 10))],
        moments=[
            moment("RunStarted", 0, seq=1, data={"resumed": False}),
            moment("ModelStarted", 0, seq=2, data={"model": "scripted"}),
            moment("CircuitChanged", 2, seq=8, data={"dependency": "shop", "state": "open"}),
            moment("RunEnded", 7, seq=12, data={"reason": "answer"}),
        ],
        attempts={"a": (attempt(1, 3, 2, seq=10),)},
        contents=[
            ContentLine(2, 0, ZERO, "messages", None, 10),
            ContentLine(4, 1, ZERO, "arguments", "a", 10),
            ContentLine(11, 1, ZERO, "messages", None, 10),
        ],
        limits={"turns": 2, "calls": 4, "tokens": 400, "money": "0.02", "seconds": 10.0},
    )


def test_events_come_in_the_order_of_their_numbers() -> None:
    found = events(_run())
    assert [one.seq for one in found] == list(range(1, 13))
    assert {one.seq for one in found if one.bad} == {7, 8, 10}


def test_nothing_is_spent_before_the_first_event() -> None:
    run = _run()
    state = state_at(run, events(run), 0)
    assert state.event is None
    assert [budget.spent for budget in state.budgets] == [0.0] * 5
    assert (state.under_way, state.waiting, state.contents) == ((), (), ())


def test_budgets_are_what_was_spent_by_then_against_the_limits_of_the_run() -> None:
    run = _run()
    state = state_at(run, events(run), 9)
    spent = {budget.name: (budget.spent, budget.limit, budget.share) for budget in state.budgets}
    assert spent == {
        "turns": (1, 2, 0.5),
        "calls": (2, 4, 0.5),
        "tokens": (120, 400, 0.3),
        "seconds": (5, 10, 0.5),
        "money": (0.01, 0.02, 0.5),
    }


def test_an_unknown_price_is_said_and_not_counted_as_nothing() -> None:
    run = _run()
    state = state_at(run, events(run), 12)
    assert state.unpriced == 1
    assert state.budgets[4].spent == 0.01


def test_calls_under_way_are_those_requested_and_not_answered() -> None:
    run = _run()
    found = events(run)
    names = [[one.key for one in state_at(run, found, seq).under_way] for seq in (3, 5, 7, 9)]
    assert names == [[], ["a", "b"], ["a"], []]
    last = state_at(run, found, 12)
    assert (last.done, last.failed) == (2, 1)


def test_circuits_are_as_the_run_heard_of_them_last() -> None:
    run = _run()
    found = events(run)
    assert state_at(run, found, 7).circuits == ()
    assert state_at(run, found, 8).circuits == (("shop", "open"),)


def test_content_is_what_came_with_the_events_so_far() -> None:
    run = _run()
    found = events(run)
    assert [one.seq for one in state_at(run, found, 5).contents] == [2, 4]
    assert [one.seq for one in state_at(run, found, 12).contents] == [2, 4, 11]


def test_a_call_that_waits_is_not_under_way() -> None:
    waits = call("a", 1, 0.5, seq=2, settled_seq=4, status="pending", code="APPROVAL_PENDING")
    run = detail(waits, moments=[moment("RunStarted", 0, seq=1), moment("CallSuspended", 1.5, key="a", seq=3)])
    found = events(run)
    assert [one.key for one in state_at(run, found, 2).under_way] == ["a"]
    assert [one.key for one in state_at(run, found, 3).waiting] == ["a"]
    assert [one.key for one in state_at(run, found, 4).waiting] == ["a"]


def test_the_time_between_two_processes_is_not_spent() -> None:
    moments = [
        moment("RunStarted", 0, seq=1),
        moment("RunSuspended", 2, seq=2),
        moment("RunStarted", 1_000, seq=3, mono=7.0, data={"resumed": True}),
        moment("RunEnded", 1_003, seq=4, mono=10.0),
    ]
    run = detail(moments=moments)
    state = state_at(run, events(run), 4)
    assert next(one.spent for one in state.budgets if one.name == "seconds") == 5.0


@given(st.integers(-5, 20), st.integers(-5, 20))
def test_nothing_that_was_spent_comes_back(first: int, second: int) -> None:
    run = _run()
    found = events(run)
    early, late = (state_at(run, found, seq) for seq in sorted((first, second)))
    assert all(a.spent <= b.spent for a, b in zip(early.budgets, late.budgets, strict=True))
    assert early.done <= late.done
