"""Tables: by rich on a terminal that has it, else in plain columns; the same cells, and never wider than the screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from toolrail.cli.lines import Paint, printable
from toolrail.cli.screen import fitted, folded, padded, screen_width, width

_GAP = 2
_LONGEST = 64
"""Columns of a cell that may be cut, where there is no screen; --json has it whole."""
_LEAST_REST = 12
"""Columns that a last, wrapping cell gets at least."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    right: bool = False
    least: int = 0
    """What is longer may be cut down to this; 0: it is never cut."""
    spare: int = 0
    """Which column is left out first where there is no room: the highest; 0: none of these."""
    wraps: bool = False
    """The last one: it takes what is left, and wraps."""


Cell = str | tuple[str, str]
"""A text, or a text and its colour."""


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Prints a table. What does not fit the screen is cut or left out, and a line below says which columns are."""
    paint, screen = Paint(), screen_width()
    safe = [[_safe(cell) for cell in row] for row in rows]
    if screen is None:  # a line has no end here, but one long id would push all others far away
        safe = [
            [
                (fitted(text, _LONGEST) if column.least and not column.wraps else text, colour)
                for (text, colour), column in zip(row, columns, strict=True)
            ]
            for row in safe
        ]
    kept, widths = fit(columns, [[text for text, _ in row] for row in safe], screen)
    chosen = [columns[at] for at in kept]
    cells = [[row[at] for at in kept] for row in safe]
    if screen is not None and sys.stdout.isatty() and find_spec("rich") is not None:
        _by_rich(chosen, cells, widths, screen, colours=paint.on)
    else:
        for line in _plain(chosen, cells, widths, paint, screen):
            print(line)
    texts = [[text for text, _ in row] for row in safe]
    left_out = [column.name for at, column in enumerate(columns) if at not in kept and _says(texts, at)]
    if left_out:
        note = f"({', '.join(left_out)}: not shown on a screen this narrow; --json has them)"
        for line in folded(note, screen):
            print(paint(line, "dim"))


def _safe(cell: Cell) -> tuple[str, str]:
    text, colour = (cell, "") if isinstance(cell, str) else cell
    return printable(text), colour


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], screen: int | None) -> tuple[list[int], list[int]]:
    """The columns that there is room for, by their position, and their widths."""
    natural = [
        max(width(text) for text in (column.name, *(row[at] for row in rows))) for at, column in enumerate(columns)
    ]
    kept = [at for at, column in enumerate(columns) if not column.spare or _says(rows, at)]
    if screen is None:
        return kept, [natural[at] for at in kept]
    while True:
        least = [_least(columns[at], natural[at]) for at in kept]
        if sum(least) + _GAP * (len(kept) - 1) <= screen:
            break
        spare = max(kept, key=lambda at: columns[at].spare)
        if not columns[spare].spare:
            break
        kept.remove(spare)
    return kept, _shared([natural[at] for at in kept], least, screen - _GAP * (len(kept) - 1))


def _says(rows: Sequence[Sequence[str]], at: int) -> bool:
    return any(row[at].strip() for row in rows)


def _least(column: Column, natural: int) -> int:
    if column.wraps:
        return min(natural, max(column.least, _LEAST_REST))
    return min(natural, max(column.least, width(column.name))) if column.least else natural


def _shared(natural: list[int], least: list[int], room: int) -> list[int]:
    """Each at its natural width, then the widest of those that may shrink made narrower until all fit."""
    widths = list(natural)
    while sum(widths) > room:
        slack = [(widths[at] - least[at], at) for at in range(len(widths)) if widths[at] > least[at]]
        if not slack:
            break
        widths[max(slack)[1]] -= 1
    return widths


def _plain(
    columns: Sequence[Column],
    rows: Sequence[Sequence[tuple[str, str]]],
    widths: Sequence[int],
    paint: Paint,
    screen: int | None,
) -> Iterator[str]:
    heads = [
        padded(fitted(column.name, size), size, right=column.right)
        for column, size in zip(columns, widths, strict=True)
    ]
    yield paint((" " * _GAP).join(heads).rstrip(), "dim")
    for row in rows:
        lines = [_cell_lines(text, column, size) for (text, _), column, size in zip(row, columns, widths, strict=True)]
        for at in range(max(map(len, lines))):
            parts: list[str] = []
            for (_, colour), column, size, texts in zip(row, columns, widths, lines, strict=True):
                text = texts[at] if at < len(texts) else ""
                parts.append(_painted(padded(text, size, right=column.right), colour, paint))
            yield (" " * _GAP).join(parts).rstrip()


def _cell_lines(text: str, column: Column, size: int) -> list[str]:
    if width(text) <= size:
        return [text]
    return _wrapped(text, size) if column.wraps else [fitted(text, size)]


def _wrapped(text: str, size: int) -> list[str]:
    """In lines of at most `size` columns, broken at blanks where there are any."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        while width(word) > size:
            lines += [line] if line else []
            line = ""
            head = next(at for at in range(len(word), 0, -1) if width(word[:at]) <= size)
            lines.append(word[:head])
            word = word[head:]
        if width(line) + bool(line) + width(word) > size:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def _painted(text: str, colour: str, paint: Paint) -> str:
    shown = text.rstrip()
    return paint(shown, colour) + text[len(shown) :] if colour else text


def _by_rich(
    columns: Sequence[Column],
    rows: Sequence[Sequence[tuple[str, str]]],
    widths: Sequence[int],
    screen: int,
    *,
    colours: bool,
) -> None:
    # Imported by name: the package works without rich, and the types of an extra are not ours to depend on.
    console_of: Any = import_module("rich.console")
    tables: Any = import_module("rich.table")
    text_of: Any = import_module("rich.text").Text
    # A blank of padding and the blank between columns are the gap that `fit` counts.
    rule: Any = import_module("rich.box").SIMPLE_HEAD
    table = tables.Table(box=rule, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for column, size in zip(columns, widths, strict=True):
        side = "right" if column.right else "left"
        overflow = "fold" if column.wraps else "ellipsis"
        table.add_column(text_of(column.name), justify=side, width=size, no_wrap=not column.wraps, overflow=overflow)
    for row in rows:
        table.add_row(*(text_of(text, style=colour) for text, colour in row))
    # Texts, never markup: a name that somebody invented says nothing to rich.
    console_of.Console(
        width=screen, markup=False, highlight=False, emoji=False, no_color=not colours, legacy_windows=False
    ).print(table)
