"""The places that the contract of a store runs on. Another store joins with one more row in `DURABLE`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stores.places import Place
from toolrail.stores.memory import MemoryStore
from toolrail.stores.sqlite import SQLiteStore

DURABLE: dict[str, Callable[[Path], Place]] = {
    "sqlite": lambda directory: Place(lambda: SQLiteStore(directory / "rail.db")),
}
PLACES: dict[str, Callable[[Path], Place]] = {"memory": lambda _: Place(MemoryStore), **DURABLE}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place for a store, of each kind in turn."""
    return PLACES[request.param](tmp_path)


@pytest.fixture(params=DURABLE)
def durable_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place for a store that outlives the process and has transactions."""
    return DURABLE[request.param](tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an SQLite store may be made."""
    return tmp_path / "rail.db"
