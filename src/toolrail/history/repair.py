"""Makes any broken history valid for its provider: one result per call, where the provider wants it.

It says what it did. Nothing else is touched: unknown fields, signatures and encrypted reasoning stay, and a valid
history comes back equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, assert_never

from toolrail.history.check import Wire
from toolrail.history.pairing import Call, Pairing, Result
from toolrail.messages import Message

NO_RESULT = "No result was recorded for this call; whether it took effect is not known."
"""What stands for a result that was lost."""

_CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
_OUTPUTS = {output: call for call, output in _CALLS.items()}
_INPUT_ROLES = ("user", "system", "developer")
_ANTHROPIC_BLOCKS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use"})


@dataclass(frozen=True, slots=True)
class Repaired:
    """A valid history, and what had to be done for it: positions in the input, never content."""

    messages: list[Message]
    notes: tuple[str, ...] = ()


def repair(messages: Sequence[Message], *, provider: Wire | None = None) -> Repaired:
    """Make a whole history valid. The input is not changed; without a provider, its shape tells which one it is.

    Example:
        >>> call = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": "{}"}}
        >>> repair([{"role": "assistant", "tool_calls": [call]}]).notes
        ('messages[0]: a call without a result got a placeholder',)
    """
    wire = provider or guess_provider(messages)
    match wire:
        case "openai_chat":
            return _chat(messages)
        case "openai_responses":
            return _responses(messages)
        case "anthropic":
            return _anthropic(messages)
        case _:
            assert_never(wire)


def guess_provider(messages: Sequence[Message]) -> Wire:
    """The wire form that a history has; OpenAI Chat where nothing tells."""
    if any(block.get("type") in _ANTHROPIC_BLOCKS for message in messages for block in _blocks(message)):
        return "anthropic"
    if any("role" not in message or message.get("type") == "message" for message in messages):
        return "openai_responses"
    return "openai_chat"


def _finished(messages: list[Message], notes: list[tuple[int, str]]) -> Repaired:
    counted = Counter(sorted(notes))
    lines = (
        f"messages[{at}]: {text}{f' ({count} times)' if count > 1 else ''}" for (at, text), count in counted.items()
    )
    return Repaired(messages, tuple(lines))


# -- OpenAI Chat Completions: tool messages directly after the assistant message


def _chat(messages: Sequence[Message]) -> Repaired:
    calls: list[Call] = []
    results: list[Result] = []
    turn: int | None = None
    for at, message in enumerate(messages):
        if message.get("role") == "tool":
            results.append(Result(at, turn, _text(message.get("tool_call_id")), wire=message))
        else:
            turn = at
            calls += [Call(at, at, _text(call.get("id"))) for call in _tool_calls(message)]
    pairing = Pairing(calls, results)
    out: list[Message] = []
    for at, message in enumerate(messages):
        if message.get("role") != "tool":
            out.append(_chat_message(message, at, pairing))
            out += [_chat_result(pairing.ids[call], result) for call, result in pairing.settle(at)]
    return _finished(out, pairing.notes)


def _chat_message(message: Message, at: int, pairing: Pairing) -> Message:
    if message.get("role") == "assistant" and message.get("tool_calls") == []:
        pairing.note(at, "an empty list of calls was removed")
        rest = {key: value for key, value in message.items() if key != "tool_calls"}
        return {**rest, "content": ""} if rest.get("content") is None else rest
    ids = pairing.ids_at(at)
    if not ids or ids == [call.get("id") for call in _tool_calls(message)]:
        return message
    named = [{**call, "id": name} for call, name in zip(_tool_calls(message), ids, strict=True)]
    return {**message, "tool_calls": named}


def _chat_result(name: str, result: Result | None) -> Message:
    if result is None:
        return {"role": "tool", "tool_call_id": name, "content": NO_RESULT}
    return {**result.wire, "tool_call_id": name}


def _tool_calls(message: Message) -> list[dict[str, Any]]:
    calls = message.get("tool_calls") if message.get("role") == "assistant" else None
    return [call for call in calls if _is_dict(call)] if _is_list(calls) else []


# -- OpenAI Responses: each output after its call, before the next input message


def _responses(items: Sequence[Message]) -> Repaired:
    calls: list[Call] = []
    results: list[Result] = []
    turn = 0
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        turn += item.get("role") in _INPUT_ROLES
        if kind in _CALLS:
            calls.append(Call(at, turn, _text(item.get("call_id")), kind=kind))
        elif kind in _OUTPUTS:
            results.append(Result(at, turn, _text(item.get("call_id")), wire=item, kind=_OUTPUTS[kind]))
    referred = any(item.get("type") == "item_reference" for item in items)
    known = {(call.kind, call.id) for call in calls}
    results = [result for result in results if not referred or (result.kind, result.id) in known]
    pairing = Pairing(calls, results)
    return _finished(_responses_items(items, pairing), pairing.notes)


def _responses_items(items: Sequence[Message], pairing: Pairing) -> list[Message]:
    """Rename and drop in place; what moves or was missing goes behind the calls (and outputs) that it belongs to."""
    result_ids = {result.at: pairing.ids[call] for call, result in pairing.answered()}
    call_ids = {call.at: pairing.ids[index] for index, call in enumerate(pairing.calls)}
    added, moved = _responses_added(items, pairing)
    dropped = {result.at for result in pairing.results} - set(result_ids) | moved
    out: list[Message] = []
    for at, item in enumerate(items):
        name = call_ids.get(at, result_ids.get(at))
        if at not in dropped:
            out.append(item if name is None or item.get("call_id") == name else {**item, "call_id": name})
        out += added.get(at, [])
    return _without_stray_reasoning(out, items, pairing)


def _responses_added(items: Sequence[Message], pairing: Pairing) -> tuple[dict[int, list[Message]], set[int]]:
    added: dict[int, list[Message]] = {}
    moved: set[int] = set()
    for turn in sorted({call.turn for call in pairing.calls}):
        for index, result in pairing.settle(turn):
            call = pairing.calls[index]
            if result is not None and call.answered_in_place_by(result):
                continue
            wire = {"type": _CALLS[call.kind], "output": NO_RESULT} if result is None else result.wire
            moved |= set() if result is None else {result.at}
            added.setdefault(_behind(items, call.at), []).append({**wire, "call_id": pairing.ids[index]})
    return added, moved


def _behind(items: Sequence[Message], at: int) -> int:
    """The last item of the model's step that the call is in: its calls and what answers them."""
    while at + 1 < len(items) and items[at + 1].get("role") not in _INPUT_ROLES and not _is_output(items[at + 1]):
        at += 1
    while at + 1 < len(items) and _is_output(items[at + 1]):
        at += 1
    return at


