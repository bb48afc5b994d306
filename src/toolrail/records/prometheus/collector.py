"""What Prometheus is told at each scrape: totals of the record since its beginning, and how things stand now."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from time import time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from toolrail.logs import logger
from toolrail.records.database import RecordsError
from toolrail.records.metrics import GROWTH, Latencies
from toolrail.records.reading import Records, last
from toolrail.records.views import ModelStats, ToolStats

log = logger("toolrail.prometheus")

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds. The record's own quantiles are within 1 %; those of a histogram are as coarse as these."""
CLASSES = ("argument", "dependency", "policy", "limit", "bug")
STATES = {"closed": 0, "half-open": 1, "open": 2}
_TOKENS = ("input", "output", "cached", "cache_write", "reasoning")


class RecordsCollector(Collector):
    """A collector for a registry of `prometheus_client`: reads the record at each scrape and keeps nothing.

    Args:
        url: of the record, `sqlite:///rail.records.db` or `postgresql://...`. It need not be there yet.

    A scrape while the database cannot be read gives `toolrail_up 0` and nothing else, so that no counter falls to 0.

    Example:

        registry = CollectorRegistry()
        registry.register(RecordsCollector("sqlite:///rail.records.db"))
        app.mount("/metrics", prometheus_client.make_asgi_app(registry))
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._one = threading.Lock()  # a slow scrape and the next one would read the same twice

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known without a database, and registering must not need one."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One scrape."""
        try:
            with self._one, Records(self.url) as records:
                found = [*_families(records)]
        except RecordsError as error:
            log.warning("The record could not be read for /metrics: %s", error)
            return [_up(0)]
        return [_up(1), *found]


def _up(value: int) -> Metric:
    return GaugeMetricFamily("toolrail_up", "Whether the record could be read: 1 or 0.", value=value)


def _families(records: Records) -> Iterable[Metric]:
    tools = records.totals()
    yield from _calls(tools)
    yield _latency(records.total_latencies())
    yield from _models(records.total_models())
    runs = CounterMetricFamily("toolrail_runs", "Runs that ended, by stop reason.", labels=["reason"])
    for reason, count in records.total_runs().items():
        runs.add_metric([reason], count)
    yield runs
    yield from _standing(records)


def _calls(tools: Iterable[ToolStats]) -> Iterable[Metric]:
    """Each tool has a series for each class of error, at 0 too: a rate over a series that does not exist is no 0."""
    calls = CounterMetricFamily(
        "toolrail_calls", "Calls that were answered, by code; ok is one.", labels=["tool", "code"]
    )
    errors = CounterMetricFamily(
        "toolrail_errors",
        "Calls that did not succeed, by who has to look: argument, dependency, policy, limit, bug.",
        labels=["tool", "class"],
    )
    attempts = CounterMetricFamily("toolrail_attempts", "Attempts of handlers.", labels=["tool"])
    arguments = CounterMetricFamily("toolrail_argument_bytes", "Bytes of arguments.", labels=["tool"])
    results = CounterMetricFamily("toolrail_result_bytes", "Bytes of results.", labels=["tool"])
    for one in tools:
        calls.add_metric([one.tool, "ok"], one.calls - sum(one.codes.values()))
        for code, count in sorted(one.codes.items()):
            calls.add_metric([one.tool, code], count)
        for kind in CLASSES:
            errors.add_metric([one.tool, kind], one.by_class.get(kind, 0))
        attempts.add_metric([one.tool], one.attempts)
        arguments.add_metric([one.tool], one.argument_bytes)
        results.add_metric([one.tool], one.result_bytes)
    return calls, errors, attempts, arguments, results


def _latency(latencies: Mapping[str, Latencies]) -> Metric:
    family = HistogramMetricFamily(
        "toolrail_call_seconds", "Seconds from request to result, waiting included.", labels=["tool"]
    )
    for tool, one in sorted(latencies.items()):
        family.add_metric([tool], buckets=buckets_of(one), sum_value=one.total)
    return family


def buckets_of(latencies: Latencies) -> list[tuple[str, float]]:
    """Cumulative counts at our bounds. A bin that a bound cuts counts below it when its middle is: within 1 %."""
    middles = sorted((2.0 * GROWTH**index / (GROWTH + 1.0), count) for index, count in latencies.bins.items())
    out: list[tuple[str, float]] = []
    at, seen = 0, 0
    for bound in BUCKETS:
        while at < len(middles) and middles[at][0] <= bound:
            seen += middles[at][1]
            at += 1
        out.append((str(bound), seen))
    out.append(("+Inf", latencies.count))
    return out


def _models(models: Iterable[ModelStats]) -> Iterable[Metric]:
    requests = CounterMetricFamily("toolrail_model_requests", "Responses of models.", labels=["model"])
    tokens = CounterMetricFamily("toolrail_tokens", "Tokens; cached ones are part of input.", labels=["model", "kind"])
    cost = CounterMetricFamily(
        "toolrail_cost", "Cost of the responses whose price is known.", labels=["model", "currency"]
    )
    unpriced = CounterMetricFamily(
        "toolrail_unpriced_responses", "Responses whose price nobody knew.", labels=["model"]
    )
    counted: dict[str, list[int]] = {}
    for one in models:
        if one.cost.amount or one.cost.known:  # 0 would say that it cost nothing
            cost.add_metric([one.model, one.cost.currency], one.cost.amount)
        usage = one.usage
        sums = counted.setdefault(one.model, [0] * (2 + len(_TOKENS)))
        for at, number in enumerate(
            (one.requests, one.cost.unpriced, *(getattr(usage, f"{kind}_tokens") for kind in _TOKENS))
        ):
            sums[at] += number
    for model, (asked, unknown, *used) in sorted(counted.items()):
        requests.add_metric([model], asked)
        unpriced.add_metric([model], unknown)
        for kind, count in zip(_TOKENS, used, strict=True):
            tokens.add_metric([model, kind], count)
    return requests, tokens, cost, unpriced


def _standing(records: Records) -> Iterable[Metric]:
    """How things are now. Circuits are each process's own; the worst is shown."""
    overview = records.overview(last(minutes=1, now=time()), steps=0)
    circuits = GaugeMetricFamily(
        "toolrail_circuit_state", "The worst of all processes: 0 closed, 1 half-open, 2 open.", labels=["dependency"]
    )
    for dependency, line in sorted(records.worst_circuits().items()):
        circuits.add_metric([dependency], STATES.get(line.state, 0))
    firing = GaugeMetricFamily("toolrail_alert_firing", "Alerts that are on: 1.", labels=["rule", "subject"])
    for alert in records.alerts():
        firing.add_metric([alert.rule, alert.subject], int(alert.state == "firing"))
    unknown = GaugeMetricFamily(
        "toolrail_unknown_outcomes", "Calls whose outcome is unknown and not settled.", value=overview.unknown
    )
    waiting = GaugeMetricFamily("toolrail_runs_waiting", "Runs that wait for somebody.", value=overview.pending)
    running = GaugeMetricFamily("toolrail_runs_running", "Runs under way.", value=overview.running)
    lost = CounterMetricFamily("toolrail_events_lost", "Events that no row was written for.", value=overview.lost)
    return circuits, firing, unknown, waiting, running, lost
