"""What a span is made of: attributes, status, links and ids, as OpenTelemetry wants them."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from toolrail.messages import Usage
from toolrail.records.otel import names

Value = str | bool | int | float | Sequence[str]
Attributes = dict[str, Value]
_FAILED = Status(StatusCode.ERROR)
_W3C = TraceContextTextMapPropagator()


def failed(span: Span, error: str) -> None:
    """Says that a span has failed. The error is a closed label, and there is no description: exception texts would leak
    there."""
    span.set_attribute(names.ERROR, error)
    span.set_status(_FAILED)


def usage_of(usage: Usage, profile: names.Profile) -> Attributes:
    """Tokens, as a span says them."""
    found: Attributes = {names.INPUT_TOKENS: usage.input_tokens, names.OUTPUT_TOKENS: usage.output_tokens}
    if usage.cached_tokens:
        found[names.CACHE_READ] = usage.cached_tokens
    if usage.cache_write_tokens:
        found[profile.cache_write] = usage.cache_write_tokens
    if usage.reasoning_tokens:
        found[names.REASONING] = usage.reasoning_tokens
    return found


def trace_of(span: Span) -> str | None:
    """The id of a span's trace, as 32 hexadecimal digits; None where nobody traces."""
    found = span.get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else None


def traceparent_of(span: Span) -> str:
    """Where a span stands, as the W3C's Trace Context writes it; empty where nobody traces."""
    found = span.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}" if found.is_valid else ""


def links_to(traceparent: str) -> list[Link]:
    """A link to what an earlier handle of a run was done in, in whatever process."""
    found = _read(traceparent) if traceparent else None
    return [] if found is None else [Link(found, {names.LINK: "resumed"})]


def _read(traceparent: str) -> SpanContext | None:
    found = get_current_span(_W3C.extract({"traceparent": traceparent}, Context())).get_span_context()
    return found if found.is_valid else None
