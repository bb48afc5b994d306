"""Every exception of the SDKs, of HTTP and of reading gets one closed label, and only what may pass is retryable."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.promises import promise
from toolrail.model import ModelFailure
from toolrail.providers.failures import failure_in, failure_of

REQUEST = httpx2.Request("POST", "http://localhost/v1/chat/completions")


def status(code: int, body: Any = None, *, sdk: Any = openai, **headers: str) -> Exception:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(code, request=REQUEST, headers=named)
    return sdk.APIStatusError(f"Error code: {code} - {body}", response=response, body=body)


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"message": text, **more}


TOO_LONG = [
    said("This model's maximum context length is 128000 tokens.", code="context_length_exceeded"),
    said("the request exceeds the available context size", type="exceed_context_size_error"),
    {
        "type": "error",
        "error": said("prompt is too long: 210000 tokens > 200000 maximum", type="invalid_request_error"),
    },
    {"error": "input length and `max_tokens` exceed context limit"},
]


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("error", "label"),
    [
        *((status(400, body), "context_length") for body in TOO_LONG),
        (status(413), "context_length"),
        (status(400, said("Invalid schema")), "rejected"),
        (status(404), "rejected"),
        (status(422), "rejected"),
        (status(401), "authentication"),
        (status(403), "authentication"),
        (status(429), "rate_limited"),
        (status(429, said("You exceeded your quota", code="insufficient_quota")), "rejected"),
        (status(408), "timeout"),
        (status(409), "server_error"),
        (status(500), "server_error"),
        (status(504), "timeout"),
        (status(529, sdk=anthropic), "server_error"),
        (status(200, {"error": said("busy", type="overloaded_error")}, sdk=anthropic), "server_error"),
        (status(200, {"error": said("slow", type="rate_limit_error")}, sdk=anthropic), "rate_limited"),
        (openai.APIError("The server had an error", REQUEST, body=None), "server_error"),
        (openai.APIError("slow", REQUEST, body=said("slow", code="rate_limit_exceeded")), "rate_limited"),
        (openai.APIConnectionError(request=REQUEST), "connection"),
        (anthropic.APIConnectionError(request=REQUEST), "connection"),
        (openai.APITimeoutError(REQUEST), "timeout"),
        (anthropic.APITimeoutError(REQUEST), "timeout"),
        (httpx2.ReadTimeout("slow"), "timeout"),
        (httpx2.RemoteProtocolError("peer closed connection"), "connection"),
        (httpx2.ReadError("reset"), "connection"),
        (httpx2.DecodingError("bad gzip"), "garbage"),
        (ConnectionResetError(), "connection"),
        (TimeoutError(), "timeout"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "garbage"),
        (TypeError("our mistake"), "rejected"),
    ],
)
def test_an_exception_has_one_label(error: Exception, label: str) -> None:
    assert failure_of(error).label == label


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "1500", "retry_after": "2"}, 1.5),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_seconds_that_the_server_asks_for_are_read(headers: dict[str, str], seconds: float | None) -> None:
    assert failure_of(status(429, **headers)).retry_after == seconds


def test_a_failure_stays_itself_and_remembers_that_deltas_were_shown() -> None:
    failure = ModelFailure("garbage", "x")
    assert failure_of(failure, streamed=True) is failure
    assert failure_of(failure).streamed


@pytest.mark.parametrize("error", [None, "text", {}, {"error": None}, {"error": {"message": 1}}])
def test_an_error_object_of_any_shape_is_a_failure_of_the_server(error: object) -> None:
    assert failure_in(error).label == "server_error"


def test_the_text_for_the_log_is_short() -> None:
    assert len(str(failure_of(ValueError("x" * 10_000)))) < 600
