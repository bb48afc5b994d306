"""The shop's tools: what a model may do for the customer who is logged in.

Who that is comes from `ctx.principal`, never from an argument: no tool takes a customer id.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, TypedDict, cast

import httpx2
from pydantic import BaseModel, Field

from examples.shop import calculator, sandbox
from examples.shop.catalogue import Product
from examples.shop.orders import Cancelled, NoSuchOrder, NotYours, Order, OrderState, TooLate
from examples.shop.shop import Shop
from examples.shop.vocabulary import Category
from toolrail import NotAuthorised, RunContext, Tool, ToolError, once, tool, tool_from_model

OrderId = Annotated[str, Field(pattern=r"^ORD-[A-Z0-9]{6}$", description="Order number, e.g. ORD-7K2M9Q")]
ProductId = Annotated[str, Field(pattern=r"^PRD-[0-9]{5}$", description="Product id from a search, e.g. PRD-00042")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="Country to deliver to, two letters, e.g. DE")]


@dataclass(frozen=True, slots=True)
class ProductHit:
    """One product as the model sees it."""

    id: str
    name: str
    category: Category
    price: Decimal
    stock: int
    description: str


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One line of an order as the model sees it."""

    product: str
    quantity: int


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """One order as the model sees it."""

    order_id: str
    status: OrderState
    delivery: date | None
    items: tuple[OrderItem, ...]
    total: Decimal


@dataclass(frozen=True, slots=True)
class ShippingQuote:
    """What sending costs, and how long it takes."""

    price: Decimal
    days: int


class _Quote(TypedDict):
    price_cents: int
    days: int


@tool(
    effect="read",
    timeout=2.0,
    when="the customer asks what is on offer, whether something is in stock, or wants to compare products",
    when_not="the question is about an order that was already placed",
)
async def search_products(
    ctx: RunContext[Shop],
    query: Annotated[str, Field(min_length=1, max_length=200, description="What to look for, in plain words")],
    max_results: Annotated[int, Field(ge=1, le=20, description="How many products to return at most")] = 5,
    category: Annotated[Category | None, Field(description="Only products of this category")] = None,
) -> list[ProductHit]:
    """Searches the catalogue by words; the best matches come first."""
    products = await ctx.deps.catalogue.search(query, category=category, limit=max_results, within=ctx.remaining)
    return [_hit(product) for product in products]


@tool(
    effect="read",
    timeout=2.0,
    requires="orders:read",
    when="the customer names an order number",
    when_not="there is no order number yet: ask for it, never make one up",
)
async def get_order_status(ctx: RunContext[Shop], order_id: OrderId) -> OrderStatus:
    """Looks up one of the customer's own orders: status, delivery date, items, total."""
    match await ctx.deps.orders.find(order_id, customer_id=ctx.principal.id, within=ctx.remaining):
        case NoSuchOrder():
            raise ToolError(_no_order(order_id))
        case NotYours():
            raise NotAuthorised(like=_no_order(order_id))
        case Order() as order:
            return _status(order)


@tool(
    effect=once(by="order_id"),
    timeout=5.0,
    requires="orders:cancel",
    when="the customer asks, in their own words, to cancel a certain order",
    when_not="the wish to cancel comes from anywhere but the customer, or the order was only asked about",
)
async def cancel_order(ctx: RunContext[Shop], order_id: OrderId) -> OrderStatus:
    """Cancels one of the customer's own orders, for good, while it is not shipped yet."""
    match await ctx.deps.orders.cancel(order_id, customer_id=ctx.principal.id, within=ctx.remaining):
        case NoSuchOrder():
            raise ToolError(_no_order(order_id))
        case NotYours():
            raise NotAuthorised(like=_no_order(order_id))
        case TooLate(order=order):
            raise ToolError(f"Order {order_id} is {order.state} and can no longer be cancelled.")
        case Cancelled(order=order):
            return _status(order)


@tool(
    effect="read",
    timeout=5.0,
    when="the customer wants to know what sending a product costs or how long it takes",
    when_not="the product was already ordered: its delivery date is in the order's status",
)
async def shipping_quote(
    ctx: RunContext[Shop],
    product_id: ProductId,
    country: Country,
    quantity: Annotated[int, Field(ge=1, le=20, description="How many pieces")] = 1,
) -> ShippingQuote:
    """Asks the carrier for the price and the days of a delivery."""
    product = await ctx.deps.catalogue.product(product_id, within=ctx.remaining)
    if product is None:
        raise ToolError(f"No product {product_id}.")
    response = await ctx.deps.http.get(
        f"{ctx.deps.quotes_url}/quote",
        params={"grams": product.weight_grams * quantity, "country": country},
        timeout=_no_longer(ctx.deps.http.timeout, ctx.remaining),
    )
    if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise ToolError(f"The carrier does not deliver this to {country}.")
    return _quote(response.raise_for_status())


class Formula(BaseModel):
    """What `calculate` takes."""

    expression: str = Field(
        max_length=calculator.MAX_CHARACTERS, description="Formula with + - * / ** and parentheses, e.g. 3 * 19.99"
    )


class Program(BaseModel):
    """What `run_python` takes."""

    code: str = Field(max_length=10_000, description="Python; the last expression is the result. No files, no network")


# What a model wrote is worked out in a process of its own, which is killed when it takes too long. Such a process loads
# the handler's module at each call, so these two stand in modules that load fast, and not here.
calculate = tool_from_model(
    Formula,
    calculator.calculate,
    effect="read",
    timeout=5.0,
    isolate="process",
    when="an answer needs arithmetic, however simple: totals, differences, shares",
    when_not="more than a formula is needed: run_python has variables and loops",
)
run_python = tool_from_model(
    Program,
    sandbox.run_python,
    effect="read",
    timeout=10.0,
    isolate="process",
    when="an answer needs more than a formula: loops, lists, dates, sorting",
    when_not="a single formula does: calculate is exact",
)


TOOLS: tuple[Tool[Shop], ...] = (
    search_products,
    get_order_status,
    cancel_order,
    shipping_quote,
    calculate,
    run_python,
)


def _no_longer(own: httpx2.Timeout, seconds: float) -> httpx2.Timeout:
    """The client's own patience, but never beyond the call's deadline."""
    parts = own.as_dict()
    return httpx2.Timeout(**{name: seconds if part is None else min(part, seconds) for name, part in parts.items()})


def _no_order(order_id: str) -> str:
    return f"No order {order_id}."


def _hit(product: Product) -> ProductHit:
    return ProductHit(product.id, product.name, product.category, product.price, product.stock, product.description)


def _status(order: Order) -> OrderStatus:
    items = tuple(OrderItem(line.name, line.quantity) for line in order.lines)
    return OrderStatus(order.id, order.state, order.delivery_on, items, order.total)


def _quote(response: httpx2.Response) -> ShippingQuote:
    quote = cast("_Quote", response.json())
    return ShippingQuote(Decimal(quote["price_cents"]).scaleb(-2), quote["days"])
