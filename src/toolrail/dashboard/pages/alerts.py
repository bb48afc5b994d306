"""Alerts: what fires, what happened to it, and by which rules."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from toolrail.cli.looking import nobody_looks
from toolrail.dashboard.formats import span
from toolrail.dashboard.links import href, tool_href
from toolrail.dashboard.rendering import render
from toolrail.dashboard.windows import chosen
from toolrail.records.alerts.rules import Rule, defaults
from toolrail.records.reading import Records
from toolrail.records.views import AlertLine, AlertNote

LOG = 200
MENDS: Mapping[str, str] = {
    "wrong-arguments": "The model writes arguments that do not fit. Open one of the calls to see which; then say more "
    "in the tool's description, its parameters and its schema.",
    "dependency-fails": "The other side fails. Open one of the calls: each attempt names its exception.",
    "tool-bug": "The tool's own code raises. Open one of the calls: its reference stands in the log, with a traceback.",
    "error-rate": "Open the tool: its faults are grouped by what went wrong.",
    "slower": "Calls succeed, but users wait. Open the tool, and from there the run of a slow call: it shows where its "
    "time went.",
    "long-runs": "Open the runs with most calls: they may be looping, or their limits are too tight for their task.",
    "loops": "The model asks for the same again and again. Open one of the calls, and from there its run: it does not "
    "understand, or does not accept, the result that stands before.",
    "open-circuit": "Calls that need it are refused, and nothing runs, until one that is let through now and then "
    "succeeds. Look at the other side; the circuit closes by itself.",
    "spend": "Open the costs: by model, and the runs and sessions that cost most.",
    "unknown-outcomes": "They may have taken effect, and are never repeated by themselves. Ask the other side, then "
    "settle each.",
    "lost-telemetry": "Runs are not affected. Look at the log for why the record could not be written.",
}
"""What to do, by the name of a default rule."""
_PLACES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "open-circuit": ("/dependencies", {}),
    "spend": ("/costs", {}),
    "long-runs": ("/runs", {}),
    "unknown-outcomes": ("/calls", {"unsettled": "1"}),
}


def told(line: AlertLine, log: Iterable[AlertNote]) -> tuple[str, str]:
    """What was said when it began to fire, and what is said now where that differs; without the subject before it."""
    began = next(
        (each.text for each in log if (each.rule, each.subject, each.state) == (line.rule, line.subject, "firing")),
        line.text,
    )
    texts = [text.removeprefix(f"{line.subject}: ") for text in (began, line.text)]
    return texts[0], texts[1] if texts[1] != texts[0] else ""


def leads(line: AlertLine, tools: Collection[str], w: str) -> str:
    """Where to look further; empty where there is no such place."""
    if line.rule in _PLACES:
        path, query = _PLACES[line.rule]
        return href(path, **query, w=w)
    return tool_href(line.subject, w) if line.subject in tools else ""


def page(request: Request, records: Records) -> Response:
    """`/alerts`"""
    lines, log = records.alerts(), records.alert_log(limit=LOG)
    firing = [line for line in lines if line.state == "firing"]
    tools = records.names().tools if firing else ()
    return render(
        request,
        "alerts.html",
        active="alerts",
        unseen=nobody_looks(records, time.time()),
        firing=[(line, told(line, log), leads(line, tools, chosen(request))) for line in firing],
        mends=MENDS,
        clear=[line for line in lines if line.state != "firing"],
        log=log,
        rules=[(rule, _words(rule)) for rule in defaults()],
    )


def _words(rule: Rule) -> str:
    """What a rule says beyond its name: its settings as they stand in its definition."""
    common = ("name", "severity", "silence", "for_seconds")
    given = {each.name: getattr(rule, each.name) for each in fields(rule) if each.name not in common}
    shown = {name: _word(name, value) for name, value in given.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items() if value not in ("", None))


def _word(name: str, value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in cast("tuple[object, ...]", value))
    return span(value) if name in ("within", "baseline", "seconds") and isinstance(value, float) else value
