"""What all wire forms share: JSON as bytes, each message encoded once, ids of calls made whole."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from operator import is_
from typing import Any, TypeGuard, cast

from toolrail.messages import Media, Message
from toolrail.model import ModelFailure

Json = dict[str, Any]


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON. Halves of surrogate pairs are joined, single ones replaced: providers refuse a history with
    such a text for good.

    Raises:
        TypeError, ValueError: the value is not JSON.
    """
    text = _compact(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def decode(raw: bytes) -> Json:
    """A response body.

    Raises:
        ModelFailure: `garbage`, it is not a JSON object.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ModelFailure("garbage", f"the body of {len(raw)} bytes is not JSON") from None
    if not is_json_object(body):
        raise ModelFailure("garbage", "the body is not a JSON object")
    return body


def plain(value: Any) -> Any:
    """An SDK's own object (response, message, chunk) as plain data; a dict as it is.

    Raises:
        TypeError: it is neither.
    """
    if is_json_object(value):
        return value
    dump: Callable[..., Json] | None = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"A {type(value).__name__} is not part of a provider's message.")
    return dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=plain).encode


def is_json_object(value: object) -> TypeGuard[Json]:
    """Whether it is a dict; the keys of a JSON object are text."""
    return isinstance(value, dict)


def objects(value: object) -> list[Json]:
    """The objects of a list; nothing for anything else."""
    return [item for item in cast("list[Any]", value) if is_json_object(item)] if isinstance(value, list) else []


def plain_objects(value: object) -> list[Json]:
    """The same with an SDK's own objects among them, as plain data."""
    if not isinstance(value, list):
        return []
    items = cast("list[Any]", value)
    return [plain(item) for item in items if is_json_object(item) or hasattr(item, "model_dump")]


def text_of(value: object) -> str:
    """A text as it is; empty for anything else, null mostly."""
    return value if isinstance(value, str) else ""


def count_of(value: object) -> int:
    """A number of tokens; 0 for null and for anything that is none."""
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else 0


def data_url(media: Media) -> str:
    """Bytes as `data:image/png;base64,...`."""
    return f"data:{media.media_type};base64,{base64.b64encode(media.data).decode()}"


def joined(fields: Mapping[str, bytes]) -> bytes:
    """An object of fields that are JSON already."""
    return b"{" + b",".join([b'"%b":%b' % (name.encode(), value) for name, value in fields.items()]) + b"}"


def whole_ids(ids: Sequence[object], taken: Container[str] = frozenset()) -> list[str]:
    """The ids of one response's calls, each one a text that occurs once: the first of an id keeps it.

    Args:
        ids: as they came.
        taken: ids of the history so far. Some servers count from one in each response.

    Example:
        >>> whole_ids(["a", "a", "", None])
        ['a', 'a_2', 'call', 'call_2']
    """
    own = {value for value in ids if isinstance(value, str)}
    used: set[str] = set()
    whole: list[str] = []
    for value in ids:
        name = value if isinstance(value, str) and value else "call"
        fresh, count = name, 2
        while fresh in used or fresh in taken or (fresh != value and fresh in own):
            fresh, count = f"{name}_{count}", count + 1
        used.add(fresh)
        whole.append(fresh)
    return whole


class EncodedMessages:
    """A conversation's messages as JSON, each encoded once: known again by its position and identity.

    A message must not be changed in place once it was sent; put a new one in its place.

    Args:
        ids_of: the ids of the calls in a message; they are gathered in `ids`.
    """

    __slots__ = ("_encoded", "_ids_of", "_seen", "ids")

    def __init__(self, ids_of: Callable[[Message], Iterable[str]] | None = None) -> None:
        self._seen: list[Message] = []
        self._encoded: list[bytes] = []
        self._ids_of = ids_of
        self.ids: set[str] = set()
        """All ids of calls that were ever seen here."""

    def items(self, messages: Sequence[Message]) -> list[bytes]:
        """One piece of JSON a message. The list is kept here: do not change it."""
        known = self._known(messages)
        del self._seen[known:], self._encoded[known:]
        for message in messages[known:]:
            self._encoded.append(encode(message))
            self._seen.append(message)
            if self._ids_of is not None:
                self.ids.update(self._ids_of(message))
        return self._encoded

    def array(self, messages: Sequence[Message], *, first: bytes | None = None) -> bytes:
        """All of them as one JSON array, behind `first` if there is one."""
        items = self.items(messages)
        return b"[" + b",".join(items if first is None else [first, *items]) + b"]"

    def _known(self, messages: Sequence[Message]) -> int:
        """How many messages at the front are the very ones that were encoded."""
        shared = min(len(self._seen), len(messages))
        if all(map(is_, self._seen, messages)):
            return shared
        return next(at for at in range(shared) if self._seen[at] is not messages[at])
