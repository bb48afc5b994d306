"""Every name that OpenTelemetry gets from us, in one place, because those of the GenAI conventions still change.

They were read in autumn 2026 in open-telemetry/semantic-conventions-genai, where all of them are "Development". What
differed in the last conventions with a version, 1.41, is in `Profile`; everything else is the same in both. What no
convention names begins with `toolrail.`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SCOPE = "toolrail"
"""The name of our tracer and our meter."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What differs from one version of the conventions to another."""

    schema_url: str | None
    inference_duration: str
    usage_counters: bool
    """Tokens as counters and as histograms without a kind; else as one histogram with `gen_ai.token.type`."""
    cache_write: str


PROFILES = {
    "2026-11": Profile(None, "gen_ai.client.inference.duration", True, "gen_ai.usage.cache_write.input_tokens"),
    "1.41": Profile(
        "https://opentelemetry.io/schemas/1.41.0",
        "gen_ai.client.operation.duration",
        False,
        "gen_ai.usage.cache_creation.input_tokens",
    ),
}
PROFILE = "2026-11"
"""The one that is used unless told otherwise."""

INVOKE_AGENT = "invoke_agent"
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"

OPERATION = "gen_ai.operation.name"
AGENT = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
PROVIDER = "gen_ai.provider.name"
MODEL = "gen_ai.request.model"
FINISH = "gen_ai.response.finish_reasons"
TOOL = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
CALL_ID = "gen_ai.tool.call.id"
ARGUMENTS = "gen_ai.tool.call.arguments"
RESULT = "gen_ai.tool.call.result"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
REASONING = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"
MODALITY = "gen_ai.token.modality"
ERROR = "error.type"
USER = "user.id"
FUNCTION = "function"
OTHER = "_OTHER"
"""The conventions' word for what must not become a label of its own, such as a tool's name that a model made up."""

RUN = "toolrail.run.id"
TENANT = "toolrail.tenant"
RESUMED = "toolrail.run.resumed"
STOP_REASON = "toolrail.run.stop_reason"
SUSPENDED = "toolrail.run.suspended"
PENDING = "toolrail.run.pending"
TURN = "toolrail.turn"
TURNS = "toolrail.turns"
CALLS = "toolrail.calls"
COST = "toolrail.cost"
CURRENCY = "toolrail.cost.currency"
CALL_KEY = "toolrail.call.key"
INDEX = "toolrail.call.index"
STATUS = "toolrail.call.status"
WAITS = "toolrail.call.waits"
"""The code of a call that waits for a person or another system."""
CLASS = "toolrail.error.class"
"""Whom a rising rate concerns: argument, policy, dependency, limit or bug."""
ATTEMPTS = "toolrail.call.attempts"
MODEL_ATTEMPTS = "toolrail.model.attempts"
NUMBER = "toolrail.attempt.number"
WAIT = "toolrail.attempt.wait"
"""Seconds until the next."""
ARGUMENT_BYTES = "toolrail.call.argument.size"
RESULT_BYTES = "toolrail.call.result.size"
HANDLER_SECONDS = "toolrail.call.handler.duration"
FLAGS = "toolrail.call.flags"
REPLAYED = "toolrail.call.replayed"
STARTED = "toolrail.call.started"
REFERENCE = "toolrail.call.reference"
VERSION = "toolrail.tool.digest"
DEPENDENCY = "toolrail.dependency"
MESSAGES = "toolrail.messages"
"""The messages that are new, as JSON in the provider's own form."""
CONTENT = {"arguments": ARGUMENTS, "result": RESULT, "messages": MESSAGES}
LINK = "toolrail.link"
"""Why a span is linked to another."""

ON_ATTEMPT = "toolrail.attempt"
ON_DECISION = "toolrail.decision"
ON_CLAIM = "toolrail.claim"
ON_WAIT = "toolrail.suspended"
ON_APPROVAL = "toolrail.approval"
ON_BLOCK = "toolrail.loop_blocked"
ON_CIRCUIT = "toolrail.circuit"
ON_BUDGET = "toolrail.budget_near"
ON_REPAIR = "toolrail.history_repaired"

CIRCUIT_STATES = {"closed": 0, "half-open": 1, "open": 2}
FINISH_REASONS = {
    "end": "stop",
    "calls": "tool_call",
    "length": "length",
    "content_filter": "content_filter",
    "refusal": "refusal",
    "empty": "stop",
}
"""The convention's words for how a response stopped; `refusal` has none there."""
PROVIDERS = {"openai-responses": "openai", "gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
"""Where the first part of a model's name is not the convention's name of its provider."""

WIDEST = 128
"""Characters of a name that a model or a user chose."""
LONGEST = 16_384
"""Characters of one piece of content."""
MARGIN = 4_096
"""Further ones that are searched for secrets."""
_FIT = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def safe(text: str) -> str:
    """A name that any exporter can encode and any screen can show: printable, of at most `WIDEST` characters."""
    if len(text) <= WIDEST and text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\ufffd" for char in encodable(text, WIDEST))


def encodable(text: str, longest: int) -> str:
    """Text that any exporter can encode, cut to size. Half a character would lose it the whole batch of spans."""
    return text[:longest].encode("utf-8", "replace").decode("utf-8")


def tool_span(tool: str) -> str:
    """The name of a tool's span. One that no provider would have let through is left out: a span's name is a label."""
    return f"{EXECUTE_TOOL} {tool}" if _FIT.fullmatch(tool) else EXECUTE_TOOL


def model_parts(model: str) -> tuple[str | None, str]:
    """Provider and model of a name such as `anthropic:claude-sonnet-4-5`; the provider may not be said."""
    provider, colon, name = model.partition(":")
    return (PROVIDERS.get(provider, provider), name) if colon else (None, model)
