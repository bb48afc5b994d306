"""Anthropic Messages: the pure codec between message bodies and calls and results."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from toolrail.codes import Status
from toolrail.dialects import NameMap, name_rule
from toolrail.messages import Media, Message, ToolCall, ToolResult, Usage
from toolrail.model import ModelFailure, ModelResponse, Stop
from toolrail.providers.failures import failure_in
from toolrail.providers.wire import Json, count_of, is_json_object, objects, plain, plain_objects, text_of, whole_ids

PAUSED = "pause_turn"
"""`detail` of a response that the provider's own tools interrupted: send it back, and the model goes on with it."""

_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_ERRORS: frozenset[Status] = frozenset({"error", "denied", "unknown", "cancelled"})
_THINKING = ("thinking", "redacted_thinking")
_PARSED = "parsed_output"
"""What the SDK's own parsing adds to a text; the API does not know it."""
_WHOLE = ("tool_use", "end_turn", PAUSED)
"""Stop reasons that leave a call whole. A stop sequence, say, may have cut it off in the middle."""
_ID = re.compile(r"[a-zA-Z0-9_-]+")
NO_NAMES = NameMap((), name_rule("anthropic"))


@dataclass(frozen=True, slots=True)
class AnthropicCodec:
    """Anthropic's wire form. Assistant messages go back as they came, every block of them in its place.

    Left out is only what the provider sends but refuses to take back: blank text, and thinking that nothing follows.

    Example:
        >>> AnthropicCodec().user("Pay ACME.")
        {'role': 'user', 'content': [{'type': 'text', 'text': 'Pay ACME.'}]}
    """

    names: NameMap = NO_NAMES

    @property
    def provider(self) -> Literal["anthropic"]:
        """The name that `repair` takes."""
        return "anthropic"

    def user(self, text: str) -> Message:
        """A user's message. Behind tool results it may stand as a message of its own: the API joins the two.

        A block, although the API takes the bare text too: a cache breakpoint on it then changes no other byte.
        """
        return {"role": "user", "content": [{"type": "text", "text": text}]}

    def results(self, results: Sequence[ToolResult]) -> list[Message]:
        """One user message with a `tool_result` for each call of the response, in order."""
        return [{"role": "user", "content": [_result(result) for result in results]}]

    def ids_of(self, message: Mapping[str, Any]) -> list[str]:
        """The ids of the calls in a message."""
        return [text_of(block.get("id")) for block in calls_in(message)]

    def text_in(self, message: Mapping[str, Any]) -> str:
        """What the assistant says in a message; empty for one of anybody else."""
        content: object = message.get("content")
        if message.get("role") != "assistant":
            return ""
        blocks = [block for block in plain_objects(content) if not _blank(block)]
        return text_of(content) or "".join(text_of(block.get("text")) for block in blocks)

    def decode(self, body: Mapping[str, Any], taken: Container[str] = frozenset()) -> ModelResponse:
        """See `Codec.decode`. Calls never get an id that is `taken`: one that the history has already.

        Read bytes by `read_body`: it notices an input with a key twice, on which nothing may run.
        """
        if body.get("type") == "error":
            raise failure_in(body)
        blocks = _blocks(body)
        word = text_of(body.get("stop_reason"))
        if not word:
            raise ModelFailure("garbage", "the message does not say why it stopped")
        kept, calls = self._read(blocks, taken, word)
        text = "".join(text_of(block.get("text")) for block in blocks if block.get("type") == "text")
        return ModelResponse(
            ({"role": "assistant", "content": kept},) if kept else (),
            tuple(calls),
            text,
            _stop(word, calls, kept),
            usage_of(body.get("usage")),
            text_of(body.get("model")),
            _detail(word, body, text),
        )

    def _read(self, blocks: list[Json], taken: Container[str], word: str) -> tuple[list[Json], list[ToolCall]]:
        """The blocks that go into the history, and the calls among them. A refused turn carries no calls."""
        ids = iter(_ids([block.get("id") for block in blocks if block.get("type") == "tool_use"], taken))
        kept: list[Json] = []
        calls: list[ToolCall] = []
        for block in blocks:
            if block.get("type") == "tool_use":
                name = next(ids)
                if word == "refusal":
                    continue
                text, given = _input(block.get("input"))
                calls.append(ToolCall(name, self.names.to_tool(text_of(block.get("name"))), text))
                kept.append({**block, "id": name, "input": given})
            elif "input" in block:  # a call of the provider's own tools
                kept.append({**block, "input": _input(block["input"])[1]})
            elif not _blank(block):
                kept.append({key: value for key, value in block.items() if key != _PARSED})
        while kept and word != PAUSED and kept[-1].get("type") in _THINKING:
            kept.pop()
        return kept, calls


def is_paused(response: ModelResponse) -> bool:
    """Whether the provider's own tools interrupted the turn, and nothing of ours is to be answered first."""
    return response.detail == PAUSED and response.stop == "end"


def continued(parts: Sequence[ModelResponse]) -> ModelResponse:
    """One response of a turn that came in several, each but the last one paused."""
    if len(parts) == 1:
        return parts[0]
    content = [block for part in parts for message in part.messages for block in message["content"]]
    last = parts[-1]
    return replace(
        last,
        messages=({"role": "assistant", "content": content},),
        text="".join(part.text for part in parts),
        stop="end" if last.stop == "empty" else last.stop,
        usage=sum((part.usage for part in parts), Usage()),
    )


