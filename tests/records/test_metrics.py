"""The metrics in memory: quantiles within 1 %, merged over processes, errors by class, in bounded memory."""

from __future__ import annotations

import asyncio
import json
import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.records.distributions import DISTRIBUTIONS, HEAD, counted, drawn, settled
from toolrail import Agent, Allow, Deny, PolicyRequest, Rail, RunLimits, ToolCall, ToolError, Usage, tool
from toolrail.codes import CODES, Code
from toolrail.events import CallRef, CallSettled, ModelSettled, RunEnded
from toolrail.records.metrics import (
    MODELS,
    NOTHING,
    OTHER,
    SESSIONS,
    UNKNOWN,
    Distribution,
    Latencies,
    Metrics,
    ToolMetrics,
    bin_of,
    rank_of,
)
from toolrail.testing import Calls, FixedClock, ScriptedModel, run_virtual

ROOT = Path(__file__).parents[2]
QUANTILES = (0.5, 0.95, 0.99)
WITHIN = 0.01
SECONDS = st.lists(st.floats(1e-8, 1e8), min_size=1, max_size=200)


def exact(values: list[float], q: float) -> float:
    """The definition: the least of the values that at least q of all do not exceed, `q` in thousandths."""
    return next(value for at, value in enumerate(sorted(values), 1) if 1_000 * at >= round(1_000 * q) * len(values))


def of(seconds: list[float]) -> Latencies:
    found = Latencies()
    for one in seconds:
        found.add(one)
    return found


# Quantiles


@promise("see:percentiles")
@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("q", QUANTILES)
def test_a_quantile_is_within_one_percent_of_the_exact_one_and_agrees_with_ddsketch(name: str, q: float) -> None:
    values = drawn(name)
    ours, wanted = of(values).quantile(q), exact(values, q)
    assert ours == pytest.approx(wanted, rel=WITHIN)
    oracle: Any = DDSketch(WITHIN)
    for value in values:
        oracle.add(value)
    rank = (rank_of(q, len(values)) - 1) / max(1, len(values) - 1)  # theirs is q x (n - 1), counted from 0
    assert ours == pytest.approx(oracle.get_quantile_value(min(1.0, rank + 1e-9)), rel=2 * WITHIN)


@promise("see:percentiles")
@pytest.mark.parametrize(
    ("q", "count", "rank"),
    [
        (0.95, 10, 10),
        (0.99, 10, 10),
        (0.5, 2, 1),
        (0.95, 2, 2),
        (0.95, 100, 95),
        (0.95, 20, 19),
        (0.0, 5, 1),
        (1.0, 7, 7),
        (0.07, 100, 7),  # 0.07 * 100 is 7.000000000000001
    ],
)
def test_the_rank_of_a_quantile_is_the_nearest_one(q: float, count: int, rank: int) -> None:
    assert rank_of(q, count) == rank


def test_one_slow_call_of_ten_is_seen_in_p95() -> None:
    assert of([0.0003] * 9 + [2.0]).quantile(0.95) == pytest.approx(2.0, rel=WITHIN)
    assert Distribution(2, 31, {1: 1, 30: 1}).quantile(0.95) == 30


