"""The demo as a process of its own, in an empty directory, without any key in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TOOLRAIL_MODEL", "TOOLRAIL_BASE_URL", "TOOLRAIL_STORE", "COLUMNS")

Ran = subprocess.CompletedProcess[str]
Module = Callable[..., Ran]


def run_module(module: str, *words: str, cwd: Path, say: str = "", **environment: str) -> Ran:
    """Runs `python -m module words` in a directory, with the environment but for the keys of models."""
    env = {name: value for name, value in os.environ.items() if name not in _KEYS}
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        input=say,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env=env | {"PYTHONPATH": str(ROOT)} | environment,
    )


@pytest.fixture(scope="session")
def demo_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo was run."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def demo(demo_directory: Path) -> Ran:
    """The demo, run once with the scripted model."""
    return run_module("examples.shop.demo", cwd=demo_directory)
