"""Two runs side by side: turns aligned, and within each turn the calls, with what is different about each pair.

Pure. The record has no arguments, so "the same arguments" means the same text where content was recorded (by the
digests that are given here), and else no more than the same size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, zip_longest
from typing import Literal, TypeVar

from toolrail.records.views import CallLine, ModelLine, RunDetail

T = TypeVar("T")
Kind = Literal["same", "other", "only_a", "only_b"]
Field = Literal["arguments", "decision", "outcome", "attempts", "result", "later", "version", "slower", "faster"]

SLOWER = 2.0
"""A call that takes so many times as long, and `NOTICED` seconds longer, is slower."""
NOTICED = 0.1


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is different about a pair of calls."""

    field: Field
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class CallPair:
    """A call of each run, or of one of them."""

    kind: Kind
    a: CallLine | None
    b: CallLine | None
    changes: tuple[Change, ...] = ()
    arguments: Literal["same", "same size", "other", ""] = ""


@dataclass(frozen=True, slots=True)
class TurnPair:
    """A turn of each run, or of one of them."""

    a: int | None
    b: int | None
    calls: tuple[CallPair, ...]
    models: tuple[ModelLine | None, ModelLine | None]

    @property
    def kind(self) -> Kind:
        """Whether anything is different."""
        if self.a is None or self.b is None:
            return "only_b" if self.a is None else "only_a"
        return "other" if any(one.kind != "same" for one in self.calls) else "same"


@dataclass(frozen=True, slots=True)
class Diff:
    """What is different about two runs."""

    turns: tuple[TurnPair, ...]
    same: int
    """Pairs of calls with nothing different that matters."""
    other: int
    only_a: int
    only_b: int

    @property
    def first(self) -> tuple[TurnPair, CallPair] | None:
        """Where they part: the first call that is different, or is made by one of them alone."""
        return next(((turn, call) for turn in self.turns for call in turn.calls if call.kind != "same"), None)


def diff(a: RunDetail, b: RunDetail, *, texts: Mapping[str, str] | None = None) -> Diff:
    """Aligns two runs. `texts` has digests of calls' arguments, where known, by `a:` or `b:` and the call's key."""
    known = texts or {}
    turns = tuple(_turns(a, b, known))
    kinds = [call.kind for turn in turns for call in turn.calls]
    return Diff(turns, *(kinds.count(kind) for kind in ("same", "other", "only_a", "only_b")))


def _turns(a: RunDetail, b: RunDetail, texts: Mapping[str, str]) -> Iterator[TurnPair]:
    of_a, of_b = _by_turn(a), _by_turn(b)
    models_a, models_b = ({one.turn + 1: one for one in run.models} for run in (a, b))
    names_a = [(turn, tuple(call.tool for call in calls)) for turn, calls in of_a]
    names_b = [(turn, tuple(call.tool for call in calls)) for turn, calls in of_b]
    for left, right in _aligned(names_a, names_b):
        mine = of_a[left] if left is not None else None
        other = of_b[right] if right is not None else None
        calls = tuple(_calls(mine[1] if mine else (), other[1] if other else (), texts))
        models = (models_a.get(mine[0]) if mine else None, models_b.get(other[0]) if other else None)
        yield TurnPair(mine[0] if mine else None, other[0] if other else None, calls, models)


def _by_turn(run: RunDetail) -> list[tuple[int, tuple[CallLine, ...]]]:
    calls = sorted(run.calls, key=lambda one: (one.turn, one.seq, one.index))
    found = {turn: tuple(group) for turn, group in groupby(calls, key=lambda one: one.turn)}
    turns = sorted(found.keys() | {one.turn + 1 for one in run.models})
    return [(turn, found.get(turn, ())) for turn in turns]


def _aligned(
    a: Sequence[tuple[int, tuple[str, ...]]], b: Sequence[tuple[int, tuple[str, ...]]]
) -> Iterator[tuple[int | None, int | None]]:
    """Turns that call the same tools stand side by side; of those between, what is nearest."""
    yield from _matched([names for _, names in a], [names for _, names in b])


def _matched(a: Sequence[T], b: Sequence[T]) -> Iterator[tuple[int | None, int | None]]:
    for _, low_a, high_a, low_b, high_b in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        yield from zip_longest(range(low_a, high_a), range(low_b, high_b))


def _calls(a: Sequence[CallLine], b: Sequence[CallLine], texts: Mapping[str, str]) -> Iterator[CallPair]:
    for left, right in _matched([one.tool for one in a], [one.tool for one in b]):
        mine = a[left] if left is not None else None
        other = b[right] if right is not None else None
        if mine is not None and other is not None and mine.tool == other.tool:
            yield _pair(mine, other, texts)
            continue
        if mine is not None:
            yield CallPair("only_a", mine, None)
        if other is not None:
            yield CallPair("only_b", None, other)


def _pair(a: CallLine, b: CallLine, texts: Mapping[str, str]) -> CallPair:
    arguments = _arguments(a, b, texts)
    changes = tuple(_changes(a, b, arguments))
    matter = [one for one in changes if one.field not in ("slower", "faster", "version")]
    return CallPair("other" if matter else "same", a, b, changes, arguments)


def _arguments(a: CallLine, b: CallLine, texts: Mapping[str, str]) -> Literal["same", "same size", "other"]:
    left, right = texts.get(f"a:{a.key}"), texts.get(f"b:{b.key}")
    if left is not None and right is not None:
        return "same" if left == right else "other"
    return "same size" if a.argument_bytes == b.argument_bytes else "other"


def _changes(a: CallLine, b: CallLine, arguments: str) -> Iterator[Change]:
    if arguments == "other":
        yield Change("arguments", f"{a.argument_bytes:,} bytes", f"{b.argument_bytes:,} bytes")
    if _decision(a) != _decision(b):
        yield Change("decision", _decision(a), _decision(b))
    if (a.status, a.code) != (b.status, b.code):
        yield Change("outcome", a.code or a.status or "under way", b.code or b.status or "under way")
    if a.attempts != b.attempts:
        yield Change("attempts", str(a.attempts), str(b.attempts))
    if a.result_bytes != b.result_bytes and (a.status, a.code) == (b.status, b.code):
        yield Change("result", f"{a.result_bytes:,} bytes", f"{b.result_bytes:,} bytes")
    if a.later != b.later:
        yield Change("later", a.later or "not known", b.later or "not known")
    if a.digest != b.digest:
        yield Change("version", a.digest[:12], b.digest[:12])
    yield from _timing(a, b)


def _decision(call: CallLine) -> str:
    """What was decided; where nobody had to be asked, a rail without policies says nothing."""
    return (
        " ".join(word for word in (call.decision, call.rule) if word) if call.decision in ("ask", "deny") else "allow"
    )


def _timing(a: CallLine, b: CallLine) -> Iterator[Change]:
    if a.seconds is None or b.seconds is None or abs(b.seconds - a.seconds) < NOTICED:
        return
    low, high = sorted((a.seconds, b.seconds))
    if high >= SLOWER * low:
        yield Change("slower" if b.seconds > a.seconds else "faster", f"{a.seconds:.3g} s", f"{b.seconds:.3g} s")
