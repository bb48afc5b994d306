"""Step 2 by hand: the calls of one response run at the same time, blocking tools in threads."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Sequence

from openai import AsyncOpenAI
from openai.types.chat import (
    ChatCompletionMessageParam,
    ChatCompletionMessageToolCallUnion,
    ChatCompletionToolMessageParam,
    ChatCompletionToolParam,
)

from examples.article.loop import OUT_OF_TURNS, TOOL_HANDLERS, TOOLS, Handlers


async def answer_call(call: ChatCompletionMessageToolCallUnion, handlers: Handlers) -> ChatCompletionToolMessageParam:
    """Runs one call and wraps its result for the model."""
    assert call.type == "function"
    handler = handlers[call.function.name]
    arguments = json.loads(call.function.arguments)
    if inspect.iscoroutinefunction(handler):
        result = await handler(**arguments)
    else:
        result = await asyncio.to_thread(handler, **arguments)
    return {"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)}


async def run_agent(
    client: AsyncOpenAI,
    question: str,
    *,
    tools: Sequence[ChatCompletionToolParam] = TOOLS,
    handlers: Handlers = TOOL_HANDLERS,
    model: str = "gpt-4o",
    max_turns: int = 10,
) -> str:
    """Asks the model, runs the tools that it names side by side, and returns its answer."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    for _ in range(max_turns):
        response = await client.chat.completions.create(model=model, messages=messages, tools=tools, tool_choice="auto")
        message = response.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message)  # pyright: ignore[reportArgumentType]  (the SDK takes its own model back)
        messages.extend(await asyncio.gather(*(answer_call(call, handlers) for call in message.tool_calls)))
    return OUT_OF_TURNS
