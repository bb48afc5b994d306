"""One call as commands tell it, from the ledger, from the record, or from both: its figures, its code, what it means.

The ledger has the last word on what is open; the record has all else that was seen.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from toolrail.cli.figures import seconds as shown_seconds
from toolrail.cli.lines import STATUS_COLOURS, Paint, clock, cut, outcome, printable, row, short_id, size
from toolrail.cli.meanings import LATER, MEANINGS
from toolrail.cli.places import command
from toolrail.cli.screen import folded, width
from toolrail.cli.standing import HINTED, LOUD, Standing, meaning_of, next_after, short_of, standing
from toolrail.codes import Code
from toolrail.records.views import CallLine
from toolrail.store import CallRow

WIDE = 140
"""Columns from which all cells and the meaning stand in one line."""
_LONGEST = 64
"""Columns of a tool's name: a model may have made it up."""
_UNDER_WAY = "begun, and no result is recorded yet"


@dataclass(frozen=True, slots=True)
class Told:
    """One call."""

    key: str
    tenant: str
    run: str
    turn: int
    index: int
    time: float
    """When it last changed."""
    tool: str
    principal: str
    effect: str | None
    state: str | None
    """The ledger's word; None where only the record knows the call."""
    status: str | None
    code: str | None
    unsettled: Standing | None
    seconds: float | None
    attempts: int
    argument_bytes: int
    result_bytes: int
    flags: tuple[str, ...]
    meaning: str
    """In a few words; empty where nothing needs saying."""
    row: CallRow | None = None
    line: CallLine | None = None

    @property
    def word(self) -> str:
        """`ok`, the code, or a loud word for what is open."""
        return LOUD[self.unsettled][0] if self.unsettled else outcome(self.status, self.code) or self.state or ""

    @property
    def colour(self) -> str:
        """Of its word."""
        return LOUD[self.unsettled][1] if self.unsettled else STATUS_COLOURS.get(self.status or "", "yellow")

    @property
    def said(self) -> str:
        """What a follower remembers to have told."""
        return self.unsettled or "settled"

    def hint(self, store: str) -> str:
        """What to type; empty where there is nothing to do."""
        if self.unsettled not in HINTED:
            return ""
        return command(f"effects show {shlex.quote(short_of(self.key, self.run))}", store)


def of_row(row: CallRow, now: float) -> Told:
    """A call of the ledger, as it stands at the wall time `now`."""
    stands = standing(row, now)
    meaning = meaning_of(row, stands) if stands else _meaning(row.code)
    return Told(
        row.key,
        row.tenant,
        row.run,
        row.turn,
        row.index,
        row.updated,
        row.tool,
        row.principal,
        row.effect,
        row.state,
        row.status,
        row.code,
        stands,
        None if row.status is None and not row.seconds else row.seconds,
        row.attempts,
        row.argument_bytes,
        row.result_bytes,
        row.flags,
        meaning,
        row=row,
    )


def of_line(line: CallLine) -> Told:
    """A call of the record, by what the record alone knows."""
    stands = _standing(line)
    return Told(
        line.key,
        line.tenant,
        line.run,
        line.turn,
        line.index,
        line.wall if line.settled is None else line.settled,
        line.tool,
        line.principal,
        line.effect,
        None,
        line.status,
        line.code,
        stands,
        line.seconds,
        line.attempts,
        line.argument_bytes,
        line.result_bytes,
        line.flags,
        _said_of(line, stands),
        line=line,
    )


def of_both(line: CallLine | None, row: CallRow | None, now: float) -> Told:
    """What is open as the ledger has it, and else as the record has it; the ledger's figures where the record lost
    them. One of the two is given."""
    if line is None or row is None:
        if line is not None:
            return of_line(line)
        if row is None:
            raise ValueError("a call that neither knows")
        return of_row(row, now)
    seen, kept = of_line(line), of_row(row, now)
    ended_unseen = line.status is None and row.status is not None
    chosen = kept if kept.unsettled or ended_unseen or _settled_since(line, row) else seen
    return _with(chosen, line, row)


def _with(told: Told, line: CallLine, row: CallRow) -> Told:
    values = {name: getattr(told, name) for name in Told.__slots__}
    values |= {"line": line, "row": row, "state": row.state, "effect": row.effect or line.effect}
    values["flags"] = tuple(dict.fromkeys((*line.flags, *row.flags)))
    if told.seconds is None:
        values["seconds"] = line.seconds
    return Told(**values)


def _settled_since(line: CallLine, row: CallRow) -> bool:
    """Whether the ledger knows how a call ended that the record has as open."""
    return _standing(line) is not None and row.state in ("done", "failed")


def _standing(line: CallLine) -> Standing | None:
    if line.status is None:
        return "under_way"
    if line.later is not None:
        return None
    if line.code == Code.WAITING:
        return "waiting"
    return "unknown" if line.status == "unknown" else None


