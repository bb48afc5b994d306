"""A real Prometheus: it scrapes what real runs wrote, answers queries, and its alert fires."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.records.serving import free_port, metrics_server, until
from tests.records.shop import fail, record_calls
from toolrail.records.prometheus import alert_rules, grafana_dashboard

pytestmark = pytest.mark.services
PROMTOOL = shutil.which("promtool")
PROMETHEUS = shutil.which("prometheus")
HERE = Path(__file__).parent


@pytest.fixture
def server(tmp_path: Path) -> Generator[tuple[str, str]]:
    """A record's URL, and the address of a Prometheus that scrapes it each second."""
    if PROMETHEUS is None:
        pytest.skip("there is no prometheus on this machine; Debian has it")
    record = f"sqlite:///{tmp_path}/rail.records.db"
    rules = "\n".join(line for line in alert_rules().splitlines() if not line.strip().startswith("for:"))
    (tmp_path / "rules.yml").write_text(rules)
    with metrics_server(record) as target:
        (tmp_path / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": ["rules.yml"],
                    "scrape_configs": [{"job_name": "toolrail", "static_configs": [{"targets": [target]}]}],
                }
            )
        )
        address = f"127.0.0.1:{free_port()}"
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address={address}",
                "--log.level=error",
            ]
        )
        try:
            yield record, f"http://{address}"
        finally:
            process.terminate()
            process.wait()


def _asked(address: str, path: str, **query: str) -> Any:
    """What the API answers; None while the server is not up yet."""
    try:
        with urllib.request.urlopen(f"{address}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
            return json.load(answer)["data"]
    except OSError:
        return None


def _value(address: str, query: str) -> Callable[[], float | None]:
    def look() -> float | None:
        found = _asked(address, "query", query=query)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    return look


@promise("see:prometheus")
def test_prometheus_scrapes_the_record_of_real_runs_and_its_alert_fires(server: tuple[str, str]) -> None:
    record, address = server
    record_calls(record, "search", count=30)
    until(_value(address, 'toolrail_calls_total{tool="search",code="ok"}'), lambda found: found == 30)
    assert (
        until(_value(address, 'toolrail_errors_total{tool="search",class="dependency"}'), lambda v: v is not None) == 0
    )

    record_calls(record, "search", count=30, handler=fail)

    until(_value(address, 'toolrail_errors_total{tool="search",class="dependency"}'), lambda found: found == 30)
    until(
        _value(address, "histogram_quantile(0.95, sum by (le) (toolrail_call_seconds_bucket))"), lambda v: v is not None
    )

    def fired() -> list[str]:
        found = _asked(address, "alerts")
        alerts: list[Any] = found["alerts"] if found else []
        return [one["labels"]["alertname"] for one in alerts if one["state"] == "firing"]

    assert "ToolrailToolFails" in until(fired, lambda names: "ToolrailToolFails" in names)


@promise("see:prometheus")
def test_the_shipped_rules_fire_after_their_time_and_not_for_nothing(tmp_path: Path) -> None:
    if PROMTOOL is None:
        pytest.skip("there is no promtool on this machine; Debian's prometheus has it")
    (tmp_path / "alerts.yml").write_text(alert_rules())
    shutil.copy(HERE / "rules.test.yml", tmp_path)

    done = subprocess.run([PROMTOOL, "test", "rules", "rules.test.yml"], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_to_say_about_metrics(tmp_path: Path) -> None:
    if PROMTOOL is None:
        pytest.skip("there is no promtool on this machine; Debian's prometheus has it")
    record = f"sqlite:///{tmp_path}/rail.records.db"
    record_calls(record, "search", count=3)
    with metrics_server(record) as target, urllib.request.urlopen(f"http://{target}/metrics", timeout=5) as answer:
        text = answer.read()

    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True)

    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@promise("see:prometheus")
def test_each_query_of_the_grafana_dashboard_is_answered_by_a_real_prometheus(server: tuple[str, str]) -> None:
    record, address = server
    record_calls(record, "search", count=3)
    until(_value(address, 'toolrail_calls_total{tool="search",code="ok"}'), lambda found: found == 3)
    names = set(_asked(address, "label/__name__/values"))

    for panel in json.loads(grafana_dashboard())["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$tool", ".*").replace("$__rate_interval", "1m").replace("$__range", "1h")
            assert _asked(address, "query", query=query) is not None, panel["title"]
            used = {
                word
                for word in query.replace("(", " ").replace("{", " ").replace("[", " ").split()
                if "toolrail_" in word
            }
            missing = {word.rstrip(")") for word in used} - names
            assert not missing - SEEN_LATER, f"{panel['title']}: {missing}"


SEEN_LATER = {
    "toolrail_runs_total",
    "toolrail_tokens_total",
    "toolrail_cost_total",
    "toolrail_unpriced_responses_total",
    "toolrail_circuit_state",
    "toolrail_alert_firing",
}
"""What these runs have nothing of."""
