"""Stores by URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolrail.errors import DefinitionError
from toolrail.stores import open_store
from toolrail.stores.memory import MemoryStore
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
