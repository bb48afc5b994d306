"""A PostgreSQL store beside its contract: many loops, many processes, lost connections, and nothing that hangs."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.servers import execute
from tests.stores.places import call, result, run
from tests.stores.steps import claim, find
from toolrail.store import (
    CallsOf,
    Claimed,
    FindCall,
    Held,
    KeepResult,
    ListRuns,
    LoadRun,
    Op,
    ReadResult,
    SaveRun,
    Settle,
    Spend,
    Store,
    TakeLease,
    ask,
)
from toolrail.stores import open_store
from toolrail.stores.failures import StoreError

pytestmark = pytest.mark.services

RACER = """
import asyncio, sys
from tests.stores.places import call, run
from tests.stores.steps import claim
from toolrail.store import SaveRun, Spend
from toolrail.stores import open_store

url, name = sys.argv[1:]

async def main():
    store = open_store(url)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(10):
        row = call(f"{name}:{number}", run=name, effect_key=f"k{number}", turn=number)
        answer, _ = await store.apply(claim(row), SaveRun(run(name)))
        print("key", number, type(answer).__name__, flush=True)
    (spent,) = await store.apply(Spend("acme", "calls", 1.0, 7.0, 0.0, 9.0))
    print("granted", spent.granted, flush=True)
    await store.close()

asyncio.run(main())
"""

DIES = """
import asyncio, os, sys
from tests.stores.places import call, run
from tests.stores.steps import claim
from toolrail.store import SaveRun
from toolrail.stores import open_store

async def main():
    await open_store(sys.argv[1]).apply(claim(call(effect_key="k")), SaveRun(run()))
    os._exit(9)

asyncio.run(main())
"""

FORKS = """
import asyncio, os, sys
from tests.stores.places import run
from toolrail.store import SaveRun
from toolrail.stores import open_store

