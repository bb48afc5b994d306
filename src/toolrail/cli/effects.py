"""`toolrail effects list | show | settle`: the calls whose outcome is open, and a person's word on how they ended."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any

from toolrail.cli.ledger import Ledger
from toolrail.cli.lines import Paint, call_text, cut, moment, outcome, printable, row, short_id
from toolrail.cli.places import command, known_records, records_argument
from toolrail.cli.problem import Problem
from toolrail.cli.standing import (
    ABANDONED,
    AT_WORK,
    HINTED,
    LOUD,
    OPEN,
    Standing,
    next_of,
    settlement_of,
    short_key,
    standing,
)
from toolrail.errors import ToolError
from toolrail.store import CallRow

_HEAD = ("id", "since", "tool", "principal", "how it stands")
_WIDTHS = (14, 19, 20, 16, 0)
_SHOWN = 2_000
CONFIRMED = "This took effect. A person has confirmed it."
DENIED = "This did not take effect. A person has found that out."
_MEANINGS: dict[Standing, str] = {
    "unknown": "It may have taken effect, or not; {next}. Ask the other side",
    "waiting": "Its handler handed it to another system, which has not answered yet. If it never will",
    "under_way": "Its handler is at work, or has died within its lease. Nothing to do before {until}",
    "not_committed": "Its process died before it committed: nothing happened, and a repeat is free",
    "died": "Its process died. It may have taken effect; as its effect is not declared, nothing waits for its outcome",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="the calls whose outcome is open, the oldest first")
    shown = verbs.add_parser("show", help="all that is known of one")
    settled = verbs.add_parser("settle", help="say how one ended, once you have found that out")
    for sub in (shown, settled):
        sub.add_argument("call", metavar="ID", help="the call's key, or a part of it from its beginning or its end")
    answer = settled.add_mutually_exclusive_group(required=True)
    answer.add_argument("--happened", action="store_true", help="it took effect: it is done, and never repeated")
    answer.add_argument("--did-not-happen", action="store_true", help="it did not: its key is free for a repeat")
    settled.add_argument("--even-so", action="store_true", help=f"with --did-not-happen: though {AT_WORK}")
    settled.add_argument("--by", metavar="NAME", required=True, help="who says so, for the record")
    settled.add_argument("--result", metavar="TEXT", help="with --happened: what later calls are answered")
    settled.add_argument("--note", default="", help="how you found out, for the record")
    for sub in (listed, shown, settled):
        records_argument(sub)
        sub.add_argument("--tenant", help="only this tenant's calls")
        sub.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Lists, shows or settles."""
    ledger = Ledger(options.store, known_records(options))
    if options.verb == "list":
        _list(ledger, options)
        return 0
    found = ledger.find(options.call, tenant=options.tenant)
    if options.verb == "settle":
        found = _settle(ledger, found, options)
    if options.json:
        print(json.dumps(_object(found)))
    elif options.verb == "show":
        _show(found, options.store)
    else:
        said = "took effect" if options.happened else "did not take effect; its key is free"
        print(f"{found.key} ({printable(found.tool)}) is settled: it {said}. Said by {printable(options.by)}.")
    return 0


def _list(ledger: Ledger, options: argparse.Namespace) -> None:
    now, paint = time.time(), Paint()
    # What was never committed did nothing, and what is undeclared opens nothing, though nobody has written that down.
    calls = [call for call in ledger.open_calls(options.tenant) if standing(call, now) in OPEN]
    if options.json:
        print(json.dumps([_object(call) for call in calls]))
        return
    if not calls:
        print("No outcome is open.")
        return
    print(paint(row(_HEAD, _WIDTHS), "dim"))
    for call in calls:
        for line in _lines(call, now, paint, options.store):
            print(line)


def _lines(call: CallRow, now: float, paint: Paint, store: str) -> Iterator[str]:
    stands = standing(call, now) or "unknown"
    loud, colour = LOUD[stands]
    who = call.principal if call.tenant == "default" else f"{call.principal} ({call.tenant})"
    cells = (short_key(call), moment(call.created), cut(printable(call.tool), 20), printable(who), paint(loud, colour))
    yield row(cells, _WIDTHS)
    yield f"    {_called(call)}"
    if call.idempotency_key:
        yield paint(f"    idempotency key {printable(call.idempotency_key)}", "dim")
    for line in _advice(call, stands, store):
        yield paint(f"    {line}", "dim")


def _called(call: CallRow) -> str:
    if call.arguments is None:
        return f"{printable(call.tool)}(arguments not kept)"
    return call_text(call.tool, call.arguments, 100)


