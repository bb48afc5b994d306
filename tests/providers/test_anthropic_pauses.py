"""Anthropic Messages: turns that the provider's own tools interrupt, and errors that come with status 200."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from tests.promises import promise
from toolrail.messages import Message
from toolrail.model import ModelFailure, ModelResponse, ModelSettings, Setup, TextDelta, TurnRequest
from toolrail.providers.anthropic_client import MAX_PAUSES, AnthropicConversation, AnthropicMessages

Json = dict[str, Any]
ASKED: list[Message] = [{"role": "user", "content": "Is ACME open?"}]
SEARCH: Json = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "acme"}}
FOUND: Json = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
TOOL = {"type": "web_search_20250305", "name": "web_search"}


def body(*blocks: Json, stop: str) -> Json:
    usage = {"input_tokens": 10, "output_tokens": 5}
    return {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": blocks,
        "stop_reason": stop,
        "usage": usage,
    }


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def events(message: Json) -> bytes:
    values: list[Json] = [{"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}]
    for index, block in enumerate(message["content"]):
        values.append({"type": "content_block_start", "index": index, "content_block": block})
        values.append({"type": "content_block_stop", "index": index})
    values.append({"type": "message_delta", "delta": {"stop_reason": message["stop_reason"]}})
    values.append({"type": "message_stop"})
    return b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in values)


class Server:
    """Answers requests with bodies in turn, the last one for ever; keeps what was asked."""

    def __init__(self, *bodies: Json) -> None:
        self.bodies = list(bodies)
        self.asked: list[Json] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(json.loads(request.content))
        found = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        if not self.asked[-1].get("stream"):
            return httpx2.Response(200, json=found)
        return httpx2.Response(200, content=events(found), headers={"content-type": "text/event-stream"})


async def whole(conversation: AnthropicConversation) -> ModelResponse:
    return await conversation.request(ASKED, TurnRequest())


async def streamed(conversation: AnthropicConversation) -> ModelResponse:
    items = [item async for item in conversation.stream(ASKED, TurnRequest())]
    last = items[-1]
    assert isinstance(last, ModelResponse)
    assert all(isinstance(item, TextDelta) for item in items[:-1])
    return last


def talk(server: Server, use: Callable[[AnthropicConversation], Any]) -> ModelResponse:
    async def main() -> ModelResponse:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(server))
        async with AsyncAnthropic(api_key="k", http_client=http) as client:
            setup = Setup(settings=ModelSettings(extra={"tools": [TOOL]}))
            return await use(AnthropicMessages("m", client).open(setup))

    return asyncio.run(main())


@promise("loop:providers/anthropic")
@pytest.mark.parametrize("use", [whole, streamed])
def test_a_paused_turn_is_sent_back_until_it_is_whole(use: Callable[[AnthropicConversation], Any]) -> None:
    first, second = [text("Let me look. "), SEARCH], [FOUND, SEARCH]
    last = [FOUND, text("It is open.")]
    server = Server(body(*first, stop="pause_turn"), body(*second, stop="pause_turn"), body(*last, stop="end_turn"))
    response = talk(server, use)
    assert response.messages == ({"role": "assistant", "content": [*first, *second, *last]},)
    assert (response.text, response.stop) == ("Let me look. It is open.", "end")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (30, 15)
    assert [each["messages"][1:] for each in server.asked] == [
        [],
        [{"role": "assistant", "content": first}],
        [{"role": "assistant", "content": [*first, *second]}],
    ]
    assert [each["tools"][0]["name"] for each in server.asked] == ["web_search"] * 3


@promise("loop:providers/anthropic")
@pytest.mark.parametrize("use", [whole, streamed])
def test_a_turn_that_never_ends_its_pauses_is_given_up(use: Callable[[AnthropicConversation], Any]) -> None:
    server = Server(body(SEARCH, stop="pause_turn"))
    response = talk(server, use)
    assert len(server.asked) == MAX_PAUSES + 1
    assert (response.stop, response.detail) == ("length", "pause_turn")


@promise("loop:model-errors")
def test_an_error_with_status_200_has_its_label() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(ModelFailure) as failure:
        talk(Server(error), whole)
    assert failure.value.label == "server_error"
