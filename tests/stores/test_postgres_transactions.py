"""What a tool writes into the store's own PostgreSQL database is committed with the end of its call, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import pytest

from tests.stores.places import call, run
from tests.stores.steps import claim
from tests.stores.test_postgres import plain
from toolrail.store import FindCall, LoadRun, SaveRun, Settle, Store, ask
from toolrail.stores.postgres import PostgresStore
from toolrail.transaction import CommitLost, EndedByTool, StoreTransaction, Transactional

pytestmark = pytest.mark.services

DONE = Settle(call(state="done", content="paid", lease_until=None))
WRITE = "INSERT INTO written VALUES (1)"


def seen_after(
    url: str, body: Callable[[PostgresStore, StoreTransaction], Awaitable[Any]]
) -> tuple[Any, str | None, int]:
    """What a body answers in a transaction after a claim, then the state of the call, and how much was written."""

    async def whole() -> tuple[Any, str | None, int]:
        store = PostgresStore(url)
        outside = await import_module("asyncpg").connect(plain(url))
        try:
            await ask(store, claim(call()))
            await outside.execute("DROP TABLE IF EXISTS written; CREATE TABLE written (n INT UNIQUE)")
            transaction = await store.begin()
            try:
                answer = await body(store, transaction)
            finally:
                await transaction.rollback()
            row = await ask(store, FindCall("acme", call().key))
            return answer, row and row.state, await outside.fetchval("SELECT count(*) FROM written")
        finally:
            await outside.close()
            await store.close()

    return asyncio.run(whole())


def test_both_are_committed_together(postgres_url: str) -> None:
    async def body(store: PostgresStore, transaction: StoreTransaction) -> Any:
        await transaction.connection.execute(WRITE)
        wrote = await transaction.commit(DONE, SaveRun(run()))
        return wrote, await ask(store, LoadRun("acme", "r1"))

    assert seen_after(postgres_url, body) == ((True, run()), "done", 1)


def test_neither_is_there_after_a_rollback(postgres_url: str) -> None:
    async def body(store: Store, transaction: StoreTransaction) -> None:
        await transaction.connection.execute(WRITE)
        await transaction.rollback()
        await transaction.rollback()

    assert seen_after(postgres_url, body) == (None, "started", 0)


def test_neither_is_there_when_the_call_was_settled_otherwise(postgres_url: str) -> None:
    async def body(store: Store, transaction: StoreTransaction) -> bool:
        await transaction.connection.execute(WRITE)
        await ask(store, Settle(call(state="unknown", lease_until=None)))
        return await transaction.commit(DONE._replace(expect=("started",)))

    assert seen_after(postgres_url, body) == (False, "unknown", 0)


def test_neither_is_there_after_a_statement_that_failed(postgres_url: str) -> None:
    async def body(store: Store, transaction: StoreTransaction) -> None:
        await transaction.connection.execute(WRITE)
        with pytest.raises(Exception, match="duplicate key"):
            await transaction.connection.execute(WRITE)
        with pytest.raises(Exception, match="current transaction is aborted"):
            await transaction.commit(DONE)

    assert seen_after(postgres_url, body) == (None, "started", 0)


@pytest.mark.parametrize("by_itself", ["COMMIT", "COMMIT; BEGIN"])
def test_a_handler_that_commits_by_itself_is_found_out(postgres_url: str, by_itself: str) -> None:
    async def body(store: Store, transaction: StoreTransaction) -> None:
        await transaction.connection.execute(WRITE)
        await transaction.connection.execute(by_itself)
        with pytest.raises(EndedByTool, match="by itself"):
            await transaction.commit(DONE)

    assert seen_after(postgres_url, body) == (None, "started", 1)


def test_a_rollback_does_not_wait_for_a_statement(postgres_url: str) -> None:
    async def body(store: Store, transaction: StoreTransaction) -> None:
        await transaction.connection.execute(WRITE)
        waiting = asyncio.create_task(transaction.connection.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0)
        await transaction.rollback()
        with pytest.raises(Exception, match="connection"):
            await waiting

    assert seen_after(postgres_url, body) == (None, "started", 0)


def test_a_connection_that_is_lost_in_the_commit_leaves_it_open_whether_it_was_done(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = import_module("asyncpg").connection.Connection.execute

    async def cut_after(self: Any, query: str, *args: Any, **options: Any) -> Any:
        answer = await real(self, query, *args, **options)
        if query == "COMMIT":
            raise ConnectionResetError("cut")
        return answer

    async def body(store: Store, transaction: StoreTransaction) -> None:
        monkeypatch.setattr(import_module("asyncpg").connection.Connection, "execute", cut_after)
        with pytest.raises(CommitLost):
            await transaction.commit(DONE)
        monkeypatch.undo()

    assert seen_after(postgres_url, body) == (None, "done", 0)


def test_a_store_that_has_transactions_says_so(postgres_url: str) -> None:
    assert isinstance(PostgresStore(postgres_url), Transactional)
