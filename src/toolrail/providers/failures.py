"""Failed model requests under closed labels: exceptions of the SDKs, HTTP statuses, error objects of the providers.

Recognised by shape and qualified name, so that no SDK is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toolrail.model import FailureLabel, ModelFailure
from toolrail.providers.wire import is_json_object, text_of
from toolrail.transient import seconds_of

_MAX_TEXT = 500
_HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2", "anyio", "h11", "ssl")
_CONTEXT = (
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "context window",
    "context size",
    "context limit",
    "prompt is too long",
    "input is too long",
    "too many input tokens",
)
"""How providers and local servers say that a conversation is too long, in lower case."""
_WORDS: Mapping[str, FailureLabel] = {
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "insufficient_quota": "rejected",
    "billing_error": "rejected",
    "server_error": "server_error",
    "api_error": "server_error",
    "overloaded_error": "server_error",
    "vector_store_timeout": "timeout",
    "timeout_error": "timeout",
    "authentication_error": "authentication",
    "invalid_api_key": "authentication",
    "permission_error": "authentication",
    "invalid_request_error": "rejected",
    "invalid_prompt": "rejected",
    "not_found_error": "rejected",
    "request_too_large": "context_length",
}
"""Words that providers use for `code` and `type` of an error."""
_STATUSES: Mapping[int, FailureLabel] = {
    401: "authentication",
    403: "authentication",
    407: "authentication",
    408: "timeout",
    409: "server_error",
    413: "context_length",
    425: "server_error",
    429: "rate_limited",
    504: "timeout",
}


def failure_of(error: BaseException, *, streamed: bool = False) -> ModelFailure:
    """What a failed attempt is called: any exception of the SDKs, of HTTP, or of reading what came.

    Args:
        error: as it was raised.
        streamed: deltas of this attempt were already handed out.

    Example: `raise failure_of(error, streamed=started) from error`
    """
    if isinstance(error, ModelFailure):
        error.streamed = error.streamed or streamed
        return error
    text = f"{type(error).__name__}: {error}"[:_MAX_TEXT]
    return ModelFailure(_label(error), text, retry_after=_retry_after(error), streamed=streamed)


def failure_in(error: object, *, streamed: bool = False) -> ModelFailure:
    """What an error object is called that came with status 200: in mid-stream, or in a failed response."""
    inner = _inner(error)
    text = text_of(inner.get("message")) or json.dumps(inner, default=str)
    return ModelFailure(label_of(inner, text) or "server_error", text[:_MAX_TEXT], streamed=streamed)


def label_of(error: Mapping[str, Any], text: str = "") -> FailureLabel | None:
    """The label of an error object by its words alone; None where they say nothing."""
    words = [text_of(error.get(key)).lower() for key in ("code", "type")]
    said = " ".join([*words, text.lower()])
    if any(sign in said for sign in _CONTEXT):
        return "context_length"
    return next((_WORDS[word] for word in words if word in _WORDS), None)


def _label(error: BaseException) -> FailureLabel:
    status = getattr(error, "status_code", None)
    body = _inner(getattr(error, "body", None))
    words = label_of(body, f"{error} {body.get('message', '')}")
    if isinstance(status, int) and status >= 300:
        return _by_status(status, words)
    if words is not None:
        return words
    return _by_kind(error)


def _by_status(status: int, words: FailureLabel | None) -> FailureLabel:
    """The status decides, except where the words say something that no status can."""
    if 400 <= status < 500 and words in ("context_length", "authentication"):
        return words
    if status == 429 and words == "rejected":
        return words  # a spent quota: waiting does not help
    return _STATUSES.get(status) or ("server_error" if status >= 500 else "rejected")


def _by_kind(error: BaseException) -> FailureLabel:
    names = [cls.__name__ for cls in type(error).__mro__]
    packages = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    if isinstance(error, TimeoutError) or any(name.endswith(("Timeout", "TimeoutError")) for name in names):
        return "timeout"
    if "APIConnectionError" in names or isinstance(error, OSError):
        return "connection"
    if "APIResponseValidationError" in names or "DecodingError" in names or isinstance(error, UnicodeError):
        return "garbage"
    if packages.intersection(_HTTP_LIBRARIES):
        return "connection"
    if isinstance(error, json.JSONDecodeError):
        return "garbage"
    # What an SDK raises in mid-stream without words, the provider sent; all else is a mistake that will not pass.
    return "server_error" if "APIError" in names else "rejected"


def _inner(body: object) -> Mapping[str, Any]:
    """The error object itself: openai's exceptions hold it, anthropic's hold the object around it."""
    if not is_json_object(body):
        return {}
    inner = body.get("error")
    if is_json_object(inner):
        return inner
    return {**body, "message": inner} if isinstance(inner, str) else body


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    precise = seconds_of(headers.get("retry-after-ms"))
    return precise / 1000 if precise is not None else seconds_of(headers.get("retry-after"))
