"""`toolrail effects`: what is open is listed with what to do, and settled by a person's word, once."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.promises import promise
from tests.servers import database, postgres_server
from toolrail.decisions import Principal
from toolrail.definition import tool
from toolrail.effects import once
from toolrail.messages import ToolCall, ToolResult
from toolrail.rail import Rail
from toolrail.run import RunState
from toolrail.store import CallRow, FindCall, Op, RunRow, SaveRun, Settle
from toolrail.stores import open_store

PAST, FUTURE = 1_000.0, 9_000_000_000.0
RUN = "run_0123456789abcdef0123456789ab"
ROW = CallRow(
    "default",
    RUN,
    f"{RUN}:1:0",
    1,
    0,
    "call_1",
    "pay",
    "digest",
    "ada",
    "once",
    "unknown",
    idempotency_key="key-of-the-bank",
    arguments='{"amount":5,"invoice":"A1"}',
    created=PAST,
    updated=PAST,
)
LAPSED = replace(ROW, key=f"{RUN}:1:1", index=1, state="started", lease_until=PAST, created=PAST + 1)
RUNNING = replace(ROW, key=f"{RUN}:1:2", index=2, state="started", lease_until=FUTURE, created=PAST + 2)
WAITING = replace(ROW, key=f"{RUN}:1:3", index=3, state="waiting", created=PAST + 3, tenant="acme")
NEVER_COMMITTED = replace(LAPSED, key=f"{RUN}:1:4", index=4, flags=("transaction",))
DONE = replace(ROW, key=f"{RUN}:1:5", index=5, state="done", status="ok", content="paid")
FAILED = replace(ROW, key=f"{RUN}:1:6", index=6, state="failed", status="error")
ALL = (ROW, LAPSED, RUNNING, WAITING, NEVER_COMMITTED, DONE, FAILED)


def write(url: str, *ops: Op) -> list[Any]:
    async def main() -> list[Any]:
        store = open_store(url)
        try:
            return await store.apply(*ops)
        finally:
            await store.close()

    return asyncio.run(main())


def state_of(url: str, row: CallRow) -> str | None:
    (found,) = write(url, FindCall(row.tenant, row.key))
    return found and found.state


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with a call in each state."""
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    write(url, *(Settle(row) for row in ALL))
    return url


@promise("effect:unknown")
def test_what_is_open_is_listed_the_oldest_first_and_says_how_it_stands(command: Command, url: str) -> None:
    done = command("effects", "list", "--store", url)
    assert done.code == 0
    heads = [line for line in done.out.splitlines() if "6789ab:1:" in line and "effects settle" not in line]
    assert [head.split()[0] for head in heads] == [f"456789ab:1:{n}" for n in range(4)]
    stands = ["OUTCOME UNKNOWN", "OUTCOME UNKNOWN", "UNDER WAY", "WAITING"]
    assert [head.endswith(said) for head, said in zip(heads, stands, strict=True)] == [True] * 4
    assert 'pay(amount=5, invoice="A1")' in done.out
    assert "idempotency key key-of-the-bank" in done.out
    assert "ada (acme)" in done.out


@promise("effect:unknown")
def test_each_line_of_advice_is_a_command_that_works(command: Command, url: str) -> None:
    listed = command("effects", "list", "--store", url).out
    typed = [line.split()[1:] for line in listed.splitlines() if line.strip().startswith("toolrail effects settle")]
    assert len(typed) == 6
    for words in typed[::2]:
        assert command(*["ann" if word == "NAME" else word for word in words]).code == 0
    assert [state_of(url, row) for row in (ROW, LAPSED, WAITING)] == ["done"] * 3
    assert "settle" not in command("effects", "list", "--store", url).out


