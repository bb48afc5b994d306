"""The shop in PostgreSQL keeps the same contract, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.promises import promise
from tests.shop.contract import CONTRACT, OPENINGS, Behaviour, keep_to, sentence


@promise("reach:sql/postgres")
@pytest.mark.services
@pytest.mark.parametrize("behaviour", CONTRACT, ids=sentence)
def test_a_shop_in_postgres(behaviour: Behaviour, postgres_url: str) -> None:
    asyncio.run(keep_to(behaviour, postgres_url))


@promise("reach:sql/postgres")
@pytest.mark.services
@pytest.mark.parametrize("behaviour", OPENINGS, ids=sentence)
def test_an_empty_database_of_postgres(behaviour: Callable[[str], Awaitable[None]], empty_postgres_url: str) -> None:
    async def run() -> None:
        await behaviour(empty_postgres_url)

    asyncio.run(run())
