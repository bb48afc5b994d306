"""What is not known is said to be unknown: costs, spans of time, currencies; and what breaks no command."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.cli.conftest import Command
from tests.promises import promise
from toolrail import Agent, Rail, ToolCall, Usage, tool
from toolrail.records.prices import Price
from toolrail.records.prometheus import RecordsCollector
from toolrail.records.recorder import Recorder
from toolrail.testing import Calls, Say, ScriptedModel

NONE = Usage(0, 0)
LONG = "s" * 500
PRICES = {
    "dollar": Price(Decimal(1_000), Decimal(1_000)),
    "euro": Price(Decimal(1_000), Decimal(1_000), currency="EUR"),
}


@tool(effect="read")
async def find(query: str) -> str:
    """Finds."""
    await asyncio.sleep(0.01)
    return query


async def _runs(url: str) -> None:
    recorder = Recorder(url, prices=PRICES)
    async with Rail([find], sinks=[recorder], store="memory://") as rail:
        for name, session, usage in (
            ("dollar", "mixed", Usage(100, 20)),
            ("euro", "mixed", Usage(100, 20)),
            ("dollar", LONG, Usage(100, 20)),
            ("dollar", "silent", NONE),
            ("nobody", "café", Usage(100, 20)),
        ):
            script = [Calls(("find", {"query": "lamp"}), usage=usage), Say("Done.", usage=usage)]
            await Agent(ScriptedModel(script, name=name), rail).run("Go.", session=session)
        await rail.batch([ToolCall("1", "find", '{"query": "lamp"}')])
    recorder.close()


@pytest.fixture(scope="module")
def record() -> Iterator[str]:
    """A record, in a directory that other users may read."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        asyncio.run(_runs(f"sqlite:///{name}/rail.records.db"))
        yield f"{name}/rail.records.db"


def _json(command: Command, record: str, *words: str) -> Any:
    done = command(*words, "--records", record, "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


@promise("see:cost")
def test_a_session_in_two_currencies_shows_both(command: Command, record: str) -> None:
    shown = {one["session"]: one for one in _json(command, record, "sessions")["sessions"]}["mixed"]
    assert shown["cost"] == {"amount": 0.24, "currency": "USD", "unpriced": 0, "at_least": False}
    assert [(one["amount"], one["currency"]) for one in shown["others"]] == [(0.24, "EUR")]
    assert "0.2400 USD + 0.2400 EUR" in command("sessions", "--records", record).out
    assert "0.2400 USD + 0.2400 EUR" in command("cost", "--by", "session", "--records", record).out


@promise("see:cost")
def test_a_response_without_a_token_count_lacks_no_price(command: Command, record: str) -> None:
    out = command("cost", "--records", record).out
    assert "2 responses told no token count: no price says what they cost." in out
    assert "No price is known for nobody:" in out
    prices = command("prices", "--records", record, "--own-only").out
    assert "2 responses told no token count" in prices
    assert "--recompute" not in prices
    assert "stated when it was recorded" in prices
    found = {one["check"]: one["text"] for one in json.loads(command("doctor", "--records", record, "--json").out)}
    assert found["token counts"].startswith("2 responses told no token count")
    assert found["prices"] == "2 responses without a price, of nobody"


@promise("see:prometheus")
def test_a_model_without_a_known_price_has_no_series_of_cost(record: str) -> None:
    registry = CollectorRegistry()
    registry.register(RecordsCollector(f"sqlite:///{record}"))
    text = generate_latest(registry).decode()
    assert 'toolrail_cost_total{currency="EUR",model="euro"}' in text
    assert 'toolrail_unpriced_responses_total{model="nobody"} 2.0' in text
    assert not any(line.startswith("toolrail_cost_total") and "nobody" in line for line in text.splitlines())


def test_a_batch_without_a_run_took_as_long_as_from_its_first_event_to_its_last(command: Command, record: str) -> None:
    (batch,) = (one for one in _json(command, record, "list") if one["reason"] == "batch")
    assert batch["took"] >= 0.01
    assert " 0.0 ms" not in command("list", "--records", record).out


def test_one_long_id_leaves_the_other_columns_where_they_are_in_a_pipe(command: Command, record: str) -> None:
    assert LONG in {one["session"] for one in _json(command, record, "list")}
    for words in (("list",), ("sessions",)):
        out = command(*words, "--records", record).out
        assert "s" * 61 + "..." in out
        assert "s" * 62 not in out


def _outside(record: str, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "toolrail.cli", *words, "--records", record]
    return subprocess.run(argv, capture_output=True, text=True, check=False, **more)


def test_what_the_output_cannot_write_breaks_no_command(record: str) -> None:
    done = _outside(record, "list", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\xe9" in done.stdout


@pytest.fixture
def readonly(record: str) -> Iterator[str]:
    """The record in a directory that this user may not write."""
    directory = Path(record).parent
    directory.chmod(0o555)
    yield record
    directory.chmod(0o755)


NOT_ROOT = """
import contextlib, io, os, sys
from toolrail.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["list", "--records", sys.argv.pop()])  # loads all, as another user may not read this Python's own files
os.geteuid() or os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("left", [b"", b"not yet in the file"], ids=["all in the file", "a part beside it"])
def test_who_may_not_write_reads_a_record_that_is_whole(readonly: str, left: bytes, tmp_path: Path) -> None:
    loading = shutil.copy(readonly, tmp_path)
    beside = Path(f"{readonly}-wal")
    before = beside.read_bytes() if beside.exists() else None
    Path(readonly).parent.chmod(0o755)
    Path(f"{readonly}-shm").unlink(missing_ok=True)
    beside.write_bytes(left) if left else beside.unlink(missing_ok=True)
    Path(readonly).parent.chmod(0o555)
    argv = [sys.executable, "-c", NOT_ROOT, "list", "--records", readonly, loading]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")
    Path(readonly).parent.chmod(0o755)
    beside.unlink(missing_ok=True)
    if before is not None:
        beside.write_bytes(before)
    if left:
        assert done.returncode == 1
        assert "this user may not write its directory" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert "answer" in done.stdout
