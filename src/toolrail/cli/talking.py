"""One turn of a chat as a terminal shows it: text as it comes, each call when it starts and when it has its result."""

from __future__ import annotations

import json
import sys
from typing import Any

from toolrail.agent import AgentResult
from toolrail.asking import Discard
from toolrail.cli.lines import Paint, call_text, cut, duration, outcome, printable, size
from toolrail.cli.meanings import REASONS
from toolrail.events import CallSettled, Event
from toolrail.messages import ToolCall, ToolResult
from toolrail.model import ArgumentsDelta, TextDelta
from toolrail.run import ToolEnded, ToolProgress, ToolStarted
from toolrail.streaming import StreamEvent

_TOLD = 200
"""Characters shown of what the model was told about a call that did not succeed."""


class Figures:
    """A sink that keeps the newest settled event of each call id: what a stream's results do not carry."""

    def __init__(self) -> None:
        self._settled: dict[str, CallSettled] = {}

    def emit(self, event: Event) -> None:
        if isinstance(event, CallSettled):
            self._settled[event.call.call_id] = event

    def take(self, call_id: str) -> CallSettled | None:
        """The figures of a call that has just ended."""
        return self._settled.pop(call_id, None)


class Teller:
    """Writes the events of one chat to the standard output."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._paint = Paint()
        self._open_line = False

    def show(self, event: StreamEvent) -> None:
        """Writes one event; the arguments of a call are shown when it starts, not while they come."""
        match event:
            case TextDelta(text):
                self._text(text)
            case ToolStarted(call):
                self._line(self._paint(f"  -> {call_text(call.name, call.arguments)}", "cyan"))
            case ToolProgress(call, text):
                self._line(self._paint(f"     {call.name}: {printable(text)}", "dim"))
            case ToolEnded(call, result):
                self._line(self._ended(call, result))
            case Discard():
                self._line(self._paint("  (the response broke off and is asked for again)", "yellow"))
            case ArgumentsDelta():
                return

    def close(self, result: AgentResult) -> None:
        """Ends the turn: what stopped it, if that was no answer, and what it took."""
        self._break()
        if not result.ok:
            notes = "".join(f", {note}" for note in result.notes)
            reason = REASONS.get(result.stop_reason, result.stop_reason)
            print(self._paint(f"  (no answer: {reason}{notes})", "yellow"))
        cost = f", {result.cost}" if result.cost.known else ""
        requests = "1 request" if result.turns == 1 else f"{result.turns} requests"
        calls = "1 call" if len(result.calls) == 1 else f"{len(result.calls)} calls"
        print(self._paint(f"  ({requests}, {calls}, {result.usage.total_tokens} tokens{cost})", "dim"))

    def _text(self, text: str) -> None:
        shown = "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)
        sys.stdout.write(shown if self._open_line else shown.lstrip("\n"))
        sys.stdout.flush()
        self._open_line = self._open_line or bool(shown)
        if shown.endswith("\n"):
            self._open_line = False

    def _line(self, text: str) -> None:
        self._break()
        print(text, flush=True)

    def _break(self) -> None:
        if self._open_line:
            print()
        self._open_line = False

    def _ended(self, call: ToolCall, result: ToolResult) -> str:
        figures = self._figures.take(call.id)
        parts = [f"{size(len(result.content.encode()))}"]
        if figures is not None:
            parts.insert(0, duration(figures.seconds))
            parts += [f"{figures.attempts} tries"] if figures.attempts > 1 else []
        # The code of the record: the model may have been told another one.
        code = (result.recorded_code or result.code) if not result.ok else None
        said = self._paint.status(outcome(result.status, code), result.status)
        told = "" if result.ok else f': the model is told "{cut(_told(result.content), _TOLD)}"'
        return f"  <- {printable(call.name)} {said} ({', '.join(parts)}){self._paint(told, 'dim')}"


def _told(content: str) -> str:
    try:
        read: Any = json.loads(content)
        return printable(str(read["error"]))
    except (ValueError, TypeError, LookupError):
        return printable(content)
