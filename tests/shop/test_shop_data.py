"""The generated data: the same from the same seed, of the promised size, and without contradictions."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.shop.data import (
    CUSTOMER,
    DATA_VERSION,
    OTHER_CUSTOMER,
    OTHER_ORDER,
    TARGET_ORDER,
    TODAY,
    TRAP_PRODUCT,
    ShopData,
    generate,
)


@pytest.fixture(scope="module")
def data() -> ShopData:
    return generate()


@settings(max_examples=3, deadline=None)
@given(seed=st.integers())
def test_one_seed_gives_one_shop(seed: int) -> None:
    data = generate(seed)
    assert data == generate(seed)
    assert data != generate(seed + 1)


def test_data_that_changed_have_a_new_version(data: ShopData) -> None:
    # A database of an older version is built anew; one of the same version is trusted to hold these very rows.
    digest = hashlib.blake2b(repr(data).encode(), digest_size=8).hexdigest()
    assert (DATA_VERSION, digest) == (1, "bca3900fd0cd9aa9")


@settings(max_examples=5, deadline=None)
@given(seed=st.integers())
def test_the_rows_that_a_demo_names_are_there_whatever_the_seed(seed: int) -> None:
    data = generate(seed)
    owners = {order.id: order.customer_id for order in data.orders}
    assert (owners[TARGET_ORDER], owners[OTHER_ORDER]) == (CUSTOMER, OTHER_CUSTOMER)
    assert TRAP_PRODUCT in {product.id for product in data.products}


def test_there_are_enough_products_customers_and_orders(data: ShopData) -> None:
    assert len(data.products) >= 2_000
    assert (len(data.customers), len(data.orders)) == (500, 5_000)


def test_ids_are_unique_and_of_their_form(data: ShopData) -> None:
    for pattern, ids in (
        (r"PRD-\d{5}", [product.id for product in data.products]),
        (r"CUS-\d{5}", [customer.id for customer in data.customers]),
        (r"ORD-[A-Z0-9]{6}", [order.id for order in data.orders]),
    ):
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch(pattern, one) for one in ids)


def test_no_two_products_have_one_name(data: ShopData) -> None:
    assert len({product.name for product in data.products}) == len(data.products)


def test_every_order_belongs_to_a_customer_and_holds_products(data: ShopData) -> None:
    customers = {customer.id for customer in data.customers}
    products = {product.id: product for product in data.products}
    for order in data.orders:
        assert order.customer_id in customers
        assert order.lines
        assert all(products[line.product_id].name == line.name and line.quantity > 0 for line in order.lines)


def test_no_state_contradicts_its_dates(data: ShopData) -> None:
    for order in data.orders:
        assert order.placed_on <= TODAY
        match order.state:
            case "cancelled":
                assert order.delivery_on is None
            case "delivered":
                assert order.delivery_on is not None
                assert order.placed_on < order.delivery_on < TODAY
            case "placed" | "paid" | "shipped":
                assert order.delivery_on is not None
                assert order.delivery_on >= TODAY


def test_prices_stock_and_weights_are_plausible(data: ShopData) -> None:
    assert all(100 < product.price_cents < 500_000 for product in data.products)
    assert all(10 < product.weight_grams < 100_000 for product in data.products)
    assert {product.stock > 0 for product in data.products} == {True, False}


def test_only_the_trap_speaks_to_the_assistant(data: ShopData) -> None:
    assert [product.id for product in data.products if "assistant" in product.description.lower()] == [TRAP_PRODUCT]


def test_money_is_exact(data: ShopData) -> None:
    order = data.orders[0]
    assert order.total * 100 == sum(line.quantity * line.unit_price_cents for line in order.lines)
    assert all(product.price * 100 == product.price_cents for product in data.products)
