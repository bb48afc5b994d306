"""Several processes share one file: a key has one holder among all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.stores.places import run
from toolrail.store import CallsOf, ListRuns
from toolrail.stores.reading import StoreReader

CLAIMS = """
import asyncio, sys
from tests.stores.places import call, run
from tests.stores.steps import claim
from toolrail.store import SaveRun
from toolrail.stores.sqlite import SQLiteStore

path, name = sys.argv[1:]

async def main():
    store = SQLiteStore(path)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(20):
        row = call(f"{name}:{number}", run=name, effect_key=f"k{number}", turn=number)
        (answer,) = await store.apply(claim(row))
        print(number, type(answer).__name__, flush=True)
    await store.apply(SaveRun(run(name)))
    await store.close()

asyncio.run(main())
"""

DIES = """
import asyncio, os, sys
from tests.stores.places import call, run
from tests.stores.steps import claim
from toolrail.store import SaveRun
from toolrail.stores.sqlite import SQLiteStore

async def main():
    store = SQLiteStore(sys.argv[1])
    await store.apply(claim(call(effect_key="k")), SaveRun(run()))
    os._exit(9)

asyncio.run(main())
"""

FORKS = """
import asyncio, os, sys
from tests.stores.places import run
from toolrail.store import SaveRun
from toolrail.stores.failures import StoreError
from toolrail.stores.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])
asyncio.run(store.apply(SaveRun(run("parent"))))
child = os.fork()
try:
    asyncio.run(store.apply(SaveRun(run("again"))))
except StoreError as error:
    print(error, flush=True)
asyncio.run(store.close())
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_of_two_processes_that_claim_a_key_exactly_one_has_it(path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMS, str(path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("r1", "r2")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = Counter(line for racer in racers for line in racer.communicate(timeout=60)[0].splitlines())
    assert [racer.returncode for racer in racers] == [0, 0]
    assert answers == Counter(f"{number} {kind}" for number in range(20) for kind in ("Claimed", "Held"))
    reader = StoreReader(path)
    assert len(reader.ask(CallsOf("acme", "r1"))) + len(reader.ask(CallsOf("acme", "r2"))) == 20


def test_what_was_answered_outlives_a_process_that_dies(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIES, str(path)], timeout=60, check=False).returncode == 9
    assert StoreReader(path).ask(ListRuns()) == (run(),)
    assert [row.state for row in StoreReader(path).ask(CallsOf("acme", "r1"))] == ["started"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_refused_and_its_parent_is_not(path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(path)]
    told = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True).stdout
    assert told == f"{path}: this process was forked after it was opened. Mend: Fork before its first use.\n"
    assert {row.run for row in StoreReader(path).ask(ListRuns())} == {"parent", "again"}
