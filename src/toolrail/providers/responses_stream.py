"""Responses, streamed: events to deltas. The last event carries the whole response."""

from __future__ import annotations

from toolrail.dialects import NameMap
from toolrail.model import ArgumentsDelta, TextDelta
from toolrail.providers.failures import failure_in
from toolrail.providers.openai_offer import NO_NAMES
from toolrail.providers.wire import Json, is_json_object, text_of

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
_CALLS = ("function_call", "custom_tool_call")


class ResponsesAssembler:
    """Follows one stream. What was announced as done is kept for a stream that breaks off."""

    __slots__ = ("_calls", "_head", "_items", "_names", "_whole")

    def __init__(self, names: NameMap = NO_NAMES) -> None:
        self._names = names
        self._head: Json = {}
        self._items: dict[int, Json] = {}
        self._calls: dict[int, tuple[int, str]] = {}
        self._whole: Json | None = None

    @property
    def complete(self) -> bool:
        """Whether the model has finished. A stream that ends before is broken off."""
        return self._whole is not None

    def feed(self, event: Json) -> list[TextDelta | ArgumentsDelta]:
        """What an event adds.

        Raises:
            ModelFailure: the provider broke the stream off with an error.
        """
        kind, at = text_of(event.get("type")), event.get("output_index")
        at = at if isinstance(at, int) else 0
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                return [TextDelta(text_of(event.get("delta")))]
            case "response.output_item.added":
                self._open(event.get("item"), at)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                index, name = self._calls.get(at, (len(self._calls), ""))
                return [ArgumentsDelta(index, name, text_of(event.get("delta")))]
            case "response.output_item.done" if is_json_object(item := event.get("item")):
                self._items[at] = item
            case "response.created" if is_json_object(response := event.get("response")):
                self._head = response
            case "error":
                raise failure_in(event)
            case _ if kind in _LAST and is_json_object(response := event.get("response")):
                self._whole = response
            case _:
                pass
        return []

    def body(self, *, finish: str | None = None) -> Json:
        """The whole body. `finish` stands in for the reason of a response that never ended."""
        items = [self._items[at] for at in sorted(self._items)]
        if self._whole is not None:  # some servers leave the items out of their last event
            return self._whole if self._whole.get("output") else {**self._whole, "output": items}
        items = [item | {"status": "incomplete"} if item.get("status") == "in_progress" else item for item in items]
        return {**self._head, "status": "incomplete", "incomplete_details": {"reason": finish}, "output": items}

    def _open(self, item: object, at: int) -> None:
        if is_json_object(item):
            self._items[at] = item
            if item.get("type") in _CALLS:
                self._calls[at] = (len(self._calls), self._names.to_tool(text_of(item.get("name"))))
