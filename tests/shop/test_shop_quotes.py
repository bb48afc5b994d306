"""The shipping service meets each request by its number, and lets go when it is closed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import httpx2
import pytest

from examples.shop.quotes import COUNTRIES, QuoteService, price_cents


@contextmanager
def _client(service: QuoteService, *, read: float = 5.0) -> Generator[httpx2.Client]:
    try:
        with httpx2.Client(base_url=service.url, timeout=httpx2.Timeout(5.0, read=read), trust_env=False) as client:
            yield client
    finally:
        service.close()


def _ask(client: httpx2.Client, **changes: str) -> httpx2.Response:
    return client.get("/quote", params={"grams": "1200", "country": "DE"} | changes)


def test_requests_meet_the_cycle_in_order_again_and_again() -> None:
    with _client(QuoteService(cycle=("price", "busy", "slow"), slow_seconds=0.0)) as client:
        assert [_ask(client).status_code for _ in range(6)] == [200, 503, 200, 200, 503, 200]


def test_a_busy_service_says_when_to_come_back() -> None:
    with _client(QuoteService(cycle=("busy",), retry_after=7)) as client:
        assert _ask(client).headers["retry-after"] == "7"


def test_a_slow_answer_outlasts_an_impatient_client_and_closing_does_not_wait_for_it() -> None:
    with (
        _client(QuoteService(cycle=("slow",), slow_seconds=3600), read=0.05) as client,
        pytest.raises(httpx2.ReadTimeout),
    ):
        _ask(client)


def test_an_answer_has_price_and_days() -> None:
    with _client(QuoteService(cycle=("price",))) as client:
        assert _ask(client).json() == {"price_cents": price_cents(1200, "DE"), "days": COUNTRIES["DE"]}


def test_heavier_and_farther_costs_more() -> None:
    assert price_cents(1000, "DE") < price_cents(1001, "DE") < price_cents(1001, "GB")


@pytest.mark.parametrize(
    "changes",
    [{"country": "XX"}, {"country": ""}, {"country": "de"}, {"grams": ""}, {"grams": "0"}, {"grams": "-5"},
     {"grams": "1e3"}, {"grams": "²"}, {"grams": "1000001"}, {"grams": "9" * 5000}],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(changes: dict[str, str]) -> None:
    with _client(QuoteService(cycle=("price",))) as client:
        assert _ask(client, **changes).status_code == 422


def test_there_is_one_page_only() -> None:
    with _client(QuoteService(cycle=("price",))) as client:
        assert client.get("/").status_code == 404


def test_a_closed_service_is_gone() -> None:
    service = QuoteService()
    service.close()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(service.url, trust_env=False)
