"""Step 3 by hand: tool failures are retried, reported or hidden, and every call is answered."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from openai import AsyncOpenAI
from openai.types.chat import (
    ChatCompletionMessageParam,
    ChatCompletionMessageToolCallUnion,
    ChatCompletionToolMessageParam,
    ChatCompletionToolParam,
)

from examples.article.loop import OUT_OF_TURNS, TOOL_HANDLERS, TOOLS, Handlers

logger = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]


class ToolError(Exception):
    """A failure that the model may read about; `retryable` when waiting may help."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


def failure(code: str, message: str) -> str:
    return json.dumps({"error": message, "code": code})


async def call_handler(handlers: Handlers, name: str, arguments: dict[str, object]) -> object:
    handler = handlers[name]
    if inspect.iscoroutinefunction(handler):
        return await handler(**arguments)
    return await asyncio.to_thread(handler, **arguments)


async def answer_text(name: str, raw: str, handlers: Handlers, *, attempts: int, sleep: Sleep) -> str:
    """The text that the model gets for one call: a result, or an error with a code."""
    if name not in handlers:
        return failure("UNKNOWN_TOOL", f"There is no tool called {name!r}.")
    try:
        arguments = json.loads(raw)
    except json.JSONDecodeError as error:
        return failure("INVALID_ARGUMENTS", f"The arguments are not valid JSON: {error}")
    for attempt in range(attempts):
        try:
            return json.dumps(await call_handler(handlers, name, arguments))
        except ToolError as error:
            if not error.retryable:
                return failure("TOOL_ERROR", str(error))
            logger.warning("tool %s failed, attempt %d of %d: %s", name, attempt + 1, attempts, error)
        except Exception:
            logger.exception("unexpected error in tool %s", name)
            return failure("INTERNAL_ERROR", "The tool failed unexpectedly.")
        if attempt + 1 < attempts:
            await sleep(random.uniform(0.5, 1.0) * 2**attempt)
    return failure("MAX_RETRIES", "The tool keeps failing; try again later.")


async def answer_call(
    call: ChatCompletionMessageToolCallUnion, handlers: Handlers, *, attempts: int, sleep: Sleep
) -> ChatCompletionToolMessageParam:
    assert call.type == "function"
    text = await answer_text(call.function.name, call.function.arguments, handlers, attempts=attempts, sleep=sleep)
    return {"role": "tool", "tool_call_id": call.id, "content": text}


async def run_agent(
    client: AsyncOpenAI,
    question: str,
    *,
    tools: Sequence[ChatCompletionToolParam] = TOOLS,
    handlers: Handlers = TOOL_HANDLERS,
    model: str = "gpt-4o",
    max_turns: int = 10,
    attempts: int = 3,
    sleep: Sleep = asyncio.sleep,
) -> str:
    """Like step 2, with an answer for every call that fails."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    for _ in range(max_turns):
        response = await client.chat.completions.create(model=model, messages=messages, tools=tools, tool_choice="auto")
        message = response.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message)  # pyright: ignore[reportArgumentType]  (the SDK takes its own model back)
        answers = (answer_call(call, handlers, attempts=attempts, sleep=sleep) for call in message.tool_calls)
        messages.extend(await asyncio.gather(*answers))
    return OUT_OF_TURNS
