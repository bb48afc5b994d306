"""A run in two sentences, and what to look at first: for somebody who sees it for the first time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from toolrail.dashboard.spent import Spent
from toolrail.dashboard.waterfall import Waterfall, failed
from toolrail.records.reading_runs import SILENT_SECONDS
from toolrail.records.views import CallLine, ModelLine, Moment, RunDetail

REASONS = {
    "answer": "the model answered",
    "question": "the model asked the user something",
    "limit:turns": "the limit of turns was reached",
    "limit:calls": "the limit of calls was reached",
    "limit:tokens": "the limit of tokens was reached",
    "limit:money": "the limit of money was reached",
    "limit:seconds": "the limit of time was reached",
    "limit:repeats": "the model asked for the same again and again",
    "context_length": "the conversation is longer than the model's context",
    "refusal": "the model refused",
    "content_filter": "the provider's filter stopped the answer",
    "truncated": "the model's response was cut off",
    "empty": "the model said nothing",
    "output_invalid": "the answer did not fit its declared type",
    "model_unavailable": "the model could not be reached",
    "store_unavailable": "the store could not be reached",
    "shutting_down": "the rail was closing",
    "cancelled": "it was cancelled",
    "batch": "calls without a run around them",
    "error": "an error ended it; the application's log has it",
}
"""What each stop reason means."""
GOOD = ("answer", "question", "batch")
Tone = Literal["good", "warn", "bad"]
_SHOWN = 8
LONG_WAIT = 0.2
"""Seconds before a call began that are worth a word."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Calls of one tool that ended alike, to be looked at."""

    tool: str
    code: str
    calls: int
    first: CallLine
    rules: tuple[str, ...]
    """What denied them."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Calls of one tool that waited before they began: for a rate, a place, or the run's own parallel places."""

    tool: str
    calls: int
    seconds: float
    """On average."""


@dataclass(frozen=True, slots=True)
class Story:
    """What somebody on call reads first."""

    tone: Tone
    headline: str
    because: str
    problems: tuple[Problem, ...]
    more: int
    """Problems that are not listed."""
    retried: tuple[Problem, ...]
    """Tools whose calls succeeded, but not at the first attempt; `calls` are the attempts that failed."""
    waits: tuple[Problem, ...]
    """Calls that wait for a person or another system."""
    queued: tuple[Queue, ...]
    """Tools whose calls waited long for their turn."""
    bad: int
    """Calls without success."""
    unpriced: tuple[str, ...]
    """Models whose price nobody stated."""
    circuits: tuple[str, ...]
    """Dependencies whose circuit opened in this run."""
    model_faults: tuple[str, ...]
    """Labels of model requests that failed."""


def story(detail: RunDetail, chart: Waterfall, *, quiet: float) -> Story:
    """The run in words. `quiet` is how many seconds it has said nothing."""
    problems = _grouped(call for call in detail.calls if failed(call))
    tone, headline, because = _said(detail, quiet)
    return Story(
        tone,
        headline,
        because,
        problems[:_SHOWN],
        max(0, len(problems) - _SHOWN),
        _retried(detail.calls)[:_SHOWN],
        _grouped(call for call in detail.calls if call.status == "pending")[:_SHOWN],
        _queued(chart)[:_SHOWN],
        sum(failed(call) for call in detail.calls),
        tuple(sorted({one.model for one in detail.models if _unpriced(one)})),
        tuple(sorted(_opened(detail.moments))),
        tuple(str(one.data.get("error", "")) for one in detail.moments if one.kind == "ModelAttemptEnded"),
    )


def _unpriced(one: ModelLine) -> bool:
    return one.cost is None and one.usage.total_tokens > 0


def _opened(moments: Sequence[Moment]) -> Iterator[str]:
    for one in moments:
        if one.kind == "CircuitChanged" and one.data.get("state") == "open":
            yield str(one.data.get("dependency", ""))


