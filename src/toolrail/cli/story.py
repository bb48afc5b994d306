"""What happened in a run, in its order: for each turn the model's request, then its calls, and what went on beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolrail.cli.figures import amount, plural, tokens
from toolrail.cli.figures import seconds as shown
from toolrail.cli.known import Known
from toolrail.cli.lines import Paint, cut, printable
from toolrail.cli.screen import folded
from toolrail.cli.telling import Layout, Told, layout
from toolrail.records.views import AttemptLine, ModelLine, Moment

_SHOWN = 2_000
"""Characters of a content with --content."""
_WAITED = 0.05
"""Seconds outside the handler that are worth a word."""
_INDENT = "    "


def story(known: Known, paint: Paint, screen: int | None, *, store: str, content: bool) -> Iterator[str]:
    """The lines below the run's facts."""
    shape = layout(screen, first=9)
    told = _Teller(known, shape, paint, store, content=content)
    if not known.calls:
        yield ""
        yield "No call was made."
    else:
        yield ""
        yield paint(shape.heads("after", ""), "dim")
    turn = 0
    for _, _, of_turn, lines in sorted(told.entries(), key=lambda entry: entry[:2]):
        if of_turn > turn:
            yield paint(f"turn {of_turn}", "bold")
            turn = of_turn
        yield from lines


Entry = tuple[float, int, int, list[str]]
"""Wall time, place among those of one time, the turn that it begins if it is the first of it (0: none), lines."""


class _Teller:
    def __init__(self, known: Known, shape: Layout, paint: Paint, store: str, *, content: bool) -> None:
        self._known = known
        self._shape = shape
        self._paint = paint
        self._store = store
        self._content = content

    def entries(self) -> Iterator[Entry]:
        """All that is told, each with its place."""
        for at, call in enumerate(self._known.calls):
            yield self._began(call), 2 * at + 1, call.turn, list(self._call(call))
        detail = self._known.detail
        if detail is None:
            return
        first = min((one.turn for one in detail.models), default=1)
        for one in detail.models:
            # A response is counted once it is there: it is the next turn's, as that of an agent's first is 0.
            yield one.wall, -1, one.turn + (first == 0), list(self._model(one))
        for one in detail.moments:
            text = said_of(one)
            if text:
                yield one.wall, 1_000_000 + one.seq, 0, list(self._remark(text, self._tool_of(one)))

    def _began(self, call: Told) -> float:
        if call.line is not None:
            return call.line.wall
        return call.row.created if call.row is not None else call.time

    def _model(self, one: ModelLine) -> Iterator[str]:
        took = "" if one.seconds is None else f"{shown(one.seconds)}, "
        cost = "cost unknown" if one.cost is None else amount(one.cost, one.currency)
        tries = f", {one.attempts} tries" if one.attempts > 1 else ""
        stop = "" if one.stop in ("end", "calls", "stop", "tool_calls") else f", stopped by {one.stop}"
        text = f"{one.model or 'model'}: {took}{tokens(one.usage)}, {cost}, {plural(one.calls, 'call')}{tries}{stop}"
        for line in folded(printable(text), self._shape.screen, "  "):
            yield self._paint(line, "cyan")

    def _call(self, call: Told) -> Iterator[str]:
        after = self._began(call) - self._known.created
        first = f"+{shown(max(0.0, after))}"
        effect = () if call.effect in ("read", None) else (call.effect,)
        notes = ", ".join(printable(note) for note in (*effect, *call.flags))
        yield from self._shape.lines(call, first, "", self._paint, self._store, notes=notes)
        for text in self._beside(call):
            for line in folded(printable(text), self._shape.screen, _INDENT * 2):
                yield self._paint(line, "dim")
        if self._content:
            yield from self._contents(call)

    def _beside(self, call: Told) -> Iterator[str]:
        """What its line does not say: attempts, a decision and why, waiting, who settled it."""
        line = call.line
        if line is not None and line.decision in ("deny", "ask"):
            verb = "denied" if line.decision == "deny" else "asked a person"
            rule = f" by rule {line.rule}" if line.rule else ""
            yield f"{verb}{rule}{f': {line.reason}' if line.reason else ''}"
        made = self._known.attempts_of(call.key)
        if len(made) > 1 or any(one.failure for one in made):
            yield from (_attempt(one) for one in made)
        if line is not None and line.seconds is not None and line.handler_seconds is not None:
            waited = line.seconds - line.handler_seconds
            if line.began and waited > max(_WAITED, line.seconds / 2):
                yield f"{shown(waited)} of it outside its handler: for a place, a key, a rate, an approval or the store"
        if line is not None and line.reference:
            yield f"reference {line.reference}: the log has the traceback under it"
        if call.row is not None and call.row.repeats:
            yield f"goes on with {call.row.repeats}, whose outcome was unknown"

    def _contents(self, call: Told) -> Iterator[str]:
        for name, text in (("arguments", self._known.arguments_of(call)), ("answer", self._known.content_of(call))):
            if text is not None:
                shown_text = cut(printable(text), _SHOWN)
                for line in folded(f"{name}: {shown_text}", self._shape.screen, _INDENT * 2):
                    yield self._paint(line, "dim")

    def _remark(self, text: str, tool: str) -> Iterator[str]:
        for line in folded(printable(f"{tool}{text}"), self._shape.screen, "  "):
            yield self._paint(line, "yellow")

    def _tool_of(self, one: Moment) -> str:
        found = next((call.tool for call in self._known.calls if call.key == one.key), "") if one.key else ""
        return f"{found}: " if found else ""


def _attempt(one: AttemptLine) -> str:
    failed = "returned" if one.failure is None else f"{one.failure}{f' {one.error_type}' if one.error_type else ''}"
    waited = f", then waited {shown(one.wait)}" if one.wait is not None else ""
    return f"try {one.attempt}: {failed} after {shown(one.seconds)}{waited}"


def said_of(one: Moment) -> str:
    """A moment in words; empty where it needs none."""
    data: dict[str, Any] = dict(one.data)
    match one.kind:
        case "RunStarted":
            return "resumed" if data.get("resumed") else ""
        case "RunSuspended":
            waits = int(data.get("pending", 0))
            return f"suspended: {plural(waits, 'call')} to wait for" if waits else "left open"
        case "RunRepaired":
            return f"the history was repaired: {_listed(data.get('notes'))}"
        case "ModelAttemptEnded":
            wait = data.get("wait")
            then = f", then waited {shown(wait)}" if isinstance(wait, int | float) and wait >= 0 else ", the last"
            return f"request {data.get('attempt', '')} to {data.get('model', 'the model')}: {data.get('error')}{then}"
        case "ApprovalDecided":
            return f"{'approved' if data.get('approved') else 'rejected'} by {data.get('approver', '?')}"
        case "OutcomeSettled":
            return f"its outcome became known: {data.get('status')} ({data.get('how')})"
        case "CircuitChanged":
            return f"the circuit of {data.get('dependency')} is {data.get('state')}"
        case "BudgetNear":
            return f"the budget {data.get('budget')} has {data.get('left')} left"
        case "LoopBlocked":
            return f"it held the event loop for at least {shown(float(data.get('seconds', 0.0)))}"
        case _:
            return ""


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
