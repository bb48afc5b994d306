"""The port for orders: every question carries the customer who asks, so that no answer can be another's order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal, Protocol

OrderState = Literal["placed", "paid", "shipped", "delivered", "cancelled"]

CANCELLABLE: tuple[OrderState, ...] = ("placed", "paid")
"""The states in which an order can still be cancelled."""


@dataclass(frozen=True, slots=True)
class OrderLine:
    """So many of one product, at the price of the day of the order."""

    product_id: str
    name: str
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True, slots=True)
class Order:
    """One order with its lines."""

    id: str
    customer_id: str
    state: OrderState
    placed_on: date
    delivery_on: date | None
    """Expected or actual; None for a cancelled order."""
    lines: tuple[OrderLine, ...]

    @property
    def total(self) -> Decimal:
        """What the order costs in whole units of money, exact."""
        return Decimal(sum(line.quantity * line.unit_price_cents for line in self.lines)).scaleb(-2)


@dataclass(frozen=True, slots=True)
class NoSuchOrder:
    """There is no order with this id at all."""


@dataclass(frozen=True, slots=True)
class NotYours:
    """The order exists and is another customer's. It carries nothing, so that nothing of it can leak."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The order was open and is cancelled now."""

    order: Order


@dataclass(frozen=True, slots=True)
class TooLate:
    """The order is the customer's and can no longer be cancelled; nothing was changed."""

    order: Order


class Orders(Protocol):
    """What a customer can do with orders.

    `within` is how many seconds the answer is waited for: the database itself gives up then, with a `TimeoutError`, so
    that no order is cancelled after somebody was told that it took too long.
    """

    async def find(
        self, order_id: str, *, customer_id: str, within: float | None = None
    ) -> Order | NotYours | NoSuchOrder:
        """The customer's own order."""
        ...

    async def cancel(
        self, order_id: str, *, customer_id: str, within: float | None = None
    ) -> Cancelled | TooLate | NotYours | NoSuchOrder:
        """Cancels the customer's own order while it is placed or paid."""
        ...
