"""Twenty processes share one store, pay one invoice, and are killed at random between claim and settlement."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills.races import check_race
from tests.promises import promise
from tests.servers import database, postgres_server

KINDS = ("once", "keyed", "verified")


@promise("effect:once", "effect:unknown")
@pytest.mark.parametrize("kind", KINDS)
def test_over_one_file_whoever_dies_the_invoice_is_paid_at_most_once_and_what_nobody_knows_is_listed(
    kind: str, tmp_path: Path
) -> None:
    check_race(f"sqlite:///{tmp_path / 'rail.db'}", kind, tmp_path / "world", seed=1)


@pytest.fixture(scope="module")
def postgres_place() -> Iterator[str]:
    """A database of these tests' own, on a real server."""
    with postgres_server() as server, database(server, f"toolrail_kills_{os.getpid()}") as url:
        yield url


@promise("effect:once", "effect:unknown")
@pytest.mark.services
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_over_one_postgres_whoever_dies_the_invoice_is_paid_at_most_once_and_what_nobody_knows_is_listed(
    kind: str, seed: int, postgres_place: str, tmp_path: Path
) -> None:
    url = f"{postgres_place}{'&' if '?' in postgres_place else '?'}schema={kind}{seed}"
    check_race(url, kind, tmp_path / "world", seed=seed)
