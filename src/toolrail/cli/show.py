"""`toolrail show RUN`: one run from the store, turn by turn: calls, sizes, codes, stop reason, tokens."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from toolrail.cli.lines import Paint, cut, duration, moment, printable, row, size
from toolrail.cli.problem import Problem
from toolrail.cli.reading import Record, command, store_argument
from toolrail.cli.standing import standing
from toolrail.cli.tail import as_object, said_of
from toolrail.run import RunState
from toolrail.store import CallRow, CallsOf, RunRow

_HEAD = ("", "tool", "effect", "took", "args", "result", "tries", "outcome")
_WIDTHS = (7, 20, 10, -8, -8, -8, -5, 0)
_SHOWN = 2_000
"""Characters of a result with --content."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="the run's id, or a part of it from its beginning or its end")
    store_argument(parser)
    parser.add_argument("--tenant", help="the run's tenant, where an id stands in several")
    parser.add_argument("--content", action="store_true", help="also what the model was answered; off by default")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the run."""
    record = Record(options.store)
    found = record.find(options.run, tenant=options.tenant)
    calls = record.ask(CallsOf(found.tenant, found.run))
    if options.json:
        print(json.dumps(_object(found, calls, content=options.content)))
    else:
        _print(found, calls, Paint(), content=options.content, store=options.store)
    return 0


def _state(found: RunRow) -> RunState:
    try:
        return RunState.from_json(found.state)
    except (ValueError, TypeError, LookupError) as error:
        mend = (
            "Use the version of toolrail that wrote it; `toolrail tail`, with the same --store, still lists its calls."
        )
        raise Problem(f"run {found.run}", f"its state cannot be read ({error!r}).", mend) from error


def _object(found: RunRow, calls: Sequence[CallRow], *, content: bool) -> dict[str, object]:
    state, now = _state(found), time.time()
    return {
        "run": found.run,
        "tenant": found.tenant,
        "principal": found.principal,
        "session": found.session,
        "created": found.created,
        "updated": found.updated,
        "seconds": state.seconds,
        "stop_reason": found.stop_reason,
        "turns": state.turn,
        "usage": asdict(state.usage),
        "offered": list(state.offered),
        "calls": [as_object(call, now) | ({"content": call.content} if content else {}) for call in calls],
    }


def _print(found: RunRow, calls: Sequence[CallRow], paint: Paint, *, content: bool, store: str) -> None:
    for name, value in _facts(found, calls, store=store):
        print(f"{paint(name.ljust(10), 'dim')}{printable(value)}")
    if not calls:
        print("\nNo call was made.")
        return
    print("\n" + paint(row(_HEAD, _WIDTHS), "dim"))
    now = time.time()
    for turn, of_turn in groupby(calls, key=lambda call: call.turn):
        for at, call in enumerate(of_turn):
            print(_line(call, f"turn {turn}" if at == 0 else "", paint, now, store=store))
            if content and call.content is not None:
                print(paint(f"         {cut(printable(call.content), _SHOWN)}", "dim"))


def _facts(found: RunRow, calls: Sequence[CallRow], *, store: str) -> list[tuple[str, str]]:
    state, usage = (state := _state(found)), state.usage
    stopped = found.stop_reason or "open: the run has not ended, or its process died"
    cached = f", {usage.cached_tokens} of them cached" if usage.cached_tokens else ""
    facts = [
        ("run", found.run),
        ("principal", found.principal if found.tenant == "default" else f"{found.principal} (tenant {found.tenant})"),
        ("session", found.session or "none"),
        ("began", f"{moment(found.created)}, open for {duration(state.seconds)}"),
        ("ended", stopped),
        ("requests", f"{state.turn} to the model, {len(calls)} calls"),
        ("tokens", f"{usage.input_tokens} in{cached}, {usage.output_tokens} out"),
        ("offered", ", ".join(state.offered) or "no tools"),
    ]
    unknown = sum(standing(call, time.time()) == "unknown" for call in calls)
    if unknown:
        facts.append(("UNKNOWN", f"{unknown} of the calls: started, not settled ({command('effects list', store)})"))
    return facts if found.session else [fact for fact in facts if fact[0] != "session"]


def _line(call: CallRow, turn: str, paint: Paint, now: float, *, store: str) -> str:
    text = said_of(call, paint, now, store=store)
    if call.flags:
        text += paint(f" [{', '.join(printable(flag) for flag in call.flags)}]", "dim")
    cells = (
        turn,
        cut(printable(call.tool), 20),
        call.effect,
        duration(call.seconds),
        size(call.argument_bytes),
        size(call.result_bytes),
        str(call.attempts),
        text,
    )
    return row(cells, _WIDTHS)
