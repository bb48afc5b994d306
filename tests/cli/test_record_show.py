"""`show` names each planted cause by itself; `tail` follows the record and the ledger, and tells a call once."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli import recorded
from tests.cli.conftest import Command
from tests.cli.recorded import ESCAPE, Seen, find_invoice
from tests.promises import promise
from tests.servers import database, postgres_server
from toolrail import Rail, ToolCall, tool
from toolrail.cli.both import Sources
from toolrail.cli.reading import Record
from toolrail.cli.tail import Feed
from toolrail.records.reading import Records
from toolrail.records.recorder import Recorder

CAUSES = [
    ("arguments", "1 x find_invoice INVALID_ARGUMENTS: the arguments do not fit; nothing ran (the model's arguments)"),
    (
        "dependency",
        "1 x charge MAX_RETRIES: still failing after the last attempt (the dependency bank; ConnectionError)",
    ),
    ("denied", "1 x find_invoice NOT_AUTHORISED: this principal may not (what this principal may do; rule limits)"),
    ("unknown", "1 x pay OUTCOME_UNKNOWN: it may have taken effect; it will not be repeated"),
    ("pending", "1 x refund APPROVAL_REJECTED: nobody approved it; nothing ran (what this principal may do)"),
    ("loop", "1 x statement LOOP_DETECTED: the same call again and again; nothing ran (a limit)"),
    ("hostile", "UNKNOWN_TOOL: no tool on offer has this name (the model's arguments)"),
]


@pytest.mark.parametrize(("name", "says"), CAUSES, ids=[name for name, _ in CAUSES])
def test_one_command_names_the_cause(command: Command, seen: Seen, name: str, says: str) -> None:
    done = command("show", seen.runs[name], *seen.options)
    assert (done.code, done.err) == (0, "")
    assert [line for line in done.out.splitlines() if line.startswith("trouble   ") and says in line]


@promise("see:record")
def test_a_run_is_told_with_its_requests_costs_attempts_and_decisions(command: Command, seen: Seen) -> None:
    out = command("show", seen.runs["dependency"], *seen.options).out
    assert re.search(r"^  priced: .*100 in, 20 out, 0\.2000 USD, 2 calls$", out, re.MULTILINE)
    assert "cost      0.4000 USD" in out
    tries = re.findall(r"^ +try (\d): transient ConnectionError after", out, re.MULTILINE)
    assert tries == ["1", "2", "3"]
    denied = command("show", seen.runs["denied"], *seen.options).out
    assert "denied by rule limits: not this customer" in denied
    unpriced = command("show", seen.runs["unpriced"], *seen.options).out
    assert "cost      unknown: 1 response without a price (unpriced)" in unpriced


def test_the_ledger_stands_for_what_is_open(command: Command, seen: Seen) -> None:
    out = command("show", seen.runs["unknown"], *seen.options).out
    hint = f"toolrail effects show {seen.runs['unknown'][-8:]}:1:0 --store {seen.store}"
    assert f"OUTCOME UNKNOWN: it may have taken effect; it will not be repeated -> {hint}" in out
    assert "UNKNOWN   1 of the calls: started, not settled" in out
    shown = json.loads(command("show", seen.runs["unknown"], *seen.options, "--json").out)
    (call,) = shown["calls"]
    assert (call["unsettled"], call["state"], call["code"]) == ("unknown", "unknown", "OUTCOME_UNKNOWN")
    assert call["attempts_made"][0]["error_type"] == "ConnectionError"


async def _looked_at_meanwhile(command: Command, tmp_path: Path) -> list[str]:
    """What `show` says of a run whose read is at work, with and without the store."""
    store, recorder = tmp_path / "seen.db", Recorder(f"sqlite:///{tmp_path / 'seen.records.db'}")
    begun, go = asyncio.Event(), asyncio.Event()

    @tool(effect="read")
    async def slow() -> str:
        """Takes its time."""
        begun.set()
        await go.wait()
        return "done"

    async with Rail([slow], store=f"sqlite:///{store}", sinks=[recorder]) as rail, rail.run([], run_id="run_a") as run:
        work = asyncio.ensure_future(rail.batch([ToolCall("1", "slow", "{}")], run))
        await begun.wait()
        await asyncio.to_thread(recorder.flush)
        said = [await asyncio.to_thread(_shown, command, tmp_path)]
        go.set()
        await work
    await asyncio.to_thread(recorder.close)
    return [*said, _shown(command, tmp_path)]


def _shown(command: Command, tmp_path: Path) -> str:
    return command("show", "run_a", "--store", str(tmp_path / "seen.db")).out


def test_a_call_that_is_at_work_is_shown_as_that_while_it_is(command: Command, tmp_path: Path) -> None:
    meanwhile, after = asyncio.run(_looked_at_meanwhile(command, tmp_path))
    assert re.search(r"slow +.*UNDER WAY: begun, and no result is recorded yet", meanwhile)
    assert "UNDER WAY 1 of the calls" in meanwhile
    assert re.search(r"slow +.* ok$", after, re.MULTILINE)


def test_content_is_shown_where_it_was_recorded_and_asked_for(command: Command, tmp_path: Path) -> None:
    kept = recorded.written(tmp_path, content="full")
    words = ("show", kept.runs["good"], *kept.options)
    assert "which only --content shows" not in command(*words).out
    out = command(*words, "--content").out
    assert 'arguments: {"customer": "ACME"}' in out
    assert "answer: INV-1 of ACME, which only --content shows" in out
    call = json.loads(command(*words, "--content", "--json").out)["calls"][0]
    assert json.loads(call["arguments"]) == {"customer": "ACME"}


@pytest.mark.parametrize("columns", ["80", "120"])
def test_lines_fit_the_screen_but_for_what_is_there_to_be_copied(
    command: Command, seen: Seen, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TOOLRAIL_STORE", str(seen.store))
    for words in (("tail", "--once"), *(("show", run) for run in seen.runs.values()), ("doctor",)):
        lines = command(*words).out.splitlines()
        assert [line for line in lines if len(line) > int(columns) and "-> toolrail" not in line] == []


@pytest.mark.parametrize("words", [("list",), ("tools",), ("sessions",), ("tail", "--once"), ("doctor",)])
def test_what_a_model_made_up_does_not_steer_a_terminal(command: Command, seen: Seen, words: tuple[str, ...]) -> None:
    out = command(*words, *seen.options).out + command("show", seen.runs["hostile"], *seen.options).out
    assert all(char.isprintable() or char == "\n" for char in out)
    assert ESCAPE not in out


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("no_colour", ["", "1"])
def test_on_a_real_terminal_tables_fit_and_only_our_own_escapes_reach_it(
    seen: Seen, rich: bool, no_colour: str, tmp_path: Path
) -> None:
    if not rich:  # as where the extra is not installed
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['rich'] = None\n")
    out = _on_a_terminal(("list", *seen.options), 100, {"NO_COLOR": no_colour, "PYTHONPATH": str(tmp_path)})
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert bool(no_colour) == ("\x1b[3" not in out)
    assert all(char.isprintable() or char in "\r\n" for char in plain)
    assert max(map(len, plain.splitlines())) <= 100
    assert all(run[-8:] in plain for run in seen.runs.values())
    assert ("───" in plain) == rich


def _on_a_terminal(words: tuple[str, ...], columns: int, environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    env |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8", "COLUMNS": str(columns)} | environment
    try:
        process = subprocess.Popen([sys.executable, "-m", "toolrail.cli", *words], stdout=theirs, env=env)
    finally:
        os.close(theirs)
    parts: list[bytes] = []
    try:
        while part := os.read(ours, 65_536):
            parts.append(part)
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(timeout=60) == 0
    return b"".join(parts).decode()


def test_tail_tells_of_each_call_once_though_both_know_it(command: Command, seen: Seen) -> None:
    lines = [json.loads(line) for line in command("tail", "--once", "--json", *seen.options).out.splitlines()]
    assert len({(one["key"], one["unsettled"]) for one in lines}) == len(lines) == 17
    out = command("tail", "--once", *seen.options).out
    assert re.search(r"pay +.*OUTCOME UNKNOWN: .* -> toolrail effects show \w+:1:0 --store", out)
    assert re.search(r"charge +\d+ ms .* 3  MAX_RETRIES: still failing after the last attempt$", out, re.MULTILINE)


async def _calls(store: Path, sinks: list[Recorder], *queries: str) -> None:
    async with Rail([find_invoice], store=f"sqlite:///{store}", sinks=sinks) as rail:
        for query in queries:
            async with rail.run([]) as run:
                await rail.batch([ToolCall("1", "find_invoice", json.dumps({"customer": query}))], run)


def test_following_tells_what_comes_into_record_or_ledger_once(tmp_path: Path) -> None:
    store, url = tmp_path / "rail.db", f"sqlite:///{tmp_path / 'other.db'}"
    recorder = Recorder(url)
    asyncio.run(_calls(store, [recorder], "first"))
    recorder.flush()
    with Records(url) as records:
        feed = Feed(Sources(Record(str(store)), records, url), None, 50)
        assert len(feed.look()) == 1
        asyncio.run(_calls(store, [recorder], "second"))  # the ledger has it at once
        assert len(feed.look()) == 1
        recorder.flush()
        assert feed.look() == []
        asyncio.run(_calls(tmp_path / "elsewhere.db", [recorder], "third"))  # only the record sees this store's calls
        recorder.flush()
        (third,) = feed.look()
        assert (third.state, third.status, third.tool) == (None, "ok", "find_invoice")
        assert feed.look() == []
    recorder.close()


def test_a_record_that_comes_later_is_followed_too(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, recorder = tmp_path / "seen.db", Recorder(f"sqlite:///{tmp_path / 'seen.records.db'}")
    asyncio.run(_calls(store, [], "first"))
    steps: Iterator[str] = iter(("second", ""))

    def meanwhile(_: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        asyncio.run(_calls(tmp_path / "elsewhere.db", [recorder], step))
        recorder.flush()

    monkeypatch.setattr("toolrail.cli.tail.time.sleep", meanwhile)
    done = command("tail", "--json", "--store", str(store))
    recorder.close()
    assert done.code == 130
    assert len(done.out.splitlines()) == 3


def _missing(path: Path) -> None:
    path.unlink()


def _text(path: Path) -> None:
    path.write_text("no database, but a text that is long enough to be taken for one, were it not for its beginning")


def _cut_off(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * 4_000 + data[4_100:])


def _another(path: Path) -> None:
    shutil.copy(path.with_name("seen.db"), path)


def _of_the_future(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET value = '999' WHERE name = 'version'")


@pytest.fixture
def copied(seen: Seen, tmp_path: Path) -> Seen:
    for path in (seen.store, seen.records):
        shutil.copy(path, tmp_path / path.name)
    return Seen(tmp_path / "seen.db", tmp_path / "seen.records.db", seen.runs)


@pytest.mark.parametrize("spoil", [_missing, _text, _cut_off, _another, _of_the_future])
@pytest.mark.parametrize("name", ["list", "tools", "sessions", "cost"])
def test_a_record_that_cannot_be_read_is_named_with_its_mend(
    command: Command, copied: Seen, name: str, spoil: object
) -> None:
    assert callable(spoil)
    spoil(copied.records)
    done = command(name, *copied.options)
    assert done.code == 1
    assert str(copied.records) in done.err
    assert "Mend: " in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("spoil", [_missing, _text, _cut_off, _another, _of_the_future])
def test_tail_and_show_go_on_with_the_ledger_where_the_record_was_not_named(
    command: Command, copied: Seen, spoil: object
) -> None:
    assert callable(spoil)
    spoil(copied.records)
    for words in (("tail", "--once"), ("show", copied.runs["unknown"])):
        done = command(*words, *copied.options)
        assert done.code == 0
        assert "OUTCOME UNKNOWN" in done.out
        assert ("only the store is" in done.err) == (spoil is not _missing)
        named = command(*words, *copied.options, "--records", str(copied.records))
        assert named.code == 1
        assert "Mend: " in named.err


def test_without_the_store_the_record_is_told_and_that_is_said(command: Command, copied: Seen) -> None:
    copied.store.unlink()
    done = command("show", copied.runs["dependency"], *copied.options)
    assert done.code == 0
    assert "MAX_RETRIES" in done.out
    assert "only the record is read" in done.err


def test_the_record_may_stand_in_the_environment(command: Command, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLRAIL_RECORDS", f"sqlite:///{seen.records}")
    assert len(json.loads(command("tools", "--json").out)) == 6


@pytest.mark.parametrize("name", ["list", "tools", "sessions", "cost"])
def test_a_record_that_another_holds_locked_is_a_problem_and_not_a_hang(
    command: Command, copied: Seen, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("toolrail.records.sqlite_database.BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(copied.records, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("BEGIN EXCLUSIVE")
        done = command(name, *copied.options)
    assert done.code == 1
    assert "Mend: " in done.err


def test_what_was_lost_is_said_beside_the_figures(command: Command, copied: Seen) -> None:
    with closing(sqlite3.connect(copied.records)) as db, db:
        db.execute("INSERT INTO losses (process, kind, wall, lost) VALUES ('p', 'queue', 1.0, 1234)")
    for name in ("list", "tools", "sessions", "cost"):
        assert "(1,234 events were lost, so these figures are too low" in command(name, *copied.options).out
    assert "warn  losses: 1,234 events were never written" in command("doctor", *copied.options).out


@pytest.mark.parametrize("name", ["list", "tools", "cost"])
def test_a_reader_that_leaves_early_is_no_traceback(seen: Seen, name: str) -> None:
    shell = f"'{sys.executable}' -m toolrail.cli {name} --store '{seen.store}' | true"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.services
def test_so_it_is_in_postgres(command: Command) -> None:
    with postgres_server() as server, database(server, f"toolrail_cli_{os.getpid()}") as url:
        recorder = Recorder(url)
        asyncio.run(_written_to(url, recorder))
        recorder.close()
        (run,) = json.loads(command("list", "--store", url, "--json").out)
        shown = command("show", run["run"], "--store", url)
        assert shown.code == 0
        assert "turn 1" in shown.out or re.search(r"find_invoice .* ok", shown.out)
        (line,) = command("tail", "--once", "--json", "--store", url).out.splitlines()
        assert (json.loads(line)["tool"], json.loads(line)["state"]) == ("find_invoice", "done")
        assert command("doctor", "--store", url).code == 0


async def _written_to(url: str, recorder: Recorder) -> None:
    async with Rail([find_invoice], store=url, sinks=[recorder]) as rail, rail.run([], run_id="run_a") as run:
        await rail.batch([ToolCall("1", "find_invoice", '{"customer": "A"}')], run)
