"""The waterfall of a run: model requests and calls as bars, on lanes so that no two bars of one lane overlap.

Pure: a `RunDetail` becomes numbers, 0 to 1 of the width. Times are seconds since the run's start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Literal

from toolrail.dashboard.timeline import Axis, Break, Tick, Timeline
from toolrail.records.views import AttemptLine, CallLine, ModelLine, Moment, RunDetail

Tone = Literal["model", "ok", "replayed", "refused", "failed", "unknown", "waits", "open"]
"""How a bar is painted. `refused` did nothing, `failed` was tried."""
What = Literal["checks", "person", "attempt", "failed", "backoff", "after", "waits", "model", "open"]
"""What a part of a bar was spent on."""

NARROW = 0.004
"""A bar is at least so wide, or nobody sees or hits it."""
LANES = 16
"""Calls beyond so many at once are folded into one lane of blocks."""
BARS = 200
"""Of more calls than that, the shortest are folded, too: a page has to stay small."""
_WORST: Mapping[Tone, int] = {
    "unknown": 7,
    "failed": 6,
    "refused": 5,
    "open": 4,
    "waits": 3,
    "ok": 2,
    "replayed": 1,
    "model": 0,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A span of a bar."""

    what: What
    start: float
    end: float
    number: int = 0
    """Which attempt."""
    error: str = ""
    """How the attempt failed: the label, and the exception's class."""
    x: float = 0.0
    width: float = 0.0
    """Its place within the bar, as shares of the bar's width."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One model request, or one call. Times in seconds since the run's start, places as shares of the width."""

    key: str
    """The call's key; of a model request its number within the record."""
    name: str
    turn: int
    tone: Tone
    start: float
    end: float
    open: bool
    """It is under way, so `end` is now."""
    parts: tuple[Part, ...]
    marks: tuple[float, ...] = ()
    """Times when something became known afterwards."""
    call: CallLine | None = None
    model: ModelLine | None = None
    x: float = 0.0
    width: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Block:
    """Several folded bars."""

    x: float
    width: float
    count: int
    tone: Tone
    """The worst of theirs."""
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """Bars of which no two overlap."""

    kind: Literal["model", "calls", "folded"]
    bars: tuple[Bar, ...] = ()
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """Waiting that the axis leaves out."""

    x: float
    width: float
    seconds: float
    why: Literal["pending", "between", "open"]


@dataclass(frozen=True, slots=True)
class Waterfall:
    """All of a run, to be drawn."""

    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    """Each model request and each call once, by turn and then in the order in which they began."""
    axis: Axis
    ticks: tuple[Tick, ...]
    cuts: tuple[Cut, ...]
    idle: tuple[Break, ...]
    """Where no process worked on the run, whether the axis leaves it out or not."""
    seconds: float
    processes: int

    @property
    def folded(self) -> int:
        """Calls that have no bar of their own on a lane."""
        return sum(block.count for lane in self.lanes for block in lane.blocks)


def waterfall(detail: RunDetail, *, now: float) -> Waterfall:
    """Bars and lanes of a run. `now` is the wall time at which those under way are cut off."""
    line = Timeline(detail, now=now)
    moments: dict[str, list[Moment]] = defaultdict(list)
    for moment in detail.moments:
        if moment.key is not None:
            moments[moment.key].append(moment)
    bars = [_of_call(one, line, detail.attempts.get(one.key, ()), moments[one.key]) for one in detail.calls]
    models = [*(_of_model(one, line) for one in detail.models), *_asked_now(detail, line)]
    why = dict(_idle(line, [*bars, *models]))
    axis = Axis(line.end, why)
    placed, requests = [_placed(one, axis) for one in bars], [_placed(one, axis) for one in models]
    lanes = (*_lanes("model", requests), *_lanes("calls", placed))
    cuts = [
        Cut(axis.x(one.start), axis.x(one.end) - axis.x(one.start), one.seconds, _why(detail, why.get(one)))
        for one in axis.breaks
    ]
    ordered = sorted([*requests, *placed], key=lambda one: (one.turn, one.call is not None, one.start, _index(one)))
    return Waterfall(lanes, tuple(ordered), axis, axis.ticks(), tuple(cuts), tuple(why), line.end, len(line.handles))


def _index(bar: Bar) -> int:
    return bar.call.index if bar.call is not None else 0


def tone_of(call: CallLine) -> Tone:
    """How a call stands, in one word."""
    if call.status is None:
        return "open"
    if call.status == "ok":
        return "replayed" if call.replayed else "ok"
    if call.status == "pending":
        return "waits"
    if call.status == "unknown":
        return "ok" if call.later == "ok" else "unknown"
    return "refused" if call.status in ("denied", "cancelled") or not (call.began or call.attempts) else "failed"


