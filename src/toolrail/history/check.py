"""Whether a history keeps its provider's rules for calls and results. No code is shared with `repair`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeGuard, assert_never

Wire = Literal["openai_chat", "openai_responses", "anthropic"]
"""A provider's wire form of a history."""

_Message = Mapping[str, Any]
_OUTPUT_OF = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
_INPUT_ROLES = ("user", "system", "developer")
_ANTHROPIC_ID = re.compile(r"[a-zA-Z0-9_-]+")


def check(messages: Sequence[_Message], provider: Wire) -> list[str]:
    """What the provider would refuse in this history, one line per problem; empty when it is valid.

    Example:
        >>> check([{"role": "tool", "tool_call_id": "a", "content": "1"}], "openai_chat")
        ['messages[0]: a result stands where no call asked for it']
    """
    match provider:
        case "openai_chat":
            return list(_chat(messages))
        case "openai_responses":
            return list(_responses(messages))
        case "anthropic":
            return list(_anthropic(messages))
        case _:
            assert_never(provider)


def _chat(messages: Sequence[_Message]) -> Iterator[str]:
    """After an assistant message with calls: exactly one tool message for each, and nothing else between."""
    open_ids: list[object] = []
    seen: set[object] = set()
    asked_at = 0
    for at, message in enumerate(messages):
        if message.get("role") == "tool":
            if message.get("tool_call_id") in open_ids:
                open_ids.remove(message.get("tool_call_id"))
            else:
                yield f"messages[{at}]: a result stands where no call asked for it"
            continue
        yield from _unanswered(asked_at, open_ids)
        calls = message.get("tool_calls") if message.get("role") == "assistant" else None
        if calls == []:
            yield f"messages[{at}]: the list of calls is empty"
        open_ids, asked_at = _ids(calls), at
        yield from _bad_ids(at, open_ids, seen)
    yield from _unanswered(asked_at, open_ids)


def _ids(calls: object) -> list[object]:
    return [call.get("id") for call in calls if _is_block(call)] if _is_list(calls) else []


def _responses(items: Sequence[_Message]) -> Iterator[str]:
    """Each output comes after its call, before the next input message; reasoning is followed by what it led to."""
    kinds = {output: call for call, output in _OUTPUT_OF.items()}
    by_reference = any(item.get("type") == "item_reference" for item in items)
    open_calls: dict[tuple[object, object], int] = {}
    seen: set[object] = set()
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if kind in _OUTPUT_OF:
            yield from _bad_ids(at, [item.get("call_id")], seen)
            open_calls[kind, item.get("call_id")] = at
        elif kind in kinds:
            asked = open_calls.pop((kinds[kind], item.get("call_id")), None)
            if asked is None and (not by_reference or item.get("call_id") in seen):
                yield f"messages[{at}]: a result stands where no call asked for it"
        elif item.get("role") in _INPUT_ROLES:
            for asked in open_calls.values():
                yield from _unanswered(asked, [None])
            open_calls = {}
        elif kind == "reasoning" and not _led_somewhere(items[at + 1 : at + 2]):
            yield f"messages[{at}]: reasoning without the item that follows it"
    for asked in open_calls.values():
        yield from _unanswered(asked, [None])


def _led_somewhere(following: Sequence[_Message]) -> bool:
    """Whether the next item, if there is one, is the model's own."""
    return any(
        item.get("role") not in _INPUT_ROLES and not str(item.get("type")).endswith("_output") for item in following
    )


def _anthropic(messages: Sequence[_Message]) -> Iterator[str]:
    """The user message right after an assistant message with calls starts with one result for each of them."""
    seen: set[object] = set()
    expected: list[object] = []
    for at, message in enumerate(messages):
        blocks = _blocks(message)
        last = at == len(messages) - 1
        if message.get("content") in ([], "") and not (last and message.get("role") == "assistant"):
            yield f"messages[{at}]: the message is empty"
        results: list[object] = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
        leading = [block.get("type") == "tool_result" for block in blocks]
        if leading != sorted(leading, reverse=True):
            yield f"messages[{at}]: results do not come first"
        answers = results if message.get("role") == "user" else []
        if at:
            yield from _unanswered(at - 1, list((Counter(expected) - Counter(answers)).elements()))
        surplus = Counter(results) - Counter(expected if message.get("role") == "user" else [])
        yield from (f"messages[{at}]: a result stands where no call asked for it" for _ in surplus.elements())
        expected = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
        if expected and message.get("role") != "assistant":
            yield f"messages[{at}]: a call stands outside the assistant's messages"
        yield from _bad_ids(at, expected, seen)
        yield from (
            f"messages[{at}]: a call's id has a character that is not allowed"
            for name in expected
            if isinstance(name, str) and name and not _ANTHROPIC_ID.fullmatch(name)
        )
    yield from _unanswered(len(messages) - 1, expected)


def _blocks(message: _Message) -> list[dict[str, Any]]:
    content = message.get("content")
    return [block for block in content if _is_block(block)] if _is_list(content) else []


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _is_block(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _unanswered(at: int, ids: Sequence[object]) -> Iterator[str]:
    yield from (f"messages[{at}]: a call has no result" for _ in ids)


def _bad_ids(at: int, ids: Sequence[object], seen: set[object]) -> Iterator[str]:
    """Ids are text, not empty, and no two calls of a history share one."""
    for name in ids:
        if not isinstance(name, str) or not name:
            yield f"messages[{at}]: a call has no id"
        elif name in seen:
            yield f"messages[{at}]: two calls have one id"
        else:
            seen.add(name)
