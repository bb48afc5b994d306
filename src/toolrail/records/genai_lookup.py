"""The child that loads the table of `genai-prices`: models in, as JSON, and the prices that they have had out.

echo '["openai:gpt-4o"]' | python -P -m toolrail.records.genai_lookup
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, time
from importlib.metadata import version
from typing import Any

from toolrail.records.genai import PACKAGE, provider_of

RATES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}
UNCOUNTED = ("output_citation_mtok", "input_mchars", "input_text_messages_kcount")
"""Where one of these has a price, tokens alone do not tell the cost: such a model counts as unpriced. Media, searches
and caches of an hour beside text have prices of their own, too; of those the usage says nothing."""


def spans_of(model: str) -> list[dict[str, Any]] | None:
    """All that has been a model's price, the later ones last; None where it is not listed."""
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import ModelPrice

    provider = provider_of(model)
    name = model.partition(":")[2] if provider else model
    table = get_snapshot()
    if provider and provider not in {one.id for one in table.providers}:
        return None  # never that of another provider, whose name is like it
    try:
        seller, found = table.find_provider_model(name, None, provider or None, None)
    except LookupError:
        return None
    source = f"{PACKAGE} {version(PACKAGE)}: {seller.id}/{found.id}"
    prices: Any = found.prices
    if isinstance(prices, ModelPrice):
        return _spans([_span(prices, source)])
    return _spans([{**_span(one.prices, source), **_when(one.constraint)} for one in prices])


def _spans(spans: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    return None if any(not span["price"] for span in spans) else spans


def _span(prices: Any, source: str) -> dict[str, Any]:
    """One price; with no rates where tokens do not tell the cost."""
    known = {name: getattr(prices, key) for name, key in RATES.items()}
    if known["input"] is None or known["output"] is None or any(getattr(prices, key, None) for key in UNCOUNTED):
        return {"price": {}, "tiers": [], "source": source}
    starts = sorted({tier.start for price in known.values() for tier in getattr(price, "tiers", ())})
    base = {name: _text(_rate(price, None)) for name, price in known.items()}
    request = getattr(prices, "requests_kcount", None)
    if request is not None:
        base["request"] = _text(_rate(request, None) / 1_000)
    tiers = [
        {"over": start, "price": {name: _text(_rate(price, start)) for name, price in known.items()}}
        for start in starts
    ]
    return {"price": base, "tiers": tiers, "source": source}


def _rate(price: Any, over: int | None) -> Any:
    """A rate, which may rise with the length of the request."""
    if price is None or not hasattr(price, "tiers"):
        return price
    rate = price.base
    for tier in price.tiers:
        if over is not None and tier.start <= over:
            rate = tier.price
    return rate


def _when(constraint: Any) -> dict[str, Any]:
    if constraint is None:
        return {}
    if hasattr(constraint, "start_date"):
        return {"since": constraint.start_date.isoformat()}
    return {"from": _utc(constraint.start_time), "until": _utc(constraint.end_time)}


def _utc(value: time) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    from datetime import date, datetime

    moment = datetime.combine(date(1970, 1, 1), value)
    return moment.astimezone(UTC).time().isoformat()


def _text(rate: Any) -> str | None:
    return None if rate is None else str(rate)


if __name__ == "__main__":
    json.dump([spans_of(model) for model in json.load(sys.stdin)], sys.stdout)
