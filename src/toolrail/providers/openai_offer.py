"""Tools, choices and answers' schemas as OpenAI's two APIs want them in a request: pure values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from toolrail.definition import Tool
from toolrail.dialects import Compiled, NameMap, compile_schema, name_rule
from toolrail.messages import Usage
from toolrail.model import Among, Named, Stop, ToolChoice
from toolrail.providers.wire import Json, count_of, is_json_object

Api = Literal["chat", "responses"]
RULE = name_rule("openai")
NO_NAMES = NameMap((), RULE)


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of one conversation, compiled once."""

    tools: list[Json]
    names: NameMap
    null_means_default: Mapping[str, frozenset[str]]


def offer_tools(tools: Iterable[Tool[Any]], *, api: Api, strict: bool) -> Offer:
    """Tools as the API wants them, in their order.

    Args:
        strict: ask for decoding that is constrained to the schema, for those tools whose schema allows it.
    """
    tools = tuple(tools)
    names = NameMap((tool.name for tool in tools), RULE)
    compiled = {tool.name: compile_schema(tool.schema, "openai_strict" if strict else "openai") for tool in tools}
    wires = [_tool(tool, names.to_wire(tool.name), compiled[tool.name], api) for tool in tools]
    nulls = {name: each.null_means_default for name, each in compiled.items() if each.null_means_default}
    return Offer(wires, names, nulls)


def _tool(tool: Tool[Any], name: str, compiled: Compiled, api: Api) -> Json:
    function: Json = {"name": name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = compiled.schema
    match api:
        case "chat":
            return {"type": "function", "function": function | ({"strict": True} if compiled.strict else {})}
        case "responses":  # without the field this API takes every schema for a strict one
            return {"type": "function", **function, "strict": compiled.strict}
        case _:
            assert_never(api)


def choice_of(choice: ToolChoice, names: NameMap, api: Api) -> str | Json:
    """`tool_choice` on the wire."""
    match choice:
        case Named(name):
            return _function(names.to_wire(name), api)
        case Among(()):
            return "none"
        case Among(allowed, required):
            mode = "required" if required else "auto"
            chosen: Json = {"mode": mode, "tools": [_function(names.to_wire(name), api) for name in allowed]}
            wrapped = {"allowed_tools": chosen} if api == "chat" else chosen
            return {"type": "allowed_tools", **wrapped}
        case _:
            return choice


def _function(name: str, api: Api) -> Json:
    return {"type": "function", "function": {"name": name}} if api == "chat" else {"type": "function", "name": name}


def answer_format(schema: Mapping[str, Any], name: str) -> Json | None:
    """A JSON Schema that the answer must follow. None where the root is no object, which the API refuses.

    Strict only where that changes nothing: an optional field would have to be null, and the reader knows no default.
    """
    strict = compile_schema(schema, "openai_strict")
    usable = strict.strict and not strict.null_means_default
    compiled = strict if usable else compile_schema(schema, "openai")
    if schema.get("type") != "object" and "$ref" not in schema:
        return None
    return {"name": name, "schema": compiled.schema, "strict": usable}


def stop_of(*, cut: bool, filtered: bool, refusal: str, calls: bool, text: str) -> Stop:
    """How a response ended. Calls behind which a filter cut the response off are cut off, too."""
    if cut or (filtered and calls):
        return "length"
    if filtered:
        return "content_filter"
    if refusal:
        return "refusal"
    if calls:
        return "calls"
    return "end" if text.strip() else "empty"


def usage_of(usage: object, *, sent: str, made: str) -> Usage:
    """OpenAI counts cached tokens inside the input and reasoning inside the output, as we do.

    Args:
        sent, made: what the API calls input and output: `prompt` and `completion`, or `input` and `output`.
    """
    if not is_json_object(usage):
        return Usage()
    before, after = _details(usage, sent), _details(usage, made)
    return Usage(
        input_tokens=count_of(usage.get(f"{sent}_tokens")),
        output_tokens=count_of(usage.get(f"{made}_tokens")),
        cached_tokens=count_of(before.get("cached_tokens")),
        cache_write_tokens=count_of(before.get("cache_write_tokens")),
        reasoning_tokens=count_of(after.get("reasoning_tokens")),
    )


def _details(usage: Json, which: str) -> Json:
    found = usage.get(f"{which}_tokens_details")
    return found if is_json_object(found) else {}
