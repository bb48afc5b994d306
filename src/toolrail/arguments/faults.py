"""Words for what is wrong with arguments: field, what was expected, what came. Short enough for a model to correct."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from toolrail.arguments.strictjson import kind_of
from toolrail.arguments.values import Fault

MAX_VALUE = 60
"""Characters of a value that are shown."""
MAX_TEXT = 200
"""Characters of one fault."""
MAX_FAULTS = 5
MAX_MESSAGE = 600

UNCHECKED = "could not be checked"


def got(value: Any) -> str:
    """`'abc' (string)`: what came, in JSON's terms."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"{cut(value, MAX_VALUE)!r} (string)"
    if isinstance(value, (bool, int, float, list, dict)):
        shown = cut(json.dumps(value, ensure_ascii=False), MAX_VALUE)  # pyright: ignore[reportUnknownArgumentType]
        return shown if type(value) in (int, float) else f"{shown} ({kind_of(value)})"  # pyright: ignore[reportUnknownArgumentType]
    return f"a {type(value).__name__}"


def cut(text: str, size: int) -> str:
    """The text, with an ellipsis in place of what is over `size` characters."""
    return text if len(text) <= size else text[: size - 1] + "…"


def dotted(path: Iterable[str | int]) -> str:
    """`filters[0].name`, as a model reads it."""
    shown = ""
    for step in path:
        shown += f"[{step}]" if isinstance(step, int) else f".{cut(step, MAX_VALUE)}"
    return shown.removeprefix(".")


def unknown(name: str, known: Iterable[str]) -> str:
    """What to say of an argument that the schema does not have."""
    import difflib  # only for a mistake

    names = {key.lower(): key for key in known}
    said = f"unknown argument {cut(name, MAX_VALUE)!r}"
    near = difflib.get_close_matches(name.lower()[:MAX_VALUE], names, n=1, cutoff=0.6)
    if near:
        return f"{said}; did you mean {names[near[0]]!r}?"
    return f"{said}; known are {cut(', '.join(names.values()), 80)}" if names else said


def expected(wanted: str, value: Any) -> str:
    """`expected an integer, got 'abc' (string)`."""
    return f"expected {wanted}, got {got(value)}"


def any_of(wanted: Sequence[str]) -> str:
    """`an integer, a string or null`: each once, in order."""
    once = list(dict.fromkeys(wanted))
    return once[0] if len(once) == 1 else f"{', '.join(once[:-1])} or {once[-1]}"


def merged(faults: Sequence[Fault]) -> list[Fault]:
    """One fault a path, and only the deepest: a union complains about the whole and about each of its branches."""
    by_path: dict[tuple[str | int, ...], list[str]] = {}
    for fault in faults:
        by_path.setdefault(fault.path, []).append(fault.message)
    outer = {path[:size] for path in by_path for size in range(len(path))}
    return [Fault(path, _joined(texts)) for path, texts in by_path.items() if path not in outer or not path]


def message(tool: str, faults: Sequence[Fault]) -> str:
    """The text that the model gets. At most `MAX_FAULTS` faults and `MAX_MESSAGE` characters.

    Example: `Invalid arguments for search_products: max_results: expected an integer <= 20, got 50.`
    """
    shown = [f"{dotted(f.path)}: {f.message}" if f.path else f.message for f in faults[:MAX_FAULTS]]
    text = f"Invalid arguments for {tool}: " + " ".join(_sentence(part) for part in shown)
    more = len(faults) - len(shown)
    tail = f" And {more} more." if more > 0 else ""
    return cut(text, MAX_MESSAGE - len(tail)) + tail


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else text + "."


def _joined(texts: list[str]) -> str:
    """Complaints about one value: `expected A, got X` and `expected B, got X` become `expected A or B, got X`."""
    if len(texts) == 1:
        return cut(texts[0], MAX_TEXT)
    wanted: list[str] = []
    other: list[str] = []
    came = ""
    for text in texts:
        before, found, after = text.partition(", got ")
        if found and before.startswith("expected ") and came in ("", after):
            wanted.append(before.removeprefix("expected "))
            came = after
        else:
            other.append(text)
    first = [f"expected {any_of(wanted)}, got {came}"] if wanted else []
    return cut("; ".join(dict.fromkeys(first + other)), MAX_TEXT)
