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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from toolrail.messages import Media

MAX_DEPTH = 100
_PLAIN_INT = 10**18
_ITERATORS = (Iterator, range)


@dataclass(slots=True)
class Encoded:
    """A value as the model reads it."""

    text: str
    media: tuple[Media, ...] = ()
    flags: tuple[str, ...] = ()


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


def preview(text: str, max_bytes: int) -> tuple[str, tuple[str, ...]]:
    """The text, or a valid JSON preview of it when it is over the cap. Never cut inside a character."""
    if len(text) * 4 <= max_bytes or len(data := text.encode()) <= max_bytes:
        return text, ()
    shown = data[: max(0, max_bytes - 400)].decode("utf-8", "ignore")
    while True:
        note = f"The result has {len(data)} bytes; only the first {len(shown.encode())} are shown. Ask for less."
        body = json.dumps({"preview": shown, "truncated": True, "bytes": len(data), "note": note}, ensure_ascii=False)
        size = len(body.encode())
        if size <= max_bytes or not shown:
            return body, ("preview",)
        # Quotes and line ends grow when they are written as JSON: keep what fits if they are spread evenly.
        shown = shown[: int(len(shown) * max_bytes / size) - 1] if len(shown) > 1 else ""
