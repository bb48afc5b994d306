"""Assertions that say what is wrong, and a sink that keeps every event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from toolrail.events import Event
from toolrail.history.check import check
from toolrail.messages import Message, ToolCall, ToolResult

E = TypeVar("E")


class Recorder:
    """A sink that keeps all events, in order.

    Example: `Rail(tools, sinks=[recorder := Recorder()])`, then `recorder.of(CallSettled)`.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one class."""
        return [event for event in self.events if isinstance(event, kind)]


def assert_one_result_each(calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> None:
    """Every call has exactly one result, with its id and name, in the model's order."""
    asked = [(call.id, call.name) for call in calls]
    answered = [(result.call_id, result.name) for result in results]
    assert answered == asked, f"calls {asked} were answered as {answered}"


def assert_history_valid(messages: Sequence[Message], provider: Any = "openai_chat") -> None:
    """The provider would take this history as it is."""
    problems = check(messages, provider)
    assert not problems, "; ".join(problems)
