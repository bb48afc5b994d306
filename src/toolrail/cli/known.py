"""One run as `show` knows it: from the ledger, from the record, or from both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolrail.cli.both import Sources
from toolrail.cli.looking import faults_of, warn
from toolrail.cli.problem import Problem
from toolrail.cli.telling import Told, of_both
from toolrail.messages import Usage
from toolrail.records.reading import Records
from toolrail.records.views import AttemptLine, RunDetail, RunFilter, RunLine
from toolrail.run import RunState
from toolrail.store import CallRow, CallsOf, LoadRun, RunRow

_SEARCHED = 100


@dataclass(frozen=True, slots=True)
class Known:
    """A run and its calls. What only the record knows is empty without one."""

    tenant: str
    run: str
    session: str | None
    principal: str
    created: float
    updated: float
    """When something was last heard of it."""
    seconds: float
    stop_reason: str | None
    turns: int
    usage: Usage
    offered: tuple[str, ...]
    calls: tuple[Told, ...]
    detail: RunDetail | None = None
    texts: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """Content that was recorded, by call key and kind; only where it was asked for."""
    messages: Sequence[tuple[int, str]] = ()
    """By turn: messages that were recorded; only where they were asked for."""

    def attempts_of(self, key: str) -> tuple[AttemptLine, ...]:
        """A call's attempts."""
        return () if self.detail is None else self.detail.attempts.get(key, ())

    def arguments_of(self, call: Told) -> str | None:
        """A call's arguments, where they were kept."""
        return self.texts.get((call.key, "arguments")) or (call.row.arguments if call.row is not None else None)

    def content_of(self, call: Told) -> str | None:
        """What the model was answered, where that was kept."""
        kept = call.row.content if call.row is not None else None
        return kept if kept is not None else self.texts.get((call.key, "result"))


def known_of(both: Sources, text: str, *, tenant: str | None, content: bool) -> Known:
    """The run with this id, or the only one whose id begins or ends so.

    Raises:
        Problem: there is none, there are several, or it cannot be read.
    """
    detail = _detail(both, text, tenant, must=both.ledger is None)
    row = _row(both, text if detail is None else detail.run.run, tenant, detail)
    if detail is None and row is not None:
        detail = _detail(both, row.run, row.tenant, must=False)
    calls: tuple[CallRow, ...] = ()
    if row is not None and both.ledger is not None:
        calls = both.ledger.ask(CallsOf(row.tenant, row.run))
    state = None if row is None else _state(row, must=detail is None)
    return _known(row, state, calls, detail, both.records if content else None, both)


def _detail(both: Sources, text: str, tenant: str | None, *, must: bool) -> RunDetail | None:
    """What the record has; None where that is nothing. A part of an id may stand for one run only."""
    if both.records is None:
        return None
    try:
        with faults_of(both.url):
            found = both.records.run(text, tenant=tenant)
            if found is not None:
                return found
            lines = _matching(both.records, text, tenant)
            if len(lines) == 1:
                return both.records.run(lines[0].run, tenant=lines[0].tenant)
    except Problem as problem:
        if must or both.insists:
            raise
        warn(f"only the store is read. {problem}")
        return None
    if len(lines) > 1:
        some = ", ".join(line.run for line in lines[:3])
        more = ", ..." if len(lines) > 3 else ""
        mend = "Give more of the id, from its beginning or its end, or --tenant."
        raise Problem(f"run {text}", f"{len(lines)} runs match: {some}{more}.", mend)
    if must:
        mend = "`toolrail list` shows the newest runs; retention may have taken an old one."
        raise Problem(f"run {text}", "no run in the record has this id.", mend)
    return None


def _matching(records: Records, text: str, tenant: str | None) -> tuple[RunLine, ...]:
    found = records.runs(RunFilter(tenant=tenant, text=text, limit=_SEARCHED)).runs
    if not found and not text.startswith("run_"):
        found = records.runs(RunFilter(tenant=tenant, text=f"run_{text}", limit=_SEARCHED)).runs
    return found


def _row(both: Sources, text: str, tenant: str | None, detail: RunDetail | None) -> RunRow | None:
    if both.ledger is None:
        return None
    if detail is None:
        return both.ledger.find(text, tenant=tenant)
    return both.ledger.ask(LoadRun(detail.run.tenant, detail.run.run))


def _state(row: RunRow, *, must: bool) -> RunState | None:
    try:
        return RunState.from_json(row.state)
    except (ValueError, TypeError, LookupError) as error:
        if not must:
            return None
        mend = (
            "Use the version of toolrail that wrote it; `toolrail tail`, with the same --store, still lists its calls."
        )
        raise Problem(f"run {row.run}", f"its state cannot be read ({error!r}).", mend) from error


def _known(
    row: RunRow | None,
    state: RunState | None,
    rows: Sequence[CallRow],
    detail: RunDetail | None,
    records: Records | None,
    both: Sources,
) -> Known:
    now = time.time()
    calls = _merged(rows, detail, now)
    line = None if detail is None else detail.run
    if line is None and row is not None and state is not None:
        return Known(
            row.tenant, row.run, row.session, row.principal, row.created, row.updated, state.seconds,
            row.stop_reason, state.turn, state.usage, state.offered, calls,
        )  # fmt: skip
    if line is None or detail is None:
        raise ValueError("a run that neither knows")
    texts, messages = ({}, []) if records is None else _texts(records, detail, both)
    # The ledger is written in the run's own transactions, so it may be ahead of the record, and never behind.
    ahead = state is not None and state.turn > line.turns
    return Known(
        line.tenant,
        line.run,
        line.session,
        line.principal,
        line.started,
        max([line.ended or line.started, *(one.time for one in calls), row.updated if row is not None else 0.0]),
        line.took or line.seconds or (state.seconds if state is not None else 0.0),
        (row.stop_reason if row is not None else None) or line.reason,
        state.turn if ahead and state is not None else line.turns,
        state.usage if ahead and state is not None else line.usage,
        detail.offered or (state.offered if state is not None else ()),
        calls,
        detail,
        texts,
        messages,
    )


def _merged(rows: Sequence[CallRow], detail: RunDetail | None, now: float) -> tuple[Told, ...]:
    """The calls that either knows, in the order in which the model made them."""
    kept = {row.key: row for row in rows}
    seen = {} if detail is None else {line.key: line for line in detail.calls}
    calls = [of_both(seen.get(key), kept.get(key), now) for key in dict.fromkeys((*seen, *kept))]
    return tuple(sorted(calls, key=lambda call: (call.turn, call.line.wall if call.line else 0.0, call.index)))


def _texts(
    records: Records, detail: RunDetail, both: Sources
) -> tuple[dict[tuple[str, str], str], list[tuple[int, str]]]:
    texts: dict[tuple[str, str], str] = {}
    messages: list[tuple[int, str]] = []
    with faults_of(both.url):
        for one in detail.contents:
            text: Any = records.text(detail.run.run, one.seq, tenant=detail.run.tenant)
            if text is None:
                continue
            if one.kind == "messages":
                messages.append((one.turn, text))
            elif one.key is not None:
                texts[one.key, one.kind] = text
    return texts, messages
