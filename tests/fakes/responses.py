"""OpenAI Responses on the wire."""

from __future__ import annotations

from typing import Any

from tests.fakes import chat
from tests.fakes.history import check_responses
from tests.fakes.script import Answer, Call, Part, Say, Stop, Think, pieces
from tests.fakes.wire import CREATED, Rejection, Wire, encode, event

Json = dict[str, Any]

INCOMPLETE: dict[Stop, str] = {"length": "max_output_tokens", "filter": "content_filter"}
TOO_LONG = Rejection(
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    param="input",
    code="context_length_exceeded",
)


def body(answer: Answer) -> bytes:
    return encode(_response(answer, done=True))


def events(answer: Answer, piece: int) -> list[bytes]:
    opening = _response(answer, done=False)
    values: list[Json] = [
        {"type": "response.created", "response": opening},
        {"type": "response.in_progress", "response": opening},
    ]
    for index in range(len(answer.parts)):
        values += _item_events(answer, index, piece)
    final = _response(answer, done=True)
    values.append({"type": f"response.{final['status']}", "response": final})
    return [event(value | {"sequence_number": n}, name=value["type"]) for n, value in enumerate(values)]


def _item_events(answer: Answer, index: int, piece: int) -> list[Json]:
    part = answer.parts[index]
    item = _item(answer, index)
    at: Json = {"item_id": item["id"], "output_index": index}
    empty: Json
    match part:
        case Call():
            empty = item | {"arguments": ""}
            name = "response.function_call_arguments"
            middle = [{"type": f"{name}.delta", **at, "delta": text} for text in pieces(part.arguments, piece)]
            if answer.stop != "length":  # arguments that were cut off are never announced as done
                middle.append({"type": f"{name}.done", **at, "arguments": part.arguments})
        case Say():
            empty = item | {"content": []}
            middle = _content_events(item["content"][0], at, piece)
        case Think():
            empty = item | {"summary": []}
            middle = _summary_events(part, at, piece)
    return [
        {"type": "response.output_item.added", "output_index": index, "item": empty | _status(empty, "in_progress")},
        *middle,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _content_events(part: Json, at: Json, piece: int) -> list[Json]:
    here: Json = at | {"content_index": 0}
    refusal = part["type"] == "refusal"
    key, name = ("refusal", "response.refusal") if refusal else ("text", "response.output_text")
    extra: Json = {} if refusal else {"logprobs": []}
    return [
        {"type": "response.content_part.added", **here, "part": part | {key: ""}},
        *({"type": f"{name}.delta", **here, **extra, "delta": text} for text in pieces(part[key], piece)),
        {"type": f"{name}.done", **here, **extra, key: part[key]},
        {"type": "response.content_part.done", **here, "part": part},
    ]


def _summary_events(part: Think, at: Json, piece: int) -> list[Json]:
    here: Json = at | {"summary_index": 0}
    name = "response.reasoning_summary"
    whole = {"type": "summary_text", "text": part.text}
    return [
        {"type": f"{name}_part.added", **here, "part": whole | {"text": ""}},
        *({"type": f"{name}_text.delta", **here, "delta": text} for text in pieces(part.text, piece)),
        {"type": f"{name}_text.done", **here, "text": part.text},
        {"type": f"{name}_part.done", **here, "part": whole},
    ]


def _item(answer: Answer, index: int) -> Json:
    part: Part = answer.parts[index]
    last = index == len(answer.parts) - 1
    status = "incomplete" if last and answer.stop in INCOMPLETE else "completed"
    key = f"{answer.number}_{index}"
    match part:
        case Call():
            call = {"arguments": part.arguments, "call_id": part.id, "name": part.name}
            return {"id": f"fc_{key}", "type": "function_call", "status": status, **call}
        case Say() if answer.stop == "refusal":
            content: Json = {"type": "refusal", "refusal": part.text}
        case Say():
            content = {"type": "output_text", "annotations": [], "logprobs": [], "text": part.text}
        case Think():
            summary = [{"type": "summary_text", "text": part.text}]
            return {"id": f"rs_{key}", "type": "reasoning", "summary": summary, "encrypted_content": part.proof}
    return {"id": f"msg_{key}", "type": "message", "status": status, "content": [content], "role": "assistant"}


def _status(item: Json, status: str) -> Json:
    return {"status": status} if "status" in item else {}


def _response(answer: Answer, *, done: bool) -> Json:
    status, error = "in_progress", None
    if done:
        status = "incomplete" if answer.stop in INCOMPLETE else "completed"
    if done and answer.stop == "failed":
        status, error = "failed", {"code": "server_error", "message": chat.SERVER_ERROR[2]}
    return {
        "id": f"resp_{answer.number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": error,
        "incomplete_details": {"reason": INCOMPLETE[answer.stop]} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": [_item(answer, index) for index in range(len(answer.parts))] if done else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(answer) if done and status != "failed" else None,
    }


def _usage(answer: Answer) -> Json:
    used = answer.tokens
    return {
        "input_tokens": used.input,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.written},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.input + used.output,
    }


def error_event(after: int) -> bytes:
    error = {"type": "error", "code": "server_error", "message": chat.SERVER_ERROR[2], "param": None}
    return event(error | {"sequence_number": after}, name="error")


WIRE = Wire(
    call_prefix="call_",
    body=body,
    events=events,
    closing=lambda _answer: 1,
    error_event=error_event,
    status_error=chat.status_error,
    rejected=chat.rejected,
    too_long=TOO_LONG,
    check=check_responses,
)
