"""What `import toolrail` costs beside `import pydantic; pydantic.TypeAdapter(int)`, and what it must not load.

python -m benchmarks.imports
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from benchmarks.measure import Row, interleaved, report

BOUND = 1.6
ROUNDS = 10
NEVER_LOADED = ("sqlite3", "openai", "anthropic", "httpx", "httpx2", "opentelemetry", "mcp", "asyncpg")
TIMED = "import time; start = time.process_time(); {}; print(time.process_time() - start)"
OURS = "from toolrail import Rail, RunContext, ToolCall, ToolError, once, tool"
"""What a drop-in needs. `import toolrail` alone loads nothing."""
PYDANTIC = "import pydantic; pydantic.TypeAdapter(int)"


COMPILED = tempfile.mkdtemp(prefix="toolrail-pyc-")
"""Both sides from compiled files, as installed packages are, wherever and however this checkout came to be."""


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = COMPILED
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def cost(statements: str) -> float:
    """CPU seconds of the statements in a new interpreter, without its start."""
    return float(fresh(TIMED.format(statements)))


def loaded() -> list[str]:
    """Which of the modules that must stay out `import toolrail` loads."""
    return fresh(f"import sys; {OURS}; print(*(set({NEVER_LOADED!r}) & sys.modules.keys()))").split()


def main() -> int:
    theirs, ours = interleaved([lambda: cost(PYDANTIC), lambda: cost(OURS)], rounds=ROUNDS)
    wrongly = loaded()
    rows = [
        Row(
            "the rail / pydantic with a TypeAdapter",
            ours / theirs,
            BOUND,
            f"{theirs * 1e3:.0f} -> {ours * 1e3:.0f} ms",
        ),
        Row("modules loaded that should not be", len(wrongly), 0, " ".join(wrongly)),
    ]
    return report("import, CPU", rows)


if __name__ == "__main__":
    sys.exit(main())
