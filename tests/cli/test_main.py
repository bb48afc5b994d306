"""`toolrail` itself: its commands, its exit codes, and that it loads nothing heavy to say what it can."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Command, Written
from toolrail.cli import COMMANDS, main
from toolrail.cli.meanings import MEANINGS
from toolrail.codes import Code

HEAVY = ("openai", "anthropic", "sqlite3", "rich", "httpx2", "jsonschema_rs", "griffelib", "asyncpg")


def test_help_lists_every_command_and_loads_no_sdk_no_database_and_no_terminal_library() -> None:
    code = (
        "import sys\nfrom toolrail.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "loaded: []" in done.stdout
    assert all(f"\n    {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_explains_itself(command: Command, name: str) -> None:
    done = command(name, "--help")
    assert done.code == 0
    assert f"usage: toolrail {name}" in done.out


@pytest.mark.parametrize(
    "words", [(), ("nonsense",), ("show",), ("tail", "--lines", "many"), ("tail", "-n", "-1"), ("tail", "-n", "9" * 20)]
)
def test_a_wrong_command_line_leaves_with_2_and_the_usage(command: Command, words: tuple[str, ...]) -> None:
    done = command(*words)
    assert done.code == 2
    assert "usage: toolrail" in done.err


def test_a_reader_that_leaves_early_is_no_traceback(written: Written) -> None:
    shell = f"'{sys.executable}' -m toolrail.cli tail --once --store '{written.path}' | true"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_ctrl_c_ends_a_command_with_130(monkeypatch: pytest.MonkeyPatch, written: Written) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("toolrail.cli.tail.time.sleep", interrupted)
    assert main(["tail", "--store", str(written.path)]) == 130


def test_every_code_has_a_meaning_of_a_few_words() -> None:
    assert set(MEANINGS) == set(Code)
    assert all(10 < len(text) < 60 and text == text.strip() for text in MEANINGS.values())