def _without_stray_reasoning(out: list[Message], items: Sequence[Message], pairing: Pairing) -> list[Message]:
    """Reasoning whose own next item is gone is refused; so is what led only to such reasoning."""
    kept: list[Message] = []
    for item in reversed(out):
        follower = kept[-1] if kept else None
        stray = follower is None or follower.get("role") in _INPUT_ROLES or _is_output(follower)
        if item.get("type") == "reasoning" and stray:
            position = next(at for at, each in enumerate(items) if each is item)
            pairing.note(position, "reasoning without the item that follows it was dropped")
        else:
            kept.append(item)
    return kept[::-1]


def _is_output(item: Message) -> bool:
    return str(item.get("type")).endswith("_output")


# -- Anthropic Messages: results first in the user message directly after the assistant's


def _anthropic(messages: Sequence[Message]) -> Repaired:
    calls: list[Call] = []
    results: list[Result] = []
    for at, message in enumerate(messages):
        after = at - 1 if at and message.get("role") == "user" and messages[at - 1].get("role") == "assistant" else None
        for block in _blocks(message):
            if block.get("type") == "tool_use" and message.get("role") == "assistant":
                calls.append(Call(at, at, _text(block.get("id"))))
            elif block.get("type") == "tool_result":
                results.append(Result(at, after, _text(block.get("tool_use_id")), wire=block))
    pairing = Pairing(calls, results, allowed=r"[a-zA-Z0-9_-]+")
    return _finished(_anthropic_messages(messages, pairing), pairing.notes)


def _anthropic_messages(messages: Sequence[Message], pairing: Pairing) -> list[Message]:
    out: list[Message] = []
    due: list[Message] = []
    for at, message in enumerate(messages):
        if due and message.get("role") != "user":
            out.append({"role": "user", "content": due})
            due = []
        written = _anthropic_message(message, at, due, pairing)
        if written.get("content") not in ([], "") or (at == len(messages) - 1 and message.get("role") == "assistant"):
            out.append(written)
        elif message.get("content") in ([], ""):
            pairing.note(at, "an empty message was dropped")
        due = [_anthropic_result(pairing.ids[call], result) for call, result in pairing.settle(at)]
    return [*out, {"role": "user", "content": due}] if due else out


def _anthropic_message(message: Message, at: int, due: list[Message], pairing: Pairing) -> Message:
    """The message with the results that are due first, its calls renamed, and all other results taken out."""
    content = message.get("content")
    if not _is_list(content):
        if not due:
            return message
        text = [{"type": "text", "text": content}] if isinstance(content, str) and content else []
        return {**message, "content": [*due, *text]}
    ids = iter(pairing.ids_at(at))
    rest: list[Any] = []
    for block in content:
        match block.get("type") if _is_dict(block) else None:
            case "tool_result":
                continue
            case "tool_use" if message.get("role") != "assistant":
                pairing.note(at, "a call outside the assistant's messages was dropped")
            case "tool_use":
                rest.append({**block, "id": next(ids)})
            case _:
                rest.append(block)
    written = [*due, *rest]
    if due and not _results_first(content):
        pairing.note(at, "results were put first")
    return message if written == content else {**message, "content": written}


def _results_first(content: list[Any]) -> bool:
    is_result = [_is_dict(block) and block.get("type") == "tool_result" for block in content]
    return is_result == sorted(is_result, reverse=True)


def _anthropic_result(name: str, result: Result | None) -> Message:
    if result is None:
        return {"type": "tool_result", "tool_use_id": name, "content": NO_RESULT, "is_error": True}
    return {**result.wire, "tool_use_id": name}


# -- shapes


def _blocks(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    return [block for block in content if _is_dict(block)] if _is_list(content) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
