"""The views of what real runs wrote, in a file and in PostgreSQL, beside the same figures straight from the events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.records.told import BEGIN, HOUR, a_day_and_a_half, settled_within, sketch, tell
from toolrail import Agent, Rail, testing, tool
from toolrail.approvers import deferred
from toolrail.codes import CODES
from toolrail.events import CallRequested, CallSettled, Content, Event, ModelSettled, RunEnded, RunStarted
from toolrail.records.database import RecordsError, connect
from toolrail.records.reading import Records, last
from toolrail.records.views import CallFilter, RunFilter, RunLine, Window
from toolrail.testing import Calls, FixedClock, ScriptedModel, run_virtual

WHOLE = Window(BEGIN, BEGIN + 48 * HOUR)
NOW = WHOLE.until
WINDOWS = {
    "all of it": WHOLE,
    "an hour": Window(BEGIN + HOUR, BEGIN + 2 * HOUR),
    "minutes within an hour": Window(BEGIN + 660.0, BEGIN + 1080.0),
    "over the turn of an hour": Window(BEGIN + HOUR - 600.0, BEGIN + HOUR + 1200.0),
    "edges of minutes, hours between": Window(BEGIN + 960.0, BEGIN + 30 * HOUR + 2700.0),
    "nothing": Window(BEGIN - 5 * HOUR, BEGIN - HOUR),
}


@dataclass(frozen=True)
class Told:
    """Telemetry, and what was told to it."""

    url: str
    events: Sequence[Event | Content]


@cache
def events() -> tuple[Event | Content, ...]:
    """Made once: each place is told the same."""
    return tuple(a_day_and_a_half())


@pytest.fixture
def told(records_place: str) -> Told:
    """What three processes wrote."""
    tell(records_place, events(), processes=3)
    return Told(records_place, events())


def all_runs(records: Records, **given: Any) -> list[RunLine]:
    """Page by page."""
    filter, found = RunFilter(**given), list[RunLine]()
    while True:
        page = records.runs(filter)
        found += page.runs
        if page.next is None:
            return found
        filter = replace(filter, before=page.next)


@promise("see:percentiles", "see:record")
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_figures_of_any_window_are_those_of_the_calls_in_it(told: Told, window: Window) -> None:
    expected = settled_within(told.events, window)
    with Records(told.url) as records:
        found = {line.tool: line for line in records.tools(window, steps=30)}
        assert found.keys() == expected.keys()
        for tool, calls in expected.items():
            line, codes = found[tool], Counter(str(call.code) for call in calls if call.code)
            assert (line.calls, dict(line.codes)) == (len(calls), dict(codes))
            assert line.errors == sum(call.status in ("error", "unknown") for call in calls)
            assert line.by_class == Counter(CODES[call.code].alert for call in calls if call.code)
            assert line.attempts == sum(call.attempts for call in calls)
            assert line.result_bytes == sum(call.result_bytes for call in calls)
            assert (line.latency.p50, line.latency.p95) == tuple(map(sketch(calls).quantile, (0.5, 0.95)))
            assert set(line.versions) == {call.call.digest for call in calls if call.call.digest}
            assert sum(step.calls for step in line.spark) == line.calls
            assert sum(step.errors for step in line.spark) == line.errors
        view = records.overview(window, now=NOW)
        every = [call for calls in expected.values() for call in calls]
        assert (view.calls, sum(step.calls for step in view.spark)) == (len(every), len(every))
        assert records.latencies(window).keys() == expected.keys()


@promise("see:cost")
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_a_window_costs_what_its_responses_cost_beside_the_same_a_day_earlier(told: Told, window: Window) -> None:
    def spent(since: float, until: float) -> float:
        return 0.00045 * sum(
            isinstance(event, ModelSettled) and since <= event.head.wall < until for event in told.events
        )

    with Records(told.url) as records:
        view = records.overview(window, now=NOW)
        models = records.models(window)
    assert sum(cost.amount for cost in view.cost) == pytest.approx(spent(window.since, window.until))
    before = spent(window.since - 24 * HOUR, window.until - 24 * HOUR)
    assert sum(cost.amount for cost in view.cost_before) == pytest.approx(before)
    assert sum(line.cost.amount for line in models) == pytest.approx(spent(window.since, window.until))


@promise("see:session")
def test_runs_are_found_by_who_and_how_they_went_page_by_page(told: Told) -> None:
    ends = {event.head.run: event for event in told.events if isinstance(event, RunEnded)}
    calls = [event for event in told.events if isinstance(event, CallSettled)]
    failed = {call.head.run for call in calls if call.status in ("error", "unknown")}
    looping = {call.head.run for call in calls if call.code == "LOOP_DETECTED"}
    unknown = {call.head.run for call in calls if call.status == "unknown"}
    broken = {call.head.run for call in calls if call.call.tool == "broken"}
    with Records(told.url) as records:
        for size in (1, 7, 60, 100):
            found = all_runs(records, limit=size)
            assert [line.run for line in found] == sorted(ends, key=lambda run: -ends[run].head.wall)
        dear = all_runs(records, only="expensive", limit=7)
        assert {line.run for line in dear} == ends.keys()
        assert [line.cost.amount for line in dear] == sorted((line.cost.amount for line in dear), reverse=True)
        table: tuple[tuple[dict[str, Any], set[str]], ...] = (
            ({"only": "failed"}, failed),
            ({"only": "looping"}, looping),
            ({"only": "unknown"}, unknown),
            ({"only": "running"}, set[str]()),
            ({"only": "pending"}, set[str]()),
            ({"tool": "broken"}, broken),
            ({"tool": "none"}, set[str]()),
            ({"tenant": "tenant_1", "only": "failed"}, {run for run in failed if ends[run].head.tenant == "tenant_1"}),
            ({"principal": "user_2"}, {run for run in ends if ends[run].head.principal == "user_2"}),
            ({"session": "session_4"}, {run for run in ends if ends[run].head.session == "session_4"}),
            ({"text": found[3].run[-7:]}, {found[3].run}),
            ({"text": found[3].run}, {found[3].run}),
            ({"text": "%"}, set[str]()),
            ({"window": Window(found[9].started, found[4].started)}, {line.run for line in found[5:10]}),
        )
        for given, expected in table:
            assert {line.run for line in all_runs(records, limit=4, **given)} == expected, given


@promise("see:record")
def test_a_run_is_told_in_full(told: Told) -> None:
    ended = next(event for event in told.events if isinstance(event, RunEnded) and event.calls >= 9)
    mine = [event for event in told.events if event.head.run == ended.head.run and not isinstance(event, Content)]
    settled = {event.call.key: event for event in mine if isinstance(event, CallSettled)}
    with Records(told.url) as records:
        assert records.run(ended.head.run, tenant="another") is None
        assert records.run("none") is None
        view = records.run(ended.head.run)
        assert view == records.run(ended.head.run, tenant=ended.head.tenant)
        assert view is not None
        assert (view.run.turns, view.run.calls, view.run.reason) == (ended.turns, ended.calls, ended.reason)
        assert view.run.usage == ended.usage
        assert [line.key for line in view.calls] == [e.call.key for e in mine if isinstance(e, CallRequested)]
        for line in view.calls:
            event = settled[line.key]
            assert (line.status, line.code, line.seconds) == (event.status, event.code, event.seconds)
            assert (line.tool, line.attempts, line.result_bytes) == (
                event.call.tool,
                event.attempts,
                event.result_bytes,
            )
            assert records.call(line.key) == line
            assert records.attempts(line.key) == view.attempts.get(line.key, ())
        assert len(view.models) == sum(isinstance(event, ModelSettled) for event in mine)
        assert view.moments[0].kind == "RunStarted"
        assert view.offered == ("find", "broken", "pay")
        assert view.limits["turns"] == 10


def test_content_is_read_by_itself_and_only_for_its_tenant(told: Told) -> None:
    contents = [one for one in told.events if isinstance(one, Content)]
    run = contents[0].head.run
    mine = [one for one in contents if one.head.run == run]
    with Records(told.url) as records:
        view = records.run(run)
        assert view is not None
        assert [(line.kind, line.bytes) for line in view.contents] == [
            (one.kind, len(one.text.encode())) for one in mine
        ]
        for line, one in zip(view.contents, mine, strict=True):
            assert records.text(run, line.seq) == one.text
            assert records.text(run, line.seq, tenant="another") is None
        assert records.text(run, 10_000) is None


@promise("see:session")
def test_sessions_add_up_what_their_runs_did(told: Told) -> None:
    sizes = Counter(event.head.session for event in told.events if isinstance(event, CallSettled))
    with Records(told.url) as records:
        lines = records.sessions(sort="calls")
        assert {line.session: line.calls for line in lines} == sizes
        assert [line.calls for line in lines] == sorted(sizes.values(), reverse=True)
        assert sum(line.runs for line in lines) == 60
        assert {line.tenant for line in records.sessions(tenant="tenant_1")} == {"tenant_1"}
        distribution = records.calls_per_session(WHOLE)
        assert (distribution.count, distribution.total) == (6, sum(sizes.values()))
        assert distribution.quantile(1.0) == max(sizes.values())
        per_run = records.overview(WHOLE, now=NOW).calls_per_run
        assert (per_run.count, per_run.mean) == (60, sum(sizes.values()) / 60)


def test_calls_are_found_by_tool_code_and_status_the_newest_first(told: Told) -> None:
    calls = sorted((e for e in told.events if isinstance(e, CallSettled)), key=lambda e: (-e.head.wall, e.call.key))
    with Records(told.url) as records:
        table: tuple[tuple[dict[str, Any], list[CallSettled]], ...] = (
            ({}, calls),
            ({"tool": "broken"}, [call for call in calls if call.call.tool == "broken"]),
            ({"code": "INVALID_ARGUMENTS"}, [call for call in calls if call.code == "INVALID_ARGUMENTS"]),
            ({"status": "denied"}, [call for call in calls if call.status == "denied"]),
            ({"tenant": "tenant_1"}, [call for call in calls if call.head.tenant == "tenant_1"]),
            ({"unsettled": True}, [call for call in calls if call.status == "unknown"]),
            (
                {"window": Window(BEGIN + HOUR, BEGIN + 9 * HOUR)},
                [c for c in calls if HOUR <= c.head.wall - BEGIN < 9 * HOUR],
            ),
        )
        for given, expected in table:
            found = records.calls(CallFilter(limit=1_000, **given))
            assert {line.key for line in found} == {call.call.key for call in expected}, given
            assert [line.settled for line in found] == sorted((c.head.wall for c in expected), reverse=True)
            paged, before = list[str](), None
            while page := records.calls(CallFilter(limit=9, before=before, **given)):
                paged += [line.key for line in page]
                before = (page[-1].settled or 0.0, page[-1].key)
            assert paged == [line.key for line in found]
        assert records.overview(WHOLE, now=NOW).unknown == 3


def test_a_fault_says_what_broke_and_since_when(told: Told) -> None:
    with Records(told.url) as records:
        faults = {(fault.tool, fault.code): fault for fault in records.faults(WHOLE)}
        final = max(e.head.wall for e in told.events if isinstance(e, CallSettled) and e.call.tool == "broken")
        fault = faults["broken", "TOOL_ERROR"]
        assert (fault.kind, fault.last, fault.error_type, fault.dependency) == (
            "dependency",
            final,
            "ToolError",
            "catalogue",
        )
        assert fault.since == fault.last, "they come further apart than half an hour"
        assert faults["find", "INVALID_ARGUMENTS"].kind == "argument"
        assert records.faults(Window(BEGIN - 9 * HOUR, BEGIN)) == ()
        by_name = {line.dependency: line for line in records.dependencies(WHOLE, now=NOW)}
        assert by_name["catalogue"].tools == ("broken", "find")
        assert by_name["catalogue"].errors == sum(
            isinstance(event, CallSettled) and event.code == "TOOL_ERROR" for event in told.events
        )
        names = records.names()
        assert (names.tenants, names.models) == (("tenant_0", "tenant_1"), ("scripted",))
        assert names.tools == ("(unknown)", "broken", "find", "pay")


def test_who_follows_along_sees_each_call_once_also_those_that_are_written_late(records_place: str) -> None:
    told = [event for event in events() if not isinstance(event, Content)]
    second = [event.head.run for event in told if isinstance(event, RunStarted)][1]
    cut = next(place for place, event in enumerate(told) if event.head.run == second)
    late = [event for event in told[:cut] if isinstance(event, CallSettled)][:1]
    first = [event for event in told[:cut] if event not in late]
    tell(records_place, first)
    with Records(records_place) as records:
        lines, cursor = records.live()
        assert lines == ()
        assert records.live(cursor) == ((), cursor)
        tell(records_place, late)
        seen = list[str]()
        for more in (told[cut : cut + 30], told[cut + 30 : cut + 300]):
            while True:
                lines, cursor = records.live(cursor, limit=3)
                seen += [line.key for line in lines]
                if not lines:
                    break
            tell(records_place, more)
        while lines:
            lines, cursor = records.live(cursor)
        while (answer := records.live(cursor, limit=3))[0]:
            seen += [line.key for line in answer[0]]
            cursor = answer[1]
    expected = [event.call.key for event in told[: cut + 300] if isinstance(event, CallSettled)]
    assert Counter(seen) == Counter(
        [late[0].call.key, *(key for key in expected if not key.startswith(told[0].head.run))]
    )


@promise("see:record")
def test_a_run_whose_process_died_stays_under_way_and_says_how_old_it_is(records_place: str) -> None:
    told = list(events())
    first = next(place for place, event in enumerate(told) if isinstance(event, RunEnded))
    tell(records_place, told[:first])
    heard = told[first - 1].head.wall
    with Records(records_place) as records:
        (line,) = all_runs(records, only="running")
        assert (line.state, line.ended, line.updated) == ("running", None, heard)
        soon, late = (records.overview(WHOLE, now=heard + after) for after in (60.0, 3600.0))
        assert ((soon.running, soon.silent), (late.running, late.silent)) == ((1, 0), (0, 1))
        tell(records_place, told[first : first + 1])
        assert all_runs(records, only="running") == []


def test_once_retention_took_the_minutes_a_window_is_of_whole_hours(told: Told) -> None:
    db, kept = connect(told.url), BEGIN + 20 * HOUR
    for table in ("tool_rollups", "model_rollups", "run_rollups"):
        db.execute(f"DELETE FROM {table} WHERE grain = 60 AND start < ?", (int(kept),))
    db.close()
    for window, whole in (
        (Window(BEGIN + 1800.0, BEGIN + 30 * HOUR + 600.0), Window(BEGIN, BEGIN + 30 * HOUR + 600.0)),
        (Window(BEGIN + 660.0, BEGIN + 1080.0), Window(BEGIN, BEGIN + HOUR)),
        (Window(kept + 660.0, kept + 5 * HOUR), Window(kept + 660.0, kept + 5 * HOUR)),
    ):
        expected = settled_within(told.events, whole)
        with Records(told.url) as records:
            found = records.tools(window, steps=60)
            assert {line.tool: line.calls for line in found} == {tool: len(calls) for tool, calls in expected.items()}
            assert sum(step.calls for line in found for step in line.spark) >= sum(line.calls for line in found)


def test_totals_are_of_all_that_ever_was(told: Told) -> None:
    expected = settled_within(told.events, WHOLE)
    db = connect(told.url)
    db.execute("DELETE FROM tool_rollups WHERE grain > 0")
    db.execute("DELETE FROM calls")
    db.close()
    with Records(told.url) as records:
        assert {line.tool: line.calls for line in records.totals()} == {tool: len(c) for tool, c in expected.items()}
        assert {tool: one.bins for tool, one in records.total_latencies().items()} == {
            tool: sketch(calls).bins for tool, calls in expected.items()
        }
        assert sum(line.requests for line in records.total_models()) == 183
        assert records.total_runs() == {"answer": 60}
        assert records.tools(WHOLE) == ()


def test_history_and_minutes_add_up_to_the_window(told: Told) -> None:
    window = WINDOWS["edges of minutes, hours between"]
    expected = settled_within(told.events, window)["find"]
    with Records(told.url) as records:
        steps = records.history("find", Window(BEGIN, BEGIN + 12 * HOUR), steps=60)
        inside = settled_within(told.events, Window(BEGIN, BEGIN + 12 * HOUR))["find"]
        assert (sum(step.calls for step in steps), len(steps)) == (len(inside), 48)
        assert {step.latency.p50 is None for step in steps if step.calls} == {False}
        minutes = records.minutes(window.since)["find"]
        assert sum(one.calls for one in minutes if one.start < window.until) == len(expected)
        assert [one.start for one in minutes] == sorted((one.start for one in minutes), reverse=True)


@pytest.mark.services
def test_a_file_and_postgresql_give_the_same_views(tmp_path: Path, records_postgres: str) -> None:
    urls = (
        f"sqlite:///{tmp_path / 'same.db'}",
        f"{records_postgres}{'&' if '?' in records_postgres else '?'}schema=same",
    )
    views = list[list[object]]()
    for url in urls:
        tell(url, events(), processes=2)
        with Records(url) as records:
            runs = records.runs(RunFilter(limit=100))
            views.append(
                [
                    records.overview(WHOLE, now=NOW),
                    records.tools(WHOLE, steps=60),
                    records.models(WHOLE),
                    records.dependencies(WHOLE, now=NOW),
                    records.faults(WHOLE),
                    runs,
                    [records.run(line.run) for line in runs.runs],
                    records.calls(CallFilter(limit=1_000)),
                    records.sessions(),
                    records.names(),
                    records.totals(),
                    records.minutes(BEGIN),
                    records.live(),
                ]
            )
    for one, other in zip(*views, strict=True):
        assert one == other


def test_what_is_no_telemetry_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="no such file"):
        Records(f"sqlite:///{tmp_path / 'none.db'}")


def test_a_window_that_ends_now() -> None:
    assert last(hours=1, minutes=30, now=10_000.0) == Window(4_600.0, 10_000.0)
    assert last(days=1, now=100_000.0).seconds == 86_400.0


def test_a_run_that_waits_for_a_person_is_pending_and_no_call_of_it_counts_as_failed(records_place: str) -> None:
    recorder = testing.Recorder()

    @tool(effect="read", approve=True)
    async def look(query: str) -> str:
        """Looks."""
        return query

    async def main() -> None:
        async with Rail([look], sinks=[recorder], clock=FixedClock(), approver=deferred) as rail:
            await Agent(ScriptedModel([Calls(("look", {"query": "a"}))]), rail).run("Go.")

    run_virtual(main())
    tell(records_place, recorder.events)
    with Records(records_place) as records:
        (line,) = all_runs(records, only="pending")
        assert (line.state, line.pending, line.calls, line.failed, line.ended) == ("pending", 1, 1, 0, None)
        view = records.overview(WHOLE, now=NOW)
        assert (view.pending, view.running, view.silent, view.errors) == (1, 0, 0, 0)
        (call,) = records.calls(CallFilter(run=line.run))
        assert (call.status, call.code) == ("pending", "APPROVAL_PENDING")
