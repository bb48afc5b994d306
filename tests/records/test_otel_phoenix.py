"""A real backend: Arize Phoenix shows what we send it as an agent, model calls and tools. `make test-phoenix`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-phoenix" / "bin" / "python"
START_SECONDS = 120

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-phoenix: `make test-phoenix` makes it (600 MB)"),
]


@pytest.fixture
def phoenix(tmp_path: Path) -> Generator[str]:
    """A Phoenix of its own on loopback, which calls nobody."""
    port, grpc = free_port(), free_port()
    settings = {
        "PHOENIX_WORKING_DIR": str(tmp_path),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with (tmp_path / "phoenix.log").open("wb") as log:
        server = subprocess.Popen(
            [PYTHON.with_name("phoenix"), "serve"], env={**os.environ, **settings}, stdout=log, stderr=log
        )
        try:
            await_start(f"http://127.0.0.1:{port}", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def await_start(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(START_SECONDS * 2):
        try:
            urllib.request.urlopen(f"{url}/v1/projects", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            try:
                server.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
            break
    pytest.fail("Phoenix did not start.")


@promise("see:otel")
def test_phoenix_shows_tool_spans_as_tools(phoenix: str) -> None:
    send = [PYTHON, ROOT / "tests" / "records" / "to_phoenix.py", phoenix]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    made = subprocess.run(send, env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    sys.stdout.write(made.stdout)
    spans: list[Mapping[str, Any]] = json.loads(made.stdout)
    ids = {span["context"]["span_id"]: span["name"] for span in spans}
    seen = sorted((span["name"], span["span_kind"], span["status_code"], ids.get(span["parent_id"])) for span in spans)
    assert seen == [
        ("chat scripted", "LLM", "UNSET", "invoke_agent shop"),
        ("chat scripted", "LLM", "UNSET", "invoke_agent shop"),
        ("execute_tool broken", "TOOL", "ERROR", "invoke_agent shop"),
        ("execute_tool find", "TOOL", "UNSET", "invoke_agent shop"),
        ("invoke_agent shop", "AGENT", "UNSET", None),
    ]
    assert {span["attributes"].get("tool.name") for span in spans} == {None, "find", "broken"}
    assert {span["attributes"].get("session.id") for span in spans} == {None, "s-1"}
    assert {span["status_message"] for span in spans} == {""}