def _of_call(call: CallLine, line: Timeline, attempts: Sequence[AttemptLine], moments: Sequence[Moment]) -> Bar:
    start, resumed, settled = line.span(call)
    waits = call.status == "pending"
    end = line.end if settled is None or waits else settled
    end = max(start, end)
    parts: list[Part] = []
    if resumed is not None:
        asked = _first(moments, "CallSuspended", line)
        parts += [Part("checks", start, min(resumed, asked or start)), Part("waits", asked or start, resumed)]
    parts += _worked(call, line, attempts, _Span(resumed or start, settled, end), moments)
    if waits and settled is not None:
        parts.append(Part("waits", settled, end))
    later = tuple(line.at(one.wall, one.mono) for one in moments if one.kind == "OutcomeSettled")
    return Bar(
        call.key,
        call.tool,
        call.turn,
        tone_of(call),
        start,
        end,
        call.status is None,
        _in_order(parts, start, end),
        later,
        call=call,
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """When a call was at work: since its last beginning."""

    start: float
    settled: float | None
    end: float


def _worked(
    call: CallLine, line: Timeline, attempts: Sequence[AttemptLine], span: _Span, moments: Sequence[Moment]
) -> Iterable[Part]:
    """What the time between the request and the result was spent on, as far as the record says."""
    tried = _attempts(line, attempts, span)
    asked = _person(call, line, span, moments)
    known = [part.start for part in tried]
    end = span.end if span.settled is None else span.settled
    if known:
        begin = min(known)
    elif call.claimed_mono is not None:
        begin = line.within(call.claimed_mono, span.start, end)
    elif span.settled is not None:
        begin = end - min(call.handler_seconds or 0.0, end - span.start)
    else:
        begin = end if asked is not None else span.start
    before = asked.start if asked is not None else begin
    yield Part("checks", span.start, before)
    if asked is not None:
        yield asked
        yield Part("checks", asked.end, begin)
    yield from tried
    if span.settled is None:
        yield _under_way(call, tried, begin, end)
    elif not tried and call.attempts:
        done = begin + min(call.handler_seconds or 0.0, end - begin)
        kind: What = "attempt" if call.status in ("ok", "pending") else "failed"
        yield Part(kind, begin, done, number=1, error="" if kind == "attempt" else call.code or "")
        yield Part("after", done, end)
    else:
        yield Part("after", tried[-1].end if tried else begin, end)


def _under_way(call: CallLine, tried: Sequence[Part], begin: float, end: float) -> Part:
    if call.status is not None:
        return Part("after", end, end)
    return Part("open", tried[-1].end if tried else begin, end, number=len(tried) + 1)


def _attempts(line: Timeline, attempts: Sequence[AttemptLine], span: _Span) -> list[Part]:
    """Attempts and the back-off between them. Those of before the call waited are not drawn again."""
    found: list[Part] = []
    limit = span.end if span.settled is None else span.settled
    for one in sorted(attempts, key=lambda one: (one.ended_mono, one.attempt)):
        ended = line.within(one.ended_mono, span.start, limit)
        began = max(span.start, ended - one.seconds)
        said = " ".join(word for word in (one.failure, one.error_type) if word)
        found.append(Part("failed" if one.failure else "attempt", began, ended, one.attempt, said))
        if one.wait:
            found.append(Part("backoff", ended, min(limit, ended + one.wait), one.attempt))
    return found


def _person(call: CallLine, line: Timeline, span: _Span, moments: Sequence[Moment]) -> Part | None:
    """The time in which an approver was asked while the call stood by."""
    told = [line.at(one.wall, one.mono) for one in moments if one.kind == "ApprovalDecided"]
    told = [at for at in told if span.start <= at <= span.end]
    if not told or call.decided_mono is None or call.decision != "ask":
        return None
    asked = line.within(call.decided_mono, span.start, span.end)
    return Part("person", asked, told[-1]) if told[-1] > asked else None


def _in_order(parts: Iterable[Part], start: float, end: float) -> tuple[Part, ...]:
    """Within the bar, one after the other; what has no length is left out."""
    found: list[Part] = []
    at = start
    for part in sorted(parts, key=lambda one: (one.start, one.end)):
        low, high = max(at, part.start), min(end, part.end)
        if high > low:
            found.append(replace(part, start=low, end=high))
            at = high
    return tuple(found)


def _first(moments: Sequence[Moment], kind: str, line: Timeline) -> float | None:
    return next((line.at(one.wall, one.mono) for one in moments if one.kind == kind), None)


def _of_model(model: ModelLine, line: Timeline) -> Bar:
    end = line.at(model.wall, model.mono)
    start = max(0.0, end - (model.seconds or 0.0))
    return Bar(
        str(model.seq),
        model.model,
        model.turn + 1,  # it was asked before the turn that it begins was counted
        "model",
        start,
        end,
        open=False,
        parts=_in_order([Part("model", start, end)], start, end),
        model=model,
    )


def _asked_now(detail: RunDetail, line: Timeline) -> Iterable[Bar]:
    """The model request that is under way: one that was started, and after which nothing came."""
    asked = [one for one in detail.moments if one.kind == "ModelStarted"]
    if not asked or detail.run.state != "running":
        return
    last = max(asked, key=lambda one: (line.at(one.wall, one.mono), one.seq))
    since = line.at(last.wall, last.mono)
    if any(line.at(one.wall, one.mono) >= since for one in detail.models):
        return
    name = str(last.data.get("model", "")) or detail.run.model
    yield Bar("", name, last.turn + 1, "model", since, line.end, True, (Part("open", since, line.end),))


def _idle(line: Timeline, bars: Sequence[Bar]) -> list[tuple[Break, Literal["between", "open"]]]:
    """Where no process held the run, or none that is known of did anything since."""
    busy = sorted((part.start, part.end) for bar in bars for part in bar.parts if part.what not in ("waits", "open"))
    found: list[tuple[Break, Literal["between", "open"]]] = []
    starts = [max(0.0, one.wall - line.zero) for one in line.handles[1:]]
    for start in starts:
        before = max((end for low, end in busy if low < start), default=0.0)
        if before < start:
            found.append((Break(before, start), "between"))
    if line.end > line.last:
        found.append((Break(line.last, line.end), "open"))
    return found


def _why(detail: RunDetail, reason: Literal["between", "open"] | None) -> Literal["pending", "between", "open"]:
    return "pending" if reason == "open" and detail.run.state == "pending" else reason or "between"


def _placed(bar: Bar, axis: Axis) -> Bar:
    left, right = axis.x(bar.start), axis.x(bar.end)
    width = min(1.0, max(NARROW, right - left))
    parts = tuple(_within(part, axis, left, right) for part in bar.parts)
    return replace(bar, x=max(0.0, min(left, 1.0 - width)), width=width, parts=parts)


def _within(part: Part, axis: Axis, left: float, right: float) -> Part:
    """Its place within its bar, which may be drawn wider than it is, and may have a cut in it."""
    scale = 1.0 / (right - left) if right > left else 0.0
    x = min(1.0, (axis.x(part.start) - left) * scale)
    return replace(part, x=x, width=min(1.0 - x, (axis.x(part.end) - axis.x(part.start)) * scale))


def _lanes(kind: Literal["model", "calls"], bars: Sequence[Bar]) -> list[Lane]:
    """Each bar goes to the first lane that is free; beyond the last they are folded."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes: list[list[Bar]] = []
    folded: list[Bar] = []
    shown = {bar.key for bar in sorted(bars, key=lambda one: -one.width)[:BARS]}
    for bar in sorted(bars, key=lambda one: (one.x, one.turn, _index(one))):
        if bar.key not in shown:
            folded.append(bar)
            continue
        while busy and busy[0][0] <= bar.x:
            heappush(free, heappop(busy)[1])
        if not free and len(lanes) < LANES:
            free = [len(lanes)]
            lanes.append([])
        if not free:
            folded.append(bar)
            continue
        at = heappop(free)
        lanes[at].append(bar)
        heappush(busy, (bar.x + bar.width, at))
    made = [Lane(kind, tuple(lane)) for lane in lanes]
    return [*made, Lane("folded", blocks=tuple(_blocks(folded)))] if folded else made


def _blocks(bars: Sequence[Bar]) -> Iterable[Block]:
    """Bars that touch one another as one block."""
    group: list[Bar] = []
    right = 0.0
    for bar in bars:
        if group and bar.x > right:
            yield _block(group, right)
            group = []
        right = max(right, bar.x + bar.width) if group else bar.x + bar.width
        group.append(bar)
    if group:
        yield _block(group, right)


def _block(bars: Sequence[Bar], right: float) -> Block:
    worst = max(bars, key=lambda bar: _WORST[bar.tone])
    return Block(bars[0].x, right - bars[0].x, len(bars), worst.tone, tuple(bar.key for bar in bars))


def failed(call: CallLine) -> bool:
    """Whether somebody should look at it: neither a success nor a call that waits."""
    return call.status not in (None, "ok", "pending") and not (call.status == "unknown" and call.later == "ok")
