"""For the tests of OpenTelemetry: a rail's spans and metrics in memory, by the SDK itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from toolrail.records.otel import OpenTelemetry


@dataclass(slots=True)
class Traced:
    """What came out of one sink."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    spans_of: TracerProvider = field(default_factory=lambda: TracerProvider(shutdown_on_exit=False))
    meters_of: MeterProvider = field(init=False)
    begun: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.spans_of.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters_of = MeterProvider([self.reader], shutdown_on_exit=False)

    def sink(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(self.spans_of, self.meters_of, **options)

    @property
    def tracer(self) -> Any:
        """For what tools and callers do by themselves."""
        return self.spans_of.get_tracer("theirs")

    @property
    def spans(self) -> list[ReadableSpan]:
        """All that have ended."""
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (found,) = self.named(name)
        return found

    def tree(self) -> list[tuple[str, str | None]]:
        """Each span's name and its parent's, sorted."""
        names = {id_of(span): span.name for span in self.spans}
        pairs = [
            (span.name, None if span.parent is None else names.get(span.parent.span_id, "?")) for span in self.spans
        ]
        return sorted(pairs, key=lambda pair: (pair[0], pair[1] or ""))

    def points(self, metric: str) -> list[Any]:
        """The points of a metric; none where it was never recorded."""
        data: Any = self.reader.get_metrics_data()
        found: list[Any] = [] if data is None else data.resource_metrics
        metrics = [one for resource in found for scope in resource.scope_metrics for one in scope.metrics]
        return [point for one in metrics if one.name == metric for point in one.data.data_points]

    def everything(self) -> str:
        """All that anyone outside would see."""
        return " ".join([*(span.to_json() for span in self.spans), str(self.reader.get_metrics_data())])


def id_of(span: ReadableSpan) -> int:
    return cast(Any, span.context).span_id


def trace_of(span: ReadableSpan) -> str:
    return f"{cast(Any, span.context).trace_id:032x}"


def said(span: ReadableSpan) -> Mapping[str, Any]:
    """A span's attributes."""
    return cast("Mapping[str, Any]", span.attributes)


def status(span: ReadableSpan) -> str:
    return span.status.status_code.name
