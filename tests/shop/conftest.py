"""Databases for the shop's tests: built once per session, and handed to each test as a copy of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from examples.shop.open import open_shop
from tests.servers import database, execute, postgres_server

pytest.register_assert_rewrite("tests.shop.contract")

_TEMPLATE = "toolrail_shop_template"
_numbers = count()


@pytest.fixture(scope="session")
def built_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop database that nobody changes."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    asyncio.run(_build(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(built_sqlite: Path, tmp_path: Path) -> str:
    """A built shop of the test's own."""
    return f"sqlite:///{shutil.copy(built_sqlite, tmp_path / 'shop.db')}"


@pytest.fixture(scope="session")
def shop_server() -> Iterator[str]:
    """The URL of a running server with a shop to copy."""
    with postgres_server() as url:
        asyncio.run(execute(url, f"DROP DATABASE IF EXISTS {_TEMPLATE}"))
        with database(url, _TEMPLATE) as template:
            asyncio.run(_build(template))
            yield url


@pytest.fixture
def postgres_url(shop_server: str) -> Iterator[str]:
    """A built shop of the test's own."""
    with database(shop_server, _name(), template=_TEMPLATE) as url:
        yield url


@pytest.fixture
def empty_postgres_url(shop_server: str) -> Iterator[str]:
    """An empty database of the test's own."""
    with database(shop_server, _name()) as url:
        yield url


def _name() -> str:
    return f"toolrail_shop_{os.getpid()}_{next(_numbers)}"


async def _build(url: str) -> None:
    async with open_shop(url):
        pass
