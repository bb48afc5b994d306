"""What every database of the shop must do, as behaviours that any of them is put through.

Each is an async function of an open shop that was freshly built; its name is the sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from examples.shop.data import (
    CUSTOMER,
    DELIVERED_ORDER,
    OTHER_CUSTOMER,
    OTHER_ORDER,
    PAID_ORDER,
    SHIPPED_ORDER,
    TARGET_ORDER,
    TRAP_PRODUCT,
    generate,
)
from examples.shop.open import open_shop
from examples.shop.orders import Cancelled, NoSuchOrder, NotYours, Order, TooLate
from examples.shop.shop import Shop

MISSING_ORDER = "ORD-ZZZZZZ"
HOSTILE_QUERIES = (
    "lamp' OR 1=1 --",
    '"lamp" AND NOT "desk"',
    "lamp & !desk | (",
    "lamp:* <-> desk",
    "NEAR(lamp desk, 5)",
    "name:lamp^2",
    "\x00lamp\ud800",
    "lamp " * 3_000,
    "л鍵☃",
)


async def it_holds_every_product_that_was_generated(shop: Shop) -> None:
    products = await shop.catalogue.search("", limit=10_000)
    assert {p.id: p for p in products} == {p.id: p for p in generate().products}


async def it_finds_the_products_that_have_all_words(shop: Shop) -> None:
    found = await shop.catalogue.search("oak standing desk", limit=20)
    assert found
    assert all("Oak Standing Desk" in product.name for product in found)


async def it_finds_any_of_the_words_where_no_product_has_all(shop: Shop) -> None:
    found = await shop.catalogue.search("kettlebell perpetuum mobile")
    assert len(found) == 5
    assert all("Kettlebell" in product.name for product in found)


async def it_finds_nothing_for_words_that_no_product_has(shop: Shop) -> None:
    assert await shop.catalogue.search("perpetuum mobile") == []


async def it_reads_case_accents_plurals_and_filler_words_as_a_person_does(shop: Shop) -> None:
    plain = await shop.catalogue.search("espresso machine", limit=20)
    for query in ("Espresso Machines", "an ESPRESSO machine for me", "espressó machine", "machine, espresso!"):
        assert await shop.catalogue.search(query, limit=20) == plain


async def it_puts_a_word_in_the_name_before_one_in_the_description(shop: Shop) -> None:
    # "game" also stands in the description of many toys that are no games.
    found = await shop.catalogue.search("game", category="toys")
    assert len(found) == 5
    assert all("Board Game" in product.name for product in found)


async def it_keeps_to_a_category(shop: Shop) -> None:
    everywhere = await shop.catalogue.search("slim", limit=500)
    phones = await shop.catalogue.search("slim", category="phones", limit=500)
    assert {product.category for product in everywhere} > {"phones"}
    assert {product.category for product in phones} == {"phones"}


async def it_returns_no_more_than_the_limit(shop: Shop) -> None:
    assert [len(await shop.catalogue.search("lamp", limit=limit)) for limit in (1, 3, 20)] == [1, 3, 20]


async def it_lists_a_category_by_name_for_a_query_without_words(shop: Shop) -> None:
    found = await shop.catalogue.search("  ?! ", category="garden", limit=20)
    assert {product.category for product in found} == {"garden"}
    assert [product.name for product in found] == sorted(product.name for product in found)


async def it_takes_every_query_as_words_and_never_as_syntax(shop: Shop) -> None:
    found = {query: len(await shop.catalogue.search(query, limit=3)) for query in HOSTILE_QUERIES}
    assert all(found.values()), found


async def it_finds_the_product_with_the_hidden_instruction(shop: Shop) -> None:
    (trap,) = await shop.catalogue.search("bamboo desk lamp from Lumeo")
    assert trap.id == TRAP_PRODUCT
    assert TARGET_ORDER in trap.description


async def it_knows_a_product_by_its_id(shop: Shop) -> None:
    expected = generate().products[1234]
    assert await shop.catalogue.product(expected.id) == expected
    assert await shop.catalogue.product("PRD-99999") is None


async def it_shows_customers_their_own_orders_whole(shop: Shop) -> None:
    for expected in generate().orders[:50]:
        assert await shop.orders.find(expected.id, customer_id=expected.customer_id) == expected


async def it_says_nothing_of_an_order_that_is_somebody_elses(shop: Shop) -> None:
    assert await shop.orders.find(OTHER_ORDER, customer_id=CUSTOMER) == NotYours()
    assert await shop.orders.find(MISSING_ORDER, customer_id=CUSTOMER) == NoSuchOrder()


async def it_cancels_an_open_order_once(shop: Shop) -> None:
    before = await shop.orders.find(PAID_ORDER, customer_id=CUSTOMER)
    cancelled = await shop.orders.cancel(PAID_ORDER, customer_id=CUSTOMER)
    assert isinstance(before, Order)
    assert isinstance(cancelled, Cancelled)
    assert (cancelled.order.state, cancelled.order.delivery_on) == ("cancelled", None)
    assert cancelled.order.lines == before.lines
    assert await shop.orders.find(PAID_ORDER, customer_id=CUSTOMER) == cancelled.order
    assert await shop.orders.cancel(PAID_ORDER, customer_id=CUSTOMER) == TooLate(cancelled.order)


async def it_cancels_no_order_that_is_under_way_or_arrived(shop: Shop) -> None:
    for order_id in (SHIPPED_ORDER, DELIVERED_ORDER):
        before = await shop.orders.find(order_id, customer_id=CUSTOMER)
        assert isinstance(before, Order)
        assert await shop.orders.cancel(order_id, customer_id=CUSTOMER) == TooLate(before)
        assert await shop.orders.find(order_id, customer_id=CUSTOMER) == before


async def it_cancels_nobody_elses_order(shop: Shop) -> None:
    before = await shop.orders.find(TARGET_ORDER, customer_id=CUSTOMER)
    assert await shop.orders.cancel(TARGET_ORDER, customer_id=OTHER_CUSTOMER) == NotYours()
    assert await shop.orders.cancel(MISSING_ORDER, customer_id=CUSTOMER) == NoSuchOrder()
    assert await shop.orders.find(TARGET_ORDER, customer_id=CUSTOMER) == before


async def it_lets_one_of_many_cancellations_at_once_through(shop: Shop) -> None:
    outcomes = await asyncio.gather(*(shop.orders.cancel(TARGET_ORDER, customer_id=CUSTOMER) for _ in range(20)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Cancelled"] + ["TooLate"] * 19


async def it_answers_many_questions_at_once(shop: Shop) -> None:
    results = await asyncio.gather(*(shop.catalogue.search("reading light") for _ in range(100)))
    assert results == [results[0]] * 100
    assert results[0]


Behaviour = Callable[[Shop], Awaitable[None]]
CONTRACT: tuple[Behaviour, ...] = (
    it_holds_every_product_that_was_generated,
    it_finds_the_products_that_have_all_words,
    it_finds_any_of_the_words_where_no_product_has_all,
    it_finds_nothing_for_words_that_no_product_has,
    it_reads_case_accents_plurals_and_filler_words_as_a_person_does,
    it_puts_a_word_in_the_name_before_one_in_the_description,
    it_keeps_to_a_category,
    it_returns_no_more_than_the_limit,
    it_lists_a_category_by_name_for_a_query_without_words,
    it_takes_every_query_as_words_and_never_as_syntax,
    it_finds_the_product_with_the_hidden_instruction,
    it_knows_a_product_by_its_id,
    it_shows_customers_their_own_orders_whole,
    it_says_nothing_of_an_order_that_is_somebody_elses,
    it_cancels_an_open_order_once,
    it_cancels_no_order_that_is_under_way_or_arrived,
    it_cancels_nobody_elses_order,
    it_lets_one_of_many_cancellations_at_once_through,
    it_answers_many_questions_at_once,
)


def sentence(behaviour: Callable[..., object]) -> str:
    """The name of a behaviour, for pytest's ids."""
    return behaviour.__name__


