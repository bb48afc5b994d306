"""Metrics in memory: per tool calls, errors by class, latency quantiles, attempts, bytes; per run calls, turns, tokens.

Those of several processes are merged by addition: `to_json` in each, `Metrics.from_json(...)` and `merge` in one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from toolrail.codes import CODES, AlertClass, Code
from toolrail.events import CallSettled, Event, ModelSettled, RunEnded
from toolrail.frozen import frozen
from toolrail.messages import Usage

GROWTH = 1.02
"""Each bin's upper bound over its lower one, so a quantile is within 1 % (Masson et al., "DDSketch", 2019)."""
_log, _ceil = math.log, math.ceil
_PER_BIN = 1.0 / _log(GROWTH)
_LOWEST, _HIGHEST = 1e-9, 1e9
NOTHING = math.floor(math.log(_LOWEST) * _PER_BIN)
"""The bin of a nanosecond and less: it reads as 0."""
UNKNOWN = "(unknown)"
"""Where calls of tools that do not exist are counted: their names are the model's."""
OTHER = "(other)"
"""Where the tokens of further models are counted, once there are `MODELS`: a server names its models as it likes."""
MODELS = 200
SESSIONS = 1_000
"""Sessions whose calls are counted one by one. An older one counts as it stands, and as a new one if it comes back."""
_EXACT = 1_000
_VERSION = 1


@dataclass(slots=True)
class Latencies:
    """Seconds in logarithmic bins: quantiles within 1 %, in memory bounded by the range, merged by addition.

    Bin `i` counts what is over `GROWTH ** (i - 1)` and at most `GROWTH ** i` seconds.

    Example: `tool.latencies.quantile(0.95)`
    """

    bins: dict[int, int] = field(default_factory=dict[int, int])
    count: int = 0
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one. What is no length of time (below zero, no number) counts as none, what is endless as long."""
        bins = self.bins
        index = _ceil(_log(seconds) * _PER_BIN) if _LOWEST < seconds <= _HIGHEST else bin_of(seconds)
        bins[index] = bins.get(index, 0) + 1
        self.count += 1
        self.total += seconds

    def merge(self, other: Latencies) -> None:
        """Adds another's counts."""
        for index, count in list(other.bins.items()):
            self.bins[index] = self.bins.get(index, 0) + count
        self.count += other.count
        self.total += other.total

    def quantile(self, q: float) -> float:
        """The q-quantile in seconds, `q` from 0 to 1; 0.0 when nothing was counted.

        It is the nearest rank, within 1 %: the least of the values that at least q of all do not exceed, which numpy
        calls the method "inverted_cdf". So of ten calls the slowest is p95 and p99.
        """
        bins = list(self.bins.items())  # in one step: another thread may be counting
        rank, seen = rank_of(q, sum(count for _, count in bins)), 0
        for index, count in sorted(bins):
            seen += count
            if seen >= rank:
                return value_of(index)
        return 0.0


def rank_of(q: float, count: int) -> int:
    """The nearest rank, counted from 1. What a product of floats has too much is no rank of its own."""
    return max(1, math.ceil(q * count - 1e-9 * count))


def bin_of(seconds: float) -> int:
    """The bin that counts so many seconds."""
    if _LOWEST < seconds <= _HIGHEST:
        return math.ceil(math.log(seconds) * _PER_BIN)
    return math.ceil(math.log(_HIGHEST) * _PER_BIN) if seconds > _HIGHEST else NOTHING


def value_of(index: int) -> float:
    """The seconds that a bin stands for: within 1 % of all that it counts."""
    return 0.0 if index <= NOTHING else 2.0 * GROWTH**index / (GROWTH + 1.0)


