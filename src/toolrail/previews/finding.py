"""Finding: the items, fields or lines of a long result in which a word occurs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from json.encoder import encode_basestring as quoted

from toolrail.previews.shortening import bytes_of, shortened, text_end, written
from toolrail.previews.skim import SLICE, Span, spans
from toolrail.previews.slices import Slices
from toolrail.previews.windows import View, framed

_BEFORE = 100
"""Characters of a long line that are shown in front of the word."""
_LINE = 600
"""Bytes of a line that are shown."""


@dataclass(slots=True)
class _Matches:
    """Those that are shown, and how many there are."""

    view: View
    left: int
    chosen: list[str] = field(default_factory=list[str])
    count: int = 0
    full: bool = False

    def wanted(self) -> bool:
        """Counts one more; whether it is to be shown."""
        self.count += 1
        limit = self.view.limit
        self.full = self.full or (limit is not None and len(self.chosen) >= limit)
        return not self.full and self.count > self.view.offset

    def add(self, piece: str) -> bool:
        """Takes it if there is room."""
        self.left -= bytes_of(piece) + 1
        self.full = self.left < 0
        if not self.full:
            self.chosen.append(piece)
        return not self.full


def found_in_parts(text: str, at: int, view: View, word: str) -> Slices[str]:
    """The items or fields of the list or object at `at` that contain the word, in whatever case.

    Raises:
        ValueError, RecursionError: it is not JSON.
    """
    matches, sought, total = _Matches(view, view.room), word.casefold(), 0
    for span in spans(text, at):
        if span is None:
            yield
            continue
        total += 1
        if _contains(text, span, sought) and matches.wanted():
            label = f'"index":{span.key}' if isinstance(span.key, int) else f'"field":{quoted(span.key)}'
            if matches.add(f'{{{label},"value":{text[span.start : span.end]}}}') or matches.chosen:
                continue
            piece, _ = yield from shortened(text, span, max(0, view.room - len(label) - 15))
            matches.chosen.append(f'{{{label},"value":{piece}}}')
    return _told(matches, word, f"{total} {'items' if text[at] == '[' else 'fields'}")


def found_in_lines(text: str, view: View, word: str) -> Slices[str]:
    """The lines of a text that contain the word, in whatever case."""
    matches, sought, start, number, paused = _Matches(view, view.room), word.casefold(), 0, 0, 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        number += 1
        place = text[start:end].casefold().find(sought)
        if place >= 0 and matches.wanted():
            begin = start + max(0, place - _BEFORE)
            shown = text[begin : min(end, text_end(text, begin, _LINE))].rstrip("\r\n")
            matches.add(f'{{"line":{number},"text":{quoted(shown)}}}')
        if end - paused > SLICE:
            paused = end
            yield
        start = end
    return _told(matches, word, f"{number} lines")


def _contains(text: str, span: Span, sought: str) -> bool:
    piece = text[span.start : span.end]
    if "\\u" in piece:
        piece = written(json.loads(piece))
    return sought in piece.casefold() or (isinstance(span.key, str) and sought in span.key.casefold())


def _told(matches: _Matches, word: str, of: str) -> str:
    view, shown = matches.view, len(matches.chosen)
    which = f"{shown} of {matches.count} matches" if shown < matches.count else f"{shown} matches"
    said = f"{which} for {word[:60]!r} in {of}."
    end = view.offset + max(1, shown)
    rest = view.read_on(end) if end < matches.count else ""
    return framed(view, [said, rest], {"shown": shown, "of": matches.count}, "matches", f"[{','.join(matches.chosen)}]")
