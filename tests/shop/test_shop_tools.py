"""The shop's tools do what they say for the customer who is logged in, and refuse in words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

import httpx2
import pytest

from examples.shop import calculator, sandbox
from examples.shop.data import (
    CUSTOMER,
    OTHER_CUSTOMER,
    OTHER_ORDER,
    PAID_ORDER,
    SHIPPED_ORDER,
    TARGET_ORDER,
    TODAY,
    TRAP_PRODUCT,
)
from examples.shop.open import open_shop
from examples.shop.orders import Order
from examples.shop.quotes import Behaviour, QuoteService, price_cents
from examples.shop.shop import Shop
from examples.shop.tools import (
    TOOLS,
    calculate,
    cancel_order,
    get_order_status,
    run_python,
    search_products,
    shipping_quote,
)
from tests.promises import promise
from tests.shop.contract import MISSING_ORDER
from toolrail import CallLimits, Code, NotAuthorised, Principal, Rail, RunContext, ToolCall, ToolError
from toolrail.testing import handler_context

T = TypeVar("T")


def _as(customer_id: str, shop: Shop) -> RunContext[Shop]:
    """What a handler gets when this customer is logged in."""
    return handler_context(shop, Principal(customer_id))


def _in_shop(url: str, work: Callable[[Shop], Awaitable[T]], *, cycle: tuple[Behaviour, ...] = ("price",)) -> T:
    async def run() -> T:
        service = QuoteService(cycle=cycle, slow_seconds=3600)
        try:
            async with open_shop(url, quotes=service) as shop:
                return await work(shop)
        finally:
            service.close()

    return asyncio.run(run())


async def _error_of(answer: Awaitable[object]) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await answer
    return caught.value


def test_the_model_is_told_of_six_tools_each_with_when_and_when_not() -> None:
    assert sorted(tool.name for tool in TOOLS) == [
        "calculate", "cancel_order", "get_order_status", "run_python", "search_products", "shipping_quote",
    ]  # fmt: skip
    assert all("Use when" in tool.description and "Do not use when" in tool.description for tool in TOOLS)


def test_only_cancelling_changes_anything() -> None:
    assert {tool.name: tool.effect.kind for tool in TOOLS if tool.effect.kind != "read"} == {"cancel_order": "once"}


def test_no_argument_says_who_the_customer_is_and_each_is_described() -> None:
    for tool in TOOLS:
        properties: dict[str, dict[str, Any]] = tool.schema["properties"]
        assert not [name for name in properties if name == "ctx" or "customer" in name or "principal" in name]
        assert all(schema["description"] for schema in properties.values())


@promise("reach:sql/sqlite")
def test_a_search_shows_price_stock_and_text(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        (hit,) = await search_products.fn(_as(CUSTOMER, shop), "lumeo bamboo desk lamp")
        assert (hit.id, hit.price, hit.stock, hit.category) == (TRAP_PRODUCT, Decimal("49.00"), 31, "lighting")
        assert TARGET_ORDER in hit.description
        garden = await search_products.fn(_as(CUSTOMER, shop), "cordless", max_results=2, category="garden")
        assert [one.category for one in garden] == ["garden"] * 2

    _in_shop(sqlite_url, work)


@promise("reach:sql/sqlite")
def test_customers_see_their_own_order(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        status = await get_order_status.fn(_as(CUSTOMER, shop), SHIPPED_ORDER)
        order = await shop.orders.find(SHIPPED_ORDER, customer_id=CUSTOMER)
        assert isinstance(order, Order)
        assert (status.order_id, status.status, status.total) == (SHIPPED_ORDER, "shipped", order.total)
        assert status.delivery is not None
        assert status.delivery >= TODAY
        assert len(status.items) == len(order.lines)

    _in_shop(sqlite_url, work)


@promise("auth:handler")
@pytest.mark.parametrize("tool", [get_order_status, cancel_order], ids=lambda tool: tool.name)
def test_anothers_order_reads_like_a_missing_one_and_is_told_apart_in_the_record(tool: Any, sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        missing = await _error_of(tool.fn(_as(CUSTOMER, shop), MISSING_ORDER))
        theirs = await _error_of(tool.fn(_as(CUSTOMER, shop), OTHER_ORDER))
        assert isinstance(theirs, NotAuthorised)
        assert not isinstance(missing, NotAuthorised)
        assert theirs.like == str(theirs) == str(missing).replace(MISSING_ORDER, OTHER_ORDER)

    _in_shop(sqlite_url, work)


@promise("reach:sql/sqlite")
def test_an_open_order_is_cancelled_and_stays_so(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        ctx = _as(CUSTOMER, shop)
        cancelled = await cancel_order.fn(ctx, PAID_ORDER)
        assert (cancelled.order_id, cancelled.status, cancelled.delivery) == (PAID_ORDER, "cancelled", None)
        assert await get_order_status.fn(ctx, PAID_ORDER) == cancelled
        again = await _error_of(cancel_order.fn(ctx, PAID_ORDER))
        assert str(again) == f"Order {PAID_ORDER} is cancelled and can no longer be cancelled."

    _in_shop(sqlite_url, work)


def test_a_shipped_order_is_not_cancelled(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        error = await _error_of(cancel_order.fn(_as(CUSTOMER, shop), SHIPPED_ORDER))
        assert str(error) == f"Order {SHIPPED_ORDER} is shipped and can no longer be cancelled."
        assert (await get_order_status.fn(_as(CUSTOMER, shop), SHIPPED_ORDER)).status == "shipped"

    _in_shop(sqlite_url, work)


@promise("auth:handler")
def test_nobody_cancels_for_somebody_else(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        await _error_of(cancel_order.fn(_as(OTHER_CUSTOMER, shop), TARGET_ORDER))
        assert (await get_order_status.fn(_as(CUSTOMER, shop), TARGET_ORDER)).status == "placed"

    _in_shop(sqlite_url, work)


@promise("reach:sql/http")
def test_a_quote_comes_over_http_for_the_weight_of_the_product(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        quote = await shipping_quote.fn(_as(CUSTOMER, shop), TRAP_PRODUCT, "DE", 3)
        assert quote.price * 100 == price_cents(3 * 1_150, "DE")
        assert quote.days == 1

    _in_shop(sqlite_url, work)


@promise("reach:sql/http")
def test_a_quote_that_cannot_be_given_says_why(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        ctx = _as(CUSTOMER, shop)
        assert str(await _error_of(shipping_quote.fn(ctx, TRAP_PRODUCT, "XX"))) == (
            "The carrier does not deliver this to XX."
        )
        assert str(await _error_of(shipping_quote.fn(ctx, "PRD-99999", "DE"))) == "No product PRD-99999."

    _in_shop(sqlite_url, work)


@promise("reach:sql/http")
def test_a_busy_carrier_is_an_http_error_with_its_own_retry_after(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        ctx = _as(CUSTOMER, shop)
        with pytest.raises(httpx2.HTTPStatusError) as caught:
            await shipping_quote.fn(ctx, TRAP_PRODUCT, "DE")
        assert (caught.value.response.status_code, caught.value.response.headers["retry-after"]) == (503, "1")
        assert (await shipping_quote.fn(ctx, TRAP_PRODUCT, "DE")).days == 1

    _in_shop(sqlite_url, work, cycle=("busy", "price"))


@promise("reach:sql/http")
def test_a_carrier_that_is_too_slow_is_a_time_out_of_the_client(sqlite_url: str) -> None:
    async def work(shop: Shop) -> None:
        async with httpx2.AsyncClient(timeout=httpx2.Timeout(5.0, read=0.05), trust_env=False) as impatient:
            with pytest.raises(httpx2.ReadTimeout):
                await shipping_quote.fn(_as(CUSTOMER, replace(shop, http=impatient)), TRAP_PRODUCT, "DE")

    _in_shop(sqlite_url, work, cycle=("slow",))


@promise("call:deadline/reach")
@pytest.mark.parametrize(("timeout", "longest"), [(1.5, 1.5), (60.0, 2.0)])
def test_the_carrier_is_waited_for_as_long_as_the_call_has_left_and_the_client_allows(
    timeout: float, longest: float, sqlite_url: str
) -> None:
    asked: list[dict[str, float]] = []

    def carrier(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.extensions["timeout"])
        return httpx2.Response(200, json={"price_cents": 490, "days": 2})

    async def work(shop: Shop) -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(carrier), timeout=2.0) as http:
            ctx = handler_context(replace(shop, http=http), remaining=timeout)
            assert (await shipping_quote.fn(ctx, TRAP_PRODUCT, "DE")).days == 2

    _in_shop(sqlite_url, work)
    assert asked == [dict.fromkeys(("connect", "read", "write", "pool"), longest)]


def test_a_formula_is_worked_out_and_a_wrong_one_explained() -> None:
    assert calculate.fn("3 * 19.99").value == "59.97"
    with pytest.raises(ToolError, match=r"^Division by zero\.$"):
        calculate.fn("1 / 0")


def test_python_runs_and_its_errors_are_explained() -> None:
    assert run_python.fn("sum(range(5))").result == "10"
    with pytest.raises(ToolError, match=r"^ZeroDivisionError: division by zero \(line 1\)\.$"):
        run_python.fn("1 / 0")


@promise("tool:isolated")
@pytest.mark.parametrize(
    ("name", "arguments", "content"),
    [
        ("calculate", {"expression": "3 * 19.99"}, {"value": "59.97", "exact": True}),
        ("calculate", {"expression": "1 / 0"}, {"error": "Division by zero.", "code": "TOOL_ERROR"}),
        ("run_python", {"code": "print('hello')\n6 * 7"}, {"result": "42", "output": "hello\n"}),
        (
            "run_python",
            {"code": "1 / 0"},
            {"error": "ZeroDivisionError: division by zero (line 1).", "code": "TOOL_ERROR"},
        ),
    ],
)
def test_what_a_model_wrote_is_worked_out_in_another_process(
    name: str, arguments: dict[str, str], content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = [replace(tool, limits=CallLimits(timeout=60.0)) for tool in (calculate, run_python)]
    for module in (calculator, sandbox):  # in this process nothing could be worked out
        monkeypatch.delattr(module, "evaluate" if module is calculator else "run_code")
    (result,) = asyncio.run(Rail(patient, sinks=[]).batch([ToolCall("1", name, json.dumps(arguments))]))
    assert json.loads(result.content) == content


@promise("tool:isolated")
def test_a_calculator_that_does_not_answer_is_killed_at_its_deadline() -> None:
    hopeless = replace(run_python, limits=CallLimits(timeout=0.001, attempts=1))
    (result,) = asyncio.run(Rail([hopeless], sinks=[]).batch([ToolCall("1", "run_python", '{"code": "1"}')]))
    assert result.code is Code.TIMEOUT
