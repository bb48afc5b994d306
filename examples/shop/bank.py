"""A bank whose answer to the first payment comes too late. The money has moved all the same, as in life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

Note = Callable[[str], None]


@dataclass(slots=True)
class Bank:
    """Charges at once and answers later: the first time after `slow_seconds`, then soon."""

    slow_seconds: float = 1.0
    charges: list[tuple[str, Decimal]] = field(default_factory=list[tuple[str, Decimal]])
    note: Note = print
    """Hears of each charge, as the bank's own statement shows it."""

    async def pay(self, invoice: str, amount: Decimal) -> str:
        """Charges the amount; whoever stops waiting for the answer does not stop the charge."""
        self.charges.append((invoice, amount))
        self.note(f"the bank charges {amount} for {invoice}")
        await asyncio.sleep(self.slow_seconds if len(self.charges) == 1 else 0.01)
        return "Paid."
