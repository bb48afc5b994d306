"""A deployment: the store and the record, whether they can be read and written, and what waits in them."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from toolrail.cli.checks.finding import Finding
from toolrail.cli.figures import plural, span, told_apart, when
from toolrail.cli.looking import faults_of, nobody_looks, where_of
from toolrail.cli.places import RECORDS_VARIABLE, VARIABLE, command, masked, records_url, sqlite_of
from toolrail.cli.problem import Problem
from toolrail.cli.reading import SEARCHED, Record
from toolrail.cli.standing import standing
from toolrail.records.reading import Records
from toolrail.records.views import CallFilter, RunFilter, Window
from toolrail.store import ListRuns, OpenCalls

SKEW = 5.0
"""Seconds that a row may lie in the future: beyond it, some clock is wrong."""
_LITTLE = 1_000_000_000
_TOO_LITTLE = 100_000_000
_OLD = 3_600.0
"""Seconds after which an unknown outcome has waited for long."""
_FRESH = 3_600.0
"""Seconds within which what a process said of a circuit still counts."""


def checks_of_store(store: str, now: float) -> Iterator[Finding]:
    """Reachable, of this version, writable, and what is open in it."""
    place = where_of(store if sqlite_of(store) is not None else masked(store))
    set_by = f" ({VARIABLE})" if os.environ.get(VARIABLE) == store else ""
    try:
        with closing(Record(store)) as ledger:
            runs = ledger.ask(ListRuns(1))
            waiting = ledger.ask(OpenCalls(None, SEARCHED))
    except Problem as problem:
        yield Finding("fail", "store", f"{problem.where}: {problem.message}", problem.mend)
        return
    newest = f"last written {when(runs[0].updated, now)}" if runs else "no run yet"
    yield Finding("ok", "store", f"{place}{set_by}: it can be read, and is of this version's schema; {newest}")
    yield from _file("store", store)
    if runs:
        yield from _skew("store", runs[0].updated, now)
    stands = [(call, standing(call, now)) for call in waiting]
    unknown = [call for call, stand in stands if stand == "unknown"]
    if unknown:
        oldest = span(now - min(call.created for call in unknown))
        text = f"{plural(len(unknown), 'call')} with an unknown outcome, the oldest for {oldest}"
        mend = f"`{command('effects list', store)}` shows what to do for each."
        yield Finding("warn", "unknown outcomes", text, mend)
    else:
        yield Finding("ok", "unknown outcomes", "none")
    late = [call for call, stand in stands if stand == "waiting" and now - call.created > _OLD]
    if late:
        text = f"{plural(len(late), 'call')} waited for another system for over {span(_OLD)}"
        yield Finding("warn", "waiting calls", text, f"`{command('effects list', store)}` lists them.")


def checks_of_records(options: argparse.Namespace, now: float) -> Iterator[Finding]:
    """Reachable, of this version, writable; losses, circuits, alerts, clocks."""
    try:
        url = records_url(options)
    except Problem as problem:
        yield Finding("warn", "record", f"{problem.where}: {problem.message}", problem.mend)
        return
    path = sqlite_of(url)
    if path is not None and not os.path.exists(path) and not options.records:
        mend = "It is made with the first run of a rail that has this store, unless that has records=False."
        yield Finding("warn", "record", f"{path}: there is none; tools, costs and alerts cannot be shown", mend)
        return
    set_by = f" ({RECORDS_VARIABLE})" if options.records and os.environ.get(RECORDS_VARIABLE) == options.records else ""
    try:
        with faults_of(url), Records(url) as records:
            begun = time.perf_counter()
            newest = records.runs(RunFilter(limit=1)).runs
            took = time.perf_counter() - begun
            mb = records.size() / 1_000_000
            text = f"{where_of(url)}{set_by}: it can be read ({took * 1_000:.0f} ms), {mb:.1f} MB"
            yield Finding("ok", "record", text)
            yield from _file("record", url)
            if newest:
                yield from _skew("record", max(newest[0].updated, newest[0].started), now)
            yield from _losses(records)
            yield from _circuits(records, now)
            yield from _alerts(records, now)
            yield from _unpriced(records, now)
            yield from _behind(records, now)
    except Problem as problem:
        yield Finding("fail", "record", f"{problem.where}: {problem.message}", problem.mend)


def _losses(records: Records) -> Iterator[Finding]:
    lost = records.lost()
    if lost:
        text = f"{plural(lost, 'event')} were never written, so figures are too low"
        mend = "Look in the log for why: a full disk, a locked file, or more events than the queue holds."
        yield Finding("warn", "losses", text, mend)
    else:
        yield Finding("ok", "losses", "none")


def _circuits(records: Records, now: float) -> Iterator[Finding]:
    shut = [one for one in records.circuits() if one.state != "closed" and now - one.wall < _FRESH]
    for one in shut:
        text = f"{one.dependency} is {one.state} since {when(one.wall, now)} (process {one.process})"
        yield Finding("warn", "circuit", text, f"Look at {one.dependency}: `toolrail tools --sort errors --since 1h`.")
    if not shut:
        yield Finding("ok", "circuits", "none is open")


def _alerts(records: Records, now: float) -> Iterator[Finding]:
    firing = [one for one in records.alerts() if one.state == "firing"]
    for one in firing:
        text = f"{one.rule} of {one.subject} since {when(one.since, now)}: {one.text}"
        yield Finding("warn", "alert", text, "`toolrail alerts` tells more.")
    unseen = nobody_looks(records, now)
    if unseen:
        mend = (
            "Run a rail with a record; with Recorder(alerts=False), let Prometheus watch (`toolrail metrics --rules`)."
        )
        yield Finding("warn", "alerts", unseen, mend)
    elif not firing:
        yield Finding("ok", "alerts", "none fires")


def _unpriced(records: Records, now: float) -> Iterator[Finding]:
    found = [one for one in records.total_models() if one.cost.unpriced]
    models, silent = told_apart(found, records.uncounted(Window(0.0, now + _OLD)) if found else {})
    if silent:
        mend = "Ask the provider for usage (for Chat streams: stream_options); no price can help."
        yield Finding("warn", "token counts", f"{plural(silent, 'response')} told no token count: cost unknown", mend)
    if models:
        names = ", ".join(sorted(model or "(not named)" for model in models))
        responses = plural(sum(models.values()), "response")
        mend = "State prices by Rail(prices=...), or install toolrail[prices]; `toolrail prices` tells more."
        yield Finding("warn", "prices", f"{responses} without a price, of {names}", mend)
    elif not silent:
        yield Finding("ok", "prices", "each response has one")


def _behind(records: Records, now: float) -> Iterator[Finding]:
    """Calls in the future show a wrong clock that runs do not."""
    newest = records.calls(CallFilter(limit=1))
    if newest and newest[0].settled is not None:
        yield from _skew("calls", newest[0].settled, now, quiet=True)


def _skew(what: str, newest: float, now: float, *, quiet: bool = False) -> Iterator[Finding]:
    ahead = newest - now
    if ahead > SKEW:
        mend = "Synchronise the clocks of all hosts (NTP): leases, windows and alerts compare them."
        text = f"the newest row of the {what} lies {span(ahead)} in the future"
        yield Finding("warn", "clock", text, mend)
    elif not quiet:
        yield Finding("ok", "clock", f"no row of the {what} lies in the future")


def _file(what: str, url: str) -> Iterator[Finding]:
    """What can be known of an SQLite file without writing to it."""
    path = sqlite_of(url)
    if path is None:
        return
    where = Path(os.path.abspath(path))
    if os.access(where, os.W_OK) and os.access(where.parent, os.W_OK):
        yield Finding("ok", f"{what} file", f"this user may write it; {_journal(where)}")
    else:
        mend = "Let the application's user write the file and its directory; if that is another user, all is well."
        yield Finding("warn", f"{what} file", f"this user may not write it; {_journal(where)}", mend)
    free = shutil.disk_usage(where.parent).free
    text = f"{free / 1_000_000_000:.1f} GB free"
    if free < _TOO_LITTLE:
        yield Finding("fail", f"{what} disk", text, "Make room: a full disk stops calls that write.")
    elif free < _LITTLE:
        yield Finding("warn", f"{what} disk", text, "Make room: a full disk stops calls that write.")
    else:
        yield Finding("ok", f"{what} disk", text)


def _journal(where: Path) -> str:
    """Its journal mode, as its head has it. WAL lets many read while one writes."""
    try:
        with where.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        return f"its head cannot be read ({type(error).__name__})"
    return "WAL" if head[18:20] == b"\x02\x02" else "not in WAL mode yet: toolrail sets it when it writes"
