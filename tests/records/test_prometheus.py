"""/metrics: totals over all processes that wrote one record, every series from the start, and no fall to 0."""

from __future__ import annotations

import json
import math
import multiprocessing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.promises import promise
from tests.records.shop import fail, record_calls
from toolrail.cli import main
from toolrail.records.metrics import Latencies
from toolrail.records.prometheus import RecordsCollector, grafana_dashboard
from toolrail.records.prometheus.collector import BUCKETS, CLASSES, buckets_of

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(record: str) -> Series:
    """Each sample by its name and labels."""
    registry = CollectorRegistry()
    registry.register(RecordsCollector(record))
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    """One sample."""
    return series[name, frozenset(labels.items())]


@pytest.fixture
def record(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/rail.records.db"


@promise("see:prometheus")
def test_several_processes_that_write_one_record_are_added_up(record: str) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=record_calls, args=(record, "search"), kwargs={"count": 5 + at}) for at in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    series = scraped(record)

    assert value(series, "toolrail_calls_total", tool="search", code="ok") == 5 + 6 + 7 + 8
    assert value(series, "toolrail_call_seconds_count", tool="search") == 26
    assert value(series, "toolrail_attempts_total", tool="search") == 26


@promise("see:prometheus")
def test_a_tool_without_failures_has_its_error_series_at_zero(record: str) -> None:
    record_calls(record, "search", count=2)

    series = scraped(record)

    assert [value(series, "toolrail_errors_total", **{"tool": "search", "class": kind}) for kind in CLASSES] == [0] * 5


@promise("see:prometheus")
def test_errors_are_told_apart_by_who_has_to_look(record: str) -> None:
    record_calls(record, "search", count=3, handler=fail)
    record_calls(record, "search", count=2)

    series = scraped(record)

    assert value(series, "toolrail_errors_total", **{"tool": "search", "class": "dependency"}) == 3
    assert value(series, "toolrail_calls_total", tool="search", code="TOOL_ERROR") == 3
    assert value(series, "toolrail_calls_total", tool="search", code="ok") == 2


@promise("see:prometheus")
def test_a_record_that_cannot_be_read_says_so_and_lets_no_counter_fall(tmp_path: Path) -> None:
    broken = tmp_path / "rail.records.db"
    broken.write_bytes(b"this is no database" * 100)

    assert scraped(f"sqlite:///{broken}") == {("toolrail_up", frozenset()): 0.0}


def test_buckets_are_cumulative_and_within_one_percent_of_the_truth() -> None:
    latencies = Latencies()
    truth = [0.001 * 1.01**at for at in range(1200)]
    for seconds in truth:
        latencies.add(seconds)

    buckets = dict(buckets_of(latencies))

    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets["+Inf"] == len(truth)
    for bound in BUCKETS:
        low = sum(seconds <= bound / 1.0101 for seconds in truth)
        high = sum(seconds <= bound * 1.0101 for seconds in truth)
        assert low <= buckets[str(bound)] <= high
    assert math.isclose(latencies.total, sum(truth))


def test_the_command_prints_a_scrape_the_rules_and_the_dashboard(
    record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record_calls(record, "search", count=2)

    assert main(["metrics", "--records", record, "--once"]) == 0
    assert 'toolrail_calls_total{code="ok",tool="search"} 2.0' in capsys.readouterr().out
    assert main(["metrics", "--rules"]) == 0
    assert "ToolrailToolFails" in capsys.readouterr().out
    assert main(["metrics", "--grafana"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(grafana_dashboard())


def test_the_command_ends_with_one_when_the_record_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["metrics", "--records", f"sqlite:///{tmp_path}/none.db", "--once"]) == 1
    assert "toolrail_up 0.0" in capsys.readouterr().out


@pytest.mark.parametrize("port", ["-1", "70000", "x"])
def test_a_port_that_is_none_is_wrong_usage(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["metrics", "--port", port])
    assert left.value.code == 2
    assert "is no port" in capsys.readouterr().err
