"""Reading a store from outside: what is there is told, and nothing is changed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import cast

import pytest

from tests.stores.places import FULL, approval, call, run
from tests.stores.steps import claim
from toolrail.store import (
    CallsOf,
    FindCall,
    ListApprovals,
    ListRuns,
    LoadRun,
    Op,
    OpenCalls,
    RequestApproval,
    SaveRun,
    Settle,
)
from toolrail.stores.failures import StoreError
from toolrail.stores.reading import StoreReader
from toolrail.stores.sqlite import SQLiteStore


async def filled(path: Path) -> SQLiteStore:
    store = SQLiteStore(path)
    await store.apply(SaveRun(run()), Settle(FULL), RequestApproval(approval()))
    return store


async def closed(path: Path) -> None:
    await (await filled(path)).close()


def test_a_reader_tells_runs_and_calls(path: Path) -> None:
    asyncio.run(closed(path))
    reader = StoreReader(path)
    assert reader.ask(ListRuns()) == (run(),)
    assert reader.ask(LoadRun("acme", "r1")) == run()
    assert reader.ask(LoadRun("acme", "r2")) is None
    assert reader.ask(CallsOf("acme", "r1")) == (FULL,)


def test_a_reader_tells_what_waits_for_a_person(path: Path) -> None:
    asyncio.run(closed(path))
    reader = StoreReader(path)
    assert reader.ask(OpenCalls()) == (FULL,)
    assert reader.ask(FindCall(None, FULL.key)) == FULL
    assert reader.ask(FindCall("zeta", FULL.key)) is None
    assert reader.ask(ListApprovals()) == (approval(),)


def test_a_reader_leaves_no_trace(path: Path) -> None:
    asyncio.run(closed(path))
    before = path.read_bytes()
    StoreReader(path).ask(ListRuns())
    assert os.listdir(path.parent) == ["rail.db"]
    assert path.read_bytes() == before


def test_a_reader_sees_what_a_writer_commits_meanwhile(path: Path) -> None:
    async def body() -> list[int]:
        store = await filled(path)
        reader = StoreReader(path)
        counts = [len(reader.ask(ListRuns()))]
        await store.apply(SaveRun(run("r2")))
        counts.append(len(reader.ask(ListRuns())))
        await store.close()
        counts.append(len(reader.ask(ListRuns())))
        return counts

    assert asyncio.run(body()) == [1, 2, 2]


def test_a_missing_file_is_named_and_not_made(path: Path) -> None:
    with pytest.raises(StoreError, match=r"rail\.db: there is no such file\. Mend: Name the file"):
        StoreReader(path)
    assert os.listdir(path.parent) == []


def test_a_file_without_a_store_is_named_and_stays_empty(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match="it holds no store yet"):
        StoreReader(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "#1.db", "ö.db"])
def test_odd_names_are_read(tmp_path: Path, name: str) -> None:
    asyncio.run(closed(tmp_path / name))
    assert StoreReader(tmp_path / name).ask(ListRuns()) == (run(),)
    assert os.listdir(tmp_path) == [name]


def test_a_reader_writes_nothing(path: Path) -> None:
    asyncio.run(closed(path))
    reader = StoreReader(path)
    with pytest.raises(TypeError, match="a reader does not answer Claim"):
        reader.ask(cast(Op, claim(call())))  # pyright: ignore[reportCallIssue, reportArgumentType]
