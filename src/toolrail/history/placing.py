"""Puts a result in the place of an earlier one for the same call, in each provider's wire form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard, cast

from toolrail.messages import Message


def place(messages: list[Message], answer: Message, *, at: int = 0) -> bool:
    """Replaces what answers the same call as `answer`, at or behind the position `at`, else the last before it.

    A message is never changed in place: whoever keeps it encoded knows it by its identity. False: nothing answers it.

    Example:
        >>> messages = [{"role": "tool", "tool_call_id": "a", "content": "wait"}]
        >>> place(messages, {"role": "tool", "tool_call_id": "a", "content": "paid"}), messages[0]["content"]
        (True, 'paid')
    """
    block = next(iter(_blocks(answer)), None)
    wanted = _id_of(answer if block is None else block)
    for index in _order(len(messages), at):
        message = messages[index]
        if block is None and wanted is not None and _id_of(message) == wanted:
            messages[index] = answer
            return True
        if block is not None and any(_id_of(one) == wanted for one in _blocks(message)):
            content: list[Any] = message["content"]
            messages[index] = {**message, "content": [block if _answers(one, wanted) else one for one in content]}
            return True
    return False


def is_result(message: Message) -> bool:
    """Whether a message answers calls, and nothing else was said since."""
    return _id_of(message) is not None or bool(_blocks(message))


def _order(count: int, at: int) -> Iterable[int]:
    return [*range(at, count), *reversed(range(min(at, count)))]


def _answers(block: Any, wanted: str | None) -> bool:
    return _is_block(block) and _id_of(block) == wanted


def _id_of(found: Message) -> str | None:
    """The id of the call that a tool message, an output item or a block answers."""
    if found.get("role") == "tool":
        return found.get("tool_call_id")
    if str(found.get("type")).endswith("_call_output"):
        return found.get("call_id")
    return found.get("tool_use_id") if found.get("type") == "tool_result" else None


def _blocks(message: Message) -> list[Message]:
    content: object = message.get("content")
    if message.get("role") != "user" or not isinstance(content, list):
        return []
    return [one for one in cast("list[object]", content) if _is_block(one) and one.get("type") == "tool_result"]


def _is_block(value: object) -> TypeGuard[Message]:
    return isinstance(value, dict)
