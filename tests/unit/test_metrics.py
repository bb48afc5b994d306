"""The metrics in memory: quantiles within 1 %, merged by addition, errors apart from denials."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrail.codes import Code
from toolrail.records.metrics import Latencies, ToolMetrics

SECONDS = st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=200)


def counted(seconds: list[float]) -> Latencies:
    found = Latencies()
    for one in seconds:
        found.add(one)
    return found


@given(seconds=SECONDS, q=st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent_of_the_value_of_that_rank(seconds: list[float], q: float) -> None:
    exact = sorted(seconds)[int(q * (len(seconds) - 1))]
    assert counted(seconds).quantile(q) == pytest.approx(exact, rel=0.0101)


@given(first=SECONDS, second=SECONDS)
def test_two_halves_merged_are_the_whole(first: list[float], second: list[float]) -> None:
    merged = counted(first)
    merged.merge(counted(second))
    whole = counted(first + second)
    assert (merged.bins, merged.count) == (whole.bins, whole.count)
    assert merged.total == pytest.approx(whole.total)


def test_nothing_counted_has_no_latency_and_no_errors() -> None:
    assert Latencies().quantile(0.5) == 0.0
    assert ToolMetrics().error_rate == 0.0


def test_memory_is_bounded_by_the_range_and_not_by_the_count() -> None:
    numbers = random.Random(1)
    assert len(counted([numbers.uniform(0.001, 10.0) for _ in range(20_000)]).bins) < 500


def test_denials_and_cancellations_are_no_errors() -> None:
    codes = {Code.MAX_RETRIES: 1, Code.OUTCOME_UNKNOWN: 1, Code.NOT_AUTHORISED: 3, Code.CANCELLED: 2}
    assert ToolMetrics(calls=10, codes=codes).error_rate == 0.2
