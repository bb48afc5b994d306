"""Whatever is asked, in whatever order, each store answers as the one in memory does."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stores.conftest import DURABLE_KINDS
from tests.stores.places import approval, call, result, run, session
from toolrail.codes import Code
from toolrail.store import (
    ApprovalRow,
    CallRow,
    CallsOf,
    Claim,
    DecideApproval,
    DropLease,
    FindApproval,
    FindCall,
    FindEffect,
    Forget,
    KeepResult,
    ListApprovals,
    ListRuns,
    LoadRun,
    LoadSession,
    Op,
    OpenCalls,
    Plan,
    ReadResult,
    RequestApproval,
    SaveRun,
    SaveSession,
    Settle,
    Spend,
    Store,
    TakeLease,
)
from toolrail.stores import open_store
from toolrail.stores.memory import MemoryStore

TENANTS = st.sampled_from(["acme", "acme", "acme", "zeta"])
RUNS = st.sampled_from(["r0", "r1", "r2"])
NUMBERS = st.integers(0, 7)
TIMES = st.integers(0, 20).map(float)
"""Few, so that many are equal."""
TEXTS = st.text(max_size=20)
STATES = st.sampled_from(["done", "failed", "failed", "unknown", "unknown", "unknown", "waiting", "pending"])
EXPECTED = st.sampled_from([(), (), (), ("planned", "started"), ("started",), ("unknown", "repeated"), ("failed",)])
APPROVALS = st.sampled_from(["a0", "a1", "a2"])
HANDLES = st.sampled_from(["h0", "h1"])
AMOUNTS = st.sampled_from([-3.0, -0.1, 0.0, 0.1, 0.2, 1.0, 5.0])
LIMITS = st.sampled_from([None, 0.0, 1.0, 4.5])


@st.composite
def calls(draw: st.DrawFn, states: st.SearchStrategy[str]) -> CallRow:
    """Eight calls of three runs. Few effect keys and open keys, so that they meet; what a call's key says stays."""
    number = draw(NUMBERS)
    return call(
        f"{number}",
        tenant=draw(TENANTS),
        run=f"r{number % 3}",
        turn=number // 2,
        index=number % 2,
        effect_key=None if number > 5 else f"k{number % 3}" if number < 4 else "wide",
        open_key=None if number == 7 else f"o{number % 2}",
        scope=None if number > 5 else "run" if number % 2 else "tenant",
        state=draw(states),
        status=draw(st.sampled_from([None, "ok", "error"])),
        code=draw(st.sampled_from([None, Code.TIMEOUT, Code.TOOL_ERROR])),
        content=draw(st.none() | TEXTS),
        flags=tuple(draw(st.lists(TEXTS, max_size=2))),
        idempotency_key=draw(st.sampled_from([None, "i0", "i1"])),
        arguments=draw(st.none() | TEXTS),
        attempts=draw(st.integers(0, 2**31)),
        seconds=draw(TIMES),
        created=draw(TIMES),
        updated=draw(TIMES),
        lease_until=draw(st.none() | TIMES),
    )


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    over = draw(st.none() | st.none() | NUMBERS.map(str))
    return Claim(draw(calls(st.just("started"))), draw(TIMES), over, draw(st.none() | st.none() | APPROVALS))


@st.composite
def questions(draw: st.DrawFn) -> ApprovalRow:
    number = draw(st.integers(0, 2))
    return approval(
        f"a{number}",
        tenant=draw(TENANTS),
        run=f"r{number % 3}",
        key=f"{number}",
        four_eyes=draw(st.booleans()),
        reason=draw(TEXTS),
        created=draw(TIMES),
        expires=draw(st.none() | TIMES),
    )


def saved_run(name: str, tenant: str, state: str, updated: float) -> SaveRun:
    return SaveRun(run(name, tenant=tenant, state=state, updated=updated))


def saved_session(tenant: str, messages: str) -> SaveSession:
    return SaveSession(session(tenant=tenant, messages=messages))


def kept(handle: str, tenant: str, of: str, content: str) -> KeepResult:
    return KeepResult(result(handle, tenant=tenant, run=of, content=content))


