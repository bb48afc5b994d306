"""Runs and their model calls: `invoke_agent`, and below it `chat` for each request of an `Agent`.

A run that ends, ends what is still open in it: a cancelled request says nothing of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Span, SpanKind, Tracer

from toolrail import events
from toolrail.events import Head
from toolrail.messages import Usage
from toolrail.money import PriceBook, cost_of
from toolrail.records.otel import names, places
from toolrail.records.otel.metrics import Instruments, Labels
from toolrail.records.otel.spans import Attributes, failed, links_to, trace_of, traceparent_of, usage_of

if TYPE_CHECKING:
    from toolrail.run import Run

ANSWERED = ("answer", "question")
"""A run that stops for any other reason has not done what it was asked."""


class OpenRun:
    """A run whose span is open, and what is counted for its end. Earlier handles of the run have counted their own."""

    __slots__ = ("chat", "inference_calls", "model", "mono", "place", "prices", "span", "tool_calls", "usage")

    def __init__(self, span: Span, *, model: str, prices: PriceBook, mono: float) -> None:
        self.span = span
        self.place = places.enter(span, self)
        self.model = model
        self.prices = prices
        self.mono = mono
        self.usage = Usage()
        self.chat: OpenChat | None = None
        self.inference_calls = self.tool_calls = 0


class OpenChat:
    """A model call whose span is open."""

    __slots__ = ("labels", "mono", "place", "span")

    def __init__(self, span: Span, run: OpenRun, labels: Labels, *, mono: float) -> None:
        self.span = span
        self.place = places.enter(span, run)
        self.labels = labels
        """Of its metrics."""
        self.mono = mono


class Runs:
    """All that are open in this process, by tenant and id."""

    def __init__(
        self, tracer: Tracer, metrics: Instruments, profile: names.Profile, *, agent: str | None, principals: bool
    ) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._profile = profile
        self._agent = agent
        self._principals = principals
        self._open: dict[tuple[str, str], OpenRun] = {}

    def of(self, run: Run[Any]) -> OpenRun | None:
        """The open one of a run."""
        return self._open.get((run.state.tenant, run.state.run_id))

    def at(self, head: Head) -> OpenRun | None:
        """The open one that an event belongs to."""
        return self._open.get((head.tenant, head.run))

    def begin(self, run: Run[Any]) -> None:
        """Its span is the current one until it ends."""
        state = run.state
        span = self._started(run)
        before = self._open.pop((state.tenant, state.run_id), None)
        if before is not None:  # another handle of the same id, that nobody has closed
            self.close(before, names.OTHER)
        self._open[state.tenant, state.run_id] = OpenRun(span, model=run.model, prices=run.prices, mono=run.now())
        run.trace, state.trace = trace_of(span), traceparent_of(span)

    def _started(self, run: Run[Any]) -> Span:
        state, name = run.state, names.INVOKE_AGENT
        attributes: Attributes = {
            names.OPERATION: name,
            names.RUN: names.safe(state.run_id),
            names.TENANT: names.safe(state.tenant),
        }
        if self._agent is not None:
            attributes[names.AGENT] = self._agent
            name = f"{name} {self._agent}"
        if state.session is not None:
            attributes[names.CONVERSATION] = names.safe(state.session)
        if self._principals:
            attributes[names.USER] = names.safe(state.principal_id)
        if run.model:
            attributes[names.MODEL] = _model(run.model)
        return self._tracer.start_span(name, places.here(), SpanKind.INTERNAL, attributes, links_to(state.trace))

    def started(self, event: events.RunStarted) -> None:
        """It goes on, perhaps."""
        run = self.at(event.head)
        if run is not None and event.resumed:
            run.span.set_attribute(names.RESUMED, True)

    def suspended(self, event: events.RunSuspended) -> None:
        """It waits, or its next turn is another request's."""
        run = self._open.pop((event.head.tenant, event.head.run), None)
        if run is not None:
            run.span.set_attributes({names.SUSPENDED: True, names.PENDING: event.pending})
            self._ended(run, event.head, error=None)

    def ended(self, event: events.RunEnded) -> None:
        """It is over."""
        run = self._open.pop((event.head.tenant, event.head.run), None)
        if run is None:
            return
        reason = names.safe(event.reason)
        run.span.set_attributes({names.STOP_REASON: reason, names.TURNS: event.turns, names.CALLS: event.calls})
        self._ended(run, event.head, error=None if reason in ANSWERED else reason)

    def _ended(self, run: OpenRun, head: Head, *, error: str | None) -> None:
        try:
            if run.chat is not None:
                self._end(run, run.chat, error=error or names.OTHER, seconds=head.mono - run.chat.mono)
            labels: Labels = {} if self._agent is None else {names.AGENT: self._agent}
            self._metrics.tool_calls.record(run.tool_calls, labels)
            self._metrics.inference_calls.record(run.inference_calls, labels)
            if run.model:
                labels = {**labels, names.MODEL: _model(run.model)}
            if error is not None:
                labels = {**labels, names.ERROR: error}
                failed(run.span, error)
            self._metrics.agent.record(head.mono - run.mono, labels)
            self._spent(run)
        finally:
            self.close(run, names.OTHER)

    def _spent(self, run: OpenRun) -> None:
        run.span.set_attributes(usage_of(run.usage, self._profile))
        cost = cost_of(run.usage, run.model, run.prices)
        if cost.amount is not None:
            run.span.set_attributes({names.COST: float(cost.amount), names.CURRENCY: cost.currency})
            self._metrics.spent(cost, _model(run.model))

    def close(self, run: OpenRun, error: str) -> None:
        """Ends its span, and the one that is open below it."""
        try:
            if run.chat is not None:
                self._end(run, run.chat, error=error, seconds=None)
        finally:
            places.leave(run.place)
            run.span.end()

    def asked(self, event: events.ModelStarted) -> None:
        """A request to the model."""
        run = self.at(event.head)
        if run is None:
            return
        if run.chat is not None:
            self._end(run, run.chat, error=names.OTHER, seconds=None)
        run.model = event.model
        provider, model = names.model_parts(event.model)
        labels: Labels = {names.OPERATION: names.CHAT, names.MODEL: names.safe(model)}
        if provider is not None:
            labels[names.PROVIDER] = names.safe(provider)
        attributes: Attributes = {**labels, names.TURN: event.head.turn}
        if event.head.session is not None:
            attributes[names.CONVERSATION] = names.safe(event.head.session)
        name, context = f"{names.CHAT} {names.safe(model)}", places.below(run.span, run)
        span = self._tracer.start_span(name, context, SpanKind.CLIENT, attributes)
        run.chat = OpenChat(span, run, labels, mono=event.head.mono)

    def failed(self, event: events.ModelAttemptEnded) -> None:
        """A request has failed; the last attempt ends the span."""
        run = self.at(event.head)
        if run is None or run.chat is None:
            return
        error, chat = names.safe(event.error), run.chat
        told: Attributes = {names.NUMBER: event.attempt, names.ERROR: error}
        if event.wait >= 0:
            told[names.WAIT] = event.wait
        chat.span.add_event(names.ON_ATTEMPT, told)
        if event.wait < 0:
            self._end(run, chat, error=error, seconds=event.head.mono - chat.mono)

    def answered(self, event: events.ModelSettled) -> None:
        """The model has answered. In a loop of the user's own there is no span of ours: the SDK's instrumentation has
        made one, and counted the tokens."""
        run = self.at(event.head)
        if run is None:
            return
        run.usage += event.usage
        run.model = run.model or event.model
        if (chat := run.chat) is None:
            run.inference_calls += 1
            return
        try:
            told: Attributes = {names.FINISH: [names.FINISH_REASONS.get(event.stop, event.stop)]}
            chat.span.set_attributes({**told, **usage_of(event.usage, self._profile)})
            chat.span.set_attributes({names.MODEL_ATTEMPTS: event.attempts, names.CALLS: event.calls})
            self._metrics.used(event.usage, chat.labels)
        finally:
            self._end(run, chat, error=None, seconds=event.seconds)

    def _end(self, run: OpenRun, chat: OpenChat, *, error: str | None, seconds: float | None) -> None:
        run.chat = None
        run.inference_calls += 1
        places.leave(chat.place)
        try:
            labels = chat.labels
            if error is not None:
                labels = {**labels, names.ERROR: error}
                failed(chat.span, error)
            if seconds is not None:
                self._metrics.inference.record(seconds, labels)
        finally:
            chat.span.end()

    def repaired(self, event: events.RunRepaired) -> None:
        """Its history was broken."""
        self._note(event.head, names.ON_REPAIR, {"toolrail.repairs": len(event.notes)})

    def circuit(self, event: events.CircuitChanged) -> None:
        """A call of it has opened a circuit, or closed one."""
        self._metrics.circuit(event)
        told: Attributes = {names.DEPENDENCY: names.safe(event.dependency), "toolrail.circuit.state": event.state}
        self._note(event.head, names.ON_CIRCUIT, told)

    def budget(self, event: events.BudgetNear) -> None:
        """Little is left of a budget."""
        told: Attributes = {"toolrail.budget": names.safe(event.budget), "toolrail.budget.left": event.left}
        self._note(event.head, names.ON_BUDGET, told)

    def _note(self, head: Head, name: str, attributes: Attributes) -> None:
        run = self.at(head)
        if run is not None:
            run.span.add_event(name, attributes)


def _model(name: str) -> str:
    return names.safe(names.model_parts(name)[1])
