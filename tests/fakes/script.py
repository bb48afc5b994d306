"""What a scripted model does next, in a form that belongs to no provider: text, calls, faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

Api = Literal["chat", "responses", "anthropic"]
Stop = Literal["answer", "calls", "length", "refusal", "filter", "failed"]

FaultKind = Literal[
    "401",  # these statuses are answered with the provider's own error body
    "403",
    "404",
    "408",
    "409",
    "429",
    "500",
    "503",
    "529",
    "reset",  # the connection is reset before an answer
    "dead",  # this and every later request: reset
    "hang",  # never answers
    "garbage",  # 200, called JSON, and not JSON
    "html",  # 200 with a web page: a proxy's, as a rule
    "truncated",  # stopped by max_tokens; `parts` says what stood there
    "empty",  # neither text nor calls
    "refusal",
    "content_filter",
    "context_length",  # 400 in the provider's own words
    "failed",  # Responses: status "failed"; the others: 500, streamed as midstream
    "midstream",  # some deltas, then the provider's error event; not streamed: 500
    "drop",  # half of the answer, then the connection is lost
    "unfinished",  # a stream that ends cleanly without its closing events; not streamed: drop
    "stall",  # half of a stream, then silence; not streamed: hang
]


@dataclass(frozen=True, slots=True)
class Say:
    """Text of the model."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """Reasoning, with the provider's opaque proof of it (signature, encrypted content). Chat Completions shows none."""

    text: str
    proof: str = "opaque-proof"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` is raw text, sent as it stands. Without an id the server gives a fresh one."""

    name: str
    arguments: str = "{}"
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """The answer is bad, late or missing. `parts` stand in an answer that is cut off; seconds for `retry_after`."""

    kind: FaultKind
    retry_after: float | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Endless:
    """The same call for ever, with a fresh id each; gives `closing` when `tool_choice` is none and it `heeds` it."""

    call: Call
    heeds: bool = True
    closing: str = "That is all I found."


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the answer used. `input` holds `cached` and `written`, `output` holds `reasoning`, as OpenAI counts."""

    input: int = 120
    output: int = 30
    cached: int = 40
    written: int = 10
    reasoning: int = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """A turn of several parts with token counts of its own. A plain sequence of parts is a turn too."""

    parts: tuple[Part, ...]
    tokens: Tokens = Tokens()


@dataclass(frozen=True)  # without slots: a cached property needs the instance's dict
class Recorded:
    """One request as it arrived."""

    number: int
    api: Api
    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int
    left: threading.Event
    """Set when the client goes away before its answer is complete."""

    @cached_property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation in the provider's own form; a text alone stands as one user message."""
        found: Any = self.body.get("input" if self.api == "responses" else "messages", [])
        return [{"role": "user", "content": found}] if isinstance(found, str) else found

    @property
    def calls_closed(self) -> bool:
        """Whether `tool_choice` is none."""
        choice: Any = self.body.get("tool_choice")
        return choice == "none" or choice == {"type": "none"}

    @property
    def results(self) -> list[tuple[str, str]]:
        """Every tool result of the history as (call id, text), in order."""
        match self.api:
            case "chat":
                return [(m["tool_call_id"], _text(m["content"])) for m in self.messages if m.get("role") == "tool"]
            case "responses":
                found = (m for m in self.messages if m.get("type") == "function_call_output")
                return [(m["call_id"], _text(m["output"])) for m in found]
            case "anthropic":
                contents: list[Any] = [m["content"] for m in self.messages]
                blocks: list[Any] = [block for content in contents if not isinstance(content, str) for block in content]
                return [
                    (b["tool_use_id"], _text(b.get("content", ""))) for b in blocks if b.get("type") == "tool_result"
                ]

    @property
    def results_seen(self) -> int:
        """How many tool results the history holds, counted in the raw bytes: cheap enough for benchmarks."""
        match self.api:
            case "chat":
                return self.raw.count(b'"tool_call_id"')
            case "responses":
                return self.raw.count(b'"function_call_output"')
            case "anthropic":
                return self.raw.count(b'"tool_use_id"')


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


Part: TypeAlias = Say | Think | Call
Turn: TypeAlias = Part | Sequence[Part] | Reply | Fault | Endless
Choose: TypeAlias = Callable[[Recorded], Turn]
Script: TypeAlias = Sequence[Turn | Choose] | Choose


@dataclass(frozen=True, slots=True)
class Answer:
    """A turn made ready for a wire form: every call has its id, the stop is decided."""

    number: int
    model: str
    parts: tuple[Part, ...]
    stop: Stop
    tokens: Tokens
    with_usage: bool = True
    """Chat Completions streams usage only when asked."""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Say))

    @property
    def calls(self) -> list[Call]:
        return [part for part in self.parts if isinstance(part, Call)]


def pieces(text: str, size: int) -> list[str]:
    """The text cut into deltas of `size` characters; none for an empty text."""
    return [text[at : at + size] for at in range(0, len(text), size)]
