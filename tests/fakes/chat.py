"""OpenAI Chat Completions on the wire."""

from __future__ import annotations

from typing import Any

from tests.fakes.history import check_chat
from tests.fakes.script import Answer, Call, Stop, pieces
from tests.fakes.wire import CREATED, Rejection, Wire, encode, event

FINISH: dict[Stop, str] = {
    "answer": "stop",
    "calls": "tool_calls",
    "length": "length",
    "refusal": "stop",
    "filter": "content_filter",
    "failed": "stop",
}
ERRORS: dict[int, tuple[str, str | None, str]] = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: test."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `gone` does not exist or you do not have access to it.",
    ),
    408: ("timeout_error", None, "The request timed out."),
    409: ("conflict_error", None, "The resource was changed by another request."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3, Used 3.",
    ),
    503: ("server_error", None, "The engine is currently overloaded, please try again later"),
}
SERVER_ERROR = ("server_error", None, "The server had an error while processing your request. Sorry about that!")
TOO_LONG = Rejection(
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 130512 tokens. "
    "Please reduce the length of the messages.",
    param="messages",
    code="context_length_exceeded",
)


def body(answer: Answer) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": _content(answer), "refusal": None, "annotations": []}
    if answer.stop == "refusal":
        message["refusal"] = answer.text
    if answer.calls:
        message["tool_calls"] = [_call(call) for call in answer.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISH[answer.stop]}
    return encode(_envelope(answer, "chat.completion") | {"choices": [choice], "usage": _usage(answer)})


def events(answer: Answer, piece: int) -> list[bytes]:
    deltas = [*_deltas(answer, piece), None]
    chunks: list[dict[str, Any]] = []
    for delta in deltas:
        finish = FINISH[answer.stop] if delta is None else None
        choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
        chunks.append(_envelope(answer, "chat.completion.chunk") | {"choices": [choice]})
    if answer.with_usage:
        chunks = [chunk | {"usage": None} for chunk in chunks]
        chunks.append(_envelope(answer, "chat.completion.chunk") | {"choices": [], "usage": _usage(answer)})
    return [*(event(chunk) for chunk in chunks), b"data: [DONE]\n\n"]


def _deltas(answer: Answer, piece: int) -> list[dict[str, Any]]:
    field = "refusal" if answer.stop == "refusal" else "content"
    opening = None if answer.calls and not answer.text else ""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": opening, "refusal": None}]
    deltas += [{field: text} for text in pieces(answer.text, piece)]
    for index, call in enumerate(answer.calls):
        first = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        deltas.append({"tool_calls": [first]})
        for text in pieces(call.arguments, piece):
            # real servers repeat the name as "" in later deltas
            deltas.append({"tool_calls": [{"index": index, "function": {"name": "", "arguments": text}}]})
    return deltas


def _content(answer: Answer) -> str | None:
    if answer.stop == "refusal" or (answer.calls and not answer.text):
        return None
    return answer.text


def _call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _envelope(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.number}",
        "object": kind,
        "created": CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.tokens
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached, "audio_tokens": 0, "cache_write_tokens": used.written},
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def status_error(status: int) -> bytes:
    kind, code, message = ERRORS.get(status, SERVER_ERROR)
    return encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def rejected(rejection: Rejection) -> bytes:
    error = {"message": rejection.message, "type": "invalid_request_error"}
    return encode({"error": error | {"param": rejection.param, "code": rejection.code}})


def error_event(_after: int) -> bytes:
    return b"data: %b\n\n" % status_error(500)


WIRE = Wire(
    call_prefix="call_",
    body=body,
    events=events,
    closing=lambda answer: 3 if answer.with_usage else 2,
    error_event=error_event,
    status_error=status_error,
    rejected=rejected,
    too_long=TOO_LONG,
    check=check_chat,
)
