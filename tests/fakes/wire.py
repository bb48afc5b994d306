"""What a provider's wire form must offer the server, and the helpers that all three share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.script import Answer

CREATED = 1_790_000_000  # a fixed moment: answers are the same in every run


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that the provider refuses with 400, in its own words."""

    message: str
    param: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Wire:
    """One endpoint's wire form."""

    call_prefix: str
    body: Callable[[Answer], bytes]
    events: Callable[[Answer, int], list[bytes]]
    """The complete stream for deltas of so many characters."""
    closing: Callable[[Answer], int]
    """How many events at the end of its stream close it: an unfinished one lacks them."""
    error_event: Callable[[int], bytes]
    """What breaks a stream off, given how many events went before."""
    status_error: Callable[[int], bytes]
    rejected: Callable[[Rejection], bytes]
    too_long: Rejection
    check: Callable[[dict[str, Any]], Rejection | None]


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON as the providers send; a lone surrogate goes out as its escape."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def event(value: Any, *, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if name is None else b"event: %b\n" % name.encode()
    return b"%bdata: %b\n\n" % (head, encode(value))