@promise("see:percentiles")
def test_the_metrics_of_eight_processes_merged_are_those_of_one() -> None:
    parts = 8
    command = [sys.executable, "-m", "tests.records.distributions"]
    children = [
        subprocess.Popen([*command, str(part), str(parts)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for part in range(parts)
    ]
    said = [child.communicate()[0] for child in children]
    merged = Metrics()
    for text in said:
        merged.merge(Metrics.from_json(text))
    alone = counted(0, 1)
    assert merged.tools.keys() == alone.tools.keys() == DISTRIBUTIONS.keys()
    for name, tool_ in merged.tools.items():
        assert tool_.calls == alone.tools[name].calls
        assert tool_.latencies.bins == alone.tools[name].latencies.bins
        for q in QUANTILES:
            assert tool_.latencies.quantile(q) == pytest.approx(exact(drawn(name), q), rel=WITHIN)


@promise("see:percentiles")
@given(seconds=SECONDS, q=st.integers(0, 1_000).map(lambda part: part / 1_000))
def test_whatever_was_measured_a_quantile_is_within_one_percent(seconds: list[float], q: float) -> None:
    assert of(seconds).quantile(q) == pytest.approx(exact(seconds, q), rel=WITHIN)


@promise("see:percentiles")
@given(parts=st.lists(SECONDS, min_size=1, max_size=5), order=st.randoms(use_true_random=False))
def test_parts_merged_in_any_order_are_the_whole(parts: list[list[float]], order: random.Random) -> None:
    whole = of([one for part in parts for one in part])
    order.shuffle(parts)
    merged = Latencies()
    for part in parts:
        merged.merge(of(part))
    assert (merged.bins, merged.count) == (whole.bins, whole.count)
    assert merged.total == pytest.approx(whole.total)


@promise("see:percentiles")
@given(seconds=st.lists(st.floats(min_value=0.0, allow_nan=False, allow_infinity=False), max_size=500))
def test_memory_is_bounded_by_the_range_whatever_is_measured(seconds: list[float]) -> None:
    found = of(seconds)
    assert len(found.bins) <= bin_of(1e300) - NOTHING + 1 < 2_200


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, 0.0), (1e-12, 0.0), (-1.0, 0.0), (math.nan, 0.0)])
def test_what_took_no_time_reads_as_zero(seconds: float, shown: float) -> None:
    assert of([seconds]).quantile(0.5) == shown


def test_what_took_for_ever_is_counted_as_very_long() -> None:
    assert of([math.inf]).quantile(0.5) == pytest.approx(1e9, rel=0.02)


def test_nothing_counted_has_no_latency_and_no_errors() -> None:
    assert Latencies().quantile(0.5) == 0.0
    assert (ToolMetrics().error_rate, ToolMetrics().rate("bug")) == (0.0, 0.0)
    assert Distribution(0, 0, {}).quantile(0.5) == Distribution(0, 0, {}).mean == 0


# Errors


def test_denials_and_cancellations_are_no_errors() -> None:
    codes = {Code.MAX_RETRIES: 1, Code.OUTCOME_UNKNOWN: 1, Code.NOT_AUTHORISED: 3, Code.CANCELLED: 2}
    assert ToolMetrics(calls=10, codes=codes).error_rate == 0.2


@pytest.mark.parametrize("code", list(Code))
def test_each_code_counts_in_the_class_of_those_it_concerns(code: Code) -> None:
    counts = ToolMetrics(calls=4, codes={code: 1})
    assert counts.by_class == {CODES[code].alert: 1}
    assert counts.rate(CODES[code].alert) == 0.25


@tool(effect="read")
async def find(query: str, seconds: float = 0.0) -> str:
    """Finds products."""
    await asyncio.sleep(seconds)
    if query == "down":
        raise ConnectionError("no route")
    if query == "none":
        raise ToolError("There is none.")
    if query == "bug":
        raise ZeroDivisionError
    return f"found {query}"


def _deny(request: PolicyRequest) -> Allow | Deny:
    return Deny("no", rule="house") if request.arguments["query"] == "secret" else Allow()


def _asked(*calls: tuple[str, str]) -> ScriptedModel:
    asked = [Calls((name, json.loads(arguments) if arguments else {})) for name, arguments in calls]
    return ScriptedModel([*asked, "Done."])


@promise("see:percentiles", "see:session")
def test_a_real_run_is_counted_errors_by_class_latency_bytes_tokens_and_why_it_ended() -> None:
    rail = Rail([find], policies=[_deny], clock=FixedClock())
    queries = ["lamp", "chair", "down", "none", "bug", "secret"]
    asked = [("find", json.dumps({"query": query, "seconds": 2.0})) for query in queries]
    model = _asked(*asked, ("find", '{"query": 7}'), ("fnid", "{}"))
    agent = Agent(model, rail, limits=RunLimits(turns=20))
    result = run_virtual(agent.run("Go.", session="s"))
    assert result.stop_reason == "answer"
    metrics, found = rail.metrics, rail.metrics.tools["find"]
    assert found.calls == 7
    assert found.by_class == {"dependency": 2, "bug": 1, "policy": 1, "argument": 1}
    assert found.rate("dependency") == pytest.approx(2 / 7)
    assert found.error_rate == pytest.approx(4 / 7)
    assert found.attempts == 7  # down: three; refused and invalid: none
    assert found.latencies.quantile(0.5) == pytest.approx(2.0, rel=WITHIN)
    assert found.argument_bytes > 0 < found.result_bytes
    assert metrics.tools[UNKNOWN].by_class == {"argument": 1}
    assert (metrics.runs, metrics.run_calls, metrics.run_turns) == (1, 8, 9)
    assert metrics.stop_reasons == {"answer": 1}
    assert metrics.usage == {"scripted": result.usage}
    assert metrics.calls_per_run == Distribution(1, 8, {8: 1})
    assert metrics.calls_per_session == Distribution(1, 8, {8: 1})


