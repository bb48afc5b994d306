"""Shared by the benchmarks: a model server in a process of its own, interleaved rounds, rows with bounds."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure beside its bound; `at_least` turns the bound round."""

    name: str
    value: float
    bound: float
    detail: str = ""
    at_least: bool = False

    @property
    def held(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@contextmanager
def model_server(script: str) -> Generator[str]:
    """The loopback model server as a process of its own, so that its work is not the client's; gives its URL."""
    command = [sys.executable, "-m", "tests.fakes.model_server", "--port", "0", "--script", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def interleaved(sides: Sequence[Callable[[], float]], *, rounds: int = 5) -> list[float]:
    """The best of `rounds` for each side, taken in turn so that a busy machine troubles all sides alike."""
    best = [float("inf")] * len(sides)
    for _ in range(rounds):
        for index, side in enumerate(sides):
            gc.collect()
            best[index] = min(best[index], side())
    return best


def report(title: str, rows: Sequence[Row]) -> int:
    """Prints the table; 1 if a bound was missed."""
    print(f"\n{title}")
    width = max(len(row.name) for row in rows)
    for row in rows:
        sign, verdict = (">=" if row.at_least else "<="), ("ok" if row.held else "MISSED")
        print(f"  {row.name:<{width}}  {row.value:9.3f} {sign} {row.bound:<7g} {verdict:<6}  {row.detail}")
    return 0 if all(row.held for row in rows) else 1
