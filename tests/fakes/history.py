"""What each provider refuses in a request: tool calls and results that do not pair, empty tool lists, bad names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tests.fakes.wire import Rejection

Json = dict[str, Any]

OPENAI_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ANTHROPIC_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
ANTHROPIC_ID = re.compile(r"[a-zA-Z0-9_-]+")
EMPTY_TOOLS = Rejection(
    "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
    param="tools",
    code="empty_array",
)
ORPHAN = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."


def check_chat(body: Json) -> Rejection | None:
    """Pairing in Chat Completions: a tool message for every call, right after it, once."""
    tools: list[Json] | None = body.get("tools")
    names = [tool["function"]["name"] for tool in tools or [] if tool.get("type") == "function"]
    if bad := _openai_tools(body, names, "function.name"):
        return bad
    messages: list[Json] = body.get("messages") or []
    if not messages:
        return Rejection("Invalid 'messages': empty array.", param="messages", code="empty_array")
    open_ids: list[str] = []
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                return Rejection(ORPHAN, param=f"messages.[{at}].role")
            if message.get("content") is None:
                return Rejection(
                    "Invalid value for 'content': expected a string, got null.", f"messages.[{at}].content"
                )
            open_ids.remove(message["tool_call_id"])
            continue
        if open_ids:
            return _unanswered_chat(open_ids, at)
        calls: list[Json] = message.get("tool_calls") or []
        open_ids = [call["id"] for call in calls]
        if bad := _chat_assistant(message, open_ids, at):
            return bad
    return _unanswered_chat(open_ids, len(messages)) if open_ids else None


def _chat_assistant(message: Json, ids: list[str], at: int) -> Rejection | None:
    if message["role"] != "assistant":
        return None
    if message.get("tool_calls") == []:
        return Rejection(
            f"Invalid 'messages[{at}].tool_calls': empty array.", f"messages[{at}].tool_calls", "empty_array"
        )
    if message.get("content") is None and not ids and not message.get("refusal"):
        return Rejection("Invalid value for 'content': expected a string, got null.", f"messages.[{at}].content")
    for n, call in enumerate(message.get("tool_calls") or []):
        place = f"messages[{at}].tool_calls[{n}]"
        if not call["id"]:
            return Rejection(f"Invalid '{place}.id': empty string.", f"{place}.id", "empty_string")
        if len(call["id"]) > 40:
            return Rejection(f"Invalid '{place}.id': string too long.", f"{place}.id", "string_above_max_length")
        if not OPENAI_NAME.fullmatch(call["function"]["name"]):
            return _openai_pattern(f"{place}.function.name")
    if repeated := _repeated(ids):
        return Rejection(f"Invalid parameter: Duplicate value for 'tool_call_id' of '{repeated}' in message[{at}]")
    return None


def _unanswered_chat(ids: list[str], at: int) -> Rejection:
    return Rejection(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(ids)}",
        param=f"messages.[{at}].role",
    )


def check_responses(body: Json) -> Rejection | None:
    """Pairing in Responses: an output for every function call, once, and reasoning followed by what it led to."""
    tools: list[Json] | None = body.get("tools")
    if bad := _openai_tools(body, [tool["name"] for tool in tools or [] if tool.get("type") == "function"], "name"):
        return bad
    items: Any = body.get("input") or []
    if isinstance(items, str):
        return None
    if not items:
        return Rejection("Invalid 'input': empty array.", param="input", code="empty_array")
    calls = [item["call_id"] for item in items if item.get("type") == "function_call"]
    outputs = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    if repeated := _repeated(calls) or _repeated(outputs):
        return Rejection(f"Duplicate call_id {repeated} found in input.", param="input")
    for missing in (call for call in calls if call not in outputs):
        return Rejection(f"No tool output found for function call {missing}.", param="input")
    orphans = [] if body.get("previous_response_id") else [output for output in outputs if output not in calls]
    for orphan in orphans:
        return Rejection(f"No tool call found for function call output with call_id {orphan}.", param="input")
    return _response_items(items)


def _response_items(items: list[Json]) -> Rejection | None:
    seen: set[str] = set()
    for at, item in enumerate(items):
        following = items[at + 1].get("type", "message") if at + 1 < len(items) else None
        match item.get("type"):
            case "function_call_output" if item["call_id"] not in seen:
                return Rejection(
                    f"No tool call found for function call output with call_id {item['call_id']}.", "input"
                )
            case "function_call":
                seen.add(item["call_id"])
                if not item["call_id"]:
                    return Rejection(
                        f"Invalid 'input[{at}].call_id': empty string.", f"input[{at}].call_id", "empty_string"
                    )
                if not OPENAI_NAME.fullmatch(item["name"]):
                    return _openai_pattern(f"input[{at}].name")
            case "reasoning" if following not in ("message", "function_call", "reasoning"):
                text = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
                return Rejection(text, param="input")
            case _:
                pass
    return None


def check_anthropic(body: Json) -> Rejection | None:
    """Pairing in Messages: one user message right after, all its results first, every `tool_use` answered once."""
    tools: list[Json] | None = body.get("tools")
    messages: list[Json] = body.get("messages") or []
    if bad := _anthropic_head(body, tools, messages):
        return bad
    open_ids: list[str] = []
    every: list[str] = []
    for at, message in enumerate(messages):
        content: Any = message["content"]
        if not content and at < len(messages) - 1:
            return Rejection(
                f"messages.{at}: all messages must have non-empty content "
                "except for the optional final assistant message"
            )
        blocks: list[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if bad := _anthropic_blocks(blocks, at) or _anthropic_results(message["role"], blocks, open_ids, at):
            return bad
        open_ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
        every += open_ids
        if tools is None and (open_ids or any(block["type"] == "tool_result" for block in blocks)):
            return Rejection("Requests which include `tool_use` or `tool_result` blocks must define tools")
    if _repeated(every):
        return Rejection("messages: `tool_use` ids must be unique")
    return _unanswered_anthropic(open_ids, len(messages) - 1) if open_ids else None


def _anthropic_head(body: Json, tools: list[Json] | None, messages: list[Json]) -> Rejection | None:
    if "max_tokens" not in body:
        return Rejection("max_tokens: Field required")
    if tools == []:
        return Rejection("tools: List should have at least 1 item after validation, not 0")
    for at, tool in enumerate(tools or []):
        if not ANTHROPIC_NAME.fullmatch(tool["name"]):
            return Rejection(f"tools.{at}.custom.name: String should match pattern '^{ANTHROPIC_NAME.pattern}$'")
    if repeated := _repeated(tool["name"] for tool in tools or []):
        return Rejection(f"tools: Tool names must be unique: {repeated}")
    if body.get("tool_choice") and tools is None:
        return Rejection("tool_choice: `tool_choice` may only be specified while providing `tools`.")
    if not messages:
        return Rejection("messages: at least one message is required")
    if messages[0]["role"] != "user":
        return Rejection('messages: first message must use the "user" role')
    return None


def _anthropic_blocks(blocks: list[Json], at: int) -> Rejection | None:
    for n, block in enumerate(blocks):
        place = f"messages.{at}.content.{n}"
        match block:
            case {"type": "text", "text": ""}:
                return Rejection("messages: text content blocks must be non-empty")
            case {"type": "tool_use", "id": str(key)} if not ANTHROPIC_ID.fullmatch(key):
                return Rejection(f"{place}.tool_use.id: String should match pattern '^{ANTHROPIC_ID.pattern}$'")
            case {"type": "tool_use", "input": given} if not isinstance(given, dict):
                return Rejection(f"{place}.tool_use.input: Input should be a valid dictionary")
            case {"type": "tool_use", "name": str(name)} if not ANTHROPIC_NAME.fullmatch(name):
                return Rejection(f"{place}.tool_use.name: String should match pattern '^{ANTHROPIC_NAME.pattern}$'")
            case _:
                pass
    return None


def _anthropic_results(role: str, blocks: list[Json], open_ids: list[str], at: int) -> Rejection | None:
    answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    if repeated := _repeated(answered):
        text = "each tool_use must have a single result. Found multiple `tool_result` blocks with id: "
        return Rejection(f"messages.{at}.content: {text}{repeated}")
    first = [block["type"] for block in blocks[: len(open_ids)]]
    missing = [key for key in open_ids if key not in answered]
    if open_ids and (role != "user" or missing or first != ["tool_result"] * len(open_ids)):
        return _unanswered_anthropic(missing or open_ids, at - 1)
    for orphan in (key for key in answered if key not in open_ids):
        return Rejection(
            f"messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {orphan}. Each "
            "`tool_result` block must have a corresponding `tool_use` block in the previous message."
        )
    return None


def _unanswered_anthropic(ids: list[str], at: int) -> Rejection:
    return Rejection(
        f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(ids)}. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _openai_tools(body: Json, names: list[str], place: str) -> Rejection | None:
    if body.get("tools") == []:
        return EMPTY_TOOLS
    for at, name in enumerate(names):
        if not OPENAI_NAME.fullmatch(name):
            return _openai_pattern(f"tools[{at}].{place}")
    if "tool_choice" in body and "tools" not in body:
        text = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        return Rejection(text, param="tool_choice")
    return None


def _openai_pattern(place: str) -> Rejection:
    text = f"Invalid '{place}': string does not match pattern. Expected a string that matches the pattern "
    return Rejection(text + "'^[a-zA-Z0-9_-]+$'.", param=place, code="invalid_value")


def _repeated(keys: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None
