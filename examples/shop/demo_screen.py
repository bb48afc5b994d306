"""What the demo writes on the terminal: plain columns that fit 80 characters, coloured where a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.text import Text

from toolrail.cli.lines import call_text, cut, duration, outcome, printable, row, size
from toolrail.events import AttemptEnded, CallSettled, Event

WIDEST = 100
_FIGURES = 36
"""Columns of a call's figures, the heading of its outcome included."""
_ANSWER_LINES = 3


class Screen:
    """The terminal. It is a sink too, so that an attempt that failed is told at once, while the call still goes on."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, emoji=False, markup=False)
        self.width = min(WIDEST, self.console.width)
        self._room = max(20, self.width - 5 - _FIGURES)
        self._told: tuple[str, int] = ("", 0)

    def emit(self, event: Event) -> None:
        """Tells of an attempt that failed and is made again."""
        if isinstance(event, AttemptEnded) and event.wait is not None:
            why = f"{event.error_type or event.failure}, which may pass"
            text = f"     {event.call.tool} failed ({why}); try {event.attempt + 1} in {duration(event.wait)}"
            self.line(Text(text, style="yellow"))

    def line(self, text: Text | str = "") -> None:
        """One line, or several when it is too long."""
        self.console.print(text, soft_wrap=True)

    def block(self, block: Group) -> None:
        """A drawing of several lines."""
        self.console.print(block, width=self.width)

    def title(self, number: int, text: str) -> None:
        """The heading of a part."""
        self.line()
        self.line(Text(f"{number}  {text}", style="bold"))

    def heading(self, text: str) -> None:
        """The heading of something in a part."""
        self.line()
        self.line(Text(f"   {text}", style="bold cyan"))

    def paragraph(self, label: str, text: Text | str, *, indent: int = 3, style: str = "") -> None:
        """Text beside a label, broken between words and indented as a whole."""
        hang = indent + len(label)
        shown = Text(printable(text), style=style) if isinstance(text, str) else text
        for at, part in enumerate(shown.wrap(self.console, max(20, self.width - hang))):
            part.rstrip()
            before = " " * indent + label if at == 0 else " " * hang
            self.line(Text().append(before, style="dim").append_text(part))

    def columns(self, widths: Sequence[int], head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; a negative width aligns to the right."""
        self.line(Text(f"   {row(head, widths)}", style="dim"))
        for cells in rows:
            self.line(f"   {row(cells, widths)}")

    def calls_head(self) -> None:
        """The names of the columns that `call` fills."""
        self.line(Text(f"     {'call'.ljust(self._room)} {'took':>7} tries  args result  outcome", style="dim"))

    def call(self, arguments: str, settled: CallSettled) -> None:
        """One call as it ended, under the number of the model request that asked for it."""
        request = (settled.head.run, settled.head.turn)
        number = "" if request == self._told else str(settled.head.turn)
        self._told = request
        called = call_text(settled.call.tool, arguments, self._room).ljust(self._room)
        text = Text().append(f"   {number:<2}", style="cyan").append(f"{called} {duration(settled.seconds):>7}")
        text.append(f" {settled.attempts:>5}", style="yellow" if settled.attempts > 1 else "")
        text.append(f" {size(settled.argument_bytes):>5} {size(settled.result_bytes):>6}  ")
        self.line(text.append(outcome(settled.status, settled.code), style=colour(settled.status)))

    def answer(self, request: int, text: str) -> None:
        """What the model said in the end, and in which request; a long answer is cut."""
        said = cut(" ".join(f"answer: {text}".split()), _ANSWER_LINES * (self.width - 10))
        self.paragraph(f"{request:<2}", said)


def colour(status: str | None) -> str:
    """The colour of a call's status: green, red for what failed, yellow for what was refused."""
    return {"ok": "green", "error": "red", "unknown": "red"}.get(status or "", "yellow")
