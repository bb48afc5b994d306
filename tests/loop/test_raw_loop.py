"""The loop of the README with the user's own client and messages, plain and streamed, on all three APIs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.model_server import Call, Endless, ModelServer, Say, Script, Think
from tests.fakes.script import Recorded
from tests.loop.helpers import TOOLS, client_on
from tests.promises import promise
from toolrail import Rail, RunLimits
from toolrail.history.check import check
from toolrail.messages import Message
from toolrail.providers import anthropic as anthropic_messages
from toolrail.providers import openai_chat, openai_responses

APIS: dict[Any, Any] = {"chat": openai_chat, "responses": openai_responses, "anthropic": anthropic_messages}
WIRES: dict[str, Any] = {"chat": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic"}


async def create(client: Any, api: str, messages: list[Message], **options: Any) -> Any:
    match api:
        case "chat":
            return await client.chat.completions.create(model="gpt-4o", messages=messages, **options)
        case "responses":
            return await client.responses.create(model="gpt-5", input=messages, **options)
        case _:
            return await client.messages.create(model="claude-test", max_tokens=100, messages=messages, **options)


def looped(api: Any, script: Script, *, stream: bool, **options: Any) -> tuple[Any, list[Message], list[Recorded]]:
    """How the run ended, the caller's messages, and the requests."""
    drop_in = APIS[api]
    messages: list[Message] = [{"role": "user", "content": "Go."}]

    async def main(server: ModelServer) -> Any:
        async with client_on(server, api) as client, Rail(TOOLS, sinks=[]).run(messages, **options) as run:
            while run.open:
                extra = {"stream": True} if stream else {}
                response = await create(client, api, messages, **extra, **drop_in.options(run))
                if stream:
                    response = drop_in.watch(run, response)
                    async for _ in response:
                        pass
                await drop_in.answer(run, response)
        return run

    with ModelServer(script) as server:
        run = asyncio.run(main(server))
    assert server.rejections == []
    return run, messages, server.requests


@promise("loop:answer", "loop:trips", "loop:providers", "reach:drop-in")
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_loop_of_the_readme_answers_every_call_in_the_articles_round_trips(api: str, *, stream: bool) -> None:
    first = [Think("Hm."), Say("Let me look."), Call("find", '{"query": "a"}'), Call("blocking", '{"query": "b"}')]
    second = [Call("nobody"), Call("find", '{"query": 1'), Call("broken")]
    run, messages, requests = looped(api, [first, second, Say("Done.")], stream=stream)
    assert (run.stop_reason, len(requests), run.state.calls) == ("answer", 3, 5)
    assert check(messages, WIRES[api]) == []
    told = [text for _, text in requests[-1].results]
    assert told[:2] == ["found a", "found b"]
    codes = ["UNKNOWN_TOOL", "INVALID_ARGUMENTS", "TOOL_ERROR"]
    assert [code in text for code, text in zip(codes, told[2:], strict=True)] == [True] * 3


@promise("loop:limits/turns", "loop:limits/calls", "reach:drop-in")
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("heeds", [False, True])
def test_limits_hold_in_a_loop_of_ones_own(api: str, *, heeds: bool) -> None:
    turn = Endless(Call("find", '{"query": "a"}'), heeds=heeds)
    run, messages, requests = looped(api, [turn], stream=False, limits=RunLimits(turns=4, calls=2))
    assert (len(requests), run.stop_reason) == (4, "answer" if heeds else "limit:turns")
    refused = ["LIMIT_REACHED" in text for _, text in requests[-1].results]
    assert refused == [False, False, True]
    assert check(messages, WIRES[api]) == []
