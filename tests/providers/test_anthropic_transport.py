"""Anthropic Messages on a transport of our own: paused turns, errors with status 200, endless answers, clouds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from anthropic.lib.vertex import AsyncAnthropicVertex

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


Body = Callable[[], AsyncIterator[bytes]]


def over(body: Body, use: Callable[[AnthropicConversation], Any], *, timeout: float = 5.0) -> ModelResponse:
    """One request whose answer comes as `body` gives it."""

    def handler(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body(), headers={"content-type": "text/event-stream"})

    async def main() -> ModelResponse:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(handler))
        async with AsyncAnthropic(api_key="k", http_client=http) as client:
            setup = Setup(settings=ModelSettings(timeout=timeout))
            return await use(AnthropicMessages("m", client).open(setup))

    return asyncio.run(main())


@promise("loop:model-errors")
@pytest.mark.parametrize("use", [whole, streamed])
def test_an_answer_that_only_trickles_is_a_timeout(use: Callable[[AnthropicConversation], Any]) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield b'event: content_block_x\ndata: {"type": "content_block_x"}\n\n'

    with pytest.raises(ModelFailure) as failure:
        over(endless, use, timeout=0.05)
    assert failure.value.label == "timeout"


@promise("loop:stream")
def test_how_the_connection_ends_behind_a_whole_message_is_no_matter() -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield events(body(text("Done."), stop="end_turn"))
        raise httpx2.ReadError("connection reset")

    assert over(cut, streamed).text == "Done."


@promise("loop:providers/anthropic")
def test_a_cloud_finds_its_model_in_the_path() -> None:
    asked: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, json=body(text("Done."), stop="end_turn"))

    async def main() -> ModelResponse:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(handler))
        async with AsyncAnthropicVertex(region="eu", project_id="p", access_token="t", http_client=http) as client:
            return await whole(AnthropicMessages("claude-test", client).open(Setup()))

    assert asyncio.run(main()).text == "Done."
    assert asked[0].url.path.endswith("/models/claude-test:rawPredict")
