"""Alert mathematics, by simulation with fixed seeds: evaluated at every call, as `Watch` is used."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.records.alert_table import begun, changes, false_alarms, found, recovery
from toolrail.records.alerts.mathematics import Judge, Watch, wilson

JUDGE = Judge()


@promise("see:alerts")
def test_a_true_rate_of_2_percent_fires_in_under_1_percent_of_series_of_1000_calls() -> None:
    assert false_alarms(JUDGE, 1_000) < 0.01


@promise("see:alerts")
@pytest.mark.parametrize("healthy", [0, 80, 1_000])
def test_a_true_rate_of_15_percent_is_found_within_100_calls_also_after_good_ones(healthy: int) -> None:
    assert found(JUDGE, healthy) > 0.90


@promise("see:alerts")
@pytest.mark.parametrize(("rate", "half", "most"), [(0.0, 40, 40), (0.01, 40, 120), (0.02, 80, 200)])
def test_it_clears_when_the_rate_is_back_down(rate: float, half: int, most: int) -> None:
    took_half, took_most = recovery(JUDGE, rate)
    assert took_half <= half
    assert took_most <= most


@promise("see:alerts")
@pytest.mark.parametrize(("rate", "most"), [(0.05, 1.0), (0.08, 1.6), (0.15, 1.05), (0.50, 1.0)])
def test_it_does_not_flap(rate: float, most: float) -> None:
    """So many times does it begin to fire in 1,000 calls, on average."""
    assert begun(JUDGE, rate) <= most


@promise("see:alerts")
@pytest.mark.parametrize(
    ("calls", "fires"),
    [("x" * 19, None), ("x" * 20, 20), ("xxxx" + "." * 16, 20), ("xxx" + "." * 30, None), ("." * 80 + "x" * 9, 89)],
)
def test_it_fires_on_20_calls_and_not_on_fewer(calls: str, fires: int | None) -> None:
    assert changes(Watch(JUDGE), (call == "x" for call in calls)) == ([] if fires is None else [fires])


@given(st.integers(1, 500).flatmap(lambda calls: st.tuples(st.integers(0, calls), st.just(calls))))
def test_the_bounds_enclose_the_share_and_solve_wilsons_equation(seen: tuple[int, int]) -> None:
    events, calls = seen
    share = events / calls
    for bound in wilson(events, calls, 2.5):
        assert 0.0 <= bound <= 1.0
        apart = 2.5 * math.sqrt(bound * (1 - bound) / calls)
        assert math.isclose(abs(share - bound), apart, abs_tol=1e-7)
    low, high = wilson(events, calls, 2.5)
    assert low <= share + 1e-12
    assert share <= high + 1e-12


@given(st.lists(st.booleans(), max_size=400))
def test_a_watch_says_what_the_judge_says_of_the_newest_calls(calls: list[bool]) -> None:
    watch, base, firing = Watch(JUDGE), 0, False
    for at, event in enumerate(calls, 1):
        most = JUDGE.clear_calls if firing else JUDGE.calls
        newest = calls[max(base, at - most) : at]
        says = (JUDGE.clears if firing else JUDGE.fires)(sum(newest), len(newest))
        assert watch.add(at, event=event) == says
        if says:
            firing, base = not firing, at
        assert watch.firing == firing


def test_no_calls_say_nothing() -> None:
    assert wilson(0, 0, 2.5) == (0.0, 1.0)
    assert not JUDGE.fires(0, 0)
    assert not JUDGE.clears(0, 0)
