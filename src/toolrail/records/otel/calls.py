"""Tool calls: `execute_tool`. What happens on a call's way are events of its span.

The spans of a batch begin together, each becomes the current one where its call is done, and ends when that is settled.
"""

from __future__ import annotations

import asyncio
from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry.trace import Span, SpanKind, Tracer

from toolrail import events
from toolrail.codes import CODES
from toolrail.events import CallRef
from toolrail.records.otel import names, places
from toolrail.records.otel.metrics import Instruments
from toolrail.records.otel.runs import OpenRun, Runs
from toolrail.records.otel.spans import Attributes, failed, trace_of
from toolrail.records.redaction import masked

if TYPE_CHECKING:
    from toolrail.run import Job

MOST_OPEN = 10_000
"""Over it the oldest is ended: a call whose loop is gone never says that it has ended."""


class OpenCall:
    """A call whose span is open."""

    __slots__ = ("ended", "place", "run", "span")

    def __init__(self, span: Span, run: OpenRun | None) -> None:
        self.span = span
        self.run = run
        self.place: places.Place | None = None
        self.ended: int | None = None
        """Nanoseconds, where all that is missing is the result's text."""


class Calls:
    """All that are open in this process, by key."""

    def __init__(
        self, tracer: Tracer, metrics: Instruments, runs: Runs, *, agent: str | None, content: bool, principals: bool
    ) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._runs = runs
        self._agent = agent
        self._content = content
        self._principals = principals
        self._open: dict[str, OpenCall] = {}

    def span(self, key: str) -> Span | None:
        """The open span of a call."""
        call = self._open.get(key)
        return None if call is None else call.span

    def begin(self, job: Job) -> None:
        """In the task that does the call: its span is the current one until it is settled."""
        call = self._open.get(job.key)
        if call is None:  # it has waited, and goes on now
            call = self._started(job.ref(), self._runs.of(job.run))
        if job.run.trace is None:
            job.run.trace = trace_of(call.span)
        call.place = places.enter(call.span, call.run)

    def requested(self, event: events.CallRequested) -> None:
        """Before any call of the batch begins."""
        self._started(event.call, self._runs.at(event.head))

    def _started(self, ref: CallRef, run: OpenRun | None) -> OpenCall:
        tool = names.safe(ref.tool)
        attributes: Attributes = {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL: tool,
            names.TOOL_TYPE: names.FUNCTION,
            names.CALL_ID: names.safe(ref.call_id),
            names.CALL_KEY: names.safe(ref.key),
            names.INDEX: ref.index,
        }
        if self._agent is not None:
            attributes[names.AGENT] = self._agent
        context = places.here() if run is None else places.below(run.span, run)
        span = self._tracer.start_span(names.tool_span(tool), context, SpanKind.INTERNAL, attributes)
        if len(self._open) >= MOST_OPEN:
            self._drop(next(iter(self._open)), names.OTHER)
        call = self._open[ref.key] = OpenCall(span, run)
        return call

    def settled(self, event: events.CallSettled) -> None:
        """It has its result."""
        key = event.call.key
        call = self._open.get(key)
        if call is None:
            call = self._started(event.call, self._runs.at(event.head))
        if call.place is not None:
            places.leave(call.place)
        if call.run is not None:
            call.run.tool_calls += 1
        try:
            if call.span.is_recording():
                _describe(call.span, event)
            self._metrics.settled(event, self._agent)
        finally:
            self._end(key, call)

    def _end(self, key: str, call: OpenCall) -> None:
        """Now, or as soon as the result's text was put into it: that comes in the same step of the loop."""
        if not self._content:
            self.end(key)
            return
        call.ended = time_ns()
        try:
            asyncio.get_running_loop().call_soon(self.end, key)
        except RuntimeError:
            self.end(key)

    def end(self, key: str) -> None:
        """Ends a span, once."""
        call = self._open.pop(key, None)
        if call is not None:
            call.span.end(call.ended)

    def leave(self, run: OpenRun, error: str) -> None:
        """Ends the spans of a run's calls that no event has ended."""
        for key in [key for key, call in list(self._open.items()) if call.run is run]:
            self._drop(key, error)

    def _drop(self, key: str, error: str) -> None:
        call = self._open.get(key)
        if call is not None:
            if call.place is not None:
                places.leave(call.place)
            if call.ended is None:
                failed(call.span, error)
            self.end(key)

    def decided(self, event: events.CallDecided) -> None:
        """By a policy."""
        told: Attributes = {"toolrail.decision": event.decision, "toolrail.rule": names.safe(event.rule)}
        if self._content and event.reason:
            told["toolrail.reason"] = names.safe(masked(event.reason))
        self._note(event.call, names.ON_DECISION, told)

    def claimed(self, event: events.CallClaimed) -> None:
        """Its effect begins."""
        told: Attributes = {"toolrail.effect": event.effect}
        if event.effect_key is not None:
            told["toolrail.effect.key"] = event.effect_key
        self._note(event.call, names.ON_CLAIM, told)

    def attempted(self, event: events.AttemptEnded) -> None:
        """One attempt of several, or one that has failed."""
        told: Attributes = {names.NUMBER: event.attempt, "toolrail.attempt.duration": event.seconds}
        if event.failure is not None:
            told["toolrail.attempt.failure"] = event.failure
        if event.error_type is not None:
            told[names.ERROR] = names.safe(event.error_type)
        if event.wait is not None:
            told[names.WAIT] = event.wait
        self._note(event.call, names.ON_ATTEMPT, told)

    def waits(self, event: events.CallSuspended) -> None:
        """For a person."""
        self._note(event.call, names.ON_WAIT, {})

    def approved(self, event: events.ApprovalDecided) -> None:
        """A person has decided."""
        told: Attributes = {"toolrail.approved": event.approved}
        if self._principals:
            told["toolrail.approver"] = names.safe(event.approver)
        self._note(event.call, names.ON_APPROVAL, told)

    def blocks(self, event: events.LoopBlocked) -> None:
        """It holds the event loop. From a thread of the rail's own."""
        self._note(event.call, names.ON_BLOCK, {"toolrail.blocked.duration": event.seconds})

    def _note(self, ref: CallRef, name: str, attributes: Attributes) -> None:
        call = self._open.get(ref.key)
        if call is not None:
            call.span.add_event(name, attributes)


def _describe(span: Span, event: events.CallSettled) -> None:
    """What is known of a call at its end."""
    attributes: Attributes = {
        names.STATUS: event.status,
        names.ATTEMPTS: event.attempts,
        names.ARGUMENT_BYTES: event.argument_bytes,
        names.RESULT_BYTES: event.result_bytes,
        names.HANDLER_SECONDS: event.handler_seconds,
        names.STARTED: event.started,
        names.REPLAYED: event.replayed,
    }
    if event.call.digest:
        attributes[names.VERSION] = event.call.digest
    else:
        span.update_name(names.EXECUTE_TOOL)  # nobody's tool: its name is not to become a label
    if event.dependency and event.dependency != event.call.tool:
        attributes[names.DEPENDENCY] = names.safe(event.dependency)
    if event.flags:
        attributes[names.FLAGS] = [names.safe(flag) for flag in event.flags]
    if event.reference is not None:
        attributes[names.REFERENCE] = event.reference
    if event.code is None:
        pass
    elif event.status == "pending":
        attributes[names.WAITS] = event.code.value
    else:
        attributes[names.CLASS] = CODES[event.code].alert
        failed(span, event.code.value)
    span.set_attributes(attributes)
