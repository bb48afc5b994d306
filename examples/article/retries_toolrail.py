"""Step 3 with toolrail: the three kinds of failure, deadlines and unknown outcomes come with the rail."""

from __future__ import annotations

from examples.article.loop import OUT_OF_TURNS, TOOLS, Handlers, get_order_status, search_products
from toolrail import Agent, Model, Rail, ToolError


def get_known_order(order_id: str) -> dict[str, str]:
    """A permanent failure: the model reads the text, nothing is tried again."""
    try:
        return get_order_status(order_id)
    except KeyError:
        raise ToolError(f"There is no order {order_id}.") from None


HANDLERS: Handlers = {"search_products": search_products, "get_order_status": get_known_order}


async def run_agent(
    question: str, *, handlers: Handlers = HANDLERS, model: Model | str = "openai:gpt-4o", max_turns: int = 10
) -> str:
    """Like step 2. A handler raises `ToolError(..., retryable=True)`; the rail waits, retries and answers."""
    rail = Rail.from_definitions(TOOLS, handlers, effects=dict.fromkeys(handlers, "read"))
    result = await Agent(model, rail, max_turns=max_turns).run(question)
    return result.output or OUT_OF_TURNS
