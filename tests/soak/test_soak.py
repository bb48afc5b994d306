"""Memory, tasks, threads, files and rows stay flat over a long run with faults. `make soak` makes a million calls."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.promises import promise
from tests.soak.crowd import Crowd
from toolrail.limits import RailLimits
from toolrail.store import CallRow

CALLS = int(os.environ.get("TOOLRAIL_SOAK_CALLS", "1000000"))
SECONDS = float(os.environ.get("TOOLRAIL_SOAK_SECONDS", "3600"))
RUNS = 2_000
PARTS = 4
"""The first is the warm-up; the second ends in the middle."""


@dataclass(frozen=True)
class Measured:
    """What there is between two parts, when nothing is under way."""

    memory: int
    """Bytes of the process."""
    tasks: int
    threads: int
    files: int
    rows: int

    def __str__(self) -> str:
        counts = f"{self.tasks} tasks, {self.threads} threads, {self.files} files, {self.rows} rows"
        return f"{self.memory / 1e6:.1f} MB, {counts}"


def _measure(crowd: Crowd) -> Measured:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Measured(
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(asyncio.all_tasks()),
        threading.active_count(),
        len(os.listdir("/proc/self/fd")),
        _rows_of_runs(crowd),
    )


def _rows_of_runs(crowd: Crowd) -> int:
    """Rows that only a run of the past could use. Keys of a principal stay, as they are declared to."""
    kept: dict[object, CallRow] = vars(crowd.store)["_calls"]
    return sum(row.scope in (None, "run") for row in kept.values())


async def _soak() -> tuple[list[Measured], Counter[str], int]:
    crowd = Crowd(RUNS)
    measured: list[Measured] = []
    async with crowd.rail:
        for part in range(PARTS):
            await crowd.go_on(calls=CALLS // PARTS, seconds=SECONDS / PARTS)
            await asyncio.sleep(2.5)  # blocked threads end by themselves
            measured.append(_measure(crowd))
            print(f"part {part + 1}: {crowd.calls:,} calls, {measured[-1]}", flush=True)
    return measured, crowd.answers, crowd.calls


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@promise("steady:soak")
def test_over_a_long_run_with_faults_nothing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("toolrail"), "disabled", True)  # pytest would keep each of their records
    measured, answers, calls = asyncio.run(_soak())
    middle, end = measured[PARTS // 2 - 1], measured[-1]
    print(f"{calls:,} calls, {RUNS:,} runs at once; answers: {dict(answers.most_common())}")
    assert {"ok", "TIMEOUT", "INTERNAL_ERROR", "OUTCOME_UNKNOWN", "TOOL_ERROR", "MAX_RETRIES"} <= answers.keys()
    assert end.memory < middle.memory * 1.05
    assert end.tasks <= measured[0].tasks
    assert end.threads <= RailLimits().threads + 4
    assert end.files <= measured[0].files
    assert end.rows == 0