store = open_store(sys.argv[1])
asyncio.run(store.apply(SaveRun(run("before"))))
child = os.fork()
asyncio.run(store.apply(SaveRun(run("parent" if child else "child"))))
asyncio.run(store.close())
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def with_store(url: str, body: Callable[[Store], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        store = open_store(url)
        try:
            return await body(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def plain(url: str) -> str:
    """The URL for the driver."""
    return re.sub(r"[?&]schema=\w+", "", url)


def test_of_twenty_processes_that_claim_a_key_exactly_one_has_it(postgres_url: str) -> None:
    """They also make the tables at the same moment, and share a counter."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, postgres_url, f"r{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(20)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = Counter(line for racer in racers for line in racer.communicate(timeout=100)[0].splitlines())
    assert [racer.returncode for racer in racers] == [0] * 20
    keys = Counter({f"key {number} Claimed": 1 for number in range(10)})
    keys.update({f"key {number} Held": 19 for number in range(10)})
    assert told == keys + Counter({"granted 1.0": 7, "granted 0.0": 13})


def test_what_was_answered_outlives_a_process_that_dies(postgres_url: str) -> None:
    assert subprocess.run([sys.executable, "-c", DIES, postgres_url], timeout=60, check=False).returncode == 9
    (row,) = with_store(postgres_url, lambda store: ask(store, CallsOf("acme", "r1")))
    assert row.state == "started"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_connections_of_its_own(postgres_url: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, postgres_url], timeout=60, check=True)
    runs = with_store(postgres_url, lambda store: ask(store, ListRuns()))
    assert {row.run for row in runs} == {"before", "parent", "child"}


def test_of_many_claims_of_one_key_exactly_one_is_claimed(postgres_url: str) -> None:
    async def body(store: Store) -> list[Any]:
        rows = [call(f"r{number}:d:0", run=f"r{number}", effect_key="k") for number in range(50)]
        return await asyncio.gather(*(ask(store, claim(row)) for row in rows))

    answers = with_store(postgres_url, body)
    assert answers.count(Claimed()) == 1
    assert sum(isinstance(answer, Held) for answer in answers) == 49


def test_two_stores_that_take_the_same_locks_in_turn_do_not_lock_each_other_out(postgres_url: str) -> None:
    rows = [call(f"c{number}", effect_key=f"k{number}") for number in range(8)]
    ops = [Settle(row) for row in rows]

    async def body(store: Store) -> list[Any]:
        other = open_store(postgres_url)
        answers = await asyncio.gather(*(s.apply(*o) for _ in range(10) for s, o in ((store, ops), (other, ops[::-1]))))
        await other.close()
        return answers

    assert with_store(postgres_url, body) == [[True] * 8] * 20


@pytest.mark.parametrize("number", range(3))
def test_of_two_stores_that_take_over_one_call_one_has_it(postgres_url: str, number: int) -> None:
    first = call("a", effect_key="k", open_key="o", state="unknown", lease_until=None)

    async def body(store: Store) -> list[Any]:
        other = open_store(postgres_url)
        await store.apply(claim(call("a", effect_key="k", open_key="o")), Settle(first))
        repeats = [call(f"b{n}", effect_key="k" if n % 2 else f"k{n}", open_key="o") for n in range(10)]
        answers = await asyncio.gather(
            *(ask(s, claim(row, over="a")) for s, row in zip([store, other] * 5, repeats, strict=True))
        )
        await other.close()
        return answers

    assert with_store(postgres_url, body).count(Claimed()) == 1


def test_requests_that_change_the_same_are_done_in_their_order(postgres_url: str) -> None:
    async def body(store: Store) -> Any:
        await asyncio.gather(*(store.apply(SaveRun(run(state=str(number)))) for number in range(50)))
        return await ask(store, LoadRun("acme", "r1"))

    assert with_store(postgres_url, body).state == "49"


def test_one_store_serves_event_loops_in_turn_and_at_once(postgres_url: str) -> None:
    store = open_store(postgres_url)
    asyncio.run(ask(store, SaveRun(run())))

    async def save(name: str) -> None:
        for number in range(10):
            await ask(store, SaveRun(run(f"{name}{number}")))

    threads = [threading.Thread(target=asyncio.run, args=(save(name),)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asyncio.run(ask(store, ListRuns()))) == 21
    asyncio.run(store.close())
    assert "toolrail-store" not in [thread.name for thread in threading.enumerate()]


def test_a_waiter_that_is_cancelled_does_not_stop_the_write(postgres_url: str) -> None:
    async def body(store: Store) -> Any:
        waiter = asyncio.create_task(store.apply(SaveRun(run())))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        await store.close()
        return await ask(store, ListRuns())

    assert with_store(postgres_url, body) == (run(),)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\x1a", "\x1a0000", "\ud800", "\ud83d\ude00", "\ud800\0\x1a\udfff ☃ 𝄞"])
def test_any_text_comes_back_as_it_was(postgres_url: str, text: str) -> None:
    async def body(store: Store) -> Any:
        row = call(key=text, call_id=text, content=text, effect_key=text, state="done")
        await store.apply(claim(row), Settle(row), KeepResult(result(handle=text, content=text)))
        assert await ask(store, FindCall("acme", text)) == row
        assert await ask(store, find(text)) == row
        return await ask(store, ReadResult("acme", text))

    assert with_store(postgres_url, body) == result(handle=text, content=text)


# What the server was asked


def noting(sent: list[str], real: Callable[..., Any]) -> Callable[..., Any]:
    def spy(self: Any, query: str, *args: Any, **options: Any) -> Any:
        sent.append(query)
        return real(self, query, *args, **options)

    return spy


async def asked(url: str, monkeypatch: pytest.MonkeyPatch, *ops: Op) -> list[str]:
    """The statements that these operations take, once connected."""
    sent: list[str] = []
    store = open_store(url)
    await store.apply(ListRuns())
    connection = import_module("asyncpg").connection.Connection
    for name in ("execute", "fetch"):
        monkeypatch.setattr(connection, name, noting(sent, getattr(connection, name)))
    await store.apply(*ops)
    await store.close()
    return sent


@pytest.mark.parametrize(
    "op",
    [LoadRun("acme", "r1"), CallsOf("acme", "r1"), SaveRun(run()), TakeLease("acme", "x", "a", 0.0, 1.0)],
    ids=lambda op: type(op).__name__,
)
def test_one_statement_needs_no_transaction_block(postgres_url: str, monkeypatch: pytest.MonkeyPatch, op: Op) -> None:
    (sent,) = asyncio.run(asked(postgres_url, monkeypatch, op))
    assert not sent.startswith("BEGIN")


def test_several_reads_see_one_moment(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = asyncio.run(asked(postgres_url, monkeypatch, LoadRun("acme", "r1"), CallsOf("acme", "r1")))
    assert (sent[0], sent[-1]) == ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "COMMIT")


def test_a_claim_takes_five_round_trips(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = asyncio.run(asked(postgres_url, monkeypatch, claim(call(effect_key="k", open_key="o"))))
    assert [text.split()[0] for text in sent] == ["BEGIN", "SELECT", "SELECT", "INSERT", "COMMIT"]


# Where the rows are


def test_two_schemas_are_two_stores(postgres_url: str) -> None:
    with_store(postgres_url, lambda store: ask(store, SaveRun(run())))
    assert with_store(f"{postgres_url}_b", lambda store: ask(store, ListRuns())) == ()


def test_the_tables_stand_in_the_schema_and_nowhere_else(postgres_url: str) -> None:
    with_store(postgres_url, lambda store: ask(store, SaveRun(run())))
    schema = parse_qs(urlsplit(postgres_url).query)["schema"][0]
    query = f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'"
    assert asyncio.run(execute(plain(postgres_url), query)) == [(8,)]


def change(url: str, statement: str) -> None:
    schema = parse_qs(urlsplit(url).query)["schema"][0]
    asyncio.run(execute(plain(url), statement.replace("@", f"{schema}.")))


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("UPDATE @migrations SET version = 99", "a newer toolrail wrote its tables.*schema 99.*Mend: Upgrade toolrail"),
        ("DROP TABLE @runs", "a table of the store is missing.*Mend: Restore"),
        ("DROP TABLE @migrations", "a table of that name is there already.*Mend: Give the store a schema of its own"),
        ("ALTER TABLE @runs DROP COLUMN state", "a column of the store is missing.*Mend: Restore"),
    ],
)
def test_tables_that_are_not_ours_are_named_with_reason_and_mend(postgres_url: str, statement: str, text: str) -> None:
    with_store(postgres_url, lambda store: ask(store, SaveRun(run())))
    change(postgres_url, statement)
    with pytest.raises(StoreError, match=text):
        with_store(postgres_url, lambda store: ask(store, SaveRun(run())))


def test_a_user_who_may_not_make_tables_is_told_so(postgres_url: str) -> None:
    role = f"toolrail_reader_{os.getpid()}"
    asyncio.run(execute(plain(postgres_url), f"CREATE ROLE {role} LOGIN PASSWORD 'geheim'"))
    try:
        url = urlsplit(postgres_url)
        bound = url._replace(netloc=f"{role}:geheim@{url.netloc.rpartition('@')[2]}").geturl()
        with pytest.raises(StoreError, match=r"this user may not do that.*Mend: Let it create a schema") as raised:
            with_store(bound, lambda store: ask(store, ListRuns()))
        assert "geheim" not in str(raised.value)
        assert "geheim" not in repr(open_store(bound))
    finally:
        asyncio.run(execute(plain(postgres_url), f"DROP ROLE {role}"))


def test_a_missing_database_is_named(postgres_url: str) -> None:
    url = urlsplit(postgres_url)._replace(path="/no_such_database").geturl()
    with pytest.raises(StoreError, match=r"there is no such database\..*Mend: Create it"):
        with_store(url, lambda store: ask(store, ListRuns()))


def test_a_number_that_is_too_large_is_the_callers_mistake(postgres_url: str) -> None:
    with pytest.raises(Exception, match="value out of int64 range") as raised:
        with_store(postgres_url, lambda store: ask(store, Settle(call(attempts=2**70))))
    assert not isinstance(raised.value, StoreError)


# Lost connections and silence


class Line:
    """A line to the server that can be cut, or go silent."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._listener: asyncio.Server | None = None
        self._silent = asyncio.Event()
        self.port = 0

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Closes it; nobody can call any more."""
        assert self._listener is not None
        self._listener.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writers.clear()

    def fall_silent(self) -> None:
        """What was connected stays so, and says nothing any more."""
        self._silent.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self._server)
        directory = parse_qs(parts.query).get("host", [""])[0]
        port = parts.port or 5432
        far = (
            await asyncio.open_unix_connection(f"{directory}/.s.PGSQL.{port}")
            if directory.startswith("/")
            else await asyncio.open_connection(parts.hostname, port)
        )
        self._writers += [writer, far[1]]
        for source, target in ((reader, far[1]), (far[0], writer)):
            task = asyncio.create_task(self._copy(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if not self._silent.is_set():
                    target.write(data)
        except ConnectionError:
            return
        finally:
            target.close()


@asynccontextmanager
async def line_to(url: str) -> AsyncGenerator[tuple[Line, Store]]:
    line = Line(url)
    await line.open()
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0] or "postgres"
    schema = parse_qs(parts.query)["schema"][0]
    store = open_store(f"postgresql://{credentials}@127.0.0.1:{line.port}{parts.path}?schema={schema}")
    try:
        yield line, store
    finally:
        await store.close()
        await line.cut()


def test_a_server_that_comes_back_is_found_again(postgres_url: str) -> None:
    async def body() -> Any:
        async with line_to(postgres_url) as (line, store):
            await ask(store, SaveRun(run("r1")))
            await line.cut()
            with pytest.raises(StoreError, match=r"^postgresql://\S+: .*(cannot be reached|was lost).* Mend: "):
                await ask(store, SaveRun(run("r2")))
            await line.open()
            await ask(store, SaveRun(run("r3")))
            return await ask(store, ListRuns())

    assert {row.run for row in asyncio.run(body())} == {"r1", "r3"}


def test_a_lost_connection_costs_the_next_request_nothing(postgres_url: str) -> None:
    async def body(store: Store) -> Any:
        await asyncio.gather(*(ask(store, SaveRun(run(f"r{number}"))) for number in range(4)))
        here = "pid <> pg_backend_pid() AND datname = current_database()"
        await execute(plain(postgres_url), f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {here}")
        return await asyncio.gather(*(ask(store, claim(call(f"c{number}", effect_key="k"))) for number in range(4)))

    assert with_store(postgres_url, body).count(Claimed()) == 1


@pytest.mark.parametrize("ops", [(SaveRun(run()),), (claim(call()), SaveRun(run()))], ids=["one", "two"])
def test_a_server_that_falls_silent_is_an_error_and_no_hang(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, ops: tuple[Op, ...]
) -> None:
    monkeypatch.setattr("toolrail.stores.postgres.client.APPLY_SECONDS", 1.0)
    monkeypatch.setattr("toolrail.stores.postgres.client.CLOSE_SECONDS", 0.1)

    async def body() -> None:
        async with line_to(postgres_url) as (line, store):
            await ask(store, SaveRun(run()))
            line.fall_silent()
            for _ in range(2):
                with pytest.raises(StoreError, match=r"it did not answer in time\. Mend: "):
                    await store.apply(*ops)

    asyncio.run(body())


def test_a_transaction_that_is_never_ended_holds_nobody_for_ever(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolrail.stores.postgres.client.STATEMENT_MS", 200)

    async def body(store: Store) -> Any:
        await ask(store, Spend("acme", "money", 1.0, 10.0, 0.0, 9.0))
        other = await import_module("asyncpg").connect(plain(postgres_url))
        await other.execute("BEGIN")
        schema = parse_qs(urlsplit(postgres_url).query)["schema"][0]
        await other.execute(f"LOCK TABLE {schema}.counters")
        with pytest.raises(StoreError, match=r"it did not answer in time\. .* Mend: Look for a transaction"):
            await ask(store, Spend("acme", "money", 1.0, 10.0, 0.0, 9.0))
        await other.execute("ROLLBACK")
        await other.close()
        return await ask(store, Spend("acme", "money", 1.0, 10.0, 0.0, 9.0))

    assert with_store(postgres_url, body).total == 2.0


def test_a_commit_whose_answer_is_lost_is_not_told_to_have_failed(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: Store) -> Any:
        await ask(store, ListRuns())
        connection = import_module("asyncpg").connection.Connection
        real = connection.execute

        async def cut_after(self: Any, query: str, *args: Any, **options: Any) -> Any:
            answer = await real(self, query, *args, **options)
            if query == "COMMIT":
                raise ConnectionResetError("cut")
            return answer

        monkeypatch.setattr(connection, "execute", cut_after)
        with pytest.raises(StoreError, match="nobody knows whether it was written"):
            await store.apply(claim(call()), SaveRun(run()))
        monkeypatch.undo()
        return await ask(store, CallsOf("acme", "r1"))

    assert with_store(postgres_url, body) == (call(),)
