"""The hand-written loops that toolrail is measured against: the article's parallel step, and its Anthropic twin."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types import MessageParam, ToolParam, ToolResultBlockParam, ToolUseBlock
from openai import AsyncOpenAI

from examples.article import parallel
from examples.article.loop import Handlers


async def openai_loop(client: AsyncOpenAI, tools: Sequence[Any], handlers: Handlers, max_turns: int) -> str:
    return await parallel.run_agent(client, "Go.", tools=tools, handlers=handlers, max_turns=max_turns)


async def anthropic_loop(client: AsyncAnthropic, tools: Sequence[ToolParam], handlers: Handlers, max_turns: int) -> str:
    messages: list[MessageParam] = [{"role": "user", "content": "Go."}]
    for _ in range(max_turns):
        response = await client.messages.create(
            model="claude-sonnet-5", max_tokens=1024, messages=messages, tools=tools
        )
        uses = [block for block in response.content if block.type == "tool_use"]
        if not uses:
            return "".join(block.text for block in response.content if block.type == "text")
        messages.append({"role": "assistant", "content": response.content})
        messages.append({"role": "user", "content": await asyncio.gather(*(answer(use, handlers) for use in uses))})
    return ""


async def answer(use: ToolUseBlock, handlers: Handlers) -> ToolResultBlockParam:
    result: Any = handlers[use.name](**use.input)
    return {"type": "tool_result", "tool_use_id": use.id, "content": json.dumps(await result)}
