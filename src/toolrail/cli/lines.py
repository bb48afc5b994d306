"""How commands write: sizes, times, run ids, aligned columns, and colour where a terminal shows it."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import TextIO, cast

from toolrail.cli.screen import fitted, padded
from toolrail.codes import Code, Status

_OWN_ID = re.compile(r"run_[0-9a-f]{28}")
_ESCAPES = {"dim": "2", "bold": "1", "green": "32", "yellow": "33", "red": "31", "cyan": "36"}
STATUS_COLOURS: dict[str, str] = {"ok": "green", "error": "red", "unknown": "red"}
"""Statuses that are not named here were refused or wait: yellow."""


def size(count: int) -> str:
    """Bytes, short: `310 B`, `4.2 kB`, `1.3 MB`."""
    if count < 1_000:
        return f"{count} B"
    if count < 999_500:
        return f"{count / 1_000:.1f} kB" if count < 99_950 else f"{count / 1_000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB"


def duration(seconds: float) -> str:
    """Seconds, short: `0.4 ms`, `12 ms`, `1.31 s`."""
    milliseconds = seconds * 1_000
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms" if milliseconds >= 9.95 else f"{milliseconds:.1f} ms"
    return f"{seconds:.2f} s"


def clock(wall: float) -> str:
    """Wall time as the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(wall))


def moment(wall: float) -> str:
    """Wall time as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def short_id(run: str) -> str:
    """Enough of a run's id to name it. Ours begin with their time, so it is their end that tells them apart."""
    return run[-8:] if _OWN_ID.fullmatch(run) else run


def outcome(status: Status | str | None, code: Code | str | None) -> str:
    """`ok`, or the code."""
    return str(code) if code is not None else (status or "")


def printable(text: str) -> str:
    """Text from outside on one line, without what could steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def cut(text: str, width: int) -> str:
    """At most `width` columns."""
    return fitted(text, width)


def call_text(name: str, arguments: str, width: int = 10_000) -> str:
    """A call as one would write it: `find(query="lamp", limit=3)`; arguments that are no object as they came."""
    return cut(printable(f"{name}({_arguments(arguments)})"), width)


def _arguments(text: str) -> str:
    try:
        values = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    if not isinstance(values, dict):
        return text
    items = cast("dict[str, object]", values).items()
    return ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in items)


class Paint:
    """Colours for one stream: none where it is no terminal, or where `NO_COLOR` is set.

    Example: `paint = Paint(sys.stdout)`, then `paint("ok", "green")`.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        terminal = cast("TextIO", stream or sys.stdout).isatty()
        self.on = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str, colour: str) -> str:
        return f"\x1b[{_ESCAPES[colour]}m{text}\x1b[0m" if self.on and text else text

    def status(self, text: str, status: str | None) -> str:
        """Text in the colour of a call's status."""
        return self(text, STATUS_COLOURS.get(status or "", "yellow"))


def row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells in columns; a negative width aligns to the right. What is longer than its column pushes the rest away."""
    aligned = (padded(cell, abs(size), right=size < 0) for cell, size in zip(cells, widths, strict=True))
    return "  ".join(aligned).rstrip()
