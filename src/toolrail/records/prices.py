"""Tokens times price. A price that nobody stated is unknown, never zero."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from toolrail.budgets import price_of
from toolrail.frozen import frozen
from toolrail.messages import Usage

PER = Decimal(1_000_000)


@frozen
class Price:
    """What a model costs, per million tokens, in one currency."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    """Read from a cache. None: as input."""
    cache_write: Decimal | None = None
    """Written to a cache. None: as input."""
    currency: str = "USD"


@frozen
class Cost:
    """What tokens cost; `amount` is None when a price is unknown."""

    amount: Decimal | None
    currency: str = "USD"

    @property
    def known(self) -> bool:
        """Whether there was a price."""
        return self.amount is not None

    def __str__(self) -> str:
        return "unknown" if self.amount is None else f"{self.amount:.6f} {self.currency}"


def cost_of(usage: Usage, model: str, prices: Mapping[str, Price]) -> Cost:
    """The cost of a usage by the stated price of its model: (input + output) x price, cached tokens at their own.

    Example: `cost_of(usage, "openai:gpt-4o", {"openai:gpt-4o": Price(Decimal("2.5"), Decimal("10"))})`
    """
    price = price_of(model, prices)
    if price is None:
        return Cost(None)
    plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    amount = (
        plain * price.input
        + usage.cached_tokens * (price.input if price.cached is None else price.cached)
        + usage.cache_write_tokens * (price.input if price.cache_write is None else price.cache_write)
        + usage.output_tokens * price.output
    ) / PER
    return Cost(amount, price.currency)
