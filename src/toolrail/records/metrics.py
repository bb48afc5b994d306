"""Metrics in memory: per tool calls, codes, latency quantiles, attempts and bytes; over all runs, calls and tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from toolrail.codes import CODES, Code
from toolrail.events import CallSettled, Event, ModelSettled, RunEnded
from toolrail.messages import Usage

GROWTH = 1.02
"""Each bin's upper bound over its lower one, so a quantile is within 1 % (Masson et al., "DDSketch", 2019)."""
_LOG_GROWTH = math.log(GROWTH)
_SMALLEST = 1e-9


@dataclass(slots=True)
class Latencies:
    """Seconds in logarithmic bins: quantiles within 1 %, in memory bounded by the range, merged by addition."""

    bins: dict[int, int] = field(default_factory=dict[int, int])
    count: int = 0
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        index = math.ceil(math.log(max(seconds, _SMALLEST)) / _LOG_GROWTH)
        self.bins[index] = self.bins.get(index, 0) + 1
        self.count += 1
        self.total += seconds

    def merge(self, other: Latencies) -> None:
        """Adds another's counts."""
        for index, count in other.bins.items():
            self.bins[index] = self.bins.get(index, 0) + count
        self.count += other.count
        self.total += other.total

    def quantile(self, q: float) -> float:
        """The q-quantile in seconds, `q` from 0 to 1; 0.0 when nothing was counted."""
        rank = q * (self.count - 1)
        seen = 0
        for index in sorted(self.bins):
            seen += self.bins[index]
            if seen > rank:
                return 2.0 * GROWTH**index / (GROWTH + 1.0)
        return 0.0


@dataclass(slots=True)
class ToolMetrics:
    """What is counted of one tool."""

    calls: int = 0
    attempts: int = 0
    argument_bytes: int = 0
    result_bytes: int = 0
    codes: dict[Code, int] = field(default_factory=dict[Code, int])
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def errors(self) -> int:
        """Calls that ended in an error or an unknown outcome; denials and cancellations are none."""
        return sum(n for code, n in self.codes.items() if CODES[code].status in ("error", "unknown"))

    @property
    def error_rate(self) -> float:
        """Errors over calls, 0 to 1."""
        return self.errors / self.calls if self.calls else 0.0


class Metrics:
    """A sink that counts. Nothing leaves the process; reading it costs nothing to the calls.

    Example: `rail.metrics.tools["find_invoice"].latencies.quantile(0.95)`
    """

    def __init__(self) -> None:
        self.tools: dict[str, ToolMetrics] = {}
        self.runs = 0
        self.run_calls = 0
        self.stop_reasons: dict[str, int] = {}
        self.usage: dict[str, Usage] = {}
        """Tokens by model."""

    def emit(self, event: Event) -> None:
        if isinstance(event, CallSettled):
            self._call(event)
        elif isinstance(event, ModelSettled):
            self.usage[event.model] = self.usage.get(event.model, Usage()) + event.usage
        elif isinstance(event, RunEnded):
            self.runs += 1
            self.run_calls += event.calls
            self.stop_reasons[event.reason] = self.stop_reasons.get(event.reason, 0) + 1

    def _call(self, event: CallSettled) -> None:
        # A name the model invented must not grow this table without bound.
        name = event.call.tool if event.call.digest else "(unknown)"
        tool = self.tools.get(name)
        if tool is None:
            tool = self.tools[name] = ToolMetrics()
        tool.calls += 1
        tool.attempts += event.attempts
        tool.argument_bytes += event.argument_bytes
        tool.result_bytes += event.result_bytes
        if event.code is not None:
            tool.codes[event.code] = tool.codes.get(event.code, 0) + 1
        tool.latencies.add(event.seconds)
