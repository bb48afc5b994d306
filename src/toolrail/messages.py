"""What goes in and out: the model's call, the one result it gets, and the media a result may carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

from toolrail.codes import Code, Status
from toolrail.frozen import frozen

Trust = Literal["trusted", "untrusted"]
"""Whether text in a result may be believed as an instruction's source. Untrusted unless the tool says otherwise."""

Message = dict[str, Any]
"""A message in the provider's own wire form."""


@frozen
class ToolCall:
    """A model's request to call a tool, as it came.

    Example: `ToolCall("call_1", "find_invoice", '{"customer": "ACME"}')`.
    """

    id: str
    """The provider's id. May be empty or not unique: calls are told apart by their position."""
    name: str
    """The name as the model wrote it, in our spelling (dialects map provider names back)."""
    arguments: str
    """The model's raw text. Nothing has looked into it yet."""
    provider_data: Mapping[str, Any] | None = None
    """Fields of the provider's own that must survive the way back."""


@frozen
class Media:
    """An image or a file that a tool returns beside text, where the provider's format can carry it."""

    data: bytes
    media_type: str
    """For example `image/png`."""
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes) or "/" not in self.media_type:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError('Media takes bytes, not base64 text, and a type: Media(png, "image/png").')


@frozen
class ToolResult:
    """The one answer that a call gets, whatever happened to it."""

    call_id: str
    name: str
    status: Status
    content: str
    """What the model reads: text, or JSON text."""
    code: Code | None = None
    """Why, unless `status` is `ok`. What the model was told may differ: see `recorded_code`."""
    trust: Trust = "untrusted"
    flags: tuple[str, ...] = ()
    """What happened on the way that is not a failure, such as `coerced:limit` or `preview`."""
    replayed: bool = False
    """The result of an earlier, identical effect; nothing ran now."""
    started: bool = False
    """Whether the handler had been started."""
    media: tuple[Media, ...] = ()
    recorded_code: Code | None = None
    """The code in the record, where the model is shown another (a hidden tool, another user's object)."""

    @property
    def ok(self) -> bool:
        """Whether the call did what it was asked."""
        return self.status == "ok"


class _Made:
    """A `ToolResult` while it is filled. Each call makes one, and a frozen class takes over twice as long to fill."""

    __slots__ = tuple(field.name for field in fields(ToolResult))

    def __init__(
        self, call: ToolCall, content: str, trust: Trust, flags: tuple[str, ...], media: tuple[Media, ...]
    ) -> None:
        self.call_id = call.id
        self.name = call.name
        self.status: Status = "ok"
        self.content = content
        self.code = self.recorded_code = None
        self.trust: Trust = trust
        self.flags = flags
        self.replayed = False
        self.started = True
        self.media = media


def success(
    call: ToolCall, content: str, *, trust: Trust, flags: tuple[str, ...] = (), media: tuple[Media, ...] = ()
) -> ToolResult:
    """The result of a handler that ran and returned."""
    made: Any = _Made(call, content, trust, flags, media)
    made.__class__ = ToolResult  # allowed, as both have the same slots
    return made


@frozen
class Usage:
    """Tokens of one response, or a sum of several.

    `input_tokens` counts every token sent, cached ones too; `cached_tokens` are the part read from a cache and
    `cache_write_tokens` the part written to one. `output_tokens` includes `reasoning_tokens`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens
