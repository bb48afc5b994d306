"""The sink: what a rail says, to spans and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import Span, TracerProvider, get_tracer

from toolrail import events
from toolrail.events import Content, Event
from toolrail.records.otel import names, places
from toolrail.records.otel.calls import Calls
from toolrail.records.otel.metrics import Instruments
from toolrail.records.otel.runs import Runs
from toolrail.records.redaction import masked
from toolrail.settings import flags, texts, wrong

if TYPE_CHECKING:
    from toolrail.run import Job, Run


class OpenTelemetry:
    """Makes spans and metrics of a rail's runs, by providers of yours, or else by those that are set for the process.

    Each run is a span `invoke_agent`, each tool call below it a span `execute_tool NAME`, each request of an `Agent` a
    span `chat MODEL`; in a loop of your own the SDK's instrumentation makes that one, and it stands in the run, too.
    What a tool does is done in its span: in async handlers, in threads, in isolated processes, in requests that an
    instrumented client sends.

    Nothing that anyone wrote is in a span unless `content` is given: no arguments, no results, no texts of exceptions.

    Args:
        tracer_provider: whose tracer is used. None: the global one, also if it is set later.
        meter_provider: whose meter is used. None: the global one, also if it is set later.
        content: puts arguments, results and messages into spans, as the rail's `redact=` leaves them: "redacted" with
            what looks like a secret masked, "full" as they are. None: no content.
        agent: the name of the agent that the rail serves, for the names of spans and the labels of metrics.
        profile: which names are used where the conventions have changed: "2026-11" or "1.41".
        principals: whether spans say on whose behalf a run is, as `user.id`, and who has approved a call.

    Raises:
        DefinitionError: TR301, a setting that cannot be.

    Example: `Rail(tools, sinks=[Metrics(), LogSink(), OpenTelemetry(agent="shop")])`
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        content: Literal["redacted", "full"] | None = None,
        agent: str | None = None,
        profile: str = names.PROFILE,
        principals: bool = False,
    ) -> None:
        _check(content, profile, agent, tracer_provider=tracer_provider, meter_provider=meter_provider)
        flags("OpenTelemetry", principals=principals)
        import_module("opentelemetry.propagate")  # where it is loaded, isolated processes are told of the trace
        found, made = names.PROFILES[profile], _version()
        tracer = get_tracer(names.SCOPE, made, tracer_provider, found.schema_url)
        metrics = Instruments(get_meter(names.SCOPE, made, meter_provider, found.schema_url), found)
        agent = names.safe(agent) if agent else None
        self.wants_content = content is not None
        self._masks = content == "redacted"
        self._runs = runs = Runs(tracer, metrics, found, agent=agent, principals=principals)
        self._calls = calls = Calls(
            tracer, metrics, runs, agent=agent, content=self.wants_content, principals=principals
        )
        self._on: Mapping[type[Any], Callable[[Any], None]] = {
            events.RunStarted: runs.started,
            events.RunSuspended: self._run_over,
            events.RunEnded: self._run_over,
            events.RunRepaired: runs.repaired,
            events.ModelStarted: runs.asked,
            events.ModelAttemptEnded: runs.failed,
            events.ModelSettled: runs.answered,
            events.CallRequested: calls.requested,
            events.CallDecided: calls.decided,
            events.CallClaimed: calls.claimed,
            events.AttemptEnded: calls.attempted,
            events.CallSuspended: calls.waits,
            events.CallSettled: calls.settled,
            events.ApprovalDecided: calls.approved,
            events.OutcomeSettled: metrics.known,
            events.CircuitChanged: runs.circuit,
            events.BudgetNear: runs.budget,
            events.LoopBlocked: calls.blocks,
        }

    def emit(self, event: Event) -> None:
        """See `Sink`."""
        take = self._on.get(type(event))
        if take is not None:
            take(event)

    def _run_over(self, event: events.RunEnded | events.RunSuspended) -> None:
        run = self._runs.at(event.head)
        try:
            if run is not None:
                self._calls.leave(run, names.OTHER)
        finally:
            if isinstance(event, events.RunEnded):
                self._runs.ended(event)
            else:
                self._runs.suspended(event)

    def begin_run(self, run: Run[Any]) -> None:
        """See `Tracer`."""
        self._runs.begin(run)

    def begin_call(self, job: Job) -> None:
        """See `Tracer`."""
        self._calls.begin(job)

    def within(self, run: Run[Any]) -> AbstractContextManager[None]:
        """See `Tracer`."""
        found = self._runs.of(run)
        return nullcontext() if found is None else places.within(found.span, found)

    def take(self, content: Content) -> None:
        """See `Reader`. Content whose span has ended is left out."""
        span = self._span_of(content)
        if span is not None and span.is_recording():
            text = _masked(content.text) if self._masks else content.text
            span.set_attribute(names.CONTENT[content.kind], names.encodable(text, names.LONGEST))
        if content.kind == "result" and content.call is not None:
            self._calls.end(content.call.key)

    def _span_of(self, content: Content) -> Span | None:
        if content.call is not None:
            return self._calls.span(content.call.key)
        run = self._runs.at(content.head)
        return None if run is None else run.span if run.chat is None else run.chat.span


def _masked(text: str) -> str:
    """Masked before it is cut to size, and what was looked at for that alone is dropped: half a secret has no form."""
    part = masked(text[: names.LONGEST + names.MARGIN])
    return part if len(text) <= names.LONGEST + names.MARGIN else part[: -names.MARGIN]


def _check(content: object, profile: str, agent: str | None, **providers: Any) -> None:
    if content not in (None, "redacted", "full"):
        mend = 'Write content="redacted" or content="full", or leave it out.'
        wrong("OpenTelemetry", "content", content, problem="must be one of two words.", mend=mend)
    if profile not in names.PROFILES:
        mend = f"Write one of {', '.join(names.PROFILES)}."
        wrong("OpenTelemetry", "profile", profile, problem="is none of ours.", mend=mend)
    if agent is not None:
        texts("OpenTelemetry", agent=agent)
    for name, given in providers.items():
        method = f"get_{name.partition('_')[0]}"
        if given is not None and not callable(getattr(given, method, None)):
            wrong("OpenTelemetry", name, given, problem=f"has no {method}().", mend="Give the provider itself.")


def _version() -> str:
    try:
        return version("toolrail")
    except PackageNotFoundError:
        return ""
