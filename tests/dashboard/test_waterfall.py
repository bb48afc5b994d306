"""The waterfall's geometry: whatever a run did, each call has its place, and no two bars lie on one another."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dashboard.made import MONO, ZERO, attempt, call, detail, model, moment
from toolrail.dashboard.spent import spent
from toolrail.dashboard.timeline import Axis, Break
from toolrail.dashboard.waterfall import LANES, Waterfall, tone_of, waterfall
from toolrail.records.views import CallLine, RunDetail

NOW = ZERO + 100.0
CLOSE = 1e-9
_TIMES = st.floats(0.0, 1e6, allow_nan=False)
_SHORT = st.one_of(st.just(0.0), st.floats(0.0, 50.0), st.none())


@st.composite
def _runs(draw: st.DrawFn) -> RunDetail:
    """Runs of several processes whose clocks have nothing to do with one another; rows may be lost."""
    starts = sorted(draw(st.lists(_TIMES, max_size=3)))
    offsets = [draw(st.floats(-1e6, 1e6)) for _ in starts]
    moments = [moment("RunStarted", at, mono=MONO + at + offset) for at, offset in zip(starts, offsets, strict=True)]
    calls: list[CallLine] = []
    for number in range(draw(st.integers(0, 40))):
        at, offset = draw(_TIMES), draw(st.sampled_from(offsets or [0.0]))
        seconds = draw(_SHORT)
        settled = None if seconds is None else ZERO + at + seconds + draw(st.sampled_from([0.0, 0.0, 1e5]))
        status = None if seconds is None else draw(st.sampled_from(["ok", "error", "pending", "unknown"]))
        made = call(f"k{number}", at, seconds, mono=MONO + at + offset, settled=settled, status=status)
        calls.append(made)
    attempts = {
        one.key: tuple(
            attempt(at + 1, draw(_TIMES), draw(st.floats(0, 10)), wait=draw(st.one_of(st.none(), st.floats(0, 9))))
            for at in range(draw(st.integers(0, 3)))
        )
        for one in calls
        if draw(st.booleans())
    }
    models = [model(draw(_TIMES), draw(_SHORT), seq=seq) for seq in range(draw(st.integers(0, 5)))]
    state = draw(st.sampled_from(["running", "pending", "ended"]))
    return detail(*calls, models=models, moments=moments, attempts=attempts, state=state)


def _check(chart: Waterfall) -> None:
    for lane in chart.lanes:
        places = sorted((one.x, one.x + one.width) for one in (*lane.bars, *lane.blocks))
        assert all(0.0 <= left < right <= 1.0 + CLOSE for left, right in places)
        assert all(first[1] <= second[0] + CLOSE for first, second in pairwise(places))


@given(_runs(), _TIMES)
def test_bars_of_one_lane_never_overlap_and_none_leaves_the_picture(run: RunDetail, later: float) -> None:
    _check(waterfall(run, now=ZERO + later))


@given(_runs(), _TIMES)
def test_each_call_has_one_place(run: RunDetail, later: float) -> None:
    chart = waterfall(run, now=ZERO + later)
    drawn = [bar.key for lane in chart.lanes for bar in lane.bars if bar.call is not None]
    folded = [key for lane in chart.lanes for block in lane.blocks for key in block.keys]
    listed = [bar.key for bar in chart.bars if bar.call is not None]
    keys = sorted(one.key for one in run.calls)
    assert sorted([*drawn, *folded]) == sorted(listed) == keys


@given(_runs(), _TIMES)
def test_the_parts_of_a_bar_follow_one_another_within_it(run: RunDetail, later: float) -> None:
    chart = waterfall(run, now=ZERO + later)
    for bar in chart.bars:
        edges = [bar.start, *(edge for part in bar.parts for edge in (part.start, part.end)), bar.end]
        assert edges == sorted(edges)
        assert 0.0 <= bar.start <= bar.end <= chart.seconds + CLOSE * chart.seconds
        places = [0.0, *(edge for part in bar.parts for edge in (part.x, part.x + part.width)), 1.0]
        assert all(second >= first - 1e-6 for first, second in pairwise(places))


@given(_runs(), _TIMES)
def test_what_the_time_was_spent_on_adds_up_to_the_whole(run: RunDetail, later: float) -> None:
    chart = waterfall(run, now=ZERO + later)
    shares = spent(chart)
    assert sum(one.seconds for one in shares) == pytest.approx(chart.seconds, abs=1e-6)
    assert all(one.seconds >= 0.0 for one in shares)


@given(
    st.floats(0.0, 1e7),
    st.lists(st.tuples(_TIMES, _TIMES).map(lambda pair: Break(min(pair), max(pair))), max_size=6),
    st.lists(_TIMES, min_size=2, max_size=20),
)
def test_an_axis_never_runs_backwards(end: float, idle: list[Break], times: list[float]) -> None:
    axis = Axis(end, idle)
    places = [axis.x(at) for at in sorted(times)]
    assert all(0.0 <= place <= 1.0 for place in places)
    assert all(second >= first - CLOSE for first, second in pairwise(places))
    ticks = [tick.x for tick in axis.ticks()]
    assert ticks == sorted(ticks)
    assert len(ticks) <= 8 + 2 * len(axis.breaks)


def test_calls_at_the_same_time_stand_on_lanes_of_their_own_and_later_ones_use_them_again() -> None:
    run = detail(call("a", 0, 4), call("b", 0, 2, index=1), call("c", 3, 1, index=0, turn=2))
    lanes = [[bar.key for bar in lane.bars] for lane in waterfall(run, now=NOW).lanes]
    assert lanes == [["a"], ["b", "c"]]


def test_the_model_has_a_lane_of_its_own() -> None:
    run = detail(call("a", 2, 1), models=[model(2, 2), model(4, 1, seq=9)])
    kinds = [lane.kind for lane in waterfall(run, now=NOW).lanes]
    assert kinds == ["model", "calls"]


def test_a_failed_attempt_its_pause_and_the_next_one_are_told_apart() -> None:
    tried = (attempt(1, 2, 2, wait=1.0), attempt(2, 5, 2, failure=None, error_type=None))
    chart = waterfall(detail(call("a", 0, 5.5, attempts=2), attempts={"a": tried}), now=NOW)
    parts = [(part.what, part.start, part.end) for part in chart.bars[0].parts]
    assert parts == [("failed", 0, 2), ("backoff", 2, 3), ("attempt", 3, 5), ("after", 5, 5.5)]
    assert chart.bars[0].parts[0].error == "transient ConnectError"


def test_waiting_for_its_place_is_told_apart_from_its_work() -> None:
    chart = waterfall(detail(call("a", 0, 10, handler_seconds=2.0)), now=NOW)
    assert [(part.what, part.start, part.end) for part in chart.bars[0].parts] == [
        ("checks", 0, 8),
        ("attempt", 8, 10),
    ]


def test_a_call_under_way_goes_on_until_now() -> None:
    chart = waterfall(detail(call("a", 1, None, claimed_mono=MONO + 2), state="running"), now=ZERO + 3)
    bar = chart.bars[0]
    assert (bar.open, bar.tone, bar.start, bar.end) == (True, "open", 1, 3)
    assert [(part.what, part.start, part.end) for part in bar.parts] == [("checks", 1, 2), ("open", 2, 3)]


def test_a_person_who_was_asked_meanwhile_is_not_taken_for_the_tool() -> None:
    asked = call("a", 0, 10, handler_seconds=1.0, decision="ask", decided_seq=2, decided_mono=MONO + 0.5)
    run = detail(asked, moments=[moment("ApprovalDecided", 8, key="a", data={"approver": "carol"})])
    parts = [(part.what, part.start, part.end) for part in waterfall(run, now=NOW).bars[0].parts]
    assert parts == [("checks", 0, 0.5), ("person", 0.5, 8), ("checks", 8, 9), ("attempt", 9, 10)]


def _resumed(mono: float) -> RunDetail:
    """Suspended after 2 s, gone on with after a day in another process whose clock says something else."""
    day = 86_400.0
    waited = call("a", 1, 0.5, settled=ZERO + day + 1.5, handler_seconds=0.5)
    moments = [
        moment("RunStarted", 0),
        moment("CallSuspended", 1, key="a"),
        moment("RunSuspended", 2),
        moment("RunStarted", day, mono=mono, data={"resumed": True}),
    ]
    after = call("b", day + 2, 1, mono=mono + 2, turn=2)
    return detail(waited, after, moments=moments, models=[model(1, 1), model(day + 2, 0.5, mono=mono + 2, turn=2)])


@pytest.mark.parametrize("mono", [3.0, MONO + 86_400.0, 9e9])
def test_a_run_that_went_on_in_another_process_stands_at_its_wall_times(mono: float) -> None:
    chart = waterfall(_resumed(mono), now=NOW)
    waited, after = (bar for bar in chart.bars if bar.call)
    assert [part.what for part in waited.parts] == ["waits", "attempt"]
    assert waited.parts[1].width > 0.2, "the work is seen beside a night of waiting"
    assert waited.end == pytest.approx(86_401.5)
    assert after.start == pytest.approx(86_402.0)
    assert chart.processes == 2


def test_a_night_of_waiting_is_cut_out_of_the_picture_but_not_out_of_the_account() -> None:
    chart = waterfall(_resumed(3.0), now=NOW)
    (cut,) = chart.cuts
    assert cut.width < 0.06
    assert cut.seconds == pytest.approx(86_400, abs=2)
    largest = spent(chart)[0]
    assert (largest.on, largest.share > 0.99) == ("suspended", True)


def test_five_hundred_calls_at_once_are_folded() -> None:
    run = detail(*(call(f"k{at}", 0, 1 + at / 1000, index=at) for at in range(500)))
    chart = waterfall(run, now=NOW)
    assert len(chart.lanes) == LANES + 1
    assert chart.folded == 500 - LANES
    _check(chart)


def test_a_model_whose_time_nobody_knows_is_a_mark_without_length() -> None:
    chart = waterfall(detail(call("a", 5, 1), models=[model(5, None)]), now=NOW)
    request = chart.bars[0]
    assert (request.start, request.end, request.parts) == (5, 5, ())


def test_of_calls_at_the_same_time_the_one_that_ended_last_was_waited_for() -> None:
    chart = waterfall(detail(call("a", 0, 4, tool="slow"), call("b", 0, 3, tool="quick")), now=NOW)
    assert [(one.on, one.name, one.seconds) for one in spent(chart)] == [("tool", "slow", 4)]


@pytest.mark.parametrize(
    ("more", "tone"),
    [
        ({}, "ok"),
        ({"replayed": True}, "replayed"),
        ({"status": None}, "open"),
        ({"status": "pending", "code": "APPROVAL_PENDING"}, "waits"),
        ({"status": "unknown", "code": "OUTCOME_UNKNOWN"}, "unknown"),
        ({"status": "unknown", "code": "OUTCOME_UNKNOWN", "later": "ok"}, "ok"),
        ({"status": "denied", "code": "NOT_AUTHORISED"}, "refused"),
        ({"status": "error", "code": "INVALID_ARGUMENTS", "attempts": 0, "began": False}, "refused"),
        ({"status": "error", "code": "MAX_RETRIES"}, "failed"),
    ],
)
def test_what_became_of_a_call_is_one_of_eight_tones(more: dict[str, object], tone: str) -> None:
    assert tone_of(call(**more)) == tone  # pyright: ignore[reportArgumentType]