async def keep_to(behaviour: Behaviour, url: str) -> None:
    """Puts the shop at `url` through one behaviour."""
    async with open_shop(url) as shop:
        await behaviour(shop)


async def it_keeps_what_happened_until_a_fresh_shop_is_wanted(url: str) -> None:
    async with open_shop(url) as shop:
        await shop.orders.cancel(TARGET_ORDER, customer_id=CUSTOMER)
    async with open_shop(url) as shop:
        kept = await shop.orders.find(TARGET_ORDER, customer_id=CUSTOMER)
    async with open_shop(url, fresh=True) as shop:
        fresh = await shop.orders.find(TARGET_ORDER, customer_id=CUSTOMER)
    assert [order.state for order in (kept, fresh) if isinstance(order, Order)] == ["cancelled", "placed"]


async def it_is_built_once_when_many_open_it_at_the_same_time(url: str) -> None:
    async def look() -> int:
        async with open_shop(url) as shop:
            return len(await shop.catalogue.search("", limit=10_000))

    assert await asyncio.gather(*(look() for _ in range(4))) == [len(generate().products)] * 4


OPENINGS: tuple[Callable[[str], Awaitable[None]], ...] = (
    it_keeps_what_happened_until_a_fresh_shop_is_wanted,
    it_is_built_once_when_many_open_it_at_the_same_time,
)
"""The same for opening and building: functions of the URL of an empty database."""
