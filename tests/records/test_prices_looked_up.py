"""The prices of `genai-prices`: right, dated, in a process of its own, and unknown where it does not know."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import genai_prices
import genai_prices.data
import pytest

from tests.promises import promise
from toolrail import DefinitionError, Usage
from toolrail.money import NO_PRICES, charged
from toolrail.records import genai
from toolrail.records.genai import GenaiPrices, Span, ask, installed, provider_of, read_span, recording
from toolrail.records.genai_lookup import spans_of
from toolrail.records.prices import Price, Prices, combined, cost_of

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SELLERS = ("openai", "anthropic", "google", "deepseek", "mistral", "groq")
USAGES = (
    Usage(1_000, 200),
    Usage(1_000, 200, cached_tokens=400),
    Usage(50_000, 2_000, cached_tokens=40_000, cache_write_tokens=5_000),
    Usage(500_000, 2_000, cached_tokens=300_000),
    Usage(1_000, 3_000, reasoning_tokens=2_500),
)


def _models(seller: str) -> list[str]:
    (found,) = [one for one in genai_prices.data.providers if one.id == seller]
    return [f"{seller}:{model.id}" for model in found.models]


def _theirs(model: str, usage: Usage, at: datetime) -> Decimal:
    provider, _, name = model.partition(":")
    given = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )
    found = genai_prices.calc_price(given, name, provider_id=provider, genai_request_timestamp=at)
    return found.total_price


def _ours(model: str, usage: Usage, at: datetime) -> Decimal | None:
    spans = [read_span(one) for one in spans_of(model) or ()]
    price = next((span.price for span in reversed(spans) if span.holds(at)), None)
    return None if price is None else charged(usage, price).amount


@promise("see:cost")
@pytest.mark.parametrize("seller", SELLERS)
@pytest.mark.parametrize("at", [NOW, datetime(2025, 3, 1, 17, 0, tzinfo=UTC)], ids=["now", "an evening of 2025"])
def test_our_costs_are_those_of_genai_prices_itself_with_caches_reasoning_tiers_and_dates(
    seller: str, at: datetime
) -> None:
    compared = 0
    for model in _models(seller):
        for usage in USAGES:
            ours = _ours(model, usage, at)
            if ours is not None:
                assert ours == pytest.approx(_theirs(model, usage, at)), model
                compared += 1
    assert compared > len(USAGES) * 3


@promise("see:cost")
@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("openai:gpt-4o", "openai/gpt-4o"),
        ("openai-responses:gpt-4o", "openai/gpt-4o"),
        ("gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("anthropic:claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("anthropic:gpt-4o", None),
        ("nobody:gpt-4o", None),
        ("open:gpt-4o", None),
        ("qwen3:8b", None),
        ("house", None),
        ("", None),
    ],
)
def test_a_model_has_the_price_of_its_own_seller_or_none(model: str, listed: str | None) -> None:
    found = spans_of(model)
    assert (found[-1]["source"] if found else None) == (listed and f"genai-prices {installed()}: {listed}")


@promise("see:cost")
def test_a_child_process_answers_for_all_models_at_once_and_users_own_prices_come_first() -> None:
    table = GenaiPrices()
    table.look_up(["openai:gpt-4o", "nobody:x", "ollama:qwen3:8b", "scripted"])
    found = table.price("openai:gpt-4o", NOW.timestamp())
    assert found is not None
    assert not found.stated
    assert found.source == f"genai-prices {installed()}: openai/gpt-4o"
    assert table.price("nobody:x") is table.price("ollama:qwen3:8b") is table.price("scripted") is None
    own = Price(Decimal(1), Decimal(1))
    book = combined(Prices({"openai:gpt-4o": own}), table)
    assert (book.price("openai:gpt-4o", 0.0), Prices({"a": found}).price("a")) == (own, Prices({"a": found}).price("a"))
    assert cost_of(Usage(1_000_000, 0), "openai:gpt-4o", book).amount == 1
    stated = Prices({"openai:gpt-4o": found}).price("openai:gpt-4o")
    assert stated is not None
    assert stated.stated


@promise("see:cost", "see:cost-of-seeing")
def test_within_an_event_loop_nobody_waits_for_a_price_that_is_not_known_yet() -> None:
    table = GenaiPrices()

    async def main() -> tuple[Price | None, Price | None]:
        first = table.price("openai:gpt-4o")
        second = table.price("openai:gpt-4o")
        assert first is second is None
        while (found := table.price("openai:gpt-4o")) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return first, found

    first, found = asyncio.run(main())
    assert (first, found is not None) == (None, True)


@pytest.mark.parametrize("how", ["no python", "wrong answer", "fails"])
def test_a_child_that_fails_is_told_of_once_and_the_cost_is_unknown(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\n" + {"no python": "exit 127", "wrong answer": "echo 7", "fails": "exit 1"}[how])
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    table = GenaiPrices()
    with caplog.at_level(logging.WARNING, "toolrail"):
        assert [table.price(model) for model in ("openai:gpt-4o", "openai:gpt-5")] == [None, None]
    assert caplog.text.count("genai-prices could not be asked") == 1


def test_where_the_executable_is_no_python_the_table_is_loaded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    assert ask(["openai:gpt-4o"]) == [spans_of("openai:gpt-4o")]


def test_a_server_that_names_models_without_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genai, "KNOWN", 3)
    table = GenaiPrices()
    for at in range(10):
        assert table.price(f"ollama:{at}") is None
    assert len(table._known) <= 3  # pyright: ignore[reportPrivateUsage]


def test_without_the_package_the_record_uses_ones_own_prices_and_asking_for_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert recording(NO_PRICES).price("scripted", 0.0) is None
    assert isinstance(recording(NO_PRICES), GenaiPrices)
    monkeypatch.setattr(genai, "PACKAGE", "no-such-package")
    assert recording(NO_PRICES) is NO_PRICES
    with pytest.raises(DefinitionError, match=r"TR403 .*toolrail\[prices\]"):
        GenaiPrices()


@pytest.mark.parametrize(
    ("span", "moment", "holds"),
    [
        (Span(Price(Decimal(1), Decimal(1))), NOW, True),
        (Span(Price(Decimal(1), Decimal(1)), since=date(2026, 11, 22)), NOW, True),
        (Span(Price(Decimal(1), Decimal(1)), since=date(2026, 11, 23)), NOW, False),
        (Span(Price(Decimal(1), Decimal(1)), None, time(11), time(13)), NOW, True),
        (Span(Price(Decimal(1), Decimal(1)), None, time(13), time(14)), NOW, False),
        (Span(Price(Decimal(1), Decimal(1)), None, time(23), time(13)), NOW, True),
        (Span(Price(Decimal(1), Decimal(1)), None, time(23), time(1)), NOW, False),
    ],
)
def test_a_price_holds_from_its_day_on_or_within_its_hours(span: Span, moment: datetime, holds: bool) -> None:
    assert span.holds(moment) is holds


@pytest.mark.parametrize(
    ("model", "provider"), [("openai:gpt-4o", "openai"), ("openai-responses:x", "openai"), ("gpt-4o", "")]
)
def test_a_name_says_its_provider(model: str, provider: str) -> None:
    assert provider_of(model) == provider
