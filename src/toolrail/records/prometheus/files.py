"""The files that go with `/metrics`: alert rules for Prometheus, a dashboard for Grafana."""

from __future__ import annotations

from importlib.resources import files


def alert_rules() -> str:
    """Alert rules as Prometheus reads them (YAML). The first is "over 5 % of the calls fail".

    Example: `Path("toolrail.rules.yml").write_text(alert_rules())`, then name it under `rule_files:`.
    """
    return _text("alerts.yml")


def grafana_dashboard() -> str:
    """A dashboard as Grafana imports it (JSON, schema 39); it asks for the Prometheus data source.

    Example: `Path("toolrail.json").write_text(grafana_dashboard())`
    """
    return _text("grafana.json")


def _text(name: str) -> str:
    return files("toolrail.records.prometheus").joinpath(name).read_text(encoding="utf-8")
