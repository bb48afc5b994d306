"""`toolrail alerts`: what fires and what changed lately; `test`, `rules` and `check` for whoever sets alerts up."""

from __future__ import annotations

import argparse
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import cast

from toolrail.cli.lines import Paint, moment, printable
from toolrail.cli.looking import nobody_looks, opened, show_losses
from toolrail.cli.places import records_argument
from toolrail.cli.problem import Problem
from toolrail.cli.screen import folded, screen_width
from toolrail.cli.tables import Cell, Column, show_table
from toolrail.records.alerts.configuration import Alerts
from toolrail.records.alerts.rules import KINDS, Rule
from toolrail.records.alerts.telling import Change, Webhook
from toolrail.records.views import AlertLine, AlertNote

WEBHOOK = "TOOLRAIL_ALERTS_WEBHOOK"
SECRET = "TOOLRAIL_ALERTS_SECRET"
MEND = "A running rail with a record looks, unless its Recorder has alerts=False."
_COLOURS = {"critical": "red", "warning": "yellow", "info": "cyan"}
_COLUMNS = (
    Column("since"),
    Column("severity", spare=2),
    Column("rule", least=12),
    Column("what it says", least=24, wraps=True),
)
_LOG = (
    Column("when"),
    Column("state"),
    Column("rule", least=12),
    Column("told", spare=1),
    Column("what it says", least=24, wraps=True),
)
_SAYS = "MODULE:ATTRIBUTE of the Alerts that your Recorder has; default: what the options say"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="newest changes that are shown (20)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--fail", action="store_true", help="exit code 1 while anything fires, or nobody looks")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    test = verbs.add_parser("test", help="send a test alert to whoever would be told, and say what came of it")
    test.add_argument("alerts", nargs="?", metavar="MODULE:ATTRIBUTE", help=_SAYS)
    test.add_argument(
        "--webhook",
        metavar="URL",
        default=os.environ.get(WEBHOOK) or None,
        help=f"default: {WEBHOOK} from the environment; {SECRET} there signs what is sent",
    )
    rules = verbs.add_parser("rules", help="show the rules as they hold")
    rules.add_argument("alerts", nargs="?", metavar="MODULE:ATTRIBUTE", help=_SAYS)
    check = verbs.add_parser("check", help="read a file of rules, and say what is wrong in it")
    for sub, must in ((rules, False), (check, True)):
        sub.add_argument("--rules", metavar="FILE", required=must, help="a TOML file, as Alerts(rules=FILE) has it")
    for sub in (test, rules, check):
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Lists, tests, shows or checks."""
    if options.verb == "test":
        return _test(options)
    if options.verb == "rules":
        return _rules(options)
    if options.verb == "check":
        rules = Alerts(rules=options.rules).holding
        print(
            json.dumps([_rule(rule) for rule in rules]) if options.json else f"{len(rules)} rules, all of them right."
        )
        return 0
    return _list(options)


def _list(options: argparse.Namespace) -> int:
    if options.limit < 0:
        raise Problem(f"--limit {options.limit}", "this is below zero.", "Give zero or more.", usage=True)
    with opened(options) as records:
        firing = [line for line in records.alerts() if line.state == "firing"]
        notes = records.alert_log(limit=options.limit)
        unseen = nobody_looks(records, time.time())
        if options.json:
            shown = {"firing": [asdict(line) for line in firing], "log": [asdict(note) for note in notes]}
            print(json.dumps(shown | {"evaluated": not unseen, "looked": records.looked()}))
        else:
            _show(firing, notes, unseen)
            show_losses(records)
    return 1 if options.fail and (firing or unseen) else 0


def _show(firing: list[AlertLine], notes: tuple[AlertNote, ...], unseen: str) -> None:
    if unseen:
        for line in folded(f"{unseen} {MEND}", screen_width()):
            print(Paint()(line, "yellow"))
    if firing:
        show_table(_COLUMNS, [_firing(line) for line in firing])
    else:
        print("No alert fired then." if unseen else "No alert fires.")
    if notes:
        print("\nLately:")
        show_table(_LOG, [_note(note) for note in notes])


def _firing(line: AlertLine) -> list[Cell]:
    colour = _COLOURS.get(line.severity, "yellow")
    return [moment(line.since), (line.severity, colour), line.rule, line.text]


def _note(note: AlertNote) -> list[Cell]:
    colour = "red" if note.state == "firing" else "green"
    return [moment(note.wall), (note.state, colour), note.rule, ", ".join(note.told) or "nobody yet", note.text]


def _test(options: argparse.Namespace) -> int:
    """Exit code 1 if anyone did not hear of it."""
    tellers = _alerts(options).to_tell
    now = time.time()
    text = "This is a test of toolrail's alerts: nothing is wrong."
    change = Change(f"test-{uuid.uuid4().hex}", now, "test", "toolrail", "test", "info", None, text, now)
    said: dict[str, str | None] = {}
    for teller in tellers:
        try:
            said[teller.name] = teller.tell(change)
        except Exception as error:  # one of the user's own
            said[teller.name] = f"it raised {type(error).__name__}"
    if options.json:
        print(json.dumps([{"teller": name, "told": not problem, "problem": problem} for name, problem in said.items()]))
    else:
        paint = Paint()
        for name, problem in said.items():
            print(f"{printable(name)}: {paint(f'not told: {printable(problem)}', 'red') if problem else 'told'}")
        if "webhook" not in said:
            print(f"There is no webhook: --webhook URL or {WEBHOOK} names one.")
    return 1 if any(said.values()) else 0


def _rules(options: argparse.Namespace) -> int:
    rules = (Alerts(rules=options.rules) if options.rules else _alerts(options)).holding
    if options.json:
        print(json.dumps([_rule(rule) for rule in rules]))
        return 0
    for rule in rules:
        print(f"{rule.name} ({_kind(rule)}, {rule.severity})")
        print(f"    {', '.join(_settings(rule))}")
    return 0


def _rule(rule: Rule) -> dict[str, object]:
    return {"kind": _kind(rule), **asdict(rule)}


def _kind(rule: Rule) -> str:
    return next(word for word, kind in KINDS.items() if kind is type(rule))


def _settings(rule: Rule) -> Iterator[str]:
    for name, value in asdict(rule).items():
        if name not in ("name", "severity") and value is not None and value != ():
            shown = "+".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else value
            yield f"{name} {printable(str(shown))}"


def _alerts(options: argparse.Namespace) -> Alerts:
    if options.alerts is None:
        url = getattr(options, "webhook", None)
        return Alerts(webhook=Webhook(url, secret=os.environ.get(SECRET) or None) if url else None)
    from toolrail.cli.chat import load  # it loads agents

    found = load(options.alerts, "Name an Alerts in it.")
    if not isinstance(found, Alerts):
        raise Problem(
            options.alerts, "this is no Alerts.", "Write ALERTS = Alerts(...) there, and give it to Recorder."
        )
    return found