def test_the_store_of_the_environment_is_not_repeated_in_the_advice(
    command: Command, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLRAIL_STORE", url)
    assert "toolrail effects settle 456789ab:1:0 --happened --by NAME\n" in command("effects", "list").out


def test_a_store_without_open_outcomes_says_so(command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    write(url, Settle(DONE), Settle(NEVER_COMMITTED))
    assert command("effects", "list", "--store", url).out == "No outcome is open.\n"
    assert json.loads(command("effects", "list", "--store", url, "--json").out) == []


def test_one_tenant_is_listed_alone_and_as_json(command: Command, url: str) -> None:
    listed = json.loads(command("effects", "list", "--store", url, "--tenant", "acme", "--json").out)
    assert [(one["id"], one["stands"], one["arguments"]) for one in listed] == [
        (WAITING.key, "waiting", {"amount": 5, "invoice": "A1"})
    ]
    every = json.loads(command("effects", "list", "--store", url, "--json").out)
    assert [one["stands"] for one in every] == ["unknown", "unknown", "under_way", "waiting"]


@pytest.mark.parametrize("id", [ROW.key, "456789ab:1:0", "0123456789abcdef0123456789ab:1:0"])
def test_one_is_shown_whole_by_a_part_of_its_id(command: Command, url: str, id: str) -> None:
    shown = command("effects", "show", id, "--store", url).out
    for text in (ROW.key, '{"amount":5,"invoice":"A1"}', "key-of-the-bank", "pay (once)", "effects settle"):
        assert text in shown


@pytest.mark.parametrize(
    ("row", "says"), [(RUNNING, "Nothing to do before 2255-"), (NEVER_COMMITTED, "nothing happened"), (DONE, "paid")]
)
def test_what_needs_nobody_says_so(command: Command, url: str, row: CallRow, says: str) -> None:
    shown = command("effects", "show", row.key, "--store", url).out
    assert says in shown
    assert "effects settle" not in shown


@promise("effect:unknown")
def test_who_settled_it_and_why_stands_in_its_row(command: Command, url: str) -> None:
    words = ("--did-not-happen", "--by", "ann", "--note", "called the bank")
    done = command("effects", "settle", "456789ab:1:0", *words, "--store", url)
    assert done.out == f"{ROW.key} (pay) is settled: it did not take effect; its key is free. Said by ann.\n"
    assert state_of(url, ROW) == "failed"
    assert "settled by      ann: called the bank" in command("effects", "show", ROW.key, "--store", url).out


REFUSED = [
    (RUNNING, "its handler may still be at work"),
    (DONE, "it is settled already at .*: it took effect"),
    (FAILED, "it is settled already at .*: it did nothing"),
]


@promise("effect:unknown")
@pytest.mark.parametrize(("row", "says"), REFUSED, ids=[row.state for row, _ in REFUSED])
def test_what_runs_or_is_settled_is_refused_and_stays(command: Command, url: str, row: CallRow, says: str) -> None:
    done = command("effects", "settle", row.key, "--happened", "--by", "ann", "--store", url)
    assert done.code == 1
    assert re.search(says, done.err)
    assert "Mend: " in done.err
    assert state_of(url, row) == row.state


WRONG = [
    (("show", "nothing"), 1, "no open call has this id"),
    (("show", "run_0123"), 1, "5 calls match"),
    (("settle", ROW.key, "--by", "ann"), 2, "--happened"),
    (("settle", ROW.key, "--happened"), 2, "--by"),
    (("settle", ROW.key, "--did-not-happen", "--result", "x", "--by", "ann"), 2, "what did not happen has no result"),
    ((), 2, "VERB"),
]


@pytest.mark.parametrize(("words", "code", "says"), WRONG, ids=[" ".join(words[:1]) for words, _, _ in WRONG])
def test_a_wrong_command_says_what_is_wrong(
    command: Command, url: str, words: tuple[str, ...], code: int, says: str
) -> None:
    done = command("effects", *words, *(("--store", url) if words else ()))
    assert done.code == code
    assert says in done.err
    assert state_of(url, ROW) == "unknown"


def test_a_file_that_is_not_there_is_named_and_not_made(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    done = command("effects", "settle", "x", "--happened", "--by", "ann", "--store", str(path))
    assert done.code == 1
    assert str(path) in done.err
    assert not path.exists()


def _in_run(*calls: CallRow) -> list[Op]:
    state = RunState(RUN, "default", "ada", turn=1, offered=("pay",))
    return [SaveRun(RunRow("default", RUN, None, "ada", state.to_json(), None, PAST, PAST)), *map(Settle, calls)]


@promise("effect:unknown")
def test_a_short_id_still_works_once_its_call_is_settled(command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    write(url, *_in_run(ROW, LAPSED, DONE))
    words = ("effects", "settle", "456789ab:1:0", "--happened", "--store", url)
    assert command(*words, "--by", "ann", "--note", "called the bank").code == 0
    again = command(*words, "--by", "bob")
    assert again.code == 1
    assert re.search(r"it is settled already, by ann: called the bank, at .*: it took effect\.", again.err)
    assert "settled by      ann" in command("effects", "show", "456789ab:1:0", "--store", url).out
    assert "paid" in command("effects", "show", "456789ab:1:5", "--store", url).out


NEXT = [
    ("once", "it will not be repeated"),
    ("keyed", "the next same call repeats it under its old key"),
    ("idempotent", "the next same call repeats it under its old key"),
    ("verified", "the next same call asks the other side first"),
]


@promise("effect:unknown")
@pytest.mark.parametrize("row", [ROW, LAPSED], ids=["unknown", "lapsed"])
@pytest.mark.parametrize(("effect", "says"), NEXT)
def test_what_the_next_same_call_will_do_is_said_by_the_effects_class(
    command: Command, tmp_path: Path, row: CallRow, effect: str, says: str
) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    write(url, *_in_run(replace(row, effect=effect)))
    for words in (("effects", "list"), ("effects", "show", row.key), ("show", RUN), ("tail", "--once")):
        assert says in command(*words, "--store", url).out


@promise("effect:unknown")
def test_an_undeclared_call_whose_process_died_is_not_listed_and_needs_nobody(command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    died = replace(LAPSED, effect="undeclared", arguments=None)
    write(url, *_in_run(died))
    assert command("effects", "list", "--store", url).out == "No outcome is open.\n"
    for words in (("effects", "show", died.key), ("show", RUN), ("tail", "--once")):
        said = command(*words, "--store", url).out
        assert "ENDED WITH ITS PROCESS" in said
        assert "UNKNOWN" not in said
        assert "settle" not in said


def test_arguments_that_were_not_kept_are_not_shown_as_none(command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    write(url, Settle(replace(RUNNING, effect="undeclared", arguments=None)))
    assert "pay(arguments not kept)" in command("effects", "list", "--store", url).out


@promise("effect:unknown")
def test_a_call_whose_thread_may_still_be_at_work_is_not_lightly_said_to_have_done_nothing(
    command: Command, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    row = replace(ROW, flags=("abandoned",))
    write(url, *_in_run(row))
    warning = "a thread of it may still be at work in its process"
    for words in (("effects", "list"), ("effects", "show", row.key), ("show", RUN), ("tail", "--once")):
        assert warning in command(*words, "--store", url).out
    settle = ("effects", "settle", row.key, "--did-not-happen", "--by", "ann", "--store", url)
    refused = command(*settle)
    assert (refused.code, warning in refused.err, "--even-so" in refused.err) == (1, True, True)
    assert state_of(url, row) == "unknown"
    done = command(*settle, "--even-so")
    assert (done.code, warning in done.err) == (0, True)
    assert state_of(url, row) == "failed"


def test_the_list_that_show_points_at_is_that_of_the_same_store(command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rail.db'}"
    write(url, *_in_run(ROW))
    assert f"(toolrail effects list --store {url})" in command("show", RUN, "--store", url).out
    assert f"`toolrail effects list --store {url}`" in command("effects", "show", "none", "--store", url).err


@pytest.mark.parametrize("words", [("tail", "--once"), ("show", RUN)])
def test_tail_and_show_say_what_to_type(command: Command, url: str, words: tuple[str, ...]) -> None:
    async def run_it() -> None:
        async with Rail[object]((), store=url, sinks=()) as rail, rail.run([], run_id=RUN):
            pass

    asyncio.run(run_it())
    said = command(*words, "--store", url).out
    assert f"-> toolrail effects show 456789ab:1:0 --store {url}" in said
    assert "DID NOTHING: its process died before it committed" in said


# From a call to its end, on each store


def paying(url: str, *, breaks: bool) -> ToolResult:
    @tool(effect=once(by="invoice", scope="tenant"))
    async def pay(invoice: str) -> str:
        """Pays."""
        if breaks:
            raise ConnectionResetError
        return "paid now"

    async def main() -> ToolResult:
        async with Rail([pay], store=url, sinks=()) as rail, rail.run([], principal=Principal("ada")) as run:
            return (await rail.batch([ToolCall("1", "pay", '{"invoice": "A1"}')], run))[0]

    return asyncio.run(main())


def check_settled_by_hand(command: Command, url: str, answer: tuple[str, ...], then: tuple[str, bool]) -> None:
    assert paying(url, breaks=True).status == "unknown"
    (listed,) = json.loads(command("effects", "list", "--store", url, "--json").out)
    assert paying(url, breaks=False).status == "unknown"
    done = command("effects", "settle", listed["short_id"], *answer, "--by", "ann", "--store", url)
    assert (done.code, done.err) == (0, "")
    result = paying(url, breaks=False)
    assert (result.content, result.replayed) == then
    assert "by:ann" not in result.flags


ANSWERS = [
    (("--happened",), ("This took effect. A person has confirmed it.", True)),
    (("--happened", "--result", "paid at noon", "--note", "seen"), ("paid at noon", True)),
    (("--did-not-happen",), ("paid now", False)),
]


@promise("effect:unknown")
@pytest.mark.parametrize(("answer", "then"), ANSWERS)
def test_after_a_persons_word_the_call_is_answered_or_made(
    command: Command, tmp_path: Path, answer: tuple[str, ...], then: tuple[str, bool]
) -> None:
    check_settled_by_hand(command, f"sqlite:///{tmp_path / 'rail.db'}", answer, then)


@pytest.fixture(scope="module")
def postgres_place() -> Iterator[str]:
    """A database of these tests' own, on a real server."""
    with postgres_server() as server, database(server, f"toolrail_effects_{os.getpid()}") as url:
        yield url


@promise("effect:unknown")
@pytest.mark.services
@pytest.mark.parametrize(("answer", "then"), ANSWERS)
def test_so_it_is_in_postgres(
    command: Command, postgres_place: str, answer: tuple[str, ...], then: tuple[str, bool]
) -> None:
    schema = f"s{len(answer)}{answer[0].count('-')}"
    url = f"{postgres_place}{'&' if '?' in postgres_place else '?'}schema={schema}"
    check_settled_by_hand(command, url, answer, then)
