"""`toolrail list`: the newest runs, and those that failed, loop, cost much, wait, run, or left an outcome unknown."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from toolrail.cli.figures import count, plain, span, spent, when
from toolrail.cli.figures import seconds as shown
from toolrail.cli.lines import short_id
from toolrail.cli.looking import opened, show_losses
from toolrail.cli.meanings import REASONS
from toolrail.cli.places import records_argument
from toolrail.cli.spans import since_argument, window
from toolrail.cli.tables import Cell, Column, show_table
from toolrail.records.reading import Records
from toolrail.records.views import RunFilter, RunLine

_ONLY = {
    "failed": "runs that ended without an answer, or with calls that failed",
    "looping": "runs that had calls refused as repetitions",
    "expensive": "the most expensive runs",
    "pending": "runs that wait for a person or another system",
    "running": "runs that have not ended",
    "unknown": "runs with a call whose outcome is unknown",
}
_GOOD = ("answer",)
_SILENT = 900.0
"""Seconds after which a run that has not ended, and of which nothing is heard, is called silent."""
_PAGE = 200
_MOST = 100_000
_COLUMNS = (
    Column("began"),
    Column("run", least=8),
    Column("principal", least=8, spare=1),
    Column("session", least=8, spare=6),
    Column("model", least=8, spare=5),
    Column("turns", right=True, spare=4),
    Column("calls", right=True),
    Column("failed", right=True),
    Column("took", right=True, spare=2),
    Column("cost", right=True, spare=3),
    Column("state", wraps=True),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    group = parser.add_mutually_exclusive_group()
    for name, meaning in _ONLY.items():
        group.add_argument(f"--{name}", dest="only", action="store_const", const=name, default="all", help=meaning)
    for name in ("session", "principal", "tenant"):
        parser.add_argument(f"--{name}", metavar="ID", help=f"only runs of this {name}")
    parser.add_argument("--tool", metavar="NAME", help="only runs that called it")
    since_argument(parser, None)
    parser.add_argument("-n", "--lines", type=_lines, default=20, metavar="N", help="how many (20)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Lists the runs."""
    with opened(options) as records:
        runs, more = _runs(records, options)
        if options.json:
            print(json.dumps([as_object(one) for one in runs]))
            return 0
        if not runs:
            print("No run." if _unfiltered(options) else "No run is like this.")
        else:
            now = time.time()
            show_table(_COLUMNS, [_cells(one, now) for one in runs])
            first = "the dearest " if options.only == "expensive" else "the newest "
            print(f"({first if more else ''}{count(len(runs))}{'; -n shows more' if more else ''})")
        show_losses(records)
    return 0


def _runs(records: Records, options: argparse.Namespace) -> tuple[list[RunLine], bool]:
    """As many as were asked for, page by page, and whether there are more."""
    found: list[RunLine] = []
    before: tuple[float, str] | None = None
    while True:
        page = records.runs(
            RunFilter(
                window=None if options.since is None else window(options.since),
                tenant=options.tenant,
                session=options.session,
                principal=options.principal,
                tool=options.tool,
                only=options.only,
                before=before,
                limit=min(_PAGE, options.lines - len(found)),
            )
        )
        found += page.runs
        if page.next is None or len(found) >= options.lines or not page.runs:
            return found, page.next is not None
        before = page.next


def _unfiltered(options: argparse.Namespace) -> bool:
    named = (options.session, options.principal, options.tool, options.tenant, options.since)
    return options.only == "all" and not any(one is not None for one in named)


def _cells(one: RunLine, now: float) -> list[Cell]:
    who = one.principal if one.tenant == "default" else f"{one.principal} ({one.tenant})"
    failed: Cell = (count(one.failed), "red") if one.failed else "0"
    return [
        when(one.started, now),
        short_id(one.run),
        who,
        one.session or "",
        one.model,
        count(one.turns),
        count(one.calls),
        failed,
        shown(one.took),
        spent((one.cost,), one.usage),
        _state(one, now),
    ]


def _state(one: RunLine, now: float) -> Cell:
    """How it stands, the worst first."""
    parts: list[str] = []
    if one.unknown:
        parts.append(f"{count(one.unknown)} UNKNOWN")
    if one.repeats:
        parts.append(f"loops ({count(one.repeats)} refused)")
    if one.state == "running":
        quiet = now - (one.updated or one.started)
        parts.append("running" if quiet < _SILENT else f"silent for {span(quiet)}: its process may have died")
    elif one.state == "pending":
        parts.append(f"waits ({count(one.pending)})" if one.pending else "waits")
    else:
        parts.append(one.reason or "ended")
    colour = "red" if one.unknown else "yellow" if one.repeats or one.state == "pending" else ""
    if not colour and one.reason is not None and one.reason not in _GOOD and one.reason in REASONS:
        colour = "yellow"
    return ", ".join(parts), colour


def as_object(one: RunLine) -> dict[str, Any]:
    """A run for scripts."""
    return plain(one) | {"short_id": short_id(one.run), "took": one.took}


def _lines(text: str) -> int:
    number = int(text)
    if not 1 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"must be 1 to {_MOST}")
    return number
