"""Projecting: events become facts without a database, so that what was not written can be projected again."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from toolrail.codes import Code
from toolrail.events import (
    CallRef,
    CallRequested,
    CallSettled,
    CircuitChanged,
    Content,
    Event,
    Head,
    ModelSettled,
    OutcomeSettled,
    RunEnded,
    RunStarted,
    RunSuspended,
)
from toolrail.messages import Usage
from toolrail.records.merging import CALL_COLUMNS, merged_call
from toolrail.records.projecting import Facts, Handle, project

CALL = CallRef("run_1:1:0", 0, "c1", "find", "d1")


def head(seq: int, *, run: str = "run_1") -> Head:
    return Head(seq, 1_000.0 + seq, 10.0 + seq, "default", "desk", run, 1, "ann")


def ended(seq: int, *, code: Code | None = None, status: Any = "ok", run: str = "run_1") -> CallSettled:
    return CallSettled(head(seq, run=run), CALL, status, code, 1, 8, 9, 0.5, 0.4, ("preview",), False, True, None, "db")


def facts_of(*events: Event | Content, handles: Any = None) -> Facts:
    return project(events, handles or {}, lambda event: (0.5, "USD") if event.model == "known" else (None, "USD"))


@promise("see:record")
def test_numbers_of_a_second_handle_of_a_run_go_on_after_those_of_the_first() -> None:
    first = (RunStarted(head(1), ()), RunSuspended(head(2), 1))
    again = (RunStarted(head(1), (), True), RunEnded(head(2), "answer", 1, 1, Usage(), 1.0))
    facts = facts_of(*first, *again, handles={("default", "run_1"): Handle(40)})
    assert [row[2] for row in facts.moments] == [41, 42, 43, 44]
    run = facts.runs["default", "run_1"]
    assert (run.seq, run.suspended, run.ended is not None, run.guest) == (44, None, True, False)


def test_what_was_projected_changes_nothing_that_was_given() -> None:
    handles = {("default", "run_1"): Handle(5)}
    facts_of(RunStarted(head(1), ()), CircuitChanged(head(2), "db", "open"), handles=handles)
    assert handles == {("default", "run_1"): Handle(5)}


def test_events_of_many_runs_in_any_order_are_kept_apart() -> None:
    events = [CallRequested(head(at, run=run), CALL, 8) for at in (1, 2, 3) for run in ("a", "b")]
    facts = facts_of(*events)
    assert {key[1]: run.seq for key, run in facts.runs.items()} == {"a": 3, "b": 3}


def test_an_event_that_cannot_be_read_is_counted_and_passed_over() -> None:
    broken: Any = OutcomeSettled(head(2), None, "ok", "late")  # pyright: ignore[reportArgumentType]
    facts = facts_of(CallRequested(head(1), CALL, 8), broken, ended(3))
    assert (facts.unread, facts.calls["default", CALL.key].settled_seq) == (1, 3)


@promise("see:cost")
def test_a_responses_cost_is_added_to_its_run_and_one_without_a_price_is_counted() -> None:
    known, unknown = (
        ModelSettled(head(at), name, "end", Usage(10, 5), None, 1, 0) for at, name in ((1, "known"), (2, "?"))
    )
    run = facts_of(known, unknown).runs["default", "run_1"]
    assert (run.costs, run.unpriced, run.usage, run.model) == ({"USD": 0.5}, 1, Usage(20, 10), "known")


def named(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(CALL_COLUMNS, row, strict=True))


@promise("see:record")
@given(cut=st.integers(0, 3), pending=st.booleans())
def test_a_calls_row_is_the_same_however_its_events_are_spread_over_flushes(cut: int, pending: bool) -> None:
    events = [CallRequested(head(1), CALL, 8), ended(2, code=Code.WAITING, status="pending"), ended(3)]
    events = events if pending else [events[0], events[2]]
    row, base = None, {("default", "run_1"): Handle(0)}
    for part in (events[:cut], events[cut:]):
        facts = facts_of(*part, handles=base)
        base = facts.handles
        for call in facts.calls.values():
            row = merged_call(row, call)
    assert row is not None
    found = named(row)
    assert (found["status"], found["settled_seq"], found["seq"], found["wall"]) == ("ok", 3, 1, 1_001.0)
    assert (found["dependency"], found["flags"], found["argument_bytes"]) == ("db", "preview", 8)


def test_a_word_that_comes_late_does_not_undo_a_newer_one() -> None:
    whole = facts_of(CallRequested(head(1), CALL, 8), ended(5)).calls["default", CALL.key]
    late = facts_of(ended(2, code=Code.WAITING, status="pending")).calls["default", CALL.key]
    assert named(merged_call(merged_call(None, whole), late))["status"] == "ok"
