"""`toolrail rule ID`: why a definition rule stands, code that breaks it, and the same code mended."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from difflib import get_close_matches

from toolrail.cli.lines import Paint
from toolrail.cli.problem import Problem
from toolrail.rules import RULES, Rule


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("id", nargs="?", metavar="ID", help="for example TR101; without one, all rules are listed")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints one rule, or the list."""
    if options.id is None:
        _list(as_json=options.json)
        return 0
    found = RULES.get(options.id.upper())
    if found is None:
        raise Problem(f"rule {options.id}", "there is no such rule.", _mend(options.id.upper()))
    print(json.dumps(asdict(found)) if options.json else _explained(found, Paint()))
    return 0


def _list(*, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(rule) for rule in RULES.values()]))
        return
    for rule in RULES.values():
        print(f"{rule.id}  {rule.title}")


def _mend(wanted: str) -> str:
    near = get_close_matches(wanted, RULES, n=3)
    listing = "`toolrail rule` lists all of them."
    return f"Try {' or '.join(near)}; {listing}" if near else listing


def _explained(rule: Rule, paint: Paint) -> str:
    return "\n".join(
        (
            paint(f"{rule.id}  {rule.title}", "bold"),
            "",
            rule.reason,
            "",
            paint("Wrong:", "red"),
            _indented(rule.wrong),
            "",
            paint("Mended:", "green"),
            _indented(rule.mended),
        )
    )


def _indented(code: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in code.strip("\n").splitlines())
