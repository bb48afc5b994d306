"""`toolrail tail`: follows a store's file, one line for each call as it is settled."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from toolrail.cli.lines import Paint, clock, cut, duration, outcome, printable, row, short_id, size
from toolrail.cli.meanings import MEANINGS
from toolrail.cli.reading import SEARCHED, Record, store_argument
from toolrail.store import CallRow, CallsOf, ListRuns, RunRow

SECONDS = 0.5
"""Between two looks at the file."""
_OVERLAP = 5.0
"""Seconds of the past that each look covers again, for clocks of several writers that do not agree."""
FIRST = 200
_KEPT = 10_000
"""Runs whose printed calls are remembered."""
_HEAD = ("time", "run", "tool", "took", "args", "result", "tries", "outcome")
_WIDTHS = (8, 8, 20, -8, -8, -8, -5, 0)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    store_argument(parser)
    parser.add_argument(
        "-n", "--lines", type=_count, default=50, metavar="N", help="begin with the newest N calls (50)"
    )
    parser.add_argument("--once", action="store_true", help="print what is there and leave")
    parser.add_argument("--tenant", help="only this tenant's calls")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """Prints the newest calls, then those that come, until it is interrupted."""
    record, paint = Record(options.store), Paint()
    followed = Followed(options.tenant, max(FIRST, options.lines))
    earlier = followed.look(record)
    if not options.json:
        if len(earlier) > options.lines or followed.horizon:
            print(paint("(earlier calls are left out; -n shows more)", "dim"))
        print(paint(row(_HEAD, _WIDTHS), "dim"))
    _print(earlier[max(0, len(earlier) - options.lines) :], paint, as_json=options.json)
    while not options.once:
        time.sleep(SECONDS)
        _print(followed.look(record), paint, as_json=options.json)
    return 0


@dataclass(slots=True)
class Followed:
    """What was printed already."""

    tenant: str | None = None
    first: int = FIRST
    """Runs that the first look goes back."""
    since: float = 0.0
    horizon: float = 0.0
    """Calls that were settled before this belong to runs that the first look left out."""
    printed: dict[tuple[str, str], set[str]] = field(default_factory=dict[tuple[str, str], set[str]])

    def look(self, record: Record) -> list[CallRow]:
        """The settled calls that were not seen before, in the order in which they were settled."""
        runs = self._updated(record)
        found = [call for run in runs for call in self._unseen(run, record) if call.updated >= self.horizon]
        for old in list(islice(self.printed, max(0, len(self.printed) - _KEPT))):
            del self.printed[old]
        return sorted(found, key=lambda call: call.updated)

    def _updated(self, record: Record) -> tuple[RunRow, ...]:
        limit = SEARCHED if self.since else self.first
        runs = record.ask(ListRuns(limit, self.tenant, self.since))
        if not self.since and len(runs) == limit:
            self.horizon = runs[-1].updated
        if runs:
            self.since = max(self.since, runs[0].updated - _OVERLAP)
        return runs

    def _unseen(self, run: RunRow, record: Record) -> list[CallRow]:
        seen = self.printed.setdefault((run.tenant, run.run), set())
        calls = record.ask(CallsOf(run.tenant, run.run))
        new = [call for call in calls if call.status is not None and call.key not in seen]
        seen.update(call.key for call in new)
        return new


def _print(calls: Sequence[CallRow], paint: Paint, *, as_json: bool) -> None:
    for call in calls:
        print(json.dumps(as_object(call)) if as_json else _line(call, paint), flush=True)


def _line(call: CallRow, paint: Paint) -> str:
    said = paint.status(outcome(call.status, call.code), call.status)
    if call.code is not None:
        said += paint(f": {MEANINGS[call.code]}", "dim")
    cells = (
        clock(call.updated),
        short_id(call.run),
        cut(printable(call.tool), 20),
        duration(call.seconds),
        size(call.argument_bytes),
        size(call.result_bytes),
        str(call.attempts),
        said,
    )
    return row(cells, _WIDTHS)


def as_object(call: CallRow) -> dict[str, object]:
    """A call for scripts: sizes, codes and times, never content."""
    return {
        "time": call.updated,
        "tenant": call.tenant,
        "run": call.run,
        "turn": call.turn,
        "index": call.index,
        "key": call.key,
        "tool": call.tool,
        "principal": call.principal,
        "effect": call.effect,
        "state": call.state,
        "status": call.status,
        "code": call.code,
        "seconds": call.seconds,
        "attempts": call.attempts,
        "argument_bytes": call.argument_bytes,
        "result_bytes": call.result_bytes,
        "flags": list(call.flags),
    }


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number
