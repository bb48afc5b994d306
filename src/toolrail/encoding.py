"""Encoding: any value as text for a model, within a size cap. It never fails because of what a tool returned."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from pydantic_core import to_json

from toolrail.frozen import frozen
from toolrail.messages import Media, Trust
from toolrail.previews.slices import Slices, at_once

MAX_DEPTH = 100
_WIDE = 512
"""A list or object with more parts is encoded in slices."""
_SAMPLE = 8
"""So many items of a shorter list are looked into, on so many levels."""
_LEVELS = 2
_CONTAINERS = frozenset({dict, list, tuple})
_GROUP = 16
_SLICE = 256 * 1024
"""Parts of the first slice, and characters of the later ones."""
_PLAIN_INT = 10**18
_NAME = frozenset({str})
_FLAT = frozenset({str, int, bool, type(None)})
_DIGITS = 4_300
"""Python writes no whole number of more digits, so no text that is shorter has one."""
_ITERATORS = (Iterator, range)


@dataclass(slots=True)
class Encoded:
    """A value as the model reads it."""

    text: str
    media: tuple[Media, ...] = ()
    flags: tuple[str, ...] = ()


@frozen
class Passage:
    """A part of a result that was kept: it is shown as it stands, under the label of the whole."""

    text: str
    trust: Trust


def encode_flat(value: Any) -> Encoded | None:
    """`encode_value` of most results: text, or a few names with texts, whole numbers, true, false and null. None for
    any other value.

    Pydantic writes these byte for byte as `json` does, in a tenth of the time. (Floats it does not.)
    """
    if type(value) is str:
        return _clean(value, ())
    if type(value) is not dict or len(cast("dict[Any, Any]", value)) > _WIDE:
        return None
    parts = cast("dict[Any, Any]", value)
    if not (_FLAT.issuperset(map(type, parts.values())) and _NAME.issuperset(map(type, parts))):
        return None
    try:
        text = to_json(parts).decode()
    except ValueError:  # half a character
        return None
    return Encoded(text) if len(text) < _DIGITS else None


def encode_value(value: Any) -> Encoded:
    """Text, or JSON text, of any value; images and files beside it.

    Text stays as it is. NaN and infinities become null, bytes text or base64, keys text; what cannot be shown is named
    by its type. Each of these is flagged.

    Example: `encode_value({"price": Decimal("9.99")}).text` is `'{"price":"9.99"}'`.
    """
    if isinstance(value, str):
        return _clean(value, ())
    if type(value) is int and -_PLAIN_INT < value < _PLAIN_INT:
        return Encoded(str(value))
    if isinstance(value, Media):
        return Encoded(_media_note(value), (value,))
    if isinstance(value, (list, tuple)):
        parts = list(cast("Sequence[Any]", value))
        if any(isinstance(part, Media) for part in parts):
            return _with_media(parts)
    try:
        return _clean(_dumps(value), ())
    except (TypeError, ValueError, RecursionError):
        plain = _Plain()
        return _clean(json.dumps(plain.of(value), ensure_ascii=False), tuple(sorted(plain.flags)))


def _dumps(value: Any) -> str:
    return _ENCODER.encode(value)


def _with_media(parts: list[Any]) -> Encoded:
    media = tuple(part for part in parts if isinstance(part, Media))
    rest = [part for part in parts if not isinstance(part, Media)]
    inner = encode_value(rest[0] if len(rest) == 1 else rest) if rest else Encoded("")
    notes = " ".join(_media_note(one) for one in media)
    return Encoded(f"{inner.text} {notes}".strip(), media, inner.flags)


def _media_note(media: Media) -> str:
    return f"[{media.name or 'attachment'}: {media.media_type}, {len(media.data)} bytes]"


def _clean(text: str, flags: tuple[str, ...]) -> Encoded:
    """Lone surrogates pass through JSON and break the request later."""
    if text.isascii():
        return Encoded(text, flags=flags)
    try:
        text.encode()
    except UnicodeEncodeError:
        return Encoded(text.encode("utf-8", "replace").decode(), flags=(*flags, "surrogates_replaced"))
    return Encoded(text, flags=flags)


def _default(value: Any) -> Any:
    """The common types, for the fast way. Anything else raises, and takes the careful way."""
    kind: Any = cast("Any", type(value))
    if hasattr(kind, "model_dump"):
        return kind.model_dump(value, mode="json")
    if dataclasses.is_dataclass(kind):
        return _fields_of(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, pathlib.PurePath)):
        return _scalar(value)
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError


def _fields_of(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _scalar(value: Any) -> str:
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        raise ValueError
    return str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default)


class _Plain:
    """The careful way: walks a value, notes what it had to change."""

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self._above: set[int] = set()

    def of(self, value: Any, depth: int = 0) -> Any:
        """The value in JSON's own types."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, enum.Enum):
            return self.of(value.value, depth)
        if isinstance(value, (int, float, decimal.Decimal)):
            return self._number(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._bytes(bytes(cast("bytes", value)))
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, (datetime.timedelta, uuid.UUID, pathlib.PurePath)):
            return str(value)
        return self._inner(value, depth)

    def text_of(self, value: Any, depth: int) -> str:
        """A part as compact JSON: the fast way if that goes."""
        try:
            return _dumps(value)
        except (TypeError, ValueError, RecursionError):
            return json.dumps(self.of(value, depth), ensure_ascii=False, separators=(",", ":"))

    @contextmanager
    def inside(self, value: Any) -> Generator[None]:
        """Its parts are encoded one by one meanwhile: whichever holds it again is a cycle."""
        self._above.add(id(value))
        try:
            yield
        finally:
            self._above.discard(id(value))

    def _inner(self, value: Any, depth: int) -> Any:
        if id(value) in self._above:
            return self._flag("cycle", "[cycle]")
        if depth > MAX_DEPTH:
            return self._flag("too_deep", "[too deep]")
        self._above.add(id(value))
        try:
            return self._container(value, depth + 1)
        finally:
            self._above.discard(id(value))

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            pairs = cast("Mapping[Any, Any]", value).items()
            return {self._key(key): self.of(item, depth) for key, item in pairs}
        if isinstance(value, (set, frozenset)):
            return [self.of(item, depth) for item in sorted(cast("set[Any]", value), key=repr)]
        if isinstance(value, (list, tuple)):
            return [self.of(item, depth) for item in cast("Sequence[Any]", value)]
        kind: Any = cast("Any", type(value))
        if dataclasses.is_dataclass(kind):
            return {name: self.of(item, depth) for name, item in _fields_of(value).items()}
        if hasattr(kind, "model_dump"):
            return self.of(kind.model_dump(value), depth)
        return self._flag("unencodable", note_of(value))

    def _number(self, value: int | float | decimal.Decimal) -> Any:
        if isinstance(value, decimal.Decimal):
            return str(value) if value.is_finite() else self._flag("nan_as_null", None)
        if isinstance(value, float):
            return value if math.isfinite(value) else self._flag("nan_as_null", None)
        return int(value) if value.bit_length() < 10_000 else self._flag("unencodable", "[a very large integer]")

    def _bytes(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            return self._flag("base64", base64.b64encode(data).decode())

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return key
        if isinstance(key, enum.Enum):
            return self._key(key.value)
        self.flags.add("keys_as_text")
        if key is None or isinstance(key, bool):
            return json.dumps(key)
        if isinstance(key, bytes):
            return self._bytes(key)
        plain = isinstance(key, (int, float, decimal.Decimal, datetime.date, datetime.time, uuid.UUID, tuple))
        return str(cast("object", key)) if plain else note_of(key)

    def _flag(self, flag: str, value: Any) -> Any:
        self.flags.add(flag)
        return value


def note_of(value: Any) -> str:
    """Names a value that cannot be shown. Its own text may hold anything, so it stays out."""
    if issubclass(type(value), _ITERATORS):  # isinstance would ask the value itself
        return f"[a {type(cast('object', value)).__name__}: not shown; the tool should return a list]"
    return f"[a {type(value).__name__}: not shown]"


def preview(text: str, max_bytes: int, *, rest: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The text, or a valid JSON preview of it when it is over the cap. Never cut inside a character. `rest` says in
    words what became of the rest."""
    if len(text) * 4 <= max_bytes or (size := len(text.encode())) <= max_bytes:
        return text, ()
    from toolrail.previews.windows import LEFT_OUT, View, preview_of  # most results are short

    view = View(max_bytes, rest=rest or LEFT_OUT, head={"truncated": True, "bytes": size})
    return at_once(preview_of(text, view)), ("preview",)


def is_wide(value: Any, depth: int = 0) -> bool:
    """Whether a value may be so large that it should be encoded in slices: a cheap look at its top."""
    kind: Any = cast("Any", type(value))
    if kind is dict:
        inner = value.values()
    elif kind is list or kind is tuple:
        inner = value[:_SAMPLE]
    else:
        return False
    if len(value) > _WIDE:
        return True
    if depth < _LEVELS:
        for one in inner:  # no generator: every result comes by here
            if type(one) in _CONTAINERS and is_wide(one, depth + 1):
                return True
    return False


def encode_slices(value: Any) -> Slices[Encoded]:
    """`encode_value` of a wide value, with a pause after each slice of the long lists and objects at its top.

    One object of a class (a model with a long list, say), and what stands deeper than three levels, is a single step,
    however large: about 20 ms a megabyte, measured. Return plain lists where results are that large.
    """
    if type(value) is not dict and any(isinstance(part, Media) for part in value):
        return encode_value(value)
    plain, out = _Plain(), list[str]()
    yield from _sliced(value, plain, out, 0)
    return _clean("".join(out), tuple(sorted(plain.flags)))


def _sliced(value: Any, plain: _Plain, out: list[str], depth: int) -> Slices[None]:
    named = type(value) is dict
    out.append("{" if named else "[")
    with plain.inside(value):
        yield from (_groups if len(value) > _WIDE else _one_by_one)(value, plain, out, depth + 1)
    out.append("}" if named else "]")


def _one_by_one(value: Any, plain: _Plain, out: list[str], depth: int) -> Slices[None]:
    """Few parts, of which some may be wide themselves."""
    named: bool = isinstance(value, dict)
    parts = cast("Any", value).items() if named else ((None, part) for part in value)
    comma = ""
    for name, inner in parts:
        out.append(comma)
        comma = ","
        if named:
            out.append(plain.text_of({name: 0}, depth)[1:-2])
        if depth <= _LEVELS and is_wide(inner, depth):
            yield from _sliced(inner, plain, out, depth)
        else:
            out.append(plain.text_of(inner, depth))


def _groups(value: Any, plain: _Plain, out: list[str], depth: int) -> Slices[None]:
    """Many parts: so many at a time that a group makes about one slice."""
    named: bool = isinstance(value, dict)
    parts: Iterator[Any] = iter(cast("Any", value).items() if named else value)
    size, comma = _GROUP, ""
    while group := list(islice(parts, size)):
        text = plain.text_of(dict(group) if named else group, depth)[1:-1]
        out.append(comma)
        out.append(text)
        comma = ","
        size = max(1, min(4 * size, size * _SLICE // len(text)))
        yield