# Runs and sessions


def ended(calls: int, session: str | None = None, *, tenant: str = "default") -> RunEnded:
    return RunEnded(HEAD._replace(session=session, tenant=tenant), "answer", 2, calls, Usage(), 1.0)


@promise("see:session")
def test_calls_per_session_have_an_average_and_a_distribution() -> None:
    metrics = Metrics()
    for calls, session in [(1, "a"), (2, "a"), (3, "b"), (20, "c"), (4, None)]:
        metrics.emit(ended(calls, session))
    metrics.emit(ended(9, "a", tenant="other"))
    found = metrics.calls_per_session
    assert dict(found.sizes) == {3: 2, 20: 1, 9: 1}
    assert (found.count, found.mean, found.quantile(0.5), found.quantile(1.0)) == (4, 8.75, 3, 20)
    assert metrics.calls_per_run.mean == 39 / 6


@promise("see:session", "see:percentiles")
def test_memory_stays_bounded_with_endless_sessions_sizes_models_and_names_that_a_model_invents() -> None:
    metrics = Metrics()
    for at in range(3 * SESSIONS):
        metrics.emit(ended(at * 7_919, f"session {at}"))
        metrics.emit(ModelSettled(HEAD, f"model {at}", "end", Usage(1, 1), 1.0, 1, 0))
        call = CallRef("k", 0, "1", f"tool {at}", "")
        metrics.emit(CallSettled(HEAD, call, "error", Code.UNKNOWN_TOOL, 0, 2, 60, 0.001, 0.0, (), False, False))
    assert set(metrics.tools) == {UNKNOWN}
    assert len(metrics.usage) == MODELS + 1
    assert metrics.usage[OTHER].input_tokens == 3 * SESSIONS - MODELS
    assert metrics.calls_per_session.count == 3 * SESSIONS
    assert len(metrics.calls_per_run.sizes) < 1_600
    assert len(metrics.to_json()) < 100_000


@promise("see:session")
def test_a_session_that_two_processes_had_is_one() -> None:
    first, second = Metrics(), Metrics()
    first.emit(ended(2, "a"))
    second.emit(ended(5, "a"))
    second.emit(ended(1, "b"))
    first.merge(Metrics.from_json(second.to_json()))
    assert dict(first.calls_per_session.sizes) == {7: 1, 1: 1}
    assert dict(first.calls_per_run.sizes) == {2: 1, 5: 1, 1: 1}


# Between processes


@promise("see:percentiles")
def test_counts_go_to_another_process_and_come_back_whole() -> None:
    metrics = Metrics()
    for seconds in (0.0, 0.01, 0.5):
        metrics.emit(settled("find", seconds)._replace(code=Code.TIMEOUT, status="error", replayed=True))
    metrics.emit(ModelSettled(HEAD, "m", "end", Usage(5, 4, 3, 2, 1), 1.0, 1, 0))
    metrics.emit(ended(3, "a"))
    again = Metrics.from_json(metrics.to_json())
    assert again.to_json() == metrics.to_json()
    assert (again.tools, again.usage) == (metrics.tools, metrics.usage)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"version": 99}', '{"version": 1}', '{"version": 1, "tools": {"a": []}}']
)
def test_what_is_no_metrics_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"metrics|JSON|Expecting"):
        Metrics.from_json(text)


def _rail(sinks: list[Any]) -> Any:
    return Rail([find], sinks=sinks)


@pytest.mark.parametrize("made", [lambda: [Metrics()], lambda: [Metrics(), Metrics()]])
def test_a_rail_hands_out_its_metrics(made: Callable[[], list[Any]]) -> None:
    rail = _rail(made())
    asyncio.run(rail.batch([ToolCall("1", "find", '{"query": "lamp"}')]))
    assert rail.metrics.tools["find"].calls == 1
    with pytest.raises(LookupError):
        _ = _rail([]).metrics
