"""What every handler of the shop is given: the ports, and a client for the shipping service."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2

from examples.shop.catalogue import Catalogue
from examples.shop.orders import Orders


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop's systems, as the tools see them."""

    catalogue: Catalogue
    orders: Orders
    http: httpx2.AsyncClient
    quotes_url: str
    """Where the shipping service listens, without a path."""
