"""The places that telemetry is written to: a file, and a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.servers import database, postgres_server

_numbers = count()


@pytest.fixture(scope="session")
def records_postgres() -> Iterator[str]:
    """The URL of a database of these tests' own, on a real server."""
    with postgres_server() as server, database(server, f"toolrail_records_{os.getpid()}") as url:
        yield url


def _in_a_file(request: pytest.FixtureRequest) -> str:
    path: Path = request.getfixturevalue("tmp_path")
    return f"sqlite:///{path / 'rail.records.db'}"


def _in_postgres(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("records_postgres")
    return f"{url}{'&' if '?' in url else '?'}schema=r{next(_numbers)}"


@pytest.fixture(
    params=[
        pytest.param(_in_a_file, id="sqlite"),
        pytest.param(_in_postgres, id="postgres", marks=pytest.mark.services),
    ]
)
def records_place(request: pytest.FixtureRequest) -> str:
    """The URL of an empty place for telemetry, of each kind in turn."""
    return request.param(request)
