"""Alerts: rules as data, mathematics that is right when looked at continually, one who looks, and who is told."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolrail.records.alerts.configuration import Alerts as Alerts
    from toolrail.records.alerts.evaluator import Evaluator as Evaluator
    from toolrail.records.alerts.live import AlertSink as AlertSink
    from toolrail.records.alerts.loading import load_rules as load_rules
    from toolrail.records.alerts.mathematics import Judge as Judge
    from toolrail.records.alerts.rules import ErrorRate as ErrorRate
    from toolrail.records.alerts.rules import LongRuns as LongRuns
    from toolrail.records.alerts.rules import Loops as Loops
    from toolrail.records.alerts.rules import LostTelemetry as LostTelemetry
    from toolrail.records.alerts.rules import OpenCircuit as OpenCircuit
    from toolrail.records.alerts.rules import Rule as Rule
    from toolrail.records.alerts.rules import Slower as Slower
    from toolrail.records.alerts.rules import Spend as Spend
    from toolrail.records.alerts.rules import UnknownOutcomes as UnknownOutcomes
    from toolrail.records.alerts.rules import defaults as defaults
    from toolrail.records.alerts.rules import over_defaults as over_defaults
    from toolrail.records.alerts.telling import Change as Change
    from toolrail.records.alerts.telling import LogTeller as LogTeller
    from toolrail.records.alerts.telling import Teller as Teller
    from toolrail.records.alerts.telling import Webhook as Webhook

_HOME = {
    "configuration": ("Alerts",),
    "evaluator": ("Evaluator",),
    "live": ("AlertSink",),
    "loading": ("load_rules",),
    "mathematics": ("Judge",),
    "rules": (
        *("ErrorRate", "LongRuns", "Loops", "LostTelemetry", "OpenCircuit", "Rule", "Slower", "Spend"),
        *("UnknownOutcomes", "defaults", "over_defaults"),
    ),
    "telling": ("Change", "LogTeller", "Teller", "Webhook"),
}


def __getattr__(name: str) -> Any:
    """Names are loaded when they are asked for: the sink that every rail may have needs two modules of nine."""
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
