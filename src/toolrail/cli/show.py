"""`toolrail show RUN`: one run, turn by turn: requests, calls, attempts, decisions, codes, sizes, tokens, cost."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from toolrail.cli.both import sources
from toolrail.cli.figures import amount, money, plain, plural, span, tokens
from toolrail.cli.figures import seconds as shown
from toolrail.cli.known import Known, known_of
from toolrail.cli.lines import Paint, moment, printable, short_id
from toolrail.cli.meanings import MEANINGS, REASONS, WHOSE
from toolrail.cli.places import command, records_argument
from toolrail.cli.screen import folded, screen_width
from toolrail.cli.story import story
from toolrail.cli.telling import Told, as_object
from toolrail.codes import CODES, Code

_TROUBLES = 5
_SILENT = 60.0
"""Seconds after which a run that has not ended is said to be silent."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="the run's id, or a part of it from its beginning or its end")
    records_argument(parser)
    parser.add_argument("--tenant", help="the run's tenant, where an id stands in several")
    parser.add_argument(
        "--content",
        action="store_true",
        help="also arguments and what the model was answered, where that was kept; off by default",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the run."""
    with sources(options) as both:
        known = known_of(both, options.run, tenant=options.tenant, content=options.content)
    if options.json:
        print(json.dumps(_object(known, content=options.content)))
        return 0
    paint, screen = Paint(), screen_width()
    for name, value in _facts(known, options.store):
        for at, line in enumerate(folded(printable(value), None if screen is None else screen - 10)):
            print(f"{paint((name if at == 0 else '').ljust(10), 'dim')}{line}")
    for line in story(known, paint, screen, store=options.store, content=options.content):
        print(line)
    return 0


def _facts(known: Known, store: str) -> Iterator[tuple[str, str]]:
    detail = known.detail
    yield "run", known.run
    yield "principal", known.principal if known.tenant == "default" else f"{known.principal} (tenant {known.tenant})"
    if known.session:
        yield "session", known.session
    yield "began", f"{moment(known.created)}, open for {shown(known.seconds or None)}"
    yield "ended", _ended(known)
    yield "requests", f"{known.turns} to the model, {plural(len(known.calls), 'call')}"
    yield "tokens", tokens(known.usage)
    yield "offered", ", ".join(known.offered) or "no tools"
    if detail is not None:
        if detail.models or detail.run.usage.total_tokens:
            yield "cost", _cost(known)
        limits = ", ".join(f"{name} {value}" for name, value in detail.limits.items() if value not in (None, False))
        if limits:
            yield "limits", limits
        if detail.run.trace:
            yield "trace", detail.run.trace
    else:
        yield "record", "none: attempts, decisions, requests and costs are not known"
    yield from _open_calls(known, store)
    for line in _troubles(known):
        yield "trouble", line


def _ended(known: Known) -> str:
    reason = known.stop_reason
    if reason is None:
        quiet = time.time() - known.updated
        silent = f"; nothing was heard of it for {span(quiet)}" if quiet > _SILENT else ""
        return f"open: the run has not ended, or its process died{silent}"
    meaning = REASONS.get(reason, "")
    return f"{reason}: {meaning}" if meaning else reason


def _cost(known: Known) -> str:
    if known.detail is None:
        return ""
    cost = known.detail.run.cost
    if not cost.unpriced:
        return money(cost)
    unknown = [one for one in known.detail.models if one.cost is None]
    unpriced = sorted({one.model for one in unknown if one.usage.total_tokens})
    uncounted = sum(not one.usage.total_tokens for one in unknown)
    others = sorted({one.currency for one in known.detail.models if one.cost} - {cost.currency})
    parts = [f"{plural(uncounted, 'response')} told no token count"] if uncounted else []
    if others:
        sums = ((sum(one.cost or 0.0 for one in known.detail.models if one.currency == each), each) for each in others)
        parts.append(f"and {' + '.join(amount(value, each) for value, each in sums)}")
    missing = len(unknown) - uncounted if unknown or others else cost.unpriced
    if missing:
        names = f" ({', '.join(unpriced)})" if unpriced else ""
        parts.append(f"{plural(missing, 'response')} without a price{names}")
    return f"{money(cost)}: {'; '.join(parts)}"


def _open_calls(known: Known, store: str) -> Iterator[tuple[str, str]]:
    stands = Counter(call.unsettled for call in known.calls)
    if stands["unknown"]:
        listing = command("effects list", store)
        yield "UNKNOWN", f"{stands['unknown']} of the calls: started, not settled ({listing})"
    if stands["waiting"]:
        yield "WAITING", f"{stands['waiting']} of the calls, for another system"
    if stands["under_way"]:
        yield "UNDER WAY", f"{stands['under_way']} of the calls"
    asked = sum(call.code == Code.APPROVAL_PENDING or call.state == "pending" for call in known.calls)
    if asked:
        listing = command(f"approvals list --run {known.run}", store)
        yield "WAITING", f"{asked} of the calls, for a person's approval ({listing})"


def _troubles(known: Known) -> Iterator[str]:
    """What did not succeed, by tool and code: the cause is mostly one of these lines."""
    bad = [call for call in known.calls if call.code is not None and call.status not in ("ok", "pending")]
    groups = Counter((call.tool, call.code) for call in bad)
    for (tool, code), times in groups.most_common(_TROUBLES):
        of = [call for call in bad if (call.tool, call.code) == (tool, code)]
        yield f"{times} x {tool} {code}: {of[0].meaning}{_why(of, known)}"
    if len(groups) > _TROUBLES:
        yield f"... and {len(groups) - _TROUBLES} more kinds below"


def _why(calls: list[Told], known: Known) -> str:
    """Whom it concerns, and the class of the exception or the rule, where the record has them."""
    first = calls[0]
    whose = ""
    if first.code in MEANINGS:
        kind = CODES[Code(first.code)].alert
        on = first.line.dependency if first.line is not None else ""
        whose = f"the dependency {on}" if kind == "dependency" and on and on != first.tool else WHOSE[kind]
    errors = {one.error_type for call in calls for one in known.attempts_of(call.key) if one.error_type}
    rules = {call.line.rule for call in calls if call.line is not None and call.line.decision == "deny"}
    said = (*sorted(errors), *(f"rule {rule}" for rule in sorted(rule for rule in rules if rule)))
    parts = [part for part in (whose, ", ".join(said)) if part]
    return f" ({'; '.join(parts)})" if parts else ""


def _object(known: Known, *, content: bool) -> dict[str, object]:
    detail = known.detail
    told: dict[str, object] = {
        "run": known.run,
        "short_id": short_id(known.run),
        "tenant": known.tenant,
        "principal": known.principal,
        "session": known.session,
        "created": known.created,
        "updated": known.updated,
        "seconds": known.seconds,
        "stop_reason": known.stop_reason,
        "turns": known.turns,
        "usage": asdict(known.usage),
        "offered": list(known.offered),
        "calls": [_call_object(call, known, content=content) for call in known.calls],
        "recorded": detail is not None,
        "model": detail.run.model if detail is not None else None,
        "trace": detail.run.trace if detail is not None else None,
        "cost": plain(detail.run.cost) if detail is not None else None,
        "limits": plain(detail.limits) if detail is not None else None,
        "models": plain(detail.models) if detail is not None else None,
        "moments": plain(detail.moments) if detail is not None else None,
    }
    if content:
        told["messages"] = [{"turn": turn, "text": text} for turn, text in known.messages]
    return told


def _call_object(call: Told, known: Known, *, content: bool) -> dict[str, object]:
    told: dict[str, object] = as_object(call) | {"attempts_made": plain(known.attempts_of(call.key))}
    if content:
        told |= {"arguments": known.arguments_of(call), "content": known.content_of(call)}
    return told
