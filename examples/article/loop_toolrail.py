"""Step 1 with toolrail: the same definitions and handlers, unchanged, and its loop."""

from __future__ import annotations

from examples.article.loop import OUT_OF_TURNS, TOOL_HANDLERS, TOOLS
from toolrail import Agent, Model, Rail


async def run_agent(question: str, *, model: Model | str = "openai:gpt-4o", max_turns: int = 10) -> str:
    """Asks the model, runs the tools that it names, and returns its answer."""
    rail = Rail.from_definitions(TOOLS, TOOL_HANDLERS, effects={"search_products": "read", "get_order_status": "read"})
    result = await Agent(model, rail, max_turns=max_turns).run(question)
    return result.output or OUT_OF_TURNS
