"""Asks the model server one question through the official SDKs, and reads their answers alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx2
import openai

from tests.fakes.model_server import Api, ModelServer

Json = dict[str, Any]

APIS: tuple[Api, ...] = ("chat", "responses", "anthropic")
NAMES = ("add", "pay")
OPENAI_TOOLS: list[Json] = [
    {"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in NAMES
]
RESPONSES_TOOLS: list[Json] = [{"type": "function", "name": n, "parameters": {"type": "object"}} for n in NAMES]
ANTHROPIC_TOOLS: list[Json] = [{"name": n, "input_schema": {"type": "object"}} for n in NAMES]


@dataclass
class Seen:
    """What an SDK made of one answer, whatever the provider."""

    text: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    stop: str | None = None
    refusal: str | None = None
    tokens: tuple[int, ...] | None = None


def ask(server: ModelServer, api: Api, *, stream: bool = False) -> Seen:
    """One plain question with tools through the official client."""
    return ASK[api, stream](server)


def openai_client(server: ModelServer) -> Any:
    """Any, because the tests pass bodies as plain dicts and not as the SDK's parameter types."""
    return openai.OpenAI(base_url=server.openai_url, api_key="test", max_retries=0, timeout=10)


def anthropic_client(server: ModelServer) -> Any:
    return anthropic.Anthropic(base_url=server.anthropic_url, api_key="test", max_retries=0, timeout=10)


def chat_plain(server: ModelServer) -> Seen:
    with openai_client(server) as client:
        answer = client.chat.completions.create(**chat_body())
    return seen_chat(answer.model_dump())


def chat_streamed(server: ModelServer) -> Seen:
    with openai_client(server) as client:
        body = chat_body() | {"stream_options": {"include_usage": True}}
        with client.chat.completions.stream(**body) as stream:
            stream.until_done()
            return seen_chat(stream.get_final_completion().model_dump())


def chat_body() -> Json:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": OPENAI_TOOLS}


def seen_chat(answer: Json) -> Seen:
    choice, usage = answer["choices"][0], answer["usage"]
    message = choice["message"]
    given: list[Json] = message["tool_calls"] or []
    calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in given]
    details = usage["prompt_tokens_details"]["cached_tokens"], usage["completion_tokens_details"]["reasoning_tokens"]
    tokens = (usage["prompt_tokens"], usage["completion_tokens"], *details)
    return Seen(message["content"] or "", calls, choice["finish_reason"], message["refusal"], tokens)


def responses_plain(server: ModelServer) -> Seen:
    with openai_client(server) as client:
        return seen_responses(client.responses.create(**responses_body()).model_dump())


def responses_streamed(server: ModelServer) -> Seen:
    with openai_client(server) as client:
        last: Json = {}
        event: Any
        for event in client.responses.create(**responses_body(), stream=True):
            value = event.model_dump()
            assert value["type"] == event.type
            if event.type == "error":
                raise openai.APIError(value["message"], httpx2.Request("POST", server.url), body=value)
            last = value.get("response") or last
        return seen_responses(last)


def responses_body() -> Json:
    return {"model": "m", "input": "hi", "tools": RESPONSES_TOOLS}


def seen_responses(answer: Json) -> Seen:
    found = Seen(stop=answer["status"])
    for item in answer["output"]:
        if item["type"] == "function_call":
            found.calls.append((item["call_id"], item["name"], item["arguments"]))
        parts: list[Json] = item["content"] if item["type"] == "message" else []
        for part in parts:
            found.text += part.get("text") or ""
            found.refusal = part.get("refusal")
    if usage := answer["usage"]:
        details = usage["input_tokens_details"]["cached_tokens"], usage["output_tokens_details"]["reasoning_tokens"]
        found.tokens = (usage["input_tokens"], usage["output_tokens"], *details)
    return found


def anthropic_plain(server: ModelServer) -> Seen:
    with anthropic_client(server) as client:
        return seen_anthropic(client.messages.create(**anthropic_body()).model_dump())


def anthropic_streamed(server: ModelServer) -> Seen:
    with anthropic_client(server) as client, client.messages.stream(**anthropic_body()) as stream:
        stream.until_done()
        return seen_anthropic(stream.get_final_message().model_dump())


def anthropic_body() -> Json:
    hello = {"role": "user", "content": "hi"}
    return {"model": "m", "max_tokens": 64, "messages": [hello], "tools": ANTHROPIC_TOOLS}


def seen_anthropic(answer: Json) -> Seen:
    calls = [(b["id"], b["name"], json.dumps(b["input"])) for b in answer["content"] if b["type"] == "tool_use"]
    text = "".join(b["text"] for b in answer["content"] if b["type"] == "text")
    usage = answer["usage"]
    cached, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    reasoning = usage["output_tokens_details"]["thinking_tokens"]
    tokens = (usage["input_tokens"] + cached + written, usage["output_tokens"], cached, reasoning)
    return Seen(text, calls, answer["stop_reason"], tokens=tokens)


ASK: dict[tuple[Api, bool], Callable[[ModelServer], Seen]] = {
    ("chat", False): chat_plain,
    ("chat", True): chat_streamed,
    ("responses", False): responses_plain,
    ("responses", True): responses_streamed,
    ("anthropic", False): anthropic_plain,
    ("anthropic", True): anthropic_streamed,
}
