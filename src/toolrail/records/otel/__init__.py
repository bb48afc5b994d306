"""OpenTelemetry, extra `otel`: runs, model calls and tool calls as spans and metrics of the GenAI conventions."""

from __future__ import annotations

try:
    from toolrail.records.otel.sink import OpenTelemetry
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("opentelemetry"):
        raise
    raise ImportError('OpenTelemetry is not installed. Mend: pip install "toolrail[otel]"') from error

__all__ = ["OpenTelemetry"]
