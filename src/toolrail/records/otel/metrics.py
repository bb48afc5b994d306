"""The instruments: those of the GenAI conventions, and `toolrail.*` for what no convention names yet."""

from __future__ import annotations

from opentelemetry.metrics import Counter, Histogram, Meter

from toolrail.codes import CODES
from toolrail.events import CallSettled, CircuitChanged, OutcomeSettled
from toolrail.messages import Usage
from toolrail.money import Cost
from toolrail.records.otel import names

SECONDS = tuple(0.01 * 2**n for n in range(14))
RUN_SECONDS = tuple(0.1 * 2**n for n in range(13))
COUNTS = tuple(2**n for n in range(8))
TOKENS = tuple(4**n for n in range(14))
BYTES = tuple(64 * 4**n for n in range(10))

Labels = dict[str, str]


class Instruments:
    """All of one meter's. `profile` decides what the model's are called."""

    def __init__(self, meter: Meter, profile: names.Profile) -> None:
        def times(name: str, what: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return meter.create_histogram(name, "s", what, explicit_bucket_boundaries_advisory=buckets)

        def sizes(name: str, unit: str, what: str, buckets: tuple[int, ...]) -> Histogram:
            return meter.create_histogram(name, unit, what, explicit_bucket_boundaries_advisory=buckets)

        self.tool = times("gen_ai.execute_tool.duration", "Duration of a tool's execution, waiting included.")
        self.agent = times("gen_ai.invoke_agent.duration", "Duration of a run.", RUN_SECONDS)
        self.tool_calls = sizes("gen_ai.invoke_agent.tool_calls", "{tool_call}", "Tool calls of a run.", COUNTS)
        self.inference_calls = sizes(
            "gen_ai.invoke_agent.inference_calls", "{inference_call}", "Model calls of a run.", COUNTS
        )
        self.inference = times(profile.inference_duration, "Duration of a model call, attempts and waits included.")
        self._tokens = _Counters(meter) if profile.usage_counters else _Histogram(meter)
        self._attempts = meter.create_counter("toolrail.tool.attempts", "{attempt}", "Attempts of handlers.")
        self._arguments = sizes("toolrail.tool.argument.size", "By", "Size of a call's arguments.", BYTES)
        self._results = sizes("toolrail.tool.result.size", "By", "Size of a result, as the model reads it.", BYTES)
        self._cost = meter.create_counter("toolrail.cost", "{money}", "Cost of tokens whose price is known.")
        self._outcomes = meter.create_counter(
            "toolrail.outcomes.settled", "{call}", "Outcomes that became known after their call was answered."
        )
        self._circuits = meter.create_gauge(
            "toolrail.circuit.state", "{state}", "State of a circuit: 0 closed, 1 half open, 2 open."
        )

    def settled(self, event: CallSettled, agent: str | None) -> None:
        """One call."""
        known = {names.TOOL: event.call.tool if event.call.digest else names.OTHER}
        labels = {**known, names.TOOL_TYPE: names.FUNCTION}
        if agent is not None:
            labels[names.AGENT] = agent
        if event.code is not None and event.status != "pending":
            labels[names.ERROR] = event.code.value
            labels[names.CLASS] = CODES[event.code].alert
        self.tool.record(event.seconds, labels)
        if event.attempts:
            self._attempts.add(event.attempts, known)
        self._arguments.record(event.argument_bytes, known)
        self._results.record(event.result_bytes, known)

    def used(self, usage: Usage, labels: Labels) -> None:
        """The tokens of one model call; nothing came of one that failed."""
        self._tokens.add(usage, labels)

    def spent(self, cost: Cost, model: str) -> None:
        """What a run has cost, where its price is known."""
        if cost.amount is not None and cost.amount > 0:
            self._cost.add(float(cost.amount), {names.CURRENCY: cost.currency, names.MODEL: model})

    def known(self, event: OutcomeSettled) -> None:
        """What an earlier result left open."""
        tool = event.call.tool if event.call.digest else names.OTHER
        self._outcomes.add(1, {names.TOOL: tool, names.STATUS: event.status, "toolrail.outcome.how": event.how})

    def circuit(self, event: CircuitChanged) -> None:
        """A circuit has another state."""
        self._circuits.set(names.CIRCUIT_STATES[event.state], {names.DEPENDENCY: event.dependency})


class _Counters:
    """Tokens as one counter of each kind, and two histograms."""

    def __init__(self, meter: Meter) -> None:
        def counter(what: str) -> Counter:
            return meter.create_counter(f"gen_ai.client.inference.usage.{what}", "{token}", "Tokens used.")

        def histogram(what: str) -> Histogram:
            name = f"gen_ai.client.inference.operation.{what}"
            return meter.create_histogram(
                name, "{token}", "Tokens of one model call.", explicit_bucket_boundaries_advisory=TOKENS
            )

        self._counters = [
            counter("input_tokens"),
            counter("output_tokens"),
            counter("cache_read.input_tokens"),
            counter("cache_write.input_tokens"),
            counter("reasoning.output_tokens"),
        ]
        self._in, self._out = histogram("input_tokens"), histogram("output_tokens")

    def add(self, usage: Usage, labels: Labels) -> None:
        counted = {**labels, names.MODALITY: "unknown"}  # no provider's usage says it in the same way
        parts = (usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens)
        for counter, tokens in zip(self._counters, (usage.input_tokens, usage.output_tokens, *parts), strict=True):
            counter.add(tokens, counted)
        self._in.record(usage.input_tokens, labels)
        self._out.record(usage.output_tokens, labels)


class _Histogram:
    """Tokens as one histogram, whose label says of which kind."""

    def __init__(self, meter: Meter) -> None:
        self._usage = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens used.", explicit_bucket_boundaries_advisory=TOKENS
        )

    def add(self, usage: Usage, labels: Labels) -> None:
        self._usage.record(usage.input_tokens, {**labels, names.TOKEN_TYPE: "input"})
        self._usage.record(usage.output_tokens, {**labels, names.TOKEN_TYPE: "output"})
