"""Step 1 by hand: tools described by Pydantic, a registry of handlers, and the loop between model and tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel, Field

Handlers = Mapping[str, Callable[..., object]]

CATALOGUE = {
    "P-100": {"name": "Trail shoe", "category": "shoes", "price": "89.00"},
    "P-101": {"name": "Road shoe", "category": "shoes", "price": "119.00"},
    "P-200": {"name": "Trail map", "category": "books", "price": "12.50"},
}
ORDERS = {"ORD-000001": "shipped", "ORD-000002": "being packed"}


class SearchProducts(BaseModel):
    query: str = Field(description="Words to look for in product names")
    max_results: int = Field(default=5, ge=1, le=20, description="How many products to return at most")
    category: str | None = Field(default=None, description="Only products of this category")


class GetOrderStatus(BaseModel):
    order_id: str = Field(pattern=r"^ORD-\d{6}$", description="Order number, like ORD-000001")


def search_products(query: str, max_results: int = 5, category: str | None = None) -> list[dict[str, str]]:
    words = query.lower().split()
    found = [
        {"id": key, **product}
        for key, product in CATALOGUE.items()
        if all(word in product["name"].lower() for word in words) and category in (None, product["category"])
    ]
    return found[:max_results]


def get_order_status(order_id: str) -> dict[str, str]:
    return {"order_id": order_id, "status": ORDERS[order_id]}


def definition(name: str, description: str, arguments: type[BaseModel]) -> ChatCompletionToolParam:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": arguments.model_json_schema()},
    }


TOOLS: list[ChatCompletionToolParam] = [
    definition(
        "search_products",
        "Finds products by name. Use it for questions about what is on offer. Not for questions about an order.",
        SearchProducts,
    ),
    definition(
        "get_order_status",
        "Tells how far an order is. Use it only when the user gives an order number. Not for finding products.",
        GetOrderStatus,
    ),
]
TOOL_HANDLERS: Handlers = {"search_products": search_products, "get_order_status": get_order_status}
OUT_OF_TURNS = "I could not finish within the allowed number of steps."


def run_agent(
    client: OpenAI,
    question: str,
    *,
    tools: Sequence[ChatCompletionToolParam] = TOOLS,
    handlers: Handlers = TOOL_HANDLERS,
    model: str = "gpt-4o",
    max_turns: int = 10,
) -> str:
    """Asks the model, runs the tools that it names one after another, and returns its answer."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    for _ in range(max_turns):
        response = client.chat.completions.create(model=model, messages=messages, tools=tools, tool_choice="auto")
        message = response.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        # the SDK takes its own response model back as a message; its types do not say so
        messages.append(message)  # pyright: ignore[reportArgumentType]
        for call in message.tool_calls:
            assert call.type == "function"
            result = handlers[call.function.name](**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
    return OUT_OF_TURNS