@frozen
class Distribution:
    """Whole numbers, such as calls per run: exact."""

    count: int
    total: int
    sizes: Mapping[int, int]
    """How often each number occurred."""

    @property
    def mean(self) -> float:
        """The average."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, q: float) -> int:
        """The q-quantile by nearest rank, `q` from 0 to 1; at least q of all are no more. 0: nothing was counted."""
        rank, seen = rank_of(q, sum(self.sizes.values())), 0  # `count` may be ahead while another thread counts
        for size in sorted(self.sizes):
            seen += self.sizes[size]
            if seen >= rank:
                return size
        return 0


@dataclass(slots=True)
class ToolMetrics:
    """What is counted of one tool."""

    calls: int = 0
    attempts: int = 0
    argument_bytes: int = 0
    result_bytes: int = 0
    replayed: int = 0
    codes: dict[Code, int] = field(default_factory=dict[Code, int])
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def errors(self) -> int:
        """Calls that ended in an error or an unknown outcome; denials and cancellations are none."""
        return sum(n for code, n in list(self.codes.items()) if CODES[code].status in ("error", "unknown"))

    @property
    def error_rate(self) -> float:
        """Errors over calls, 0 to 1."""
        return self.errors / self.calls if self.calls else 0.0

    @property
    def by_class(self) -> dict[AlertClass, int]:
        """Calls that did not simply succeed, by whom they concern: bad arguments apart from a failing dependency, from
        refusals by a policy, from limits and from our own bugs. Classes without a call are left out."""
        found: dict[AlertClass, int] = {}
        for code, count in list(self.codes.items()):
            found[CODES[code].alert] = found.get(CODES[code].alert, 0) + count
        return found

    def rate(self, kind: AlertClass) -> float:
        """Calls of one class over all calls, 0 to 1.

        Example: `rail.metrics.tools["pay"].rate("dependency")`
        """
        return self.by_class.get(kind, 0) / self.calls if self.calls else 0.0

    def merge(self, other: ToolMetrics) -> None:
        """Adds another's counts."""
        self.calls += other.calls
        self.attempts += other.attempts
        self.argument_bytes += other.argument_bytes
        self.result_bytes += other.result_bytes
        self.replayed += other.replayed
        _add(self.codes, other.codes)
        self.latencies.merge(other.latencies)


