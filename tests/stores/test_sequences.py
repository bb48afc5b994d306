"""Whatever is asked, in whatever order, SQLite answers as the store in memory does."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores.places import call, run, session
from toolrail.codes import Code
from toolrail.store import (
    CallRow,
    CallsOf,
    Claim,
    DropLease,
    FindEffect,
    ListRuns,
    LoadRun,
    LoadSession,
    Op,
    Plan,
    SaveRun,
    SaveSession,
    Settle,
    TakeLease,
)
from toolrail.stores.memory import MemoryStore
from toolrail.stores.sqlite import SQLiteStore

TENANTS = st.sampled_from(["acme", "zeta"])
NAMES = st.sampled_from(["r0", "r1", "r2"])
TIMES = st.floats(0, 100, allow_nan=False)
TEXTS = st.text(max_size=20)
ENDS = st.sampled_from(["done", "failed", "unknown"])


@st.composite
def calls(draw: st.DrawFn, states: st.SearchStrategy[str]) -> CallRow:
    """Six calls that want three effects or none: a call's key says which one, as in the rail."""
    number = draw(st.integers(0, 7))
    return call(
        f"{number}",
        tenant=draw(TENANTS),
        run=f"r{number % 3}",
        turn=number // 2,
        index=number % 2,
        effect_key=None if number > 5 else f"k{number % 3}",
        state=draw(states),
        status=draw(st.sampled_from([None, "ok", "error"])),
        code=draw(st.sampled_from([None, Code.TIMEOUT, Code.TOOL_ERROR])),
        content=draw(st.none() | TEXTS),
        flags=tuple(draw(st.lists(TEXTS, max_size=2))),
        attempts=draw(st.integers(0, 2**31)),
        seconds=draw(TIMES),
        created=draw(TIMES),
        updated=draw(TIMES),
        lease_until=draw(st.none() | TIMES),
    )


def saved_run(name: str, tenant: str, state: str, updated: float) -> SaveRun:
    return SaveRun(run(name, tenant=tenant, state=state, updated=updated))


def saved_session(tenant: str, messages: str) -> SaveSession:
    return SaveSession(session(tenant=tenant, messages=messages))


OPS: st.SearchStrategy[Op] = st.one_of(
    st.builds(Plan, st.lists(calls(st.just("planned")), max_size=3).map(tuple)),
    st.builds(Claim, calls(st.just("started"))),
    st.builds(Settle, calls(ENDS)),
    st.builds(FindEffect, TENANTS, st.sampled_from(["k0", "k1", "k2"])),
    st.builds(CallsOf, TENANTS, NAMES),
    st.builds(saved_run, NAMES, TENANTS, TEXTS, TIMES),
    st.builds(LoadRun, TENANTS, NAMES),
    st.builds(ListRuns, st.integers(0, 3), st.none() | TENANTS, TIMES),
    st.builds(saved_session, TENANTS, TEXTS),
    st.builds(LoadSession, TENANTS, st.just("s1")),
    st.builds(TakeLease, TENANTS, NAMES, st.sampled_from(["a", "b"]), TIMES, TIMES),
    st.builds(DropLease, TENANTS, NAMES, st.sampled_from(["a", "b"])),
)
EVERYTHING = [
    *(CallsOf(tenant, name) for tenant in ("acme", "zeta") for name in ("r0", "r1", "r2")),
    *(FindEffect(tenant, key) for tenant in ("acme", "zeta") for key in ("k0", "k1", "k2")),
    ListRuns(),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(OPS, min_size=1, max_size=4), max_size=25))
def test_sqlite_answers_as_memory_does(transactions: list[list[Op]]) -> None:
    async def body(path: Path) -> None:
        memory, file = MemoryStore(), SQLiteStore(path)
        for ops in [*transactions, EVERYTHING]:
            assert await file.apply(*ops) == await memory.apply(*ops)
        await file.close()
        assert await file.apply(*EVERYTHING) == await memory.apply(*EVERYTHING), "after closing and opening again"
        await file.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(Path(directory) / "rail.db"))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(OPS, min_size=1, max_size=3), min_size=2, max_size=20))
def test_requests_that_share_a_commit_are_done_in_their_order(transactions: list[list[Op]]) -> None:
    async def body(path: Path) -> None:
        memory, file = MemoryStore(), SQLiteStore(path)
        together = await asyncio.gather(*(file.apply(*ops) for ops in transactions))
        assert together == [await memory.apply(*ops) for ops in transactions]
        await file.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(Path(directory) / "rail.db"))
