"""`toolrail doctor`: checks an installation and a deployment, and says how to mend them. It changes nothing."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict

from toolrail.cli.checks.deployment import checks_of_records, checks_of_store
from toolrail.cli.checks.finding import Finding
from toolrail.cli.checks.installation import checks_of_installation
from toolrail.cli.lines import Paint, printable
from toolrail.cli.places import DEFAULT, VARIABLE, records_argument, url_of
from toolrail.cli.screen import folded, screen_width

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Checks, and gives 1 when something fails."""
    found = list(_findings(options))
    failed = any(one.level == "fail" for one in found)
    if options.json:
        print(json.dumps([asdict(one) for one in found]))
        return int(failed)
    paint, screen = Paint(), screen_width()
    for one in found:
        _print(one, paint, screen)
    warned = sum(one.level == "warn" for one in found)
    fails = sum(one.level == "fail" for one in found)
    print(f"\n{len(found)} checks: {fails} failed, {warned} to look at.")
    return int(failed)


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    now = time.time()
    yield from checks_of_installation()
    unnamed = options.store == DEFAULT and not os.environ.get(VARIABLE)
    if options.records and unnamed and not os.path.exists(url_of(DEFAULT).removeprefix("sqlite:///")):
        yield Finding("ok", "store", f"none was named, so none is looked at; --store or {VARIABLE} names one")
    else:
        yield from checks_of_store(options.store, now)
    yield from checks_of_records(options, now)


def _print(one: Finding, paint: Paint, screen: int | None) -> None:
    text = printable(one.text)
    first, *rest = folded(f"{one.check}: {text}", None if screen is None else screen - 6)
    print(f"{paint(one.level.ljust(4), _COLOURS[one.level])}  {first}")
    mend = folded(f"Mend: {printable(one.mend)}", None if screen is None else screen - 6) if one.mend else []
    for line in (*rest, *mend):
        print(f"      {line}")
