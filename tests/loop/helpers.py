"""Small makers for the loop's tests: a shop of tools, runs in simulated time, agents on a real server over loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.fakes.model_server import ModelServer, Recorded, Script
from toolrail import Agent, Rail, RunContext, Tool, ToolError, tool
from toolrail.agent import AgentResult
from toolrail.model import Model
from toolrail.providers.anthropic_client import AnthropicMessages
from toolrail.providers.compatible import Compatible
from toolrail.providers.openai_chat import OpenAIChat
from toolrail.providers.openai_responses import OpenAIResponses
from toolrail.testing import FixedClock, Recorder, ScriptedModel, assert_history_valid, run_virtual

T = TypeVar("T")
Provider = Literal["chat", "responses", "anthropic", "compatible"]
PROVIDERS: tuple[Provider, ...] = ("chat", "responses", "anthropic", "compatible")
WIRES = {"chat": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic", "compatible": "openai_chat"}


@tool(effect="read")
async def find(query: str) -> str:
    """Finds products."""
    return f"found {query}"


@tool(effect="read")
async def slow(seconds: float) -> str:
    """Takes its time."""
    await asyncio.sleep(seconds)
    return f"took {seconds}"


@tool(effect="read")
async def broken() -> str:
    """Fails."""
    raise ToolError("The shop is closed.")


@tool(effect="read")
def blocking(query: str) -> str:
    """Finds products in a thread."""
    return f"found {query}"


@tool(effect="idempotent", requires="orders:write")
async def cancel_order(ctx: RunContext[object], order: str) -> str:
    """Cancels an order."""
    ctx.require("orders:write")
    return f"{order} is cancelled"


TOOLS: tuple[Tool[object], ...] = (find, slow, broken, blocking)
NO_TOOLS: tuple[Tool[object], ...] = ()


def agent_of(
    script: Sequence[Any] | ScriptedModel, *, tools: Sequence[Tool[Any]] = TOOLS, **options: Any
) -> tuple[Agent[Any], ScriptedModel, Recorder]:
    """An agent with a scripted model, and what records its events. `store` goes to the rail."""
    model = script if isinstance(script, ScriptedModel) else ScriptedModel(script)
    recorder = Recorder()
    rail = Rail(tools, sinks=[recorder], clock=FixedClock(), store=options.pop("store", None))
    return Agent(model, rail, **options), model, recorder


def run(agent: Agent[Any], prompt: str = "Go.", **options: Any) -> AgentResult:
    """One run in simulated time; its history is valid, however it ended."""
    result = run_virtual(agent.run(prompt, **options))
    assert_history_valid(result.messages)
    return result


def went(result: AgentResult) -> list[str]:
    """What became of each call: its code, or `ok`."""
    return [one.code.value if one.code else one.status for one in result.calls]


def model_on(provider: Provider, client: Any) -> Model:
    """A model of this provider with a client of ours."""
    match provider:
        case "chat":
            return OpenAIChat("gpt-4o", client)
        case "responses":
            return OpenAIResponses("gpt-5", client)
        case "anthropic":
            return AnthropicMessages("claude-test", client)
        case "compatible":
            return Compatible("qwen3:8b", client)


@asynccontextmanager
async def client_on(server: ModelServer, provider: Provider) -> AsyncGenerator[Any]:
    """The official client, without retries of its own."""
    if provider == "anthropic":
        async with AsyncAnthropic(base_url=server.anthropic_url, api_key="test", max_retries=0) as client:
            yield client
    else:
        async with AsyncOpenAI(base_url=server.openai_url, api_key="test", max_retries=0) as client:
            yield client


def served(
    provider: Provider,
    script: Script,
    use: Callable[[Model], Awaitable[T]],
) -> tuple[T, list[Recorded]]:
    """What `use` made of a model behind real HTTP, and the requests, none of which the provider would refuse."""
    with ModelServer(script) as server:

        async def main() -> T:
            async with client_on(server, provider) as client:
                return await use(model_on(provider, client))

        result = asyncio.run(main())
    assert server.rejections == []
    return result, server.requests


def served_run(
    provider: Provider,
    script: Script,
    *,
    tools: Sequence[Tool[Any]] = TOOLS,
    prompt: str = "Go.",
    sinks: Sequence[Any] = (),
    **options: Any,
) -> tuple[AgentResult, list[Recorded]]:
    """One run over real HTTP; its history is valid for this provider."""
    run_options = {name: options.pop(name) for name in ("principal", "messages", "session") if name in options}

    async def use(model: Model) -> AgentResult:
        agent = Agent(model, Rail(tools, sinks=sinks, clock=Unhurried()), **options)
        return await agent.run(prompt, **run_options)

    result, requests = served(provider, script, use)
    assert_history_valid(result.messages, WIRES[provider])
    return result, requests


class Unhurried(FixedClock):
    """Its randomness makes every back-off zero, so that real time passes only where a server asks for it."""

    def random(self) -> float:
        return 0.0


async def leftover() -> set[str]:
    """The tasks that still live beside the caller's own, once everything that is about to end has ended."""
    for _ in range(10):
        await asyncio.sleep(0)
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def cancelled_at(moment: float, work: Coroutine[Any, Any, T]) -> T | None:
    """What came of it, or None when the cancellation at that moment ended it."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().call_later(moment, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def jsons(text: str) -> Any:
    """A result's content, read."""
    return json.loads(text)
