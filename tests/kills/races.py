"""What must hold when twenty processes pay one invoice over one store, and die on the way. For each kind of store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.kills.world import World
from toolrail.store import CallRow, OpenCalls, ask
from toolrail.stores import open_store


def payers(url: str, kind: str, path: Path, *, hours: float, seed: int, deadly: bool) -> Counter[str]:
    """Runs twenty of them; how often each answer was given."""
    command = [sys.executable, "-m", "tests.kills.payers", url, kind, str(path), str(hours), str(seed)]
    done = subprocess.run([*command, *(["deadly"] if deadly else [])], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return Counter(done.stdout.split())


def open_calls(url: str) -> tuple[CallRow, ...]:
    """The outcomes that nobody knows."""

    async def main() -> tuple[CallRow, ...]:
        store = open_store(url)
        found = await ask(store, OpenCalls())
        await store.close()
        return found

    return asyncio.run(main())


def check_race(url: str, kind: str, path: Path, seed: int) -> None:
    """One deadly round, and an hour later one in which nobody dies."""
    path.touch()
    payers(url, kind, path, hours=0, seed=seed, deadly=True)
    left = open_calls(url)
    assert len(left) <= 1, "one key has one holder"
    answers = payers(url, kind, path, hours=1, seed=seed, deadly=False)
    paid, listed = len(World(path).payments()), open_calls(url)
    assert sum(answers.values()) == 20, "everybody who lives is answered"
    if kind == "once" and left:
        assert paid <= 1
        assert len(listed) == 1, "exactly one unknown where a holder died"
        assert answers == {"OUTCOME_UNKNOWN": 20}
    else:
        assert paid == 1
        assert listed == ()
        assert answers == {"ok": 20}