EFFECT_KEYS = st.none() | st.sampled_from(["k0", "k1", "k2", "wide"])
OPEN_KEYS = st.none() | st.sampled_from(["o0", "o1"])
OF_CALLS: st.SearchStrategy[Op] = st.one_of(
    claims(),
    claims(),
    st.builds(Settle, calls(STATES), EXPECTED),
    st.builds(Settle, calls(STATES), EXPECTED),
    st.builds(Plan, st.lists(calls(st.just("planned")), max_size=3).map(tuple)),
    st.builds(FindEffect, TENANTS, EFFECT_KEYS, OPEN_KEYS, TIMES),
    st.builds(FindCall, st.none() | TENANTS, NUMBERS.map(str)),
    st.builds(OpenCalls, st.none() | TENANTS, st.integers(0, 5)),
    st.builds(CallsOf, TENANTS, RUNS),
)
"""Without `Forget`: the store in memory also drops later what was open then, and the others keep it."""
OF_THE_REST: st.SearchStrategy[Op] = st.one_of(
    st.builds(RequestApproval, questions()),
    st.builds(DecideApproval, TENANTS, APPROVALS, st.booleans(), TEXTS, TIMES, TEXTS, st.none() | TEXTS),
    st.builds(FindApproval, st.none() | TENANTS, APPROVALS),
    st.builds(
        ListApprovals,
        st.none() | TENANTS,
        st.none() | RUNS,
        st.sampled_from([None, "pending", "approved", "used"]),
        st.integers(0, 3),
    ),
    st.builds(Spend, TENANTS, st.sampled_from(["calls", "money"]), AMOUNTS, LIMITS, TIMES, TIMES),
    st.builds(kept, HANDLES, TENANTS, RUNS, TEXTS),
    st.builds(ReadResult, TENANTS, HANDLES),
    st.builds(saved_run, RUNS, TENANTS, TEXTS, TIMES),
    st.builds(LoadRun, TENANTS, RUNS),
    st.builds(ListRuns, st.integers(0, 3), st.none() | TENANTS, TIMES),
    st.builds(saved_session, TENANTS, TEXTS),
    st.builds(LoadSession, TENANTS, st.just("s1")),
    st.builds(TakeLease, TENANTS, RUNS, st.sampled_from(["a", "b"]), TIMES, TIMES),
    st.builds(DropLease, TENANTS, RUNS, st.sampled_from(["a", "b"])),
)
OPS = st.one_of(OF_CALLS, OF_CALLS, OF_THE_REST)
EVERYTHING = [
    *(CallsOf(tenant, name) for tenant in ("acme", "zeta") for name in ("r0", "r1", "r2")),
    *(FindEffect(tenant, key, None, 10.0) for tenant in ("acme", "zeta") for key in ("k0", "k1", "k2", "wide")),
    *(FindEffect(tenant, None, key, now) for tenant in ("acme", "zeta") for key in ("o0", "o1") for now in (0.0, 99.0)),
    OpenCalls(),
    ListRuns(),
    ListApprovals(state=None),
]

_numbers = count()


@contextmanager
def opened(kind: str, request: pytest.FixtureRequest) -> Generator[Store]:
    """An empty store of a kind, for each example anew."""
    if kind == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        yield open_store(f"{url}_{next(_numbers)}")
        return
    with tempfile.TemporaryDirectory() as directory:
        yield open_store(f"sqlite:///{Path(directory) / 'rail.db'}")


EXAMPLES = settings(
    max_examples=int(os.environ.get("TOOLRAIL_TEST_EXAMPLES", "60")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example has a store of its own
)


@pytest.mark.parametrize("kind", DURABLE_KINDS)
@EXAMPLES
@given(st.lists(st.lists(OPS, min_size=1, max_size=4), max_size=25))
def test_a_store_answers_as_memory_does(
    kind: str, request: pytest.FixtureRequest, transactions: list[list[Op]]
) -> None:
    async def body(store: Store) -> None:
        memory = MemoryStore()
        for ops in [*transactions, EVERYTHING]:
            assert await store.apply(*ops) == await memory.apply(*ops)
        await store.close()
        assert await store.apply(*EVERYTHING) == await memory.apply(*EVERYTHING), "after closing and opening again"
        await store.close()

    with opened(kind, request) as store:
        asyncio.run(body(store))


@settings(max_examples=300)
@given(st.lists(OF_CALLS | st.builds(Forget, TENANTS, RUNS), max_size=60))
def test_no_effect_key_has_two_holders_and_every_chain_has_an_end(ops: list[Op]) -> None:
    """Looked at through the questions that the rail asks: they always end, and whoever holds a key keeps others out."""

    async def body() -> None:
        store = MemoryStore()
        for op in ops:
            await store.apply(op)
            for tenant in ("acme", "zeta"):
                for key in ("k0", "k1", "k2", "wide"):
                    (holder,) = await store.apply(FindEffect(tenant, key, None, 10.0))
                    if holder is None:
                        continue
                    assert holder.state in ("started", "waiting", "done", "unknown")
                    rival = call("rival", tenant=tenant, run="rx", effect_key=key)
                    (held,) = await store.apply(Claim(rival, 10.0))
                    assert held.row == holder

    asyncio.run(body())


@settings(max_examples=30)
@given(st.lists(st.lists(OPS, min_size=1, max_size=3), min_size=2, max_size=20))
def test_requests_that_share_a_commit_are_done_in_their_order(transactions: list[list[Op]]) -> None:
    async def body(store: Store) -> None:
        memory = MemoryStore()
        together = await asyncio.gather(*(store.apply(*ops) for ops in transactions))
        assert together == [await memory.apply(*ops) for ops in transactions]
        await store.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(open_store(f"sqlite:///{Path(directory) / 'rail.db'}")))


@settings(max_examples=100)
@given(calls(st.just("started")), calls(STATES))
def test_a_claim_always_shows_what_its_caller_wrote(row: CallRow, end: CallRow) -> None:
    async def body() -> None:
        store = MemoryStore()
        await store.apply(Claim(row, 0.0))
        (found,) = await store.apply(FindCall(row.tenant, row.key))
        assert found == replace(row, repeats=None)
        (wrote,) = await store.apply(Settle(replace(end, tenant=row.tenant, key=row.key)))
        (found,) = await store.apply(FindCall(row.tenant, row.key))
        assert wrote is True
        assert (found.state, found.content) == (end.state, end.content)

    asyncio.run(body())
