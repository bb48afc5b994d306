"""The writer thread: requests share a commit, and only a request's own fault is its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.stores.places import call, run
from tests.stores.steps import claim
from toolrail.store import Claimed, Held, ListRuns, Op, SaveRun, Settle, Store, ask
from toolrail.stores.failures import StoreError
from toolrail.stores.reading import StoreReader
from toolrail.stores.sqlite import GROUP, SQLiteStore

TOO_LARGE = Settle(call("z", attempts=2**70))


def apply_together(path: Path, *requests: tuple[Op, ...]) -> list[Any]:
    async def body() -> list[Any]:
        store = SQLiteStore(path)
        answers = await asyncio.gather(*(store.apply(*ops) for ops in requests), return_exceptions=True)
        await store.close()
        return answers

    return asyncio.run(body())


def commits_of(path: Path, monkeypatch: pytest.MonkeyPatch, *requests: tuple[Op, ...]) -> int:
    """How many transactions these requests took, when all wait at once."""
    done: list[str] = []

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        db = real(*args, **options)
        db.set_trace_callback(lambda statement: done.append(statement))
        return db

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    apply_together(path, *requests)
    return done.count("COMMIT")


def test_requests_that_wait_together_share_a_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [(SaveRun(run(f"r{number}")),) for number in range(100)]
    # One for the schema, one for whatever came first, one for all that waited meanwhile; the writer may be quick.
    assert commits_of(path, monkeypatch, *requests) < 50
    assert len(StoreReader(path).ask(ListRuns(limit=1000))) == 100


def test_more_requests_than_a_group_holds_are_all_done(path: Path) -> None:
    count = GROUP * 2 + 1
    answers = apply_together(path, *((SaveRun(run(f"r{number}")),) for number in range(count)))
    assert answers == [[None]] * count
    assert len(StoreReader(path).ask(ListRuns(limit=10_000))) == count


def test_one_that_fails_takes_no_other_with_it(path: Path) -> None:
    requests = [(SaveRun(run(f"r{number}")), *([TOO_LARGE] if number == 13 else [])) for number in range(30)]
    answers = apply_together(path, *requests)
    assert isinstance(answers.pop(13), OverflowError)
    assert answers == [[None]] * 29
    kept = {row.run for row in StoreReader(path).ask(ListRuns(limit=100))}
    assert kept == {f"r{number}" for number in range(30)} - {"r13"}


def test_one_for_which_sqlite_gives_up_the_transaction_takes_no_other_with_it(path: Path) -> None:
    apply_together(path, (SaveRun(run("before")),))
    trigger = "CREATE TRIGGER no BEFORE INSERT ON runs WHEN NEW.run = 'r13' BEGIN SELECT RAISE(ROLLBACK, 'no'); END"
    with closing(sqlite3.connect(path)) as db:
        db.execute(trigger)
    answers = apply_together(path, *((SaveRun(run(f"r{number}")),) for number in range(30)))
    assert isinstance(answers.pop(13), sqlite3.IntegrityError)
    assert answers == [[None]] * 29
    assert len(StoreReader(path).ask(ListRuns(limit=100))) == 30


def test_of_many_claims_of_one_key_exactly_one_is_claimed(path: Path) -> None:
    requests = [(claim(call(f"r{number}:d:0", run=f"r{number}", effect_key="k")),) for number in range(50)]
    answers = [answer for (answer,) in apply_together(path, *requests)]
    assert answers.count(Claimed()) == 1
    assert sum(isinstance(answer, Held) for answer in answers) == 49


def test_every_waiter_of_a_broken_file_has_an_error_of_its_own(path: Path) -> None:
    path.write_text("no database" * 500)
    answers = apply_together(path, *((SaveRun(run(f"r{number}")),) for number in range(5)))
    assert [type(answer) for answer in answers] == [StoreError] * 5
    assert len({id(answer) for answer in answers}) == 5


def test_a_waiter_that_is_cancelled_does_not_stop_the_write(path: Path) -> None:
    async def body() -> Any:
        store = SQLiteStore(path)
        waiter = asyncio.create_task(store.apply(SaveRun(run())))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        rows = await ask(store, ListRuns())
        await store.close()
        return rows

    assert asyncio.run(body()) == (run(),)


def test_what_is_queued_is_written_before_it_closes(path: Path) -> None:
    async def body() -> None:
        store = SQLiteStore(path)
        waiters = [asyncio.create_task(store.apply(SaveRun(run(f"r{number}")))) for number in range(20)]
        await asyncio.sleep(0)
        await store.close()
        assert all(waiter.done() for waiter in waiters)
        await asyncio.gather(*waiters)

    asyncio.run(body())
    assert len(StoreReader(path).ask(ListRuns())) == 20


def test_no_thread_is_left_after_close(path: Path) -> None:
    before = set(threading.enumerate())  # another test's server may have a store open for as long as it runs
    apply_together(path, (SaveRun(run()),))
    assert [thread.name for thread in set(threading.enumerate()) - before if thread.name == "toolrail-store"] == []


def test_loops_in_two_threads_may_share_a_store(path: Path) -> None:
    store: Store = SQLiteStore(path)

    async def save(name: str) -> None:
        for number in range(20):
            await store.apply(SaveRun(run(f"{name}{number}")))

    threads = [threading.Thread(target=asyncio.run, args=(save(name),)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asyncio.run(ask(store, ListRuns()))) == 40
    asyncio.run(store.close())


def test_a_simulated_loop_is_held_while_the_writer_is_at_work(path: Path) -> None:
    class Holding(asyncio.SelectorEventLoop):
        held = 0
        most = 0

        def hold(self) -> None:
            self.held += 1
            self.most = max(self.most, self.held)

        def release(self) -> None:
            self.held -= 1

    async def body() -> None:
        store = SQLiteStore(path)
        await asyncio.gather(*(store.apply(SaveRun(run(f"r{number}"))) for number in range(3)))
        await store.close()

    with asyncio.Runner(loop_factory=Holding) as runner:
        runner.run(body())
        loop = runner.get_loop()
        assert isinstance(loop, Holding)
        assert (loop.held, loop.most) == (0, 3)
