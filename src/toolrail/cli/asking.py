"""Asks the person at the terminal whether one call may run. No terminal, no answer or Ctrl-C: it may not."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from toolrail.cli.lines import Paint, call_text, printable
from toolrail.decisions import Approval, ApprovalRequest, Approver
from toolrail.encoding import encode_value


class TerminalApprover:
    """An approver for a chat: the person who chats says yes or no to exactly this call.

    Args:
        question: asks for a line; by default `input`.
        present: whether there is a person; by default, whether the standard input is a terminal.
    """

    def __init__(self, question: Callable[[str], str] = input, *, present: bool | None = None) -> None:
        self._question = question
        self._present = sys.stdin.isatty() if present is None else present

    def __call__(self, request: ApprovalRequest) -> Approval:
        asked = request.request
        call = call_text(asked.tool, encode_value(dict(asked.arguments)).text)
        approved = self._ask(f"  ?  {call}: {printable(request.reason)}. May it run? [y/N] ")
        return Approval(approved, "terminal", request.digest)

    def _ask(self, text: str) -> bool:
        if not self._present:
            print(Paint()(f"{text}no: nobody is at the terminal", "yellow"))
            return False
        try:
            with _interruptible():
                return self._question(text).strip().lower() in ("y", "yes")
        except (EOFError, KeyboardInterrupt):
            print()
            return False


def on_the_loop(terminal: TerminalApprover) -> Approver:
    """Asks in the thread of the loop, which alone can be interrupted: a chat has nothing better to do meanwhile."""

    async def ask(request: ApprovalRequest) -> Approval:
        return terminal(request)

    return ask


@contextmanager
def _interruptible() -> Generator[None]:
    """asyncio's own handler of Ctrl-C would only take note of it, and the question would go on waiting."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
