"""`toolrail tail`: follows a store's file, one line for each call as it is settled, and for each that is not."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from toolrail.cli.lines import Paint, clock, cut, duration, outcome, printable, row, short_id, size
from toolrail.cli.meanings import MEANINGS
from toolrail.cli.reading import SEARCHED, Record, command, store_argument
from toolrail.cli.standing import HINTED, short_key, standing, words
from toolrail.store import CallRow, CallsOf, ListRuns, RunRow

SECONDS = 0.5
"""Between two looks at the file."""
_OVERLAP = 5.0
"""Seconds of the past that each look covers again, for clocks of several writers that do not agree."""
FIRST = 200
_KEPT = 10_000
"""Runs whose printed calls are remembered."""
_WATCHED = 50
"""Runs that have not ended and are looked at each time: a call that begins does not always touch its run."""
_AFTER = ("settled", "unknown", "not_committed", "died")
"""What ends being under way."""
_MOST = 1_000_000
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
    _print(_newest(earlier, options.lines), paint, as_json=options.json, store=options.store)
    while not options.once:
        time.sleep(SECONDS)
        _print(followed.look(record), paint, as_json=options.json, store=options.store)
    return 0


def _newest(calls: Sequence[CallRow], count: int) -> list[CallRow]:
    """The newest calls, and of the earlier ones those that were never settled: they matter most."""
    earlier = max(0, len(calls) - count)
    return [call for at, call in enumerate(calls) if at >= earlier or call.status is None]


@dataclass(slots=True)
class Followed:
    """What was printed already."""

    tenant: str | None = None
    first: int = FIRST
    """Runs that the first look goes back."""
    since: float = 0.0
    horizon: float = 0.0
    """Calls that were settled before this belong to runs that the first look left out."""
    printed: dict[tuple[str, str], set[tuple[str, str]]] = field(
        default_factory=dict[tuple[str, str], set[tuple[str, str]]]
    )
    """For each run, its calls and what was said of them: one that is under way is told again when that changes."""
    open: dict[tuple[str, str], RunRow] = field(default_factory=dict[tuple[str, str], RunRow])
    """Runs that are looked at though nobody wrote to them: a lease lapses in silence."""
    now: Callable[[], float] = time.time

    def look(self, record: Record) -> list[CallRow]:
        """The calls of which something new can be said, in the order in which they were settled or started."""
        updated = {(run.tenant, run.run): run for run in self._updated(record)}
        runs = {**self.open, **updated}
        found = [call for run in runs.values() for call in self._unseen(run, record)]
        self._watch(runs)
        for old in list(islice(self.printed, max(0, len(self.printed) - _KEPT))):
            del self.printed[old]
        return sorted(found, key=lambda call: call.updated)

    def _watch(self, runs: dict[tuple[str, str], RunRow]) -> None:
        newest = sorted(runs.values(), key=lambda run: run.updated, reverse=True)
        unended = [run for run in newest if run.stop_reason is None][:_WATCHED]
        under_way = [run for run in newest if self._under_way(run)]
        self.open = {(run.tenant, run.run): run for run in (*unended, *under_way)}

    def _under_way(self, run: RunRow) -> bool:
        said = self.printed[run.tenant, run.run]
        return any(what == "under_way" and not {(key, then) for then in _AFTER} & said for key, what in said)

    def _updated(self, record: Record) -> tuple[RunRow, ...]:
        limit = SEARCHED if self.since else self.first
        runs = record.ask(ListRuns(limit, self.tenant, self.since))
        if not self.since and len(runs) == limit:
            self.horizon = runs[-1].updated
        if runs:
            self.since = max(self.since, runs[0].updated - _OVERLAP)
        return runs

    def _unseen(self, run: RunRow, record: Record) -> list[CallRow]:
        seen, now = self.printed.setdefault((run.tenant, run.run), set()), self.now()
        new: list[CallRow] = []
        for call in record.ask(CallsOf(run.tenant, run.run)):
            said = standing(call, now) or ("settled" if call.status is not None else None)
            if said is None or (call.key, said) in seen:
                continue
            seen.add((call.key, said))
            if said != "settled" or call.updated >= self.horizon:
                new.append(call)
        return new


def _print(calls: Sequence[CallRow], paint: Paint, *, as_json: bool, store: str) -> None:
    now = time.time()
    for call in calls:
        print(json.dumps(as_object(call, now)) if as_json else _line(call, paint, now, store), flush=True)


def said_of(call: CallRow, paint: Paint, now: float, *, store: str) -> str:
    """How a call ended, or that it did not and what to type then: the last cell of its line."""
    unsettled = standing(call, now)
    if unsettled is not None:
        hint = f" ({command(f'effects show {shlex.quote(short_key(call))}', store)})" if unsettled in HINTED else ""
        return words(call, unsettled, paint) + paint(hint, "dim")
    said = paint.status(outcome(call.status, call.code) or call.state, call.status)
    return said if call.code is None else said + paint(f": {MEANINGS[call.code]}", "dim")


def _line(call: CallRow, paint: Paint, now: float, store: str) -> str:
    cells = (
        clock(call.updated),
        short_id(call.run),
        cut(printable(call.tool), 20),
        duration(call.seconds),
        size(call.argument_bytes),
        size(call.result_bytes),
        str(call.attempts),
        said_of(call, paint, now, store=store),
    )
    return row(cells, _WIDTHS)


def as_object(call: CallRow, now: float) -> dict[str, object]:
    """A call for scripts: sizes, codes and times, never content. `unsettled` says how an open one stands."""
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
        "unsettled": standing(call, now),
        "lease_until": call.lease_until,
        "seconds": call.seconds,
        "attempts": call.attempts,
        "argument_bytes": call.argument_bytes,
        "result_bytes": call.result_bytes,
        "flags": list(call.flags),
    }


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"must be 0 to {_MOST}")
    return number
