"""Anthropic Messages on the wire."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.history import check_anthropic
from tests.fakes.script import Answer, Call, Part, Say, Stop, Think, pieces
from tests.fakes.wire import Rejection, Wire, encode, event

Json = dict[str, Any]

STOP: dict[Stop, str] = {
    "answer": "end_turn",
    "calls": "tool_use",
    "length": "max_tokens",
    "refusal": "refusal",
    "filter": "refusal",  # the nearest that this API has
    "failed": "end_turn",
}
ERRORS: dict[int, tuple[str, str]] = {
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: gone"),
    408: ("timeout_error", "Request timed out"),
    409: ("conflict_error", "The resource was changed by another request."),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit of 50 requests per minute."),
    529: ("overloaded_error", "Overloaded"),
}
TOO_LONG = Rejection("prompt is too long: 205113 tokens > 200000 maximum")


def body(answer: Answer) -> bytes:
    """The message; arguments that are JSON go out byte for byte (duplicate keys, 1e400), cut-off ones empty."""
    blocks = [_block(part, f"\0{index}\0") for index, part in enumerate(answer.parts)]
    message = _message(answer) | {"content": blocks, **_stop(answer), "usage": _usage(answer)}
    whole = encode(message)
    for index, part in enumerate(answer.parts):
        if isinstance(part, Call):
            raw = part.arguments if _is_json(part.arguments) else "{}"
            whole = whole.replace(encode(f"\0{index}\0"), raw.encode())
    return whole


def events(answer: Answer, piece: int) -> list[bytes]:
    start: Json = _message(answer) | {"content": [], "stop_reason": None, "stop_sequence": None}
    values: list[Json] = [
        {"type": "message_start", "message": start | {"usage": _usage(answer) | {"output_tokens": 1}}},
        {"type": "ping"},
    ]
    for index, part in enumerate(answer.parts):
        values.append({"type": "content_block_start", "index": index, "content_block": _empty(part)})
        values += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in _deltas(part, piece)]
        values.append({"type": "content_block_stop", "index": index})
    values.append({"type": "message_delta", "delta": _stop(answer), "usage": _usage(answer)})
    values.append({"type": "message_stop"})
    return [event(value, name=value["type"]) for value in values]


def _deltas(part: Part, piece: int) -> list[Json]:
    match part:
        case Say():
            return [{"type": "text_delta", "text": text} for text in pieces(part.text, piece)]
        case Think():
            thoughts = [{"type": "thinking_delta", "thinking": text} for text in pieces(part.text, piece)]
            return [*thoughts, {"type": "signature_delta", "signature": part.proof}]
        case Call():  # real streams open with an empty delta
            texts = ["", *pieces(part.arguments, piece)]
            return [{"type": "input_json_delta", "partial_json": text} for text in texts]


def _block(part: Part, arguments: Any) -> Json:
    match part:
        case Say():
            return {"type": "text", "text": part.text}
        case Think():
            return {"type": "thinking", "thinking": part.text, "signature": part.proof}
        case Call():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}


def _empty(part: Part) -> Json:
    match part:
        case Say():
            return _block(Say(""), None)
        case Think():
            return _block(Think("", proof=""), None)
        case Call():
            return _block(part, {})


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _message(answer: Answer) -> Json:
    return {"id": f"msg_{answer.number}", "type": "message", "role": "assistant", "model": answer.model}


def _stop(answer: Answer) -> Json:
    stop: Json = {"stop_reason": STOP[answer.stop], "stop_sequence": None}
    if stop["stop_reason"] == "refusal":
        stop["stop_details"] = {"type": "refusal", "category": "general_harms", "explanation": None}
    return stop


def _usage(answer: Answer) -> Json:
    used = answer.tokens
    return {
        "input_tokens": used.input - used.cached - used.written,  # here cached tokens come on top
        "cache_creation_input_tokens": used.written,
        "cache_read_input_tokens": used.cached,
        "output_tokens": used.output,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
    }


def status_error(status: int) -> bytes:
    kind, message = ERRORS.get(status, ("api_error", "Internal server error"))
    return encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_scripted"})


def rejected(rejection: Rejection) -> bytes:
    error = {"type": "invalid_request_error", "message": rejection.message}
    return encode({"type": "error", "error": error, "request_id": "req_scripted"})


def error_event(_after: int) -> bytes:
    return b"event: error\ndata: %b\n\n" % status_error(529)


WIRE = Wire(
    call_prefix="toolu_",
    body=body,
    events=events,
    closing=lambda _answer: 2,
    error_event=error_event,
    status_error=status_error,
    rejected=rejected,
    too_long=TOO_LONG,
    check=check_anthropic,
)
