"""A store's file with two runs in it, written by a real rail, and a way to run commands in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli import recorded
from tests.cli.recorded import Seen
from toolrail import Principal, Rail, ToolError, tool
from toolrail.agent import Agent
from toolrail.cli import main
from toolrail.testing import Calls, ScriptedModel

SECRET_ANSWER = "the answer that only --content shows"
USER = Principal("CUS-1", permissions=frozenset({"read"}))


@tool(effect="read")
async def find(query: str) -> str:
    """Finds."""
    return f"{SECRET_ANSWER} to {query}"


@tool(effect="read")
async def refuse() -> str:
    """Refuses."""
    raise ToolError("no such thing")


@dataclass(frozen=True, slots=True)
class Written:
    """A store's path and the ids of its runs: one of three turns, and one without any call."""

    path: Path
    called: str
    silent: str


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A store that nobody changes."""
    path = tmp_path_factory.mktemp("store") / "rail.db"
    called, silent = asyncio.run(_write(path))
    return Written(path, called, silent)


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A store and its record with planted causes, which nobody changes."""
    return recorded.written(tmp_path_factory.mktemp("seen"))


async def _write(path: Path) -> tuple[str, str]:
    script = [Calls(("find", {"query": "lamp"}), ("find", '{"query": ')), Calls(("refuse", {})), "Done.", "Hello."]
    async with Rail([find, refuse], store=f"sqlite:///{path}") as rail:
        agent = Agent(ScriptedModel(script), rail)
        called = await agent.run("Find a lamp", principal=USER, session="first")
        silent = await agent.run("Hello", principal=USER)
    return called.run_id, silent.run_id


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """`command("show", "abc")` runs `toolrail show abc` in this process."""

    def run(*words: str) -> Outcome:
        try:
            code = main(words)
        except SystemExit as left:  # how argparse leaves
            code = left.code if isinstance(left.code, int) else 1
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
