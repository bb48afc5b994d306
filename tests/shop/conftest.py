"""Databases for the shop's tests: built once per session, and handed to each test as a copy of its own.

`pgserver` and `asyncpg` are imported only when a test asks for PostgreSQL.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.shop.open import open_shop

EXTERNAL_SERVER = "TOOLRAIL_TEST_POSTGRES"
"""The URL of a PostgreSQL server where databases may be made, for machines that `pgserver` has no wheel for."""

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
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running server with a shop to copy: a given one, or one that is started and stopped here."""
    external = os.environ.get(EXTERNAL_SERVER)
    url, stop = (external, _nothing) if external else _start_server(tmp_path_factory)
    try:
        asyncio.run(_build_template(url))
        yield url
        asyncio.run(_execute(url, f"DROP DATABASE {_TEMPLATE}"))
    finally:
        stop()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A built shop of the test's own."""
    yield from _database(postgres_server, template=_TEMPLATE)


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty database of the test's own."""
    yield from _database(postgres_server, template="template1")


def _database(server: str, *, template: str) -> Iterator[str]:
    name = f"toolrail_shop_{os.getpid()}_{next(_numbers)}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield _with_database(server, name)
    asyncio.run(_execute(server, f"DROP DATABASE {name}"))


def _start_server(directories: pytest.TempPathFactory) -> tuple[str, Callable[[], object]]:
    """Starts PostgreSQL on a Unix socket. As root, pgserver runs it as a user of its own, which it makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it warns where XDG_RUNTIME_DIR is not set
        pgserver = import_module("pgserver")
    last: subprocess.SubprocessError | None = None
    # It gives a server ten seconds to start, which a busy machine can miss.
    for _ in range(3):
        try:
            server = pgserver.get_server(directories.mktemp("pg"))
        except subprocess.SubprocessError as error:
            last = error
        else:
            return server.get_uri(), server.cleanup
    raise RuntimeError("PostgreSQL did not start") from last


def _nothing() -> None:
    """A given server is not ours to stop."""


async def _build(url: str) -> None:
    async with open_shop(url):
        pass


async def _build_template(url: str) -> None:
    await _execute(url, f"DROP DATABASE IF EXISTS {_TEMPLATE}", f"CREATE DATABASE {_TEMPLATE}")
    await _build(_with_database(url, _TEMPLATE))


async def _execute(url: str, *statements: str) -> None:
    connection = await import_module("asyncpg").connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
