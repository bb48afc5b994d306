"""Stores by URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolrail.errors import DefinitionError
from toolrail.stores import open_store
from toolrail.stores.memory import MemoryStore
from toolrail.stores.postgres.url import place_of
from toolrail.stores.sqlite import SQLiteStore


def test_memory_is_a_store_in_this_process() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///rail.db", "HERE/rail.db"),
        ("sqlite:///data/rail.db", "HERE/data/rail.db"),
        ("sqlite:////abs/rail.db", "/abs/rail.db"),
        ("sqlite:///a b%20.db", "HERE/a b%20.db"),
    ],
)
def test_three_slashes_are_relative_and_four_absolute(
    url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(url)
    assert isinstance(store, SQLiteStore)
    assert store.path == path.replace("HERE", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///", "it names no file"),
        ("sqlite:////", "it names no file"),
        ("sqlite:///data/", "it names no file"),
        ("sqlite:///:memory:", "it names no file"),
        ("sqlite://", "three slashes"),
        ("sqlite://rail.db", "three slashes"),
        ("sqlite:rail.db", "no store has this URL"),
        ("sqlite:///rail.db?mode=ro", "no options"),
        ("rail.db", "no store has this URL"),
        ("", "no store has this URL"),
        ("mysql://host/db", "no store has this URL"),
    ],
)
def test_a_url_that_names_no_store_is_an_error_with_a_mend(url: str, text: str) -> None:
    with pytest.raises(DefinitionError, match=f"TR303 store=.*{text}.*Mend: Use") as raised:
        open_store(url)
    assert raised.value.rule == "TR303"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:geheim@db:5433/app?schema=s", "postgresql://ann@db:5433/app?schema=s"),
        ("postgres://ann:geheim@db/app", "postgres://ann@db/app"),
        ("postgresql://ann:geh%40eim@db/app", "postgresql://ann@db/app"),
        ("postgresql:///app?user=ann&password=geheim&host=/tmp", "postgresql:///app?user=ann&host=/tmp"),
        ("postgresql://ann@/app?host=/tmp", "postgresql://ann@/app?host=/tmp"),
        ("postgresql://ann:gehe@im@db/app", "postgresql://ann@db/app"),
        ("postgresql://db", "postgresql://db"),
    ],
)
def test_a_postgres_store_shows_its_url_without_the_password(url: str, shown: str) -> None:
    assert repr(open_store(url)) == f"PostgresStore({shown!r})"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:ge/heim@db/app",
        "postgresql://ann:geheim@db:port/app",
        "postgresql://ann:geheim@db/app?schema=No-Name",
        "postgresql://ann:geheim@db/app?schema=",
        'postgresql://ann:geheim@db/app?schema=a"b',
        "postgresql://ann:geheim@db/app?geheim",
        "postgresql://ann:123/heim@db/app",
        "postgresql://ann:123?heim@db/app",
        "postgresql://ann:123#heim@db/app",
        "mysql://ann:geheim@db/app",
    ],
)
def test_an_error_about_a_url_shows_no_password(url: str) -> None:
    with pytest.raises(DefinitionError, match=r"TR303 store='\w+://.*Mend: ") as raised:
        open_store(url)
    assert "heim" not in str(raised.value)


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        return None

    monkeypatch.setattr("toolrail.stores.find_spec", nothing)
    with pytest.raises(DefinitionError, match=r'TR303 .*asyncpg is not installed.*pip install "toolrail\[postgres\]"'):
        open_store("postgresql://host/db")


@pytest.mark.parametrize(
    ("url", "given", "schema"),
    [
        ("postgresql://db/app", None, "toolrail"),
        ("postgresql://db/app?schema=one", None, "one"),
        ("postgresql://db/app?schema=one", "two", "two"),
    ],
)
def test_the_tables_stand_in_a_schema_of_their_own(url: str, given: str | None, schema: str) -> None:
    place = place_of(url, schema=given)
    assert (place.schema, place.dsn) == (schema, "postgresql://db/app")
