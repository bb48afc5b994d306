"""`toolrail dashboard`, as a process of its own: it prints an address that works once, and ends when it is told to."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.dashboard.played import Played
from tests.promises import promise
from toolrail.cli import main

pytestmark = promise("see:dashboard/safe")


@contextmanager
def started(*words: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address that it printed."""
    command = [sys.executable, "-c", "import sys; from toolrail.cli import main; sys.exit(main())", "dashboard"]
    options = ["--no-open", "--port", "0", *words]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().removeprefix("the dashboard: ").strip()
        finally:
            process.kill()


def test_it_prints_an_address_that_signs_in_once_and_then_the_next_one(record: Played) -> None:
    with started("--store", record.store) as (process, address), httpx2.Client(timeout=20.0) as client:
        assert address.startswith("http://127.0.0.1:")
        assert client.get(address).status_code == 200
        assert process.stdout is not None
        following = process.stdout.readline()
        assert following.startswith("another browser: http://127.0.0.1:")
        assert address not in following
        base = address.partition("?")[0]
        assert "What broke" in client.get(base).text
        assert next(iter(client.cookies.jar)).name == f"toolrail_{httpx2.URL(base).port}"
        with httpx2.Client() as other:
            assert other.get(address).status_code == 403
        process.send_signal(signal.SIGINT)
        assert process.wait(20.0) in (0, 130)
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_another_address_than_loopback_is_warned_of(record: Played) -> None:
    with started("--store", record.store, "--host", "0.0.0.0") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        process.kill()
        assert process.stderr is not None
        assert "no loopback address" in process.stderr.read()


def test_a_record_without_its_store_is_shown(record: Played, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(record.url.removeprefix("sqlite:///"), copy)
    store, place = str(tmp_path / "rail.db"), str(copy)
    with started("--records", place, "--store", store) as (_, address), httpx2.Client(timeout=20.0) as client:
        assert client.get(address).status_code == 200
        base = address.partition("?")[0]
        assert "What broke" in client.get(base).text
        assert "knows no store" in client.get(f"{base}approvals").text


def test_a_port_that_is_taken_is_a_problem_with_its_mend(record: Played, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["dashboard", "--no-open", "--store", record.store, "--port", port]) == 1
    assert "--port 0 takes a free port" in capsys.readouterr().err
