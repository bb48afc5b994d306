"""The account of the promises: which ones tests name, which ones a passed test proved, and `python -m tests.proofs`."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.promises import PROMISES

TESTS = Path(__file__).parent
ACCOUNT = TESTS.parent / ".promises.json"
"""The tests that passed since the last `make test` began, with the promises of each."""

KNOWN = frozenset[str]().union(*(known.ids() for known in PROMISES))
WANTED = frozenset[str]().union(*(known.wanted() for known in PROMISES))

Passed = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Mark:
    """A promise that a test names, and where."""

    id: str
    place: str


def marks(directory: Path = TESTS) -> list[Mark]:
    """Every mark in the tests' text, whether the test is run or not.

    Raises:
        ValueError: a mark is computed, so that it cannot be read from the text.
    """
    files = sorted(directory.rglob("*.py"))
    return [mark for path in files if path.name != "promises.py" for mark in _marks_of(path)]


def _marks_of(path: Path) -> Iterator[Mark]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not _is_promise(node.func):
            continue
        place = f"{path.relative_to(TESTS.parent) if path.is_relative_to(TESTS.parent) else path}:{node.lineno}"
        for argument in node.args:
            if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                raise ValueError(f"{place}: write the promise's id as a plain string.")
            yield Mark(argument.value, place)


def _is_promise(called: ast.expr) -> bool:
    return isinstance(called, ast.Name) and called.id == "promise"


def load(path: Path = ACCOUNT) -> Passed:
    """The account so far; empty when there is none that can be read."""
    with suppress(FileNotFoundError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return {}


def save(path: Path, passed: Mapping[str, list[str]], *, failed: set[str]) -> Passed:
    """Adds a session's tests: what passed counts, what did not pass counts no longer."""
    merged = {test: ids for test, ids in load(path).items() if test not in failed} | dict(passed)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(merged, indent=1, sort_keys=True), encoding="utf-8")
    beside.replace(path)
    return merged


def unproved(passed: Mapping[str, list[str]]) -> list[str]:
    """The held promises and parts that no passed test proves."""
    return sorted(WANTED.difference(*passed.values()))


def summary(passed: Mapping[str, list[str]]) -> str:
    """The account in one line."""
    held = sum(known.status == "held" for known in PROMISES)
    open_ids = unproved(passed)
    verdict = (
        f"not proved by a test that passed: {len(open_ids)} of {len(WANTED)} (python -m tests.proofs lists them)"
        if open_ids
        else "all held ones proved by a test that passed"
    )
    return f"promises: {held} held, {len(PROMISES) - held} deferred; {verdict}"


def main() -> int:
    """Prints the account; 1 if a held promise is not proved."""
    passed = load()
    print(summary(passed))
    for known in unproved(passed):
        print(f"  {known}")
    return 1 if unproved(passed) else 0


if __name__ == "__main__":
    sys.exit(main())
