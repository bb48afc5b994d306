"""Chat Completions: a response body to calls and back to messages. Pure."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolrail.dialects import NameMap
from toolrail.messages import Message, ToolCall, ToolResult
from toolrail.model import ModelFailure, ModelResponse
from toolrail.providers.failures import failure_in
from toolrail.providers.openai_offer import NO_NAMES, stop_of, usage_of
from toolrail.providers.wire import Json, is_json_object, objects, plain_objects, text_of, whole_ids

_CUT = frozenset({"length", "max_tokens", "model_length", "model_context_window_exceeded", "abort"})
_BROKEN = frozenset({"error", "insufficient_system_resource"})
_OUTPUT_ONLY = frozenset({"annotations", "function_call", "parsed", "role", "content", "tool_calls", "audio"})
_OF_A_CALL = frozenset({"id", "type", "function", "custom", "index"})


@dataclass(frozen=True, slots=True)
class ChatCodec:
    """The wire form of Chat Completions, for one offer of tools."""

    names: NameMap = NO_NAMES
    mends: bool = False
    """Put arguments that are not a JSON object into one before they go back: local servers parse them in the history,
    and refuse the conversation for good where they cannot. The call itself keeps the model's own text."""

    @property
    def provider(self) -> str:
        return "openai_chat"

    def user(self, text: str) -> Message:
        return {"role": "user", "content": text}

    def results(self, results: Sequence[ToolResult]) -> list[Message]:
        """One tool message for each call. They carry text only; the text names the media that a result has."""
        return [{"role": "tool", "tool_call_id": one.call_id, "content": one.content} for one in results]

    def ids_of(self, message: Mapping[str, Any]) -> list[str]:
        """The ids of the calls in a message."""
        return [text_of(call.get("id")) for call in plain_objects(message.get("tool_calls"))]

    def text_in(self, message: Mapping[str, Any]) -> str:
        """What the assistant says in a message; empty for one of anybody else."""
        if message.get("role") != "assistant":
            return ""
        return _text(message) or text_of(message.get("refusal"))

    def decode(self, body: Mapping[str, Any], taken: Container[str] = frozenset()) -> ModelResponse:
        """See `Codec.decode`. Calls never get an id that is `taken`: one that the history has already."""
        choice = _choice(body)
        raw: Json = choice["message"]
        finish, refusal, text = text_of(choice.get("finish_reason")), text_of(raw.get("refusal")), _text(raw)
        calls, wires = self._calls(objects(raw.get("tool_calls")), taken)
        cut, filtered = finish in _CUT, finish == "content_filter"
        stop = stop_of(cut=cut, filtered=filtered, refusal=refusal, calls=bool(calls), text=text)
        return ModelResponse(
            messages=(_message(raw, wires, refusal),),
            calls=calls,
            text=text,
            stop=stop,
            usage=usage_of(body.get("usage"), sent="prompt", made="completion"),
            model=text_of(body.get("model")),
            detail=refusal or finish or None,
        )

    def _calls(self, raws: list[Json], taken: Container[str]) -> tuple[tuple[ToolCall, ...], list[Json]]:
        ids = whole_ids([raw.get("id") for raw in raws], taken)
        read = [self._call(raw, name) for raw, name in zip(raws, ids, strict=True)]
        return tuple(call for call, _ in read), [wire for _, wire in read]

    def _call(self, raw: Json, id_: str) -> tuple[ToolCall, Json]:
        custom = raw.get("type") == "custom"
        body = raw.get("custom" if custom else "function")
        body = body if is_json_object(body) else {}
        name = self.names.to_tool(text_of(body.get("name")))
        arguments = arguments_of(body.get("input" if custom else "arguments"))
        own = {key: value for key, value in raw.items() if key not in _OF_A_CALL and value is not None}
        # a custom tool was not offered: it is answered as unknown, and goes back under its own type
        sent: Json = {"name": self.names.to_wire(name)}
        sent["input" if custom else "arguments"] = mended(arguments) if self.mends and not custom else arguments
        kind = "custom" if custom else "function"
        data = own | ({"type": "custom"} if custom else {})
        return ToolCall(id_, name, arguments, data or None), {"id": id_, "type": kind, kind: sent, **own}


def arguments_of(value: object) -> str:
    """The model's raw text. Some servers send null for no arguments, or an object in place of its text."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def mended(arguments: str) -> str:
    """The arguments if they are a JSON object, else an object that holds them."""
    if not arguments.strip():
        return "{}"
    try:
        if is_json_object(json.loads(arguments)):
            return arguments
    except (ValueError, RecursionError):
        pass
    return json.dumps({"invalid_arguments": arguments})


def _choice(body: Mapping[str, Any]) -> Json:
    choices = objects(body.get("choices"))
    if body.get("error") and not choices:  # some gateways say so with status 200
        raise failure_in(body)
    if not choices or not is_json_object(choices[0].get("message")):
        raise ModelFailure("garbage", "the body has no choice with a message")
    choice = choices[0]
    if choice.get("finish_reason") in _BROKEN:
        raise failure_in(choice.get("error") or {"message": f"finish_reason {choice['finish_reason']}"})
    return choice


def _text(raw: Mapping[str, Any]) -> str:
    """The text of a message; some servers send it in parts."""
    content = raw.get("content")
    if isinstance(content, str):
        return content
    return "".join(text_of(part.get("text")) for part in plain_objects(content) if part.get("type") == "text")


def _message(raw: Json, calls: list[Json], refusal: str) -> Message:
    """What the API takes back. Fields of other servers stay: reasoning, signatures."""
    own = {key: value for key, value in raw.items() if key not in _OUTPUT_ONLY and value is not None}
    content = raw.get("content")
    message: Message = {"role": "assistant", "content": "" if content is None and not (calls or refusal) else content}
    audio = raw.get("audio")
    if is_json_object(audio) and audio.get("id"):
        message["audio"] = {"id": audio["id"]}
    return message | own | ({"tool_calls": calls} if calls else {})
