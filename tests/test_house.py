"""What holds for the source as a whole: what an import loads, how long files are, what the core may not touch."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import toolrail

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "toolrail"
FILES = sorted(SOURCE.rglob("*.py"))

EDGES = {"cli", "dashboard", "providers", "records", "stores", "testing"}
MACHINE = {
    "background.py",
    "clock.py",
    "interrupts.py",
    "isolated.py",
    "pool.py",
    "processes.py",
    "starting.py",
    "watchdog.py",
}
"""Core modules whose purpose is the machine: its clock, its threads, its signals."""

MAX_LINES = 600
MAX_NAMES = 45

LAZY = {
    "__init__.py": ("toolrail.agent", "toolrail.sync"),
    "cli/__init__.py": ("toolrail.cli.",),
    "cli/alerts.py": ("toolrail.cli.chat",),
    "cli/dashboard.py": ("toolrail.dashboard.",),
    "cli/metrics.py": ("toolrail.records.prometheus.",),
    "definition.py": ("toolrail.isolation",),
    "encoding.py": ("toolrail.previews.windows",),
    "gates/board.py": ("toolrail.gates.rates",),
    "logs.py": ("toolrail.records.redaction",),
    "opening.py": ("toolrail.history",),
    "rail.py": ("toolrail.approvals", "toolrail.health", "toolrail.reconcile", "toolrail.settling"),
    "providers/__init__.py": ("toolrail.providers.",),
    "stages/encode.py": ("toolrail.previews.windows",),
    "stages/execute.py": ("toolrail.processes", "toolrail.stages.hedge", "toolrail.stages.transact"),
    "stages/settle.py": ("toolrail.stages.token",),
    "records/alerts/__init__.py": ("toolrail.records.alerts.",),
    "records/alerts/live.py": ("toolrail.records.alerts.telling",),
    "records/database.py": ("toolrail.records.postgres_database", "toolrail.records.sqlite_database"),
    "records/genai.py": ("toolrail.records.genai_lookup",),
    "records/prices.py": ("toolrail.records.pricefile",),
    "records/recorder.py": ("toolrail.records.alerts", "toolrail.records.genai"),
    "startup.py": ("toolrail.records.recorder", "toolrail.stages.transact"),
    "stores/__init__.py": ("toolrail.stores.postgres", "toolrail.stores.sqlite"),
}
"""Where a function may import our own package: what needs an extra, or what most programs never use."""

NOT_LOADED = {
    "anthropic",
    "asyncpg",
    "genai_prices",
    "griffe",
    "httpx",
    "httpx2",
    "jsonschema_rs",
    "mcp",
    "openai",
    "opentelemetry",
    "rich",
    "sqlite3",
}


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(node: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Each import below a node, with the module that it names."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            yield from ((inner, alias.name) for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom) and inner.module == "toolrail":
            yield from ((inner, f"toolrail.{alias.name}") for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom):
            yield inner, inner.module or ""


def test_importing_toolrail_loads_no_sdk_no_database_and_no_screen() -> None:
    program = "import json, sys, toolrail; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert NOT_LOADED.intersection(json.loads(loaded)) == set()


def test_importing_toolrail_defines_no_pydantic_model() -> None:
    program = (
        "import pydantic; before = set(pydantic.BaseModel.__subclasses__()); import toolrail; "
        "print([m.__qualname__ for m in set(pydantic.BaseModel.__subclasses__()) - before])"
    )
    defined = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert defined.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_short_and_says_in_its_first_line_what_it_does(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES
    assert (ast.get_docstring(ast.parse(text)) or "").strip() != ""


def core() -> list[Path]:
    return [path for path in FILES if name_of(path).partition("/")[0] not in EDGES and name_of(path) not in MACHINE]


WORLD = {"os", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid"}
VALUES = {("uuid", "UUID")}
"""Names of those modules that are only values."""


@pytest.mark.parametrize("path", core(), ids=name_of)
def test_the_core_takes_time_chance_threads_and_the_environment_from_its_ports(path: Path) -> None:
    tree = tree_of(path)
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in WORLD
    }
    taken = {
        (statement.module or "", alias.name)
        for statement, module in imports(tree)
        if isinstance(statement, ast.ImportFrom) and module.partition(".")[0] in WORLD
        for alias in statement.names
    }
    hidden = {
        alias.name
        for statement, module in imports(tree)
        if isinstance(statement, ast.Import) and module in WORLD
        for alias in statement.names
        if alias.asname is not None
    }
    assert used | taken <= VALUES
    assert hidden == set()
    assert re.findall(r"\b(?:datetime|date)\.(?:now|today|utcnow)\(", ast.unparse(tree)) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_functions_import_our_own_package_only_where_it_is_listed(path: Path) -> None:
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    own = {module for function in functions for _, module in imports(function) if module.startswith("toolrail")}
    assert {module for module in own if not module.startswith(LAZY.get(name_of(path), ()))} == set()


def test_every_logger_that_says_exceptions_masks_their_secrets() -> None:
    bare = {name_of(path) for path in FILES if "logging.getLogger(" in path.read_text(encoding="utf-8")}
    calls = {"records/logging.py"}  # sizes and labels alone, at each call
    assert {name for name in bare if not name.startswith("cli/")} == {"logs.py"} | calls


def test_the_public_names_are_few_and_sorted_and_exist() -> None:
    names = list(toolrail.__all__)
    assert names == sorted(set(names))
    assert len(names) <= MAX_NAMES
    assert [name for name in names if not hasattr(toolrail, name)] == []


def test_what_can_be_imported_is_public() -> None:
    tree = tree_of(SOURCE / "__init__.py")
    taken = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("toolrail.")
        for alias in node.names
    }
    assert taken == set(toolrail.__all__)


def test_the_locks_have_hashes_and_name_no_address() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        text = lock.read_text(encoding="utf-8")
        pinned = re.findall(r"^[a-z0-9][^\n]*==[^\n]*\n +--hash=sha256:", text, flags=re.MULTILINE)
        assert len(pinned) == len(re.findall(r"^[a-z0-9]", text, flags=re.MULTILINE)) > 0
        assert re.findall(r"://|^\s*--(?!hash)", text, flags=re.MULTILINE) == []
