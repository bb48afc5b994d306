"""How wide the screen is, how wide a text is on it, and what it can show."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = ".:-=+*#@"
NARROW = 40
"""No layout goes below this."""


def screen_width() -> int | None:
    """Columns of the terminal, or what COLUMNS says. None, without end, for a file or a pipe."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return max(NARROW, int(said))
    if not sys.stdout.isatty():
        return None
    return max(NARROW, shutil.get_terminal_size().columns)


def shows(text: str) -> bool:
    """Whether the standard output can write this."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def width(text: str) -> int:
    """How many columns a text takes: East Asian characters take two, combining marks none."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def fitted(text: str, columns: int) -> str:
    """At most so many columns."""
    if width(text) <= columns:
        return text
    room, kept = max(0, columns - 3), ""
    for char in text:
        room -= _width(char)
        if room < 0:
            break
        kept += char
    return (kept + "...")[:columns]


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """At least so many columns."""
    blank = " " * (columns - width(text))
    return blank + text if right else text + blank


def folded(text: str, columns: int | None, indent: str = "") -> list[str]:
    """A text in lines of at most so many columns, indent included."""
    if columns is None:
        return [indent + text]
    return textwrap.wrap(
        text, max(columns, NARROW), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    ) or [indent]


def spark(heights: Sequence[float]) -> str:
    """A spark line: a blank for nothing, else one of eight heights; in ASCII where the output knows no more."""
    blocks = BLOCKS if shows(BLOCKS) else PLAIN_BLOCKS
    most = max(heights, default=0.0)
    if most <= 0:
        return " " * len(heights)
    return "".join(" " if one <= 0 else blocks[min(7, int(one / most * 8))] for one in heights)


def bar(part: float, columns: int) -> str:
    """A bar of `part` (0 to 1) of the columns; never empty for what is more than nothing."""
    block = "█" if shows("█") else "#"
    return block * max(1 if part > 0 else 0, round(part * columns))