def _said(detail: RunDetail, quiet: float) -> tuple[Tone, str, str]:
    run, reason = detail.run, detail.run.reason or ""
    unknown = [call for call in detail.calls if call.status == "unknown" and call.began and call.later is None]
    bad = [call for call in detail.calls if failed(call)]
    if unknown:
        names = ", ".join(sorted({call.tool for call in unknown})[:3])
        return "bad", "An outcome is unknown", f"{names} may have taken effect, or not: somebody has to find out."
    if run.state == "running" and quiet > SILENT_SECONDS:
        return "warn", "Nothing heard any more", "It has not ended: its process may have died, or it waits long."
    if run.state == "running":
        return "good", "Running", ""
    if run.state == "pending":
        return "warn", "Waits", _waits(detail)
    looped = f", and {_count(run.repeats, 'call')} refused because they came again and again" if run.repeats else ""
    if reason not in GOOD:
        return (
            "bad" if reason in ("error", "model_unavailable", "store_unavailable") else "warn",
            "Stopped",
            (f"{REASONS.get(reason, reason)}{looped}."),
        )
    done = "Done" if reason == "batch" else "Answered"
    if bad:
        return "warn", done, f"though {_count(len(bad), 'call')} of {len(detail.calls)} did not succeed."
    return "good", done, f"{_count(len(detail.calls), 'call')}, each succeeded." if detail.calls else ""


def _waits(detail: RunDetail) -> str:
    asked = [call for call in detail.calls if call.code == "APPROVAL_PENDING"]
    others = [call for call in detail.calls if call.status == "pending" and call.code != "APPROVAL_PENDING"]
    parts = [f"a person has to decide on {', '.join(sorted({call.tool for call in asked}))}"] if asked else []
    if others:
        parts.append(f"another system has not answered {', '.join(sorted({call.tool for call in others}))}")
    return f"{'; '.join(parts)}." if parts else "for its application to go on with it."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _grouped(calls: Iterable[CallLine]) -> tuple[Problem, ...]:
    groups: dict[tuple[str, str], list[CallLine]] = {}
    for call in calls:
        groups.setdefault((call.tool, call.code or call.status or ""), []).append(call)
    found = [
        Problem(tool, code, len(group), group[0], tuple(sorted({call.rule for call in group if call.rule})))
        for (tool, code), group in groups.items()
    ]
    return tuple(sorted(found, key=lambda one: (one.code != "OUTCOME_UNKNOWN", -one.calls)))


def _retried(calls: Sequence[CallLine]) -> tuple[Problem, ...]:
    groups: dict[str, list[CallLine]] = {}
    for call in calls:
        if call.attempts > 1 and not failed(call):
            groups.setdefault(call.tool, []).append(call)
    found = [Problem(tool, "", sum(one.attempts - 1 for one in group), group[0], ()) for tool, group in groups.items()]
    return tuple(sorted(found, key=lambda one: -one.calls))


def _queued(chart: Waterfall) -> tuple[Queue, ...]:
    """Calls that spent a good part of their time, and of anybody's patience, before they began."""
    waits: dict[str, list[float]] = {}
    for bar in chart.bars:
        waited = sum(part.end - part.start for part in bar.parts if part.what == "checks")
        if waited >= LONG_WAIT and waited >= bar.seconds / 4:
            waits.setdefault(bar.name, []).append(waited)
    found = [Queue(tool, len(each), sum(each) / len(each)) for tool, each in waits.items()]
    return tuple(sorted(found, key=lambda one: -one.calls * one.seconds))


def words_of(one: Spent) -> str:
    """One share of a run's time, in words."""
    match one.on:
        case "tool":
            return f"in {one.name}"
        case "failed":
            return f"in {'a failed attempt' if one.attempts < 2 else f'{one.attempts} failed attempts'} of {one.name}"
        case "backoff":
            return f"pauses before {one.name} was tried again"
        case "checks":
            return f"before {one.name} began: checks, and waiting for its turn"
        case "person":
            return "waiting for a person"
        case "suspended":
            return "suspended: no process worked on it"
        case "model":
            return f"waiting for {one.name or 'the model'}{f', {one.calls} requests' if one.calls > 1 else ''}"
        case "own":
            return "encoding and writing down results"
        case "outside":
            return "outside toolrail: the application's own code, and models that it asks itself"