def _said_of(line: CallLine, stands: Standing | None) -> str:
    if stands == "under_way":
        return _UNDER_WAY
    if stands == "unknown":
        return f"it may have taken effect; {next_after(line.effect)}"
    if line.later is not None:
        how = LATER.get(line.later_how or "", line.later_how or "")
        return f"{_meaning(line.code)}; since then known: {line.later}{f' ({how})' if how else ''}".lstrip("; ")
    if line.code is None and line.replayed:
        return "the result of an earlier same call"
    return _meaning(line.code)


def _meaning(code: str | None) -> str:
    try:
        return "" if code is None else MEANINGS[Code(code)]
    except ValueError:
        return "a code that this version does not know"


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a call's line on one screen."""

    screen: int | None
    tool: int
    compact: bool
    first: int
    """Width of the first cell: a time or a place."""
    second: int
    """Width of the second: a run, or nothing."""

    def heads(self, first: str, second: str) -> str:
        """The line above the calls."""
        tries = () if self.compact else ("tries",)
        return self._row((first, second, "tool", "took", "args", "result", *tries, "outcome"))

    def lines(self, told: Told, first: str, second: str, paint: Paint, store: str, *, notes: str = "") -> Iterator[str]:
        """A call in one line where it fits; else what it means, and what to type, in lines of their own."""
        tries = () if self.compact else (str(told.attempts),)
        tool = printable(told.tool)
        cells = self._row(
            (
                first,
                second,
                cut(tool, self._room(tool, told.word)),
                "-" if told.seconds is None else shown_seconds(told.seconds),
                size(told.argument_bytes),
                size(told.result_bytes) if told.status is not None else "-",
                *tries,
                told.word,
            )
        )
        meaning, hint = self._meaning(told), told.hint(store)
        more = f"{f': {meaning}' if meaning else ''}{f' -> {hint}' if hint else ''}{f' [{notes}]' if notes else ''}"
        # Painted once the line is made, so that no escape is counted as a column.
        head = f"{cells[: len(cells) - len(told.word)]}{self._painted(told, paint)}"
        if self.screen is None or width(cells) + width(more) <= self.screen:
            yield head + paint(more, "dim" if not told.unsettled else told.colour)
            return
        yield head
        indent = " " * (4 if self.compact else 8)
        for line in folded(f"{meaning}{f' [{notes}]' if notes else ''}".strip(), self.screen, indent):
            yield paint(line, "dim" if not told.unsettled else told.colour)
        if hint:
            yield f"{indent}-> {hint}"  # never broken: it is there to be copied

    def _room(self, tool: str, word: str) -> int:
        """Columns for a long name: it pushes the rest of its line away as far as the screen goes."""
        if self.screen is None:
            return _LONGEST
        others = self._row((" " * self.first, "-" * self.second, "-" * self.tool, "", "", "", *self._tries, word))
        return min(_LONGEST, max(self.tool, self.tool + self.screen - width(others)))

    @property
    def _tries(self) -> tuple[str, ...]:
        return () if self.compact else ("",)

    def _meaning(self, told: Told) -> str:
        if not self.compact or told.attempts < 2:
            return told.meaning
        return f"{told.attempts} tries; {told.meaning}" if told.meaning else f"{told.attempts} tries"

    def _painted(self, told: Told, paint: Paint) -> str:
        return paint(told.word, told.colour)

    def _row(self, cells: Sequence[str]) -> str:
        figures = (-7, -6, -6, 0) if self.compact else (-8, -8, -8, -5, 0)
        widths = (self.first, self.second, self.tool, *figures)
        if self.second:
            return row(cells, widths)
        return row((cells[0], *cells[2:]), (widths[0], *widths[2:]))


def layout(screen: int | None, *, first: int, second: int = 0) -> Layout:
    """The layout that fits a screen."""
    compact = screen is not None and screen < WIDE
    return Layout(screen, 16 if compact else 20, compact, first, second)


def tail_line(told: Told, shape: Layout, paint: Paint, store: str) -> Iterator[str]:
    """A call as `tail` tells it."""
    return shape.lines(told, clock(told.time), cut(printable(short_id(told.run)), 8), paint, store)


def as_object(told: Told) -> dict[str, Any]:
    """A call for scripts: sizes, codes and times, never content. `unsettled` says how an open one stands; what only the
    record knows is null without one."""
    row, line = told.row, told.line
    return {
        "time": told.time,
        "tenant": told.tenant,
        "run": told.run,
        "turn": told.turn,
        "index": told.index,
        "key": told.key,
        "tool": told.tool,
        "principal": told.principal,
        "effect": told.effect,
        "state": told.state,
        "status": told.status,
        "code": told.code,
        "unsettled": told.unsettled,
        "lease_until": row.lease_until if row is not None else None,
        "seconds": told.seconds,
        "attempts": told.attempts,
        "argument_bytes": told.argument_bytes,
        "result_bytes": told.result_bytes,
        "flags": list(told.flags),
        "meaning": told.meaning,
    } | {name: getattr(line, name, None) for name in _SEEN}


_SEEN = (
    "session",
    "dependency",
    "handler_seconds",
    "replayed",
    "decision",
    "rule",
    "reason",
    "reference",
    "later",
    "later_how",
)
"""Fields of the record's line that scripts get."""
