"""Step 2 with toolrail: nothing to write; calls of one response run side by side, sync tools in its own threads."""

from __future__ import annotations

from collections.abc import Sequence

from openai.types.chat import ChatCompletionToolParam

from examples.article.loop import OUT_OF_TURNS, TOOL_HANDLERS, TOOLS, Handlers
from toolrail import Agent, Model, Rail


async def run_agent(
    question: str,
    *,
    tools: Sequence[ChatCompletionToolParam] = TOOLS,
    handlers: Handlers = TOOL_HANDLERS,
    model: Model | str = "openai:gpt-4o",
    max_turns: int = 10,
) -> str:
    """Asks the model, runs the tools that it names side by side, and returns its answer."""
    rail = Rail.from_definitions(tools, handlers, effects=dict.fromkeys(handlers, "read"))
    result = await Agent(model, rail, max_turns=max_turns).run(question)
    return result.output or OUT_OF_TURNS
