"""The command line: `toolrail COMMAND`. Only the chosen command's module is loaded, so that it starts fast."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TextIO

from toolrail.cli.problem import USAGE, Problem
from toolrail.errors import DefinitionError, RunError
from toolrail.store import StoreError

COMMANDS = {
    "alerts": "show what fires and what changed; test whoever is told; check rules",
    "approvals": "list the calls that wait for a person, and decide them",
    "chat": "talk to a model that has the tools of a rail of yours",
    "dashboard": "serve the record as local web pages, and decide approvals there",
    "effects": "list the calls whose outcome is open, and say how they ended",
    "metrics": "serve /metrics for Prometheus; print its alert rules and a Grafana dashboard",
    "rule": "explain a rule that a definition must keep",
    "tail": "follow runs as they happen: one line for each call as it is settled",
    "show": "show one run: its turns, calls, attempts, decisions, codes, sizes, tokens and cost",
    "list": "list the newest runs, or those that failed, loop, cost much, wait or run",
    "tools": "list the tools: calls, errors by class, percentiles, attempts, circuits",
    "sessions": "count calls per session, and find the sessions that look like loops",
    "cost": "add up what model requests cost, by model, day or session",
    "prices": "list what the models cost a million tokens, and compute recorded costs again",
    "doctor": "check an installation and a deployment, and say how to mend them",
}
"""Each is a module of that name with `arguments(parser)` and `run(options) -> exit code`."""

_EPILOG = "Exit codes: 0 it worked, 1 it did not (the text says what to do), 2 the command line is wrong."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0, or 1 for a problem. Wrong usage leaves with 2."""
    given = sys.argv[1:] if argv is None else [*argv]  # once `toolrail list` is loaded, `list` is that module here
    _write_anything(sys.stdout)
    options = _parser(given).parse_args(given)
    try:
        code: int = import_module(f"toolrail.cli.{options.command}").run(options)
        sys.stdout.flush()
    except (Problem, DefinitionError, RunError, StoreError) as error:
        print(f"toolrail {options.command}: {error}", file=sys.stderr)
        return USAGE if isinstance(error, Problem) and error.usage else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # as in `toolrail tail | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _write_anything(stream: TextIO) -> None:
    """What its encoding lacks is written as its number (`\\xe9`): a name from outside breaks no command."""
    if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="toolrail", description="Looks into toolrail's record, explains its rules, and chats.", epilog=_EPILOG
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in given if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:  # by name, because all commands would have to be loaded otherwise
            import_module(f"toolrail.cli.{name}").arguments(sub)
    return parser
