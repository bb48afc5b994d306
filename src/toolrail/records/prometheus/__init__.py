"""`/metrics` for Prometheus, from the rollups: right with any number of worker processes, as these are added up."""

from __future__ import annotations

from toolrail.records.prometheus.collector import RecordsCollector
from toolrail.records.prometheus.files import alert_rules, grafana_dashboard

__all__ = ["RecordsCollector", "alert_rules", "grafana_dashboard"]
