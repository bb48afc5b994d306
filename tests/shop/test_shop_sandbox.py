"""The sandbox: results and prints come back, errors are words, limits hold, and nothing of the machine is in reach."""

from __future__ import annotations

import pytest

from examples.shop.sandbox import MAX_CHARACTERS, PythonResult, SandboxError, run_code


@pytest.mark.parametrize(
    ("code", "result", "output"),
    [
        ("1 + 2", "3", ""),
        ("x = 1", None, ""),
        ("print('hello')\nsorted([3, 1, 2])", "[1, 2, 3]", "hello\n"),
        ("total = 0\nfor n in range(101):\n    total += n\ntotal", "5050", ""),
        ("'text'", "'text'", ""),
    ],
)
def test_it_gives_back_the_last_value_and_the_prints(code: str, result: str | None, output: str) -> None:
    assert run_code(code) == PythonResult(result, output)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("x = 1\n1 / 0", r"^ZeroDivisionError: division by zero \(line 2\)\.$"),
        ("def f(:", "^SyntaxError: "),
        ("nothing_here", "^NameError: .*nothing_here"),
        ("import requests", "^ModuleNotFoundError: .*requests"),
        ("def f(n): return f(n + 1)\nf(1)", "^RecursionError: "),
        ("print('so far')\n1 / 0", r"Printed before: so far"),
        ("10 ** 10_000", "^ValueError: the result is a number with too many digits"),
    ],
)
def test_a_failure_says_what_and_where(code: str, text: str) -> None:
    with pytest.raises(SandboxError, match=text):
        run_code(code)


@pytest.mark.parametrize(
    ("code", "seconds", "text"),
    [
        ("while True: pass", 0.2, "^TimeoutError: "),
        ("x = []\nwhile True: x.append('a' * 100_000)", 10.0, "^MemoryError: "),
        ("'a' * 10**9", 10.0, "^MemoryError: "),
        ("while True: print('spam' * 1000)", 0.2, "^(Memory|Timeout)Error: "),
    ],
)
def test_it_stops_what_goes_over_a_limit(code: str, seconds: float, text: str) -> None:
    with pytest.raises(SandboxError, match=text):
        run_code(code, seconds=seconds)


def test_sleeping_costs_nothing() -> None:
    assert run_code("import time\ntime.sleep(3600)\n'awake'").result == "'awake'"


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/hostname').read()",
        "import os\nos.listdir('/')",
        "import os\nos.environ['PATH']",
        "import os\nos.getenv('PATH') + ''",
        "import subprocess\nsubprocess.run(['id'])",
        "import socket\nsocket.socket()",
        "().__class__.__mro__[1].__subclasses__()",
    ],
)
def test_files_environment_processes_and_network_are_out_of_reach(code: str) -> None:
    with pytest.raises(SandboxError):
        run_code(code)


def test_one_run_leaves_nothing_for_the_next() -> None:
    run_code("kept = 1")
    with pytest.raises(SandboxError, match="NameError"):
        run_code("kept")


def test_long_results_and_prints_are_cut_with_their_length() -> None:
    shown = run_code("print('x' * 5000)\n'y' * 5000")
    assert shown.result is not None
    assert shown.result.endswith("(cut, 5002 characters)")
    assert shown.output.endswith("(cut, 5001 characters)")
    assert len(shown.output) < MAX_CHARACTERS + 50
