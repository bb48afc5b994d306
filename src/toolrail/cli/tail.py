"""`toolrail tail`: runs as they happen, one line for each call as it is settled, and for each that is not."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from toolrail.cli.both import Sources, sources
from toolrail.cli.lines import Paint
from toolrail.cli.places import records_argument
from toolrail.cli.reading import SEARCHED, Record
from toolrail.cli.screen import screen_width
from toolrail.cli.seen import Seen
from toolrail.cli.standing import standing
from toolrail.cli.telling import Layout, Told, as_object, layout, of_row, tail_line
from toolrail.store import CallRow, CallsOf, ListRuns, RunRow

SECONDS = 0.5
"""Between two looks."""
_OVERLAP = 5.0
"""Seconds of the past that each look covers again, for clocks of several writers that do not agree."""
FIRST = 200
_KEPT = 10_000
"""Runs whose printed calls are remembered."""
_REMEMBERED = 100_000
"""Calls that are remembered to have been told, so that ledger and record do not tell one twice."""
_WATCHED = 50
"""Runs that have not ended and are looked at each time: a call that begins does not always touch its run."""
_AFTER = ("settled", "unknown", "not_committed", "died")
"""What ends being under way."""
_MOST = 1_000_000


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    parser.add_argument(
        "-n", "--lines", type=_count, default=50, metavar="N", help="begin with the newest N calls (50)"
    )
    parser.add_argument("--once", action="store_true", help="print what is there and leave")
    parser.add_argument("--tenant", help="only this tenant's calls")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> int:
    """Prints the newest calls, then those that come, until it is interrupted."""
    paint, shape = Paint(), layout(screen_width(), first=8, second=8)
    with sources(options) as both:
        feed = Feed(both, options.tenant, options.lines)
        earlier = feed.look()
        if not options.json:
            if len(earlier) > options.lines or feed.more:
                print(paint("(earlier calls are left out; -n shows more)", "dim"))
            print(paint(shape.heads("time", "run"), "dim"))
        _print(_newest(earlier, options.lines), shape, paint, options)
        while not options.once:
            time.sleep(SECONDS)
            _print(feed.look(), shape, paint, options)
    return 0


def _newest(calls: Sequence[Told], count: int) -> list[Told]:
    """The newest calls, and of the earlier ones those that were never settled: they matter most."""
    earlier = max(0, len(calls) - count)
    return [call for at, call in enumerate(calls) if at >= earlier or call.status is None]


def _print(calls: Iterable[Told], shape: Layout, paint: Paint, options: argparse.Namespace) -> None:
    for call in calls:
        if options.json:
            print(json.dumps(as_object(call)), flush=True)
            continue
        for line in tail_line(call, shape, paint, options.store):
            print(line, flush=True)


class Feed:
    """What ledger and record have to say that was not said yet."""

    def __init__(self, both: Sources, tenant: str | None, lines: int) -> None:
        self._ledger = both.ledger
        self._followed = Followed(tenant, max(FIRST, lines))
        self._seen = Seen(both, tenant, lines)
        self._told: dict[tuple[str, str, str], None] = {}

    @property
    def more(self) -> bool:
        """Whether there were calls before the first look's."""
        return bool(self._followed.horizon) or self._seen.more

    def look(self) -> list[Told]:
        """In the order in which they happened. The ledger comes first: what it calls settled is safe."""
        now = time.time()
        kept = [] if self._ledger is None else [of_row(row, now) for row in self._followed.look(self._ledger)]
        # What the ledger holds as open is not under way only because the record has not heard of its end.
        open_ones = {(one.tenant, one.key) for one in kept if one.unsettled}
        seen = [one for one in self._seen.look() if (one.tenant, one.key) not in open_ones]
        found = [one for one in (*kept, *seen) if self._is_new(one)]
        for old in list(islice(self._told, max(0, len(self._told) - _REMEMBERED))):
            del self._told[old]
        return sorted(found, key=lambda one: one.time)

    def _is_new(self, one: Told) -> bool:
        said = (one.tenant, one.key, one.said)
        if said in self._told or (one.said == "under_way" and (one.tenant, one.key, "settled") in self._told):
            return False
        self._told[said] = None
        return True


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


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"must be 0 to {_MOST}")
    return number
