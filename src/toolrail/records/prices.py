"""Users' own prices: a mapping or a TOML file, and books of prices that are asked one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from os import PathLike, fspath
from typing import Any, TypeAlias, cast

from toolrail.errors import DefinitionError
from toolrail.money import NO_PRICES, PER, Cost, NoPrices, Price, PriceBook, Tier, charged, cost_of, price_of

__all__ = [
    "NO_PRICES",
    "PER",
    "Cost",
    "First",
    "Given",
    "Price",
    "PriceBook",
    "Prices",
    "Tier",
    "book_of",
    "charged",
    "combined",
    "cost_of",
    "price_of",
]

Given: TypeAlias = Mapping[str, Price] | PriceBook | str | PathLike[str]
"""What `prices=` takes: by model name, a book, or the path of a TOML file."""
_AMOUNTS = ("input", "output", "cached", "cache_write", "reasoning", "request")


class Prices:
    """A book of stated prices, by model name: `openai:gpt-4o`, or the name that responses have.

    Args:
        prices: checked here. One that was looked up somewhere counts as stated from now on.

    Raises:
        DefinitionError: TR309, a price is negative, or is no number.

    Example: `Prices({"openai:gpt-4o": Price(Decimal("2.5"), Decimal("10"), cached=Decimal("1.25"))})`
    """

    __slots__ = ("_found", "_prices")

    def __init__(self, prices: Mapping[str, Price]) -> None:
        for name, price in prices.items():
            check_price(f"prices[{name!r}]", price)
        self._prices = {name: _stated(price) for name, price in prices.items()}
        self._found: dict[str, Price | None] = {}

    @classmethod
    def from_toml(cls, path: str | PathLike[str]) -> Prices:
        """The prices of a file, per million tokens:

            currency = "USD"                 # the default

            [models."openai:gpt-4o"]
            input = 2.50
            output = 10.00
            cached = 1.25                    # read from a cache; without it, as input
            cache_write = 3.125              # written to one; without it, as input
            reasoning = 10.00                # without it, as output
            request = 0.005                  # for each request, where there is such a price
            tiers = [{ over = 200_000, input = 5.00, output = 15.00 }]   # for requests of more input tokens

        Raises:
            DefinitionError: TR309, with the file and the line or the key.

        Example: `Rail(tools, prices="prices.toml")`
        """
        from toolrail.records.pricefile import read_prices  # most programs have no such file

        return cls(read_prices(fspath(path)))

    def price(self, model: str, at: float = 0.0, /) -> Price | None:
        """The price of a model by its exact name, or by the only `provider:name` with that name. Never a near one."""
        try:
            return self._found[model]
        except KeyError:
            found = price_of(model, self._prices)
            if len(self._found) < 1_000:  # a server may name its models as it likes
                self._found[model] = found
            return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._prices)

    def __len__(self) -> int:
        return len(self._prices)

    def items(self) -> Iterator[tuple[str, Price]]:
        """Names and prices."""
        return iter(self._prices.items())


class First:
    """Books that are asked one after the other: the first that knows a price has the word. See `combined`."""

    __slots__ = ("books",)

    def __init__(self, *books: PriceBook) -> None:
        self.books = books

    def price(self, model: str, at: float = 0.0, /) -> Price | None:
        """The first price that one of the books knows."""
        for book in self.books:
            if (found := book.price(model, at)) is not None:
                return found
        return None


def combined(*books: PriceBook) -> PriceBook:
    """Several books as one; where two know a price, the earlier one's holds.

    Example: `combined(Prices.from_toml("prices.toml"), GenaiPrices())`
    """
    some = [book for book in books if not isinstance(book, NoPrices)]
    if not some:
        return NO_PRICES
    if all(isinstance(book, Prices) for book in some):
        merged: dict[str, Price] = {}
        for book in reversed(cast("list[Prices]", some)):
            merged.update(book.items())
        return Prices(merged)
    return some[0] if len(some) == 1 else First(*some)


def book_of(given: Given | None, owner: str = "Rail") -> PriceBook:
    """What `prices=` takes, as a book.

    Raises:
        DefinitionError: TR309.
    """
    if given is None:
        return NO_PRICES
    if isinstance(given, Mapping):
        return Prices(given) if given else NO_PRICES
    if isinstance(given, str | PathLike):
        return Prices.from_toml(given)
    if callable(getattr(given, "price", None)):
        return given
    kind = type(cast(object, given)).__name__
    mend = 'Give a mapping of model names to Price(...), a book, or the path of a TOML file, as in "prices.toml".'
    raise DefinitionError("TR309", f"{owner}(prices={kind})", "these are no prices.", mend)


def check_price(where: str, price: Any) -> None:
    """Says no to what is no price.

    Raises:
        DefinitionError: TR309.
    """
    if not isinstance(price, Price):
        raise DefinitionError("TR309", where, "it is no Price.", 'Write Price(Decimal("2.50"), Decimal("10")).')
    for name in _AMOUNTS:
        check_amount(f"{where}.{name}", getattr(price, name), must=name in ("input", "output"))
    for at, tier in enumerate(price.tiers):
        for name in ("input", "output", "cached", "cache_write", "reasoning"):
            check_amount(f"{where}.tiers[{at}].{name}", getattr(tier, name), must=name in ("input", "output"))
    if not price.currency or [tier.over for tier in price.tiers] != sorted({tier.over for tier in price.tiers}):
        problem = "its tiers do not rise." if price.currency else "it has no currency."
        raise DefinitionError("TR309", where, problem, 'Order them by `over`, and name a currency such as "USD".')


def check_amount(where: str, amount: Any, *, must: bool) -> None:
    """A finite Decimal from zero on; None where there need not be one."""
    if amount is None and not must:
        return
    if not isinstance(amount, Decimal):
        mend = f'Write Decimal("{amount}").' if isinstance(amount, int | float) else 'Write Decimal("2.50").'
        raise DefinitionError("TR309", where, f"{amount!r} is no Decimal.", mend)
    if not amount.is_finite() or amount < 0:
        what = "is negative" if amount.is_finite() else "is no amount"
        raise DefinitionError("TR309", where, f"{amount} {what}.", "Give what a million tokens cost, zero or more.")


def _stated(price: Price) -> Price:
    return price if price.stated else replace(price, source="")
