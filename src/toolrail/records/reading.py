"""Reading the record: what the dashboard, the command line, alerts and /metrics ask. It never writes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Literal, Self

from toolrail.records import reading_calls, reading_rollups, reading_runs, reading_state
from toolrail.records.database import connect
from toolrail.records.metrics import Distribution, Latencies
from toolrail.records.reading_rollups import TOTALS, spans_of
from toolrail.records.rollups import merge_bins
from toolrail.records.views import (
    AlertLine,
    AlertNote,
    AttemptLine,
    CallFilter,
    CallLine,
    CircuitLine,
    Cursor,
    DependencyStats,
    Fault,
    Minute,
    ModelStats,
    Names,
    Overview,
    RunDetail,
    RunFilter,
    RunPage,
    SessionLine,
    Step,
    ToolStats,
    Window,
)
from toolrail.records.views import last as last

DAY = 86400.0


class Records:
    """Telemetry, read only: a file, or a schema of a database. Not shared between threads: open one for each. It
    blocks: on an event loop, open and ask it in one `asyncio.to_thread`.

    Figures of a window are of the calls, responses and runs that ended in it, in whole minutes; in whole hours where
    retention took the minutes.

    Args:
        url: `sqlite:///rail.records.db` or `postgresql://...`.

    Raises:
        RecordsError: there is none, it is damaged, locked or of another version; the text says what to do. All methods
            raise it, too.

    Example: `with Records("sqlite:///rail.records.db") as records: print(records.tools(last(hours=1)))`
    """

    def __init__(self, url: str) -> None:
        self._db = connect(url, readonly=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file or the connection."""
        self._db.close()

    @property
    def where(self) -> str:
        """For people: the path, or the URL without its password."""
        return self._db.where

    def size(self) -> int:
        """Bytes that rows and indexes need."""
        return self._db.size()

    # Figures

    def overview(self, window: Window, *, steps: int = 60, now: float | None = None) -> Overview:
        """The front page: calls, errors, runs and cost of a window, and how things stand now.

        Args:
            window: as `last(hours=1)` gives it.
            steps: of the spark line, at most; 0 for none.
            now: seconds since the epoch, by which runs count as silent. None: the clock's.
        """
        at = time.time() if now is None else now
        with self._db.transaction():
            sums = reading_rollups.tool_sums(self._db, spans_of(self._db, window)).values()
            ended = reading_rollups.run_figures(self._db, spans_of(self._db, window, table="run_rollups"))
            spark = reading_rollups.sparks(self._db, window, steps).get("", ()) if steps else ()
            still = reading_runs.open_runs(self._db, at)
            return Overview(
                window=window,
                calls=sum(known.counts[0] for known in sums),
                errors=sum(known.errors for known in sums),
                runs=ended.runs,
                reasons=ended.reasons,
                latency=reading_rollups.quantiles(merge_bins(packed for known in sums for packed in known.packs)),
                calls_per_run=ended.calls_per_run,
                cost=reading_rollups.cost_in(self._db, window),
                cost_before=reading_rollups.cost_in(self._db, Window(window.since - DAY, window.until - DAY)),
                running=still.running,
                silent=still.silent,
                pending=still.pending,
                unknown=reading_state.unsettled(self._db),
                lost=reading_state.lost(self._db),
                spark=spark,
            )

    def tools(self, window: Window, *, steps: int = 0, now: float | None = None) -> tuple[ToolStats, ...]:
        """The busiest first; spark lines of at most so many `steps`, 0 for none.

        Example: `for tool in records.tools(last(hours=1)): print(tool.tool, tool.error_rate, tool.latency.p95)`
        """
        with self._db.transaction():
            found = reading_rollups.tool_sums(self._db, spans_of(self._db, window))
            sparks = reading_rollups.sparks(self._db, window, steps) if steps else {}
            return reading_rollups.stats_of(found, sparks=sparks, circuits=self._circuit_states(now))

    def history(self, tool: str, window: Window, *, steps: int = 60) -> tuple[Step, ...]:
        """One tool over time: calls, errors and latency in at most so many steps."""
        with self._db.transaction():
            return reading_rollups.history(self._db, tool, window, steps)

    def latencies(self, window: Window) -> Mapping[str, Latencies]:
        """By tool, within a window."""
        with self._db.transaction():
            return self._latencies(spans_of(self._db, window))

    def _latencies(self, spans: Iterable[reading_rollups.Span]) -> dict[str, Latencies]:
        found = reading_rollups.tool_sums(self._db, spans)
        return {
            tool: reading_rollups.latencies_of(merge_bins(known.packs), known.seconds) for tool, known in found.items()
        }

    def minutes(self, since: float) -> Mapping[str, tuple[Minute, ...]]:
        """By tool: the minutes with calls that began at `since` or later, the newest first; only as far back as
        minutes are kept."""
        return reading_rollups.minutes(self._db, since)

    def models(self, window: Window) -> tuple[ModelStats, ...]:
        """The dearest first; a model that was paid in two currencies stands there twice."""
        with self._db.transaction():
            return reading_rollups.models(self._db, spans_of(self._db, window, table="model_rollups"))

    def uncounted(self, window: Window) -> Mapping[str, int]:
        """By model: responses within a window that told no token count, so that no price says what they cost. As far
        as runs are kept."""
        return reading_runs.uncounted(self._db, window)

    def dependencies(self, window: Window, *, now: float | None = None) -> tuple[DependencyStats, ...]:
        """What tools stand on: open circuits first, then the most failing."""
        with self._db.transaction():
            found = reading_rollups.tool_sums(self._db, spans_of(self._db, window))
            worst = self.worst_circuits(now=now)
        return reading_state.dependencies(found, worst)

    def totals(self) -> tuple[ToolStats, ...]:
        """Since the beginning: counters that never shrink, also not by retention."""
        found = reading_rollups.tool_sums(self._db, TOTALS)
        return reading_rollups.stats_of(found, sparks={}, circuits=self._circuit_states(None))

    def total_latencies(self) -> Mapping[str, Latencies]:
        """Since the beginning, by tool."""
        return self._latencies(TOTALS)

    def total_models(self) -> tuple[ModelStats, ...]:
        """Since the beginning."""
        return reading_rollups.models(self._db, TOTALS)

    def total_runs(self) -> Mapping[str, int]:
        """Runs that ended since the beginning, by stop reason."""
        return reading_rollups.run_figures(self._db, TOTALS).reasons

    def _circuit_states(self, now: float | None) -> dict[str, str]:
        worst = self.worst_circuits(now=now)
        return {dependency: line.state for dependency, line in worst.items()}

    # What is wrong now

    def faults(self, window: Window, *, limit: int = 50) -> tuple[Fault, ...]:
        """What fails, by tool, code and version: those last seen within the window, the newest spell first."""
        with self._db.transaction():
            return reading_state.faults(self._db, window, limit)

    def worst_circuits(self, *, now: float | None = None) -> Mapping[str, CircuitLine]:
        """By dependency: the worst that any process saw. What a process saw open and said no more of for an hour counts
        as closed, as that process may be dead."""
        at = time.time() if now is None else now
        return reading_state.worst_circuits(reading_state.circuits(self._db), at)

    def circuits(self) -> tuple[CircuitLine, ...]:
        """As each process saw it last, the newest first; also of processes that are gone."""
        return reading_state.circuits(self._db)

    def alerts(self) -> tuple[AlertLine, ...]:
        """Those that fire first."""
        return reading_state.alerts(self._db)

    def alert_log(self, *, limit: int = 100) -> tuple[AlertNote, ...]:
        """The newest first."""
        return reading_state.alert_log(self._db, limit)

    def looked(self) -> float | None:
        """Until when some process looks at alerts, in seconds since the epoch. What lies in the past: nobody has looked
        since, so that no alert firing means nothing. None: nobody ever looked."""
        return reading_state.looked(self._db)

    def lost(self) -> int:
        """Events that no row was written for, ever."""
        return reading_state.lost(self._db)

    def names(self) -> Names:
        """What there is to choose from: tenants, tools, models, codes, stop reasons."""
        return reading_state.names(self._db)

    # Runs, calls, sessions

    def runs(self, filter: RunFilter) -> RunPage:
        """A page of runs, the newest first.

        Example: `records.runs(RunFilter(only="failed", limit=20)).runs`
        """
        return reading_runs.runs(self._db, filter)

    def run(self, run: str, *, tenant: str | None = None) -> RunDetail | None:
        """All that is known of one run; None where there is none. If no tenant is named and two have it: the newest."""
        with self._db.transaction():
            return reading_runs.detail(self._db, run, tenant)

    def calls(self, filter: CallFilter) -> tuple[CallLine, ...]:
        """A page of calls: of one run in the order they were asked for, else the newest first.

        Example: `records.calls(CallFilter(tool="pay", code="TIMEOUT"))`
        """
        return reading_calls.calls(self._db, filter)

    def call(self, key: str, *, tenant: str | None = None) -> CallLine | None:
        """One call; None where there is none."""
        return reading_calls.call(self._db, key, tenant)

    def attempts(self, key: str, *, tenant: str | None = None) -> tuple[AttemptLine, ...]:
        """Of one call, in order."""
        return reading_calls.attempts(self._db, key, tenant)

    def settled_after(self, wall: float, *, limit: int = 500) -> tuple[CallLine, ...]:
        """Calls that were settled after a moment (seconds since the epoch), the oldest first. Another process may write
        such a call later: who follows along asks `live`."""
        return reading_calls.settled_after(self._db, wall, limit)

    def live(self, after: Cursor | None = None, *, limit: int = 500) -> tuple[tuple[CallLine, ...], Cursor]:
        """Calls that became known since a cursor, the oldest first, each once; and the cursor to ask with next. Without
        one: no call, and the cursor of now.

        Example: `lines, cursor = records.live(cursor)`
        """
        if after is None:
            return (), reading_calls.newest(self._db)
        with self._db.transaction():
            return reading_calls.live(self._db, after, limit)

    def sessions(
        self,
        window: Window | None = None,
        *,
        tenant: str | None = None,
        sort: Literal["updated", "calls", "cost"] = "updated",
        limit: int = 50,
    ) -> tuple[SessionLine, ...]:
        """Those in which something happened within a window, the newest, busiest or dearest first."""
        return reading_runs.sessions(self._db, window, tenant=tenant, sort=sort, limit=limit)

    def calls_per_session(self, window: Window) -> Distribution:
        """Of the sessions in which something happened within a window: all their calls, also those of before."""
        return reading_runs.calls_per_session(self._db, window)

    def text(self, run: str, seq: int, *, tenant: str | None = None) -> str | None:
        """A content that was recorded, by the `seq` of its line in `RunDetail.contents`; None where none was, or
        retention took it."""
        return reading_runs.text(self._db, run, seq, tenant)
