"""Two runs side by side: the same turns and calls stand beside one another, and what differs is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dashboard.made import call, detail
from toolrail.dashboard.diff import Diff, diff
from toolrail.records.views import CallLine, RunDetail


def _run(*turns: str) -> RunDetail:
    """A run whose turns are named by their tools: `"find find"`, `"pay"`."""
    seq = iter(range(1, 1_000))
    return detail(
        *(
            call(f"{turn}-{index}", turn=turn, index=index, tool=name, seq=next(seq))
            for turn, names in enumerate(turns, 1)
            for index, name in enumerate(names.split())
        )
    )


def _shape(found: Diff) -> list[tuple[int | None, int | None]]:
    return [(turn.a, turn.b) for turn in found.turns]


def test_a_run_is_the_same_as_itself() -> None:
    run = _run("find find", "pay")
    found = diff(run, run)
    assert (found.same, found.other, found.only_a, found.only_b, found.first) == (3, 0, 0, 0, None)


def test_a_turn_that_one_run_has_alone_does_not_shift_those_after_it() -> None:
    found = diff(_run("find", "pay", "mail"), _run("find", "rates", "pay", "mail"))
    assert _shape(found) == [(1, 1), (None, 2), (2, 3), (3, 4)]
    assert (found.same, found.only_b) == (3, 1)


def test_calls_of_a_turn_are_aligned_by_their_tools() -> None:
    (turn,) = diff(_run("find rates pay"), _run("find pay")).turns
    assert [(pair.kind, pair.a and pair.a.tool) for pair in turn.calls] == [
        ("same", "find"),
        ("only_a", "rates"),
        ("same", "pay"),
    ]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"argument_bytes": 11}, "arguments"),
        ({"status": "error", "code": "TIMEOUT"}, "outcome"),
        ({"decision": "deny", "rule": "r"}, "decision"),
        ({"attempts": 3}, "attempts"),
        ({"result_bytes": 21}, "result"),
        ({"later": "ok"}, "later"),
    ],
)
def test_what_differs_about_a_pair_is_named(more: dict[str, object], field: str) -> None:
    found = diff(detail(call("a")), detail(call("b", **more)))  # pyright: ignore[reportArgumentType]
    assert found.first is not None
    assert [change.field for change in found.first[1].changes] == [field]


@pytest.mark.parametrize(("more", "field"), [({"digest": "d2"}, "version"), ({"seconds": 5.0}, "slower")])
def test_another_version_or_other_times_are_told_but_make_no_difference(more: dict[str, object], field: str) -> None:
    b = call("b", **({"settled": None} | more))  # pyright: ignore[reportArgumentType]
    found = diff(detail(call("a", seconds=1.0)), detail(b))
    (pair,) = found.turns[0].calls
    assert (pair.kind, [change.field for change in pair.changes]) == ("same", [field])


def test_arguments_are_the_same_only_where_their_text_is_known() -> None:
    a, b = detail(call("k")), detail(call("k"))
    told: list[str] = []
    for texts in ({}, {"a:k": "1", "b:k": "1"}, {"a:k": "1", "b:k": "2"}, {"a:k": "1"}):
        (pair,) = diff(a, b, texts=texts).turns[0].calls
        told.append(pair.arguments)
    assert told == ["same size", "same", "other", "same size"]


_TURNS = st.lists(st.lists(st.sampled_from(["find", "pay", "mail"]), min_size=1, max_size=4).map(" ".join), max_size=6)


def _keys(calls: list[CallLine | None]) -> list[str]:
    return sorted(one.key for one in calls if one is not None)


@given(_TURNS, _TURNS)
def test_each_call_of_both_runs_stands_in_it_once(first: list[str], second: list[str]) -> None:
    a, b = _run(*first), _run(*second)
    pairs = [pair for turn in diff(a, b).turns for pair in turn.calls]
    assert _keys([pair.a for pair in pairs]) == _keys([*a.calls])
    assert _keys([pair.b for pair in pairs]) == _keys([*b.calls])


@given(_TURNS, _TURNS)
def test_the_other_way_round_it_says_the_same(first: list[str], second: list[str]) -> None:
    there, back = diff(_run(*first), _run(*second)), diff(_run(*second), _run(*first))
    assert there.same + there.other + there.only_a == back.same + back.other + back.only_b
