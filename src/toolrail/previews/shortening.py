"""Shortening: as much of a JSON value as fits into some bytes, as valid JSON, with words for what is missing.

Whole values are copied as they stand, so that no number changes its spelling.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from json.encoder import encode_basestring as quoted
from typing import Any, NamedTuple

from toolrail.previews.skim import Span, joined, path_to, spans

_FIELD = 70
"""Bytes that a shortened field needs at least, besides its name."""
_FIELDS = 2_000
"""No more fields than so many are looked at closely."""


class Cut(NamedTuple):
    """A value that was shortened."""

    path: str
    """From the value that holds it."""
    words: str
    """What is left of it: "20 of 412 items"."""
    shown: int = 0
    """From where it can be read on, by offset."""


@dataclass(slots=True)
class Parts:
    """What was chosen of a list or an object."""

    text: str = ""
    """JSON."""
    shown: int = 0
    total: int = 0
    end: int = 0
    """Where the last value ends."""
    next: int = 0
    """The first that was not reached."""
    cut: list[Cut] = field(default_factory=list[Cut])
    """Those that were shortened."""


Pieces = Generator[None, None, Parts]


def written(value: Any) -> str:
    """Compact JSON. Half a character, which a `\\u` escape may hide, is replaced."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def bytes_of(text: str) -> int:
    """Its size as UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def items(text: str, at: int, room: int, *, offset: int = 0, limit: int | None = None) -> Pieces:
    """As many items of the list at `at` as fit, from `offset` on; the first one shortened if it alone is too long."""
    parts, chosen, left, full = Parts(end=at + 1), list[str](), room, False
    for span in spans(text, at):
        if span is None:
            yield
            continue
        parts.total += 1
        parts.end = span.end
        if full or parts.total <= offset:
            continue
        if limit is not None and len(chosen) >= limit:
            full = True
            continue
        size = bytes_of(text[span.start : span.end]) + 1 if span.end - span.start < left else left + 1
        if size <= left:
            chosen.append(text[span.start : span.end])
            left -= size
            continue
        full = True
        if not chosen:
            piece, cut = yield from shortened(text, span, max(0, left - 1))
            chosen.append(piece)
            parts.cut.append(cut)
    parts.text, parts.shown, parts.next = f"[{','.join(chosen)}]", len(chosen), offset + len(chosen)
    return parts


def fields(text: str, at: int, room: int, *, offset: int = 0, limit: int | None = None) -> Pieces:
    """The fields of the object at `at`: small ones whole, long ones shortened, as many as find place."""
    parts, found = Parts(end=at + 1), list[Span]()
    for span in spans(text, at):
        if span is None:
            yield
            continue
        parts.total += 1
        parts.end = span.end
        if parts.total > offset and len(found) < (_FIELDS if limit is None else min(limit, _FIELDS)):
            found.append(span)
    sizes = {span: _size(text, span, room) for span in found}
    chosen = _fitting(found, sizes, room - 2)
    allowed = _shares({span: sizes[span] for span in chosen}, room - 2)
    told: list[str] = []
    for span in chosen:
        name = quoted(str(span.key)) + ":"
        if sizes[span] <= allowed[span]:
            told.append(name + text[span.start : span.end])
            continue
        piece, cut = yield from shortened(text, span, allowed[span] - bytes_of(name) - 1)
        told.append(name + piece)
        parts.cut.append(cut)
    parts.text, parts.shown, parts.next = f"{{{','.join(told)}}}", len(told), offset + max(1, len(told))
    return parts


def _size(text: str, span: Span, room: int) -> int:
    """Bytes of a field with its name and comma; what is too long anyway is not measured."""
    name, length = bytes_of(quoted(str(span.key))), span.end - span.start
    return name + 2 + (bytes_of(text[span.start : span.end]) if length <= room else length)


def _least(span: Span, size: int) -> int:
    return min(size, bytes_of(quoted(str(span.key))) + _FIELD)


def _fitting(found: list[Span], sizes: dict[Span, int], room: int) -> list[Span]:
    """The fields that find place, in their order, if each long one is shortened as far as it can be."""
    chosen: list[Span] = []
    for span in found:
        least = _least(span, sizes[span])
        if least > room:
            break
        room -= least
        chosen.append(span)
    return chosen


def _shares(sizes: dict[Span, int], room: int) -> dict[Span, int]:
    """Bytes for each: what small fields leave over goes to the long ones, in equal parts."""
    shares: dict[Span, int] = {}
    left, extra = room - sum(_least(span, size) for span, size in sizes.items()), 0
    for at, span in enumerate(sorted(sizes, key=lambda one: sizes[one] - _least(one, sizes[one]))):
        least = _least(span, sizes[span])
        extra = min(sizes[span] - least, left // (len(sizes) - at))
        left -= extra
        shares[span] = least + extra
    return shares


def shortened(text: str, span: Span, room: int) -> Generator[None, None, tuple[str, Cut]]:
    """One value within `room` bytes, as JSON, and what is missing of it."""
    here = path_to("", span.key)
    match text[span.start]:
        case "[":
            parts = yield from items(text, span.start, room - 40)
            return _list_of(parts, here, room)
        case "{":
            parts = yield from fields(text, span.start, room - 25)
            return _object_of(parts, here)
        case '"':
            value = json.loads(text[span.start : span.end])
            end = text_end(value, 0, room - 4)
            return written(value[:end] + "\u2026"), Cut(here, f"{end} of {len(value)} characters", end)
        case _:
            return '"[a long number]"', Cut(here, "a long number")


def _list_of(parts: Parts, here: str, room: int) -> tuple[str, Cut]:
    of = f'"of":{parts.total}}}'
    if not parts.shown or bytes_of(parts.text) > room - 40:
        return f'{{"shown":0,{of}', Cut(here, f"0 of {parts.total} items")
    body = f'{{"items":{parts.text},"shown":{parts.shown},{of}'
    words = f"{parts.shown} of {parts.total} items"
    return body, Cut(here, f"{words}, shortened") if parts.cut else Cut(here, words, parts.shown)


def _object_of(parts: Parts, here: str) -> tuple[str, Cut]:
    gone = parts.total - parts.shown
    comma = "," if parts.shown else ""
    body = parts.text[:-1] + (f'{comma}"...":"{gone} more fields"}}' if gone else "}")
    if gone or not parts.cut:
        return body, Cut(here, f"{parts.shown} of {parts.total} fields", parts.shown)
    inner = parts.cut[0]
    return body, inner._replace(path=joined(here, inner.path))


def text_end(text: str, start: int, room: int, *, line_limit: int | None = None) -> int:
    """Where to cut a text so that it fits as a JSON string: after a line or a word if there is one near."""
    low, high = 0, max(0, min(room - 2, len(text) - start))
    while low < high:
        middle = (low + high + 1) // 2
        if bytes_of(written(text[start : start + middle])) <= room:
            low = middle
        else:
            high = middle - 1
    end = start + low
    if line_limit is not None:
        at = start
        for _ in range(line_limit):
            at = text.find("\n", at, end) + 1
            if not at:
                break
        else:
            return at
    if end >= len(text):
        return end
    half = start + low // 2
    for mark in ("\n", " "):
        at = text.rfind(mark, half, end) + 1
        if at > half:
            return at
    return end