def _advice(call: CallRow, stands: Standing, store: str) -> Iterator[str]:
    """What the standing means, and what to type."""
    until = moment(call.lease_until) if call.lease_until is not None else "it has answered"
    if ABANDONED in call.flags:
        yield f"WARNING: {AT_WORK}. Do not say that it did not happen while that process lives."
    meaning = _MEANINGS[stands].format(until=until, next=next_of(call))
    if stands not in HINTED:
        yield f"{meaning}."
        return
    yield f"{meaning}, then one of:"
    for answer in ("--happened", "--did-not-happen"):
        even_so = " --even-so" if ABANDONED in call.flags and answer != "--happened" else ""
        yield f"  {command(f'effects settle {shlex.quote(short_key(call))} {answer}{even_so} --by NAME', store)}"


def _settle(ledger: Ledger, found: CallRow, options: argparse.Namespace) -> CallRow:
    if options.result is not None and not options.happened:
        raise Problem("--result", "what did not happen has no result.", "Leave it out.", usage=True)
    _check_open(found)
    _check_abandoned(found, options)
    flags = ("by_hand", f"by:{options.by}", *([f"note:{options.note}"] if options.note else []))
    value = CONFIRMED if options.result is None else options.result
    error = None if options.happened else ToolError(DENIED)
    if not ledger.settle(found, value=value, error=error, flags=flags):
        _check_open(ledger.find(found.key, tenant=found.tenant))
        raise Problem(f"call {found.key}", "it could not be settled.", "A repeat of it is under way; look again later.")
    return ledger.find(found.key, tenant=found.tenant)


def _check_open(found: CallRow) -> None:
    if found.state in ("done", "failed"):
        ended = "took effect" if found.state == "done" else "did nothing"
        said = settlement_of(found)
        by = f", by {said}," if said else ""
        text = f"it is settled already{by} at {moment(found.updated)}: it {ended}."
        raise Problem(f"call {found.key}", printable(text), "There is nothing to settle.")


def _check_abandoned(found: CallRow, options: argparse.Namespace) -> None:
    if ABANDONED not in found.flags or options.happened:
        return
    if not options.even_so:
        mend = "End that process first; or, where you know that it has ended, add --even-so."
        raise Problem(f"call {found.key}", f"{AT_WORK}, so it may take effect yet.", mend)
    print(f"Warning: {AT_WORK}; if it is, then a repeat may do the same a second time.", file=sys.stderr)


def _show(call: CallRow, store: str) -> None:
    paint, now = Paint(), time.time()
    for name, value in _facts(call, now):
        print(f"{paint(name.ljust(16), 'dim')}{printable(value)}")
    stands = standing(call, now)
    if stands is not None:
        print()
        for line in _advice(call, stands, store):
            print(line)


def _facts(call: CallRow, now: float) -> Iterator[tuple[str, str]]:
    stands = standing(call, now)
    yield "call", call.key
    yield "tool", f"{call.tool} ({call.effect})"
    yield "how it stands", LOUD[stands][0] if stands else f"{call.state}: {outcome(call.status, call.code)}"
    yield "tenant", call.tenant
    yield "principal", call.principal
    yield "run", f"{call.run}, turn {call.turn}, call {call.index} ({short_id(call.run)})"
    yield "began", moment(call.created)
    yield "last change", moment(call.updated)
    if call.lease_until is not None:
        yield "lease until", moment(call.lease_until)
    yield "arguments", call.arguments or "not kept"
    if ABANDONED in call.flags and stands is not None:
        yield "warning", AT_WORK
    yield "idempotency key", call.idempotency_key or "none"
    if call.effect_key is not None:
        yield "effect key", f"{call.effect_key}, within the {call.scope}"
    if call.repeats is not None:
        yield "repeats", call.repeats
    yield "attempts", str(call.attempts)
    settlement = settlement_of(call)
    if settlement:
        yield "settled by", settlement
    if call.content is not None:
        yield "answer", cut(call.content, _SHOWN)


def _object(call: CallRow) -> dict[str, Any]:
    """A call for scripts. `stands` is null once it is settled."""
    return {
        "id": call.key,
        "short_id": short_key(call),
        "stands": standing(call, time.time()),
        "state": call.state,
        "tenant": call.tenant,
        "run": call.run,
        "turn": call.turn,
        "index": call.index,
        "tool": call.tool,
        "effect": call.effect,
        "principal": call.principal,
        "arguments": json.loads(call.arguments) if call.arguments else None,
        "idempotency_key": call.idempotency_key,
        "effect_key": call.effect_key,
        "scope": call.scope,
        "since": call.created,
        "updated": call.updated,
        "lease_until": call.lease_until,
        "attempts": call.attempts,
        "code": call.code,
        "flags": list(call.flags),
        "content": call.content,
    }
