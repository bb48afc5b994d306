"""Responses: a response body to calls and back to input items. Pure."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolrail.dialects import NameMap
from toolrail.messages import Media, Message, ToolCall, ToolResult
from toolrail.model import ModelFailure, ModelResponse
from toolrail.providers.chat_codec import arguments_of
from toolrail.providers.failures import failure_in
from toolrail.providers.openai_offer import NO_NAMES, stop_of, usage_of
from toolrail.providers.wire import Json, data_url, is_json_object, objects, plain_objects, text_of, whole_ids

_OF_A_CALL = frozenset({"type", "id", "call_id", "name", "arguments", "input", "status", "parsed_arguments"})
_CALLS = ("function_call", "custom_tool_call")


@dataclass(frozen=True, slots=True)
class ResponsesCodec:
    """The wire form of the Responses API, for one offer of tools."""

    names: NameMap = NO_NAMES

    @property
    def provider(self) -> str:
        return "openai_responses"

    def user(self, text: str) -> Message:
        return {"role": "user", "content": text}

    def results(self, results: Sequence[ToolResult]) -> list[Message]:
        """One output item for each call, with its images and files."""
        return [
            {"type": "function_call_output", "call_id": one.call_id, "output": _output(one.content, one.media)}
            for one in results
        ]

    def ids_of(self, message: Mapping[str, Any]) -> list[str]:
        """The id of the call that an item is, if it is one."""
        return [text_of(message.get("call_id"))] if message.get("type") in _CALLS else []

    def text_in(self, message: Mapping[str, Any]) -> str:
        """What the assistant says in an item; empty for one of anybody else."""
        content: object = message.get("content")
        if message.get("role") != "assistant":
            return ""
        parts = plain_objects(content)
        return text_of(content) or "".join(text_of(part.get("text")) or text_of(part.get("refusal")) for part in parts)

    def decode(self, body: Mapping[str, Any], taken: Container[str] = frozenset()) -> ModelResponse:
        """See `Codec.decode`. Calls never get an id that is `taken`: one that the history has already."""
        _refuse_failed(body)
        items = [_sent_back(item) for item in objects(body.get("output")) if not _hollow(item)]
        calls = self._calls(items, taken)
        parts = [part for item in items if item.get("type") == "message" for part in objects(item.get("content"))]
        text = "".join(text_of(part.get("text")) for part in parts)
        refusal = "".join(text_of(part.get("refusal")) for part in parts)
        reason = _incomplete(body)
        filtered = reason == "content_filter"
        cut = reason is not None and not filtered
        return ModelResponse(
            messages=tuple(_led_somewhere(items)),
            calls=calls,
            text=text,
            stop=stop_of(cut=cut, filtered=filtered, refusal=refusal, calls=bool(calls), text=text),
            usage=usage_of(body.get("usage"), sent="input", made="output"),
            model=text_of(body.get("model")),
            detail=refusal or reason,
        )

    def _calls(self, items: list[Json], taken: Container[str]) -> tuple[ToolCall, ...]:
        """The calls of these items, which get their whole ids and their names on the wire."""
        found = [item for item in items if item.get("type") in _CALLS]
        ids = whole_ids([item.get("call_id") for item in found], taken)
        return tuple(self._call(item, id_) for item, id_ in zip(found, ids, strict=True))

    def _call(self, item: Json, id_: str) -> ToolCall:
        name = self.names.to_tool(text_of(item.get("name")))
        own = {key: value for key, value in item.items() if key not in _OF_A_CALL}
        arguments = arguments_of(item.get("arguments"))
        sent = arguments
        if item["type"] == "custom_tool_call":
            # It was not offered. Answered as a function, the history stays valid and its text is kept.
            arguments = text_of(item.pop("input", ""))
            sent, own = json.dumps({"input": arguments}), own | {"type": "custom"}
            item["type"] = "function_call"
            item.pop("id", None)
        item |= {"call_id": id_, "name": self.names.to_wire(name), "arguments": sent}
        return ToolCall(id_, name, arguments, own or None)


def _refuse_failed(body: Mapping[str, Any]) -> None:
    if body.get("error") or body.get("status") == "failed":
        raise failure_in(body)
    if not isinstance(body.get("output"), list):
        raise ModelFailure("garbage", "the body has no output")
    if body.get("status") not in ("completed", "incomplete", None):
        raise ModelFailure("server_error", f"the response is {body.get('status')}")


def _hollow(item: Json) -> bool:
    """A message that was opened and never written."""
    return item.get("type") == "message" and not item.get("content")


def _sent_back(item: Json) -> Json:
    """What the API takes back: null is refused where a field may only be left out."""
    kept = {key: value for key, value in item.items() if value is not None and key != "parsed_arguments"}
    if kept.get("type") == "message":
        content = objects(kept.get("content"))
        kept["content"] = [{key: value for key, value in part.items() if key != "parsed"} for part in content]
    return kept


def _led_somewhere(items: list[Json]) -> list[Json]:
    """Reasoning that a response ended with is left out: the API refuses it without the item that it led to."""
    end = len(items)
    while end and items[end - 1].get("type") == "reasoning":
        end -= 1
    return items[:end]


def _incomplete(body: Mapping[str, Any]) -> str | None:
    """Why the response is incomplete, if it is."""
    details = body.get("incomplete_details")
    reason = text_of(details.get("reason")) if is_json_object(details) else ""
    return (reason or "incomplete") if body.get("status") == "incomplete" or reason else None


def _output(content: str, media: Sequence[Media]) -> str | list[Json]:
    return [{"type": "input_text", "text": content}, *_parts(media)] if media else content


def _parts(media: Sequence[Media]) -> Iterator[Json]:
    for at, one in enumerate(media, start=1):
        if one.media_type.startswith("image/"):
            yield {"type": "input_image", "image_url": data_url(one), "detail": "auto"}
        else:
            yield {"type": "input_file", "filename": one.name or f"attachment-{at}", "file_data": data_url(one)}
