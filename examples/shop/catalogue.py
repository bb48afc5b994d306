"""The search port: what any catalogue of the shop can be asked, and how a query is read."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from examples.shop.vocabulary import Category

MAX_WORDS = 12
"""More words than this make a query slower, not better."""

_WORD = re.compile(r"[a-z0-9]+")
_STOP_WORDS = frozenset((
    "a", "an", "and", "any", "are", "at", "by", "for", "from", "have", "i", "in", "is", "it", "me", "my", "of", "on",
    "or", "some", "that", "the", "to", "with", "you",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Product:
    """One product of the catalogue. Money is kept in integer cents, weight in grams."""

    id: str
    name: str
    description: str
    category: Category
    price_cents: int
    stock: int
    weight_grams: int

    @property
    def price(self) -> Decimal:
        """The price in whole units of money, exact."""
        return Decimal(self.price_cents).scaleb(-2)


class Catalogue(Protocol):
    """Two questions, so that a search engine can take the place of SQL.

    `within` is how many seconds the answer is waited for: the database itself gives up then, with a `TimeoutError`.
    """

    async def search(
        self, query: str, *, category: Category | None = None, limit: int = 5, within: float | None = None
    ) -> list[Product]:
        """The best matches first: products with all words of `query`, or, where none has all, with any of them.

        A query without words finds every product (of the category), by name.
        """
        ...

    async def product(self, product_id: str, *, within: float | None = None) -> Product | None:
        """The product with this id, if there is one."""
        ...


def search_words(text: str) -> list[str]:
    """The words of `text` that count in a search, folded: lower case, no accents, no stop words, none twice.

    Both databases index and look up exactly these, so that they agree on what a word is, and a query holds nothing
    but letters and digits when it reaches their query languages.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return [word for word in dict.fromkeys(_WORD.findall(plain)) if word not in _STOP_WORDS]
