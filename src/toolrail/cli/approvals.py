"""`toolrail approvals list | decide`: the calls that wait for a person, and the person's answer."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from toolrail.approvals import decide
from toolrail.cli.lines import Paint, call_text, moment, printable
from toolrail.cli.places import command, store_argument
from toolrail.cli.problem import Problem
from toolrail.cli.reading import Record
from toolrail.decisions import Approval, Principal, needed
from toolrail.rail import Rail
from toolrail.store import ApprovalRow

_NEXT = {
    (True, True): "The changed arguments are checked when run {run} is resumed: if they do not fit, it is not made.",
    (True, False): "It is made when run {run} is resumed.",
    (False, True): "The model learns that when run {run} is resumed.",
    (False, False): "The model learns that when run {run} is resumed.",
}
"""What follows from a decision: by whether it is a yes, and with other arguments."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="the questions that wait, the oldest first")
    listed.add_argument("--run", help="only those of this run")
    listed.add_argument("--all", action="store_true", help="also those that are decided, used or expired")
    decided = verbs.add_parser("decide", help="say yes or no to one; its run goes on when the application resumes it")
    decided.add_argument("approval", metavar="ID", help="the question's id")
    answer = decided.add_mutually_exclusive_group(required=True)
    answer.add_argument("--approve", action="store_true", help="yes, to exactly this call")
    answer.add_argument("--reject", action="store_true", help="no")
    decided.add_argument("--by", metavar="NAME", required=True, help="who decides, for the record")
    decided.add_argument("--permission", action="append", default=[], help="one that NAME has; may be given again")
    decided.add_argument("--note", default="", help="why, for the record")
    decided.add_argument("--message", help="with --reject: what the model may read")
    decided.add_argument("--arguments", metavar="JSON", help="with --approve: these in place of those asked for")
    for sub in (listed, decided):
        store_argument(sub)
        sub.add_argument("--tenant", help="default: with list every one, with decide 'default'")
        sub.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Lists, or decides."""
    rows = asyncio.run(_asked(options))
    if options.json:
        shown = [asdict(row) for row in rows]
        print(json.dumps(shown if options.verb == "list" else shown[0]))
        return 0
    if not rows:
        print("Nothing waits for a person.")
    paint = Paint()
    for row in rows:
        print(_line(row))
        for line in _advice(row, options.store):
            print(paint(f"    {line}", "dim"))
    if options.verb == "decide":
        print("    " + _NEXT[rows[0].state == "approved", rows[0].edited is not None].format(run=rows[0].run))
    return 0


async def _asked(options: argparse.Namespace) -> tuple[ApprovalRow, ...]:
    store: str = options.store
    if not store.startswith(("postgres:", "postgresql:")):
        Record(store)  # says so when there is no such file, and makes none
    rail = Rail[object]((), store=store if "://" in store else f"sqlite:///{store}", sinks=())
    async with rail:
        if options.verb == "decide":
            return (await decide(rail.ports, None, options.approval, _answer(options)),)
        state = None if options.all else "pending"
        return await rail.approvals.list(tenant=options.tenant, run=options.run, state=state, limit=1_000)


def _answer(options: argparse.Namespace) -> Approval:
    by = Principal(options.by, frozenset(options.permission), tenant=options.tenant or "default")
    given = None if options.arguments is None else _object(options.arguments)
    return Approval(options.approve, by, note=options.note, message=options.message, arguments=given)


def _object(text: str) -> Mapping[str, Any]:
    try:
        given: Any = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Problem("--arguments", "this is not a JSON object.", """Write '{"name": "value"}'.""", usage=True)
    return given  # pyright: ignore[reportUnknownVariableType]


def _advice(row: ApprovalRow, store: str) -> Iterator[str]:
    """Who may decide, and what to type."""
    needs = needed(row.needs)
    if needs:
        yield f"whoever decides needs {', '.join(printable(one) for one in needs)}"
    if row.four_eyes:
        yield f"four eyes: {printable(row.principal)} asked for it, and another must approve it"
    if row.state != "pending" or row.expired(time.time()):
        return
    yield f"look at it, then one of (run {printable(row.run)} goes on when it is resumed):"
    more = "".join(f" --permission {shlex.quote(one)}" for one in needs)
    home = "" if row.tenant == "default" else f" --tenant {shlex.quote(row.tenant)}"
    for answer in ("--approve", "--reject"):
        yield f"  {command(f'approvals decide {row.approval} {answer} --by NAME{more}{home}', store)}"


def _line(row: ApprovalRow) -> str:
    by = f" by {printable(row.approver)}" if row.approver else ""
    until = f", until {moment(row.expires)}" if row.expires is not None and row.state == "pending" else ""
    call = call_text(row.tool, row.arguments)
    asked = f"{printable(row.principal)} of {row.tenant}" if row.tenant != "default" else printable(row.principal)
    return f"{row.approval}  {row.state}{by}{until}\n    {asked} asks for {call}: {printable(row.reason)}"
