"""Windows: a part of a long result that is valid, fits its cap, and says in words what was left out.

The preview that a model gets in place of a long result is one window, each answer of `read_result` is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring as quoted
from typing import Any

from toolrail.previews.shortening import Cut, Parts, bytes_of, fields, items, text_end, written
from toolrail.previews.skim import NoSuchPart, container_at, ends_after, joined
from toolrail.previews.slices import Slices

LEFT_OUT = "The rest was left out."
NOT_KEPT = "The rest could not be kept."
ASK_LESS = " Call the tool again and ask for less."
_NOTE_BYTES = 300
"""What a note needs besides the call that reads on."""
_NAMED = 3
_NAME = 40
_PATH = 80
"""So many shortened fields are named in a note, by so many characters; a longer path is left to the model."""


@dataclass(frozen=True, slots=True)
class View:
    """What of a result is to be shown, and how the model reads on."""

    cap: int
    """Bytes."""
    path: str = ""
    offset: int = 0
    """Items of a list, fields of an object, characters of a text."""
    limit: int | None = None
    call: str = ""
    """The beginning of the call that reads on, without its closing bracket; none where the rest is gone."""
    rest: str = LEFT_OUT
    head: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What stands in front besides the note."""

    @property
    def room(self) -> int:
        """Bytes for the content itself."""
        rest = bytes_of(written(self.call + quoted(self.path))) if self.call else bytes_of(self.rest)
        return self.cap - _NOTE_BYTES - bytes_of(written(dict(self.head))) - rest

    def read_on(self, offset: int, path: str | None = None) -> str:
        """How to see more, in words."""
        if not self.call:
            return self.rest
        path = self.path if path is None or len(path) > _PATH + len(self.path) else path
        part = f", path={quoted(path)}" if path else ""
        return f"Read on: {self.call}{part}, offset={offset})."


def preview_of(text: str, view: View) -> Slices[str]:
    """A window at the beginning of a text that is over the cap: JSON stays JSON."""
    try:
        at = container_at(text)
        if at >= 0:
            return (yield from container(text, at, view, whole=True))
    except (ValueError, RecursionError):  # it only looked like JSON
        pass
    return lines(text, view)


def container(text: str, at: int, view: View, *, whole: bool = False) -> Slices[str]:
    """A window into the list or object that begins at `at`; `whole` if nothing may follow it.

    Raises:
        ValueError, RecursionError: it is not JSON.
    """
    read = items if text[at] == "[" else fields
    parts = yield from read(text, at, max(0, view.room), offset=view.offset, limit=view.limit)
    if whole and not ends_after(text, parts.end):
        raise ValueError("not JSON")
    name = "items" if text[at] == "[" else "fields"
    if view.offset and view.offset >= parts.total:
        raise NoSuchPart(f"offset={view.offset} is past the end: there are {parts.total} {name}.")
    says = _list_note(parts, view) if name == "items" else _object_note(parts, view)
    head = {**view.head, **({"offset": view.offset} if view.offset else {}), "shown": parts.shown, "of": parts.total}
    return framed(view, says, head, name, parts.text)


def _list_note(parts: Parts, view: View) -> list[str]:
    last = parts.next - 1
    some = f"Items {view.offset} to {last} of {parts.total} are shown."
    said = some if view.offset else f"{parts.shown} of {parts.total} items are shown."
    if parts.cut:
        cut = parts.cut[0]
        return [f"{said} Shortened: {_told(cut)}.", said, view.read_on(cut.shown, joined(view.path, cut.path))]
    return [said, "", view.read_on(parts.next) if parts.next < parts.total else ""]


def _object_note(parts: Parts, view: View) -> list[str]:
    said = [f"{parts.shown} of {parts.total} fields are shown."] if parts.shown < parts.total else []
    if not parts.cut:
        return [*said, "", view.read_on(parts.next) if parts.next < parts.total else ""]
    named = ", ".join(_told(cut) for cut in parts.cut[:_NAMED])
    more = f" and {len(parts.cut) - _NAMED} more" if len(parts.cut) > _NAMED else ""
    cut = parts.cut[0]
    return [
        " ".join([*said, f"Shortened: {named}{more}."]),
        " ".join([*said, "Some are shortened."]),
        view.read_on(cut.shown, joined(view.path, cut.path)),
    ]


def _told(cut: Cut) -> str:
    return f"{cut.path[:_NAME]} ({cut.words})"


def lines(text: str, view: View, *, by_line: bool = False) -> str:
    """A window into plain text, cut at a line or a word. `view.limit` counts lines if `by_line`, else characters."""
    start = view.offset
    end = text_end(text, start, view.room, line_limit=view.limit if by_line else None)
    if view.limit is not None and not by_line:
        end = min(end, start + view.limit)
    end = max(end, min(start + 1, len(text)))  # whoever reads on gets on
    total = _line_count(text, 0, len(text))
    first = text.count("\n", 0, start) + 1
    shown = _line_count(text, start, end)
    size = f"{bytes_of(text[start:end])} of {bytes_of(text)} bytes"
    which = f"{shown} of {total} lines are shown ({size})." if total > 1 else f"{size} are shown."
    said = f"From line {first} on, {which}" if start and total > 1 else which
    head = {**view.head, **({"offset": start} if start else {})}
    rest = view.read_on(end) if end < len(text) else ""
    return framed(view, [said, "", rest], head, "text", quoted(text[start:end]))


def _line_count(text: str, start: int, end: int) -> int:
    whole = text.count("\n", start, end)
    return whole if end > start and text[end - 1] == "\n" else whole + 1


def framed(view: View, note: list[str], head: Mapping[str, Any], name: str, body: str) -> str:
    """The JSON object that the model reads. `note`: what is shown, the same in fewer words, and how to read on."""
    *said, rest = note
    for words in said:
        text = " ".join(part for part in (words, rest) if part)
        full = _joined({"note": text, **head}, name, body)
        if bytes_of(full) <= view.cap:
            return full
    bare = _joined(view.head, name, body)
    if bytes_of(bare) <= view.cap:
        return bare
    return written({name: value for name, value in view.head.items() if name != "handle"})


def _joined(head: Mapping[str, Any], name: str, body: str) -> str:
    front = written(dict(head))[1:-1]
    return f'{{{front}{"," if front else ""}"{name}":{body}}}'