class Metrics:
    """A sink that counts. Nothing leaves the process; reading it costs nothing to the calls.

    Example: `rail.metrics.tools["find_invoice"].latencies.quantile(0.95)`
    """

    ends_only = True
    """It counts what has ended: nothing else is built for it."""

    def __init__(self) -> None:
        self.tools: dict[str, ToolMetrics] = {}
        self.runs = 0
        """Runs that ended, as all that is counted of runs."""
        self.run_calls = 0
        self.run_turns = 0
        self.run_seconds = 0.0
        self.stop_reasons: dict[str, int] = {}
        self.usage: dict[str, Usage] = {}
        """Tokens by model."""
        self._run_sizes: dict[int, int] = {}
        self._session_sizes: dict[int, int] = {}
        self._sessions: dict[tuple[str, str], int] = {}
        """Calls of the sessions that were seen last, in that order."""

    def emit(self, event: Event) -> None:
        """See `Sink`."""
        if event.__class__ is not CallSettled:
            self._other(event)
            return
        # Each call comes here: one unpacking in place of eight look-ups.
        settled: Any = event
        _, call, _, code, attempts, argument_bytes, result_bytes, seconds, _, _, replayed, _, _, _ = settled
        name = call.tool if call.digest else UNKNOWN
        tool = self.tools.get(name)
        if tool is None:
            tool = self.tools[name] = ToolMetrics()
        tool.calls += 1
        tool.attempts += attempts
        tool.argument_bytes += argument_bytes
        tool.result_bytes += result_bytes
        if replayed:
            tool.replayed += 1
        if code is not None:
            tool.codes[code] = tool.codes.get(code, 0) + 1
        tool.latencies.add(seconds)

    @property
    def calls_per_run(self) -> Distribution:
        """How many calls runs have made. Numbers over 1,000 are rounded down to two digits."""
        return Distribution(self.runs, self.run_calls, dict(self._run_sizes))

    @property
    def calls_per_session(self) -> Distribution:
        """How many calls sessions have made, over all their runs that ended."""
        sizes = dict(self._session_sizes)
        _add(sizes, _counted(list(self._sessions.values())))
        return Distribution(sum(sizes.values()), sum(size * n for size, n in sizes.items()), sizes)

    def _other(self, event: Event) -> None:
        if isinstance(event, ModelSettled):
            self._model(event)
        elif isinstance(event, RunEnded):
            self._run(event)

    def _model(self, event: ModelSettled) -> None:
        name = event.model if event.model in self.usage or len(self.usage) < MODELS else OTHER
        self.usage[name] = self.usage.get(name, Usage()) + event.usage

    def _run(self, event: RunEnded) -> None:
        self.runs += 1
        self.run_calls += event.calls
        self.run_turns += event.turns
        self.run_seconds += event.seconds
        self.stop_reasons[event.reason] = self.stop_reasons.get(event.reason, 0) + 1
        size = _rounded(event.calls)
        self._run_sizes[size] = self._run_sizes.get(size, 0) + 1
        if event.head.session is not None:
            self._session((event.head.tenant, event.head.session), event.calls)

    def _session(self, key: tuple[str, str], calls: int) -> None:
        self._sessions[key] = self._sessions.pop(key, 0) + calls
        while len(self._sessions) > SESSIONS:
            size = _rounded(self._sessions.pop(next(iter(self._sessions))))
            self._session_sizes[size] = self._session_sizes.get(size, 0) + 1

    def merge(self, other: Metrics) -> None:
        """Adds another's counts, such as those of another process. A session that was in both is one."""
        for name, tool in list(other.tools.items()):
            self.tools.setdefault(name, ToolMetrics()).merge(tool)
        for model, usage in list(other.usage.items()):
            name = model if model in self.usage or len(self.usage) < MODELS else OTHER
            self.usage[name] = self.usage.get(name, Usage()) + usage
        self.runs += other.runs
        self.run_calls += other.run_calls
        self.run_turns += other.run_turns
        self.run_seconds += other.run_seconds
        _add(self.stop_reasons, other.stop_reasons)
        _add(self._run_sizes, other._run_sizes)
        _add(self._session_sizes, other._session_sizes)
        for key, calls in list(other._sessions.items()):
            self._session(key, calls)

    def to_json(self) -> str:
        """All counts, for another process: `Metrics.from_json`."""
        tools = {
            name: [
                [tool.calls, tool.attempts, tool.argument_bytes, tool.result_bytes, tool.replayed],
                dict(tool.codes),
                dict(tool.latencies.bins),
                tool.latencies.total,
            ]
            for name, tool in list(self.tools.items())
        }
        said = {
            "version": _VERSION,
            "tools": tools,
            "usage": {model: asdict(usage) for model, usage in list(self.usage.items())},
            "runs": [self.runs, self.run_calls, self.run_turns, self.run_seconds],
            "stop_reasons": dict(self.stop_reasons),
            "run_sizes": dict(self._run_sizes),
            "session_sizes": dict(self._session_sizes),
            "sessions": [[*key, calls] for key, calls in list(self._sessions.items())],
        }
        return json.dumps(said, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Metrics:
        """The counts that `to_json` gave.

        Raises:
            ValueError: it is something else, or of another version.

        Example: `all.merge(Metrics.from_json(line))`
        """
        said: Any = json.loads(text)
        try:
            if said["version"] != _VERSION:
                raise LookupError(f"version {said['version']!r}")
            return _read(cls(), said)
        except (TypeError, LookupError, AttributeError, ValueError) as error:
            raise ValueError(f"These are no metrics of toolrail: {error!r}") from error


def _read(into: Metrics, said: dict[str, Any]) -> Metrics:
    for name, (counts, codes, bins, total) in said["tools"].items():
        found = {int(index): int(count) for index, count in bins.items()}
        latencies = Latencies(found, sum(found.values()), float(total))
        calls, attempts, given, gave, replayed = counts
        of_codes = {Code(code): int(count) for code, count in codes.items()}
        into.tools[name] = ToolMetrics(calls, attempts, given, gave, replayed, codes=of_codes, latencies=latencies)
    into.usage = {model: Usage(**usage) for model, usage in said["usage"].items()}
    into.runs, into.run_calls, into.run_turns, into.run_seconds = said["runs"]
    _add(into.stop_reasons, said["stop_reasons"])
    for name, sizes in (("_run_sizes", said["run_sizes"]), ("_session_sizes", said["session_sizes"])):
        setattr(into, name, {int(size): int(count) for size, count in sizes.items()})
    for tenant, session, calls in said["sessions"]:
        into._session((tenant, session), calls)  # pyright: ignore[reportPrivateUsage]
    return into


def _add(into: dict[Any, int], other: Mapping[Any, int]) -> None:
    for key, count in list(other.items()):
        into[key] = into.get(key, 0) + count


def _counted(calls: Iterable[int]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for one in calls:
        sizes[_rounded(one)] = sizes.get(_rounded(one), 0) + 1
    return sizes


def _rounded(calls: int) -> int:
    """Itself up to 1,000, then two digits of it: so that the table of sizes is bounded."""
    if calls <= _EXACT:
        return calls
    unit = 10 ** (len(str(calls)) - 2)
    return calls // unit * unit
