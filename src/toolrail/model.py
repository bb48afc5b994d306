"""The model port: one conversation with a model, one request at a time, and the values that go in and come out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from toolrail.definition import Tool
from toolrail.messages import Message, ToolCall, ToolResult, Usage

Stop = Literal["end", "calls", "length", "refusal", "content_filter", "empty"]
"""How a response ended. `length`: it was cut off, so none of its calls may run."""

FailureLabel = Literal[
    "rate_limited", "server_error", "connection", "timeout", "garbage", "context_length", "authentication", "rejected"
]
"""A closed label for a failed request. The first five may pass."""

RETRYABLE: frozenset[str] = frozenset({"rate_limited", "server_error", "connection", "timeout", "garbage"})


@dataclass(frozen=True, slots=True)
class Named:
    """`tool_choice`: this tool, by our name."""

    name: str


@dataclass(frozen=True, slots=True)
class Among:
    """`tool_choice`: any of these tools, where the provider can say so without changing the offer."""

    names: tuple[str, ...]
    required: bool = False


ToolChoice = Literal["auto", "required", "none"] | Named | Among


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What a request says beside messages and tools. None: the provider's default."""

    max_tokens: int | None = None
    """Of one response. Where a provider needs one, its codec's own default stands in."""
    temperature: float | None = None
    timeout: float = 600.0
    """Seconds for one request."""
    attempts: int = 3
    """Requests for one turn, the first included."""
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of the request body, as they are."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What stays the same over a whole conversation, so that prompt caches stay warm."""

    tools: tuple[Tool[Any], ...] = ()
    instructions: str | None = None
    settings: ModelSettings = ModelSettings()
    output_schema: Mapping[str, Any] | None = None
    """JSON Schema that the final answer must follow, where the provider can say so."""
    output_name: str = "output"
    strict: bool = False
    """Ask the provider to constrain decoding to the tools' schemas, where they allow it."""


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What may change from turn to turn."""

    tool_choice: ToolChoice = "auto"
    parallel: bool | None = None
    """False: at most one call in the response. None: the provider's default."""


@dataclass(frozen=True, slots=True)
class ModelResponse:
    """One response, whole."""

    messages: tuple[Message, ...]
    """What goes into the history, in the provider's wire form, lossless."""
    calls: tuple[ToolCall, ...]
    text: str
    stop: Stop
    usage: Usage
    model: str = ""
    """The model's own name for itself."""
    detail: str | None = None
    """A refusal's text, or the provider's own word for why it stopped."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """A piece of a call's arguments. For showing only: nothing runs before the response is whole."""

    index: int
    name: str
    text: str


class ModelFailure(Exception):
    """A request failed. Its text is for the log; it is never an answer and never shown to the model.

    Args:
        label: a closed label for the record.
        message: for the log.
        retry_after: seconds that the provider asked to wait.
        streamed: deltas of this attempt were already handed out, so a consumer must discard them.
    """

    def __init__(
        self, label: FailureLabel, message: str, *, retry_after: float | None = None, streamed: bool = False
    ) -> None:
        super().__init__(f"{label}: {message}")
        self.label: FailureLabel = label
        self.retry_after = retry_after
        self.streamed = streamed

    @property
    def may_pass(self) -> bool:
        """Whether another request may succeed."""
        return self.label in RETRYABLE


class Codec(Protocol):
    """A provider's wire form: pure functions, no IO."""

    @property
    def provider(self) -> str:
        """`openai_chat`, `openai_responses` or `anthropic`: also the name that `repair` takes."""
        ...

    def user(self, text: str) -> Message:
        """A user's message."""
        ...

    def results(self, results: Sequence[ToolResult]) -> list[Message]:
        """The messages that answer all calls of one response, in order, with the ids that the calls had."""
        ...

    def decode(self, body: Mapping[str, Any]) -> ModelResponse:
        """A response body as it came, with empty and duplicate call ids made whole in its message and calls alike.

        Raises:
            ModelFailure: `garbage`, the body is none of this provider's.
        """
        ...


class Conversation(Protocol):
    """One conversation with one model: compiled tools and encoded messages are kept from turn to turn."""

    @property
    def codec(self) -> Codec: ...

    @property
    def null_means_default(self) -> Mapping[str, frozenset[str]]:
        """By tool, the arguments whose `null` only the dialect allows."""
        ...

    async def request(self, messages: Sequence[Message], turn: TurnRequest) -> ModelResponse:
        """One attempt: no retries in here.

        Raises:
            ModelFailure: with a closed label.
        """
        ...

    def stream(
        self, messages: Sequence[Message], turn: TurnRequest
    ) -> AsyncIterator[TextDelta | ArgumentsDelta | ModelResponse]:
        """One attempt, as it comes; the whole response is the last item. Closing it early ends the request.

        Raises:
            ModelFailure: with a closed label, also when the stream broke off.
        """
        ...


class Model(Protocol):
    """A model behind a client."""

    @property
    def name(self) -> str:
        """`openai:gpt-4o`."""
        ...

    def open(self, setup: Setup) -> Conversation:
        """A new conversation.

        Raises:
            DefinitionError: TR401, the provider cannot combine what is asked for.
        """
        ...
