"""Prices and costs as values. A price that nobody stated is unknown, never zero, and so is what it would have cost."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol, TypeVar

from toolrail.frozen import frozen
from toolrail.messages import Usage

PER = Decimal(1_000_000)
P = TypeVar("P")


@frozen
class Tier:
    """Other prices for a whole response whose request was long."""

    over: int
    """Holds when more input tokens than this were sent."""
    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None


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
    reasoning: Decimal | None = None
    """Thought, not said. None: as output, of which these tokens are a part."""
    request: Decimal | None = None
    """For each request, whatever its tokens."""
    tiers: tuple[Tier, ...] = ()
    """By rising `over`."""
    source: str = ""
    """Where it was looked up; empty: somebody stated it. Only stated prices count where money has a limit."""

    @property
    def stated(self) -> bool:
        """Whether somebody stated it, as against looked up in a table of other people's."""
        return not self.source


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


class PriceBook(Protocol):
    """Knows prices. It is asked within runs, so it answers at once.

    Example:

        class Contract:
            def price(self, model: str, at: float) -> Price | None:
                return Price(Decimal("2.5"), Decimal("10")) if model == "openai:gpt-4o" else None
    """

    def price(self, model: str, at: float, /) -> Price | None:
        """What a model cost at a moment (seconds since the epoch); None where that is not known."""
        ...


class NoPrices:
    """The book of who has none."""

    __slots__ = ()

    def price(self, _model: str, _at: float = 0.0, /) -> Price | None:
        """Never any."""
        return None


NO_PRICES = NoPrices()


def price_of(model: str, prices: Mapping[str, P]) -> P | None:
    """The price of a model by its exact name, or by the only `provider:name` with that name. Never a near one."""
    found = prices.get(model)
    if found is None:
        named = [price for name, price in prices.items() if name.partition(":")[2] == model]
        found = named[0] if len(named) == 1 else None
    return found


def cost_of(usage: Usage, model: str, prices: Mapping[str, Price] | PriceBook, *, at: float = 0.0) -> Cost:
    """What one response cost: (input + output) x price, with cached, written and reasoning tokens at their own.

    A response without a count of its tokens has an unknown cost: each takes some.

    Args:
        usage: of one response. A sum of several will do where the price has neither tiers nor a price per request.
        model: its name, as in the prices.
        prices: by model, or a book.
        at: when, in seconds since the epoch, for books whose prices change.

    Example: `cost_of(usage, "openai:gpt-4o", {"openai:gpt-4o": Price(Decimal("2.5"), Decimal("10"))})`
    """
    price = price_of(model, prices) if isinstance(prices, Mapping) else prices.price(model, at)
    return Cost(None) if price is None else charged(usage, price)


def known_cost(book: PriceBook, model: str, usage: Usage, *, at: float) -> Cost:
    """`cost_of` for the record: a book that raises knows nothing."""
    try:
        return cost_of(usage, model, book, at=at)
    except Exception:
        return Cost(None)


def charged(usage: Usage, price: Price) -> Cost:
    """What one response cost at a price. Of counts that contradict one another it is unknown: more tokens from a cache
    than were sent, more thought than was written, less than none."""
    read, wrote, thought = usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens
    fresh, said = usage.input_tokens - read - wrote, usage.output_tokens - thought
    if not usage.total_tokens or min(fresh, read, wrote, said, thought) < 0:
        return Cost(None, price.currency)
    rate: Price | Tier = price
    for tier in price.tiers:
        if usage.input_tokens > tier.over:
            rate = tier
    amount = (
        fresh * rate.input
        + read * (rate.input if rate.cached is None else rate.cached)
        + wrote * (rate.input if rate.cache_write is None else rate.cache_write)
        + said * rate.output
        + thought * (rate.output if rate.reasoning is None else rate.reasoning)
    ) / PER
    return Cost(amount if price.request is None else amount + price.request, price.currency)
