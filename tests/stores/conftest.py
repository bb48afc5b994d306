"""The places that the contract of a store runs on. Another store joins with one more row in `DURABLE`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.servers import database, postgres_server
from tests.stores.places import Place
from toolrail.stores import open_store
from toolrail.stores.memory import MemoryStore
from toolrail.stores.sqlite import SQLiteStore

Opening = Callable[[pytest.FixtureRequest], Place]
_numbers = count()


def _in_memory(request: pytest.FixtureRequest) -> Place:
    return Place(MemoryStore)


def _in_a_file(request: pytest.FixtureRequest) -> Place:
    path: Path = request.getfixturevalue("path")
    return Place(lambda: SQLiteStore(path))


def _in_postgres(request: pytest.FixtureRequest) -> Place:
    url: str = request.getfixturevalue("postgres_url")
    return Place(lambda: open_store(url))


DURABLE = [
    pytest.param(_in_a_file, id="sqlite"),
    pytest.param(_in_postgres, id="postgres", marks=pytest.mark.services),
]
DURABLE_KINDS = [pytest.param(kind.id, marks=kind.marks) for kind in DURABLE]
"""Their names, for tests that open many."""
PLACES = [pytest.param(_in_memory, id="memory"), *DURABLE]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """An empty place for a store, of each kind in turn."""
    return request.param(request)


@pytest.fixture(params=DURABLE)
def durable_place(request: pytest.FixtureRequest) -> Place:
    """An empty place for a store that outlives the process and has transactions."""
    return request.param(request)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an SQLite store may be made."""
    return tmp_path / "rail.db"


@pytest.fixture(scope="session")
def postgres_database() -> Iterator[str]:
    """The URL of a database of these tests' own, on a real server."""
    with postgres_server() as server, database(server, f"toolrail_stores_{os.getpid()}") as url:
        yield url


@pytest.fixture
def postgres_url(postgres_database: str) -> str:
    """The URL of a place in it where nothing is yet: a schema of the test's own."""
    return f"{postgres_database}{'&' if '?' in postgres_database else '?'}schema=s{next(_numbers)}"