def calls_in(message: Mapping[str, Any]) -> list[Json]:
    """The calls of an assistant's message, plain or with the SDK's own objects in it."""
    content: Any = message.get("content")
    if message.get("role") != "assistant" or not isinstance(content, list):
        return []
    blocks = [plain(block) for block in cast("list[object]", content)]
    return [block for block in blocks if block.get("type") == "tool_use"]


def usage_of(usage: object) -> Usage:
    """Tokens. Anthropic counts cached ones beside `input_tokens`; here they are part of it."""
    if not is_json_object(usage):
        return Usage()
    read, wrote = count_of(usage.get("cache_read_input_tokens")), count_of(usage.get("cache_creation_input_tokens"))
    details = usage.get("output_tokens_details")
    return Usage(
        input_tokens=count_of(usage.get("input_tokens")) + read + wrote,
        output_tokens=count_of(usage.get("output_tokens")),
        cached_tokens=read,
        cache_write_tokens=wrote,
        reasoning_tokens=count_of(details.get("thinking_tokens")) if is_json_object(details) else 0,
    )


def _blocks(body: Mapping[str, Any]) -> list[Json]:
    content = body.get("content")
    blocks = objects(content)
    if not isinstance(content, list) or len(blocks) != len(content):  # pyright: ignore[reportUnknownArgumentType]
        raise ModelFailure("garbage", "the body is no message: its content is not a list of blocks")
    if body.get("role", "assistant") != "assistant" or not all(text_of(block.get("type")) for block in blocks):
        raise ModelFailure("garbage", "the body is not an assistant's message")
    return blocks


def _ids(ids: Sequence[object], taken: Container[str]) -> list[str]:
    """Whole, and of the characters that the provider takes back."""
    return whole_ids([value if isinstance(value, str) and _ID.fullmatch(value) else "" for value in ids], taken)


def _blank(block: Json) -> bool:
    """Text that the provider refuses to take back, although models write it: `\\n\\n` before a call, mostly."""
    return block.get("type") == "text" and not text_of(block.get("text")).strip()


def _stop(word: str, calls: Sequence[ToolCall], kept: Sequence[Json]) -> Stop:
    if word == "refusal":
        return "refusal"
    if calls:
        return "calls" if word in _WHOLE else "length"
    if word in ("max_tokens", "model_context_window_exceeded"):
        return "length"
    return "end" if kept else "empty"


def _detail(word: str, body: Mapping[str, Any], text: str) -> str | None:
    if word == "refusal":
        details = body.get("stop_details")
        found = details if is_json_object(details) else {}
        return text_of(found.get("explanation")) or text or text_of(found.get("category")) or word
    return None if word in ("tool_use", "end_turn") else word


# -- results


def _result(result: ToolResult) -> Json:
    failed = result.status in _ERRORS
    media = [] if failed else [block for block in map(_media, result.media) if block]
    text = [{"type": "text", "text": result.content}] if result.content.strip() else []
    content = [*text, *media] if media else result.content
    block: Json = {"type": "tool_result", "tool_use_id": result.call_id, "content": content}
    return {**block, "is_error": True} if failed else block


def _media(media: Media) -> Json | None:
    """A block for it; None where the form has none. The text beside it names each, so the model knows of it."""
    if media.media_type not in (*_IMAGES, "application/pdf"):
        return None
    data = base64.b64encode(media.data).decode()
    source = {"type": "base64", "media_type": media.media_type, "data": data}
    if media.media_type in _IMAGES:
        return {"type": "image", "source": source}
    return {"type": "document", "source": source, **({"title": media.name} if media.name else {})}


# -- a call's input as the model wrote it


class _Twice:
    """A JSON object in which a key stands twice: never an input to run on."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _object(pairs: list[tuple[str, Any]]) -> Any:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Twice(pairs)


_loads = json.JSONDecoder(object_pairs_hook=_object).decode
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def read_body(raw: bytes) -> Json:
    """A response's bytes. An object with a key twice is kept as such, so that no call runs on one of the two.

    Raises:
        ModelFailure: `garbage`, it is not a JSON object.
    """
    try:
        body = _loads(raw.decode())
    except (ValueError, RecursionError):
        raise ModelFailure("garbage", f"the body of {len(raw)} bytes is not JSON") from None
    if not is_json_object(body):
        raise ModelFailure("garbage", "the body is not a JSON object")
    return body


class Written(str):
    """A call's input as the text that a stream gave."""

    __slots__ = ()


def _input(given: object) -> tuple[str, Json]:
    """The text of a call's arguments, and the input that stands in the history.

    The history takes nothing but an object. What is none, was cut off, or has a key twice or a number past all bounds
    stands there empty: nothing lossless is possible. The call keeps its text, which is refused for what it is.
    """
    written = given if isinstance(given, Written) else None
    try:
        value = given if written is None else _loads(written)
        text = _dumps(value)
        return str(written or text), value if is_json_object(value) else {}
    except RecursionError:
        raise ModelFailure("garbage", "a call's input is nested too deep") from None
    except (TypeError, ValueError):
        return str(written or _loose(given)), {}


def _loose(value: Any) -> str:
    """JSON text of anything that was read, faults and all."""
    if isinstance(value, _Twice):
        pairs = value.pairs
    elif is_json_object(value):
        pairs = list(value.items())
    elif isinstance(value, list):
        return f"[{', '.join(map(_loose, value))}]"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    else:
        return json.dumps(value, ensure_ascii=False, default=str)
    return f"{{{', '.join(f'{json.dumps(key, ensure_ascii=False)}: {_loose(inner)}' for key, inner in pairs)}}}"
