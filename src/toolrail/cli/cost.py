"""`toolrail cost`: what model requests cost, by model, day or session, and today against yesterday."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from toolrail.cli.figures import UNKNOWN, added, amount, count, moneys, plain, plural, span, tokens, told_apart, when
from toolrail.cli.figures import seconds as shown
from toolrail.cli.lines import Paint
from toolrail.cli.looking import opened, show_losses
from toolrail.cli.places import records_argument
from toolrail.cli.screen import folded, screen_width
from toolrail.cli.spans import days, since_argument, window
from toolrail.cli.tables import Cell, Column, show_table
from toolrail.messages import Usage
from toolrail.records.reading import Records
from toolrail.records.views import ModelStats, Money, SessionLine, Window

_MOST_DAYS = 366
_SESSIONS = 20
_COLUMNS = {
    "model": (
        Column("model", least=12),
        Column("requests", right=True),
        Column("tokens", spare=1),
        Column("p95", right=True, spare=2),
        Column("cost", right=True),
        Column("without a price", right=True),
    ),
    "day": (
        Column("day"),
        Column("requests", right=True),
        Column("tokens", spare=1),
        Column("cost", right=True),
        Column("without a price", right=True),
    ),
    "session": (
        Column("session", least=12),
        Column("principal", least=8, spare=2),
        Column("last", spare=3),
        Column("runs", right=True),
        Column("tokens", spare=1),
        Column("cost", right=True),
        Column("without a price", right=True),
    ),
}


@dataclass(frozen=True, slots=True)
class Spent:
    """Requests, tokens and money of one day, or of a part of it."""

    day: str
    requests: int
    usage: Usage
    costs: tuple[Money, ...]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    since_argument(parser, "7d")
    parser.add_argument("--by", choices=tuple(_COLUMNS), default="model", help="what a line stands for (model)")
    parser.add_argument(
        "-n", "--lines", type=int, default=_SESSIONS, metavar="N", help=f"with --by session: how many ({_SESSIONS})"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints what was spent."""
    now = time.time()
    with opened(options) as records:
        models = records.models(window(options.since))
        compared = _compared(records, now)
        by_day = _by_day(records, options.since, now) if options.by == "day" else ()
        sessions = _by_session(records, options) if options.by == "session" else ()
        if options.json:
            print(json.dumps(_object(options, models, compared, by_day, sessions)))
            return 0
        if options.by == "model":
            rows = [_model_cells(one) for one in models]
        elif options.by == "day":
            rows = [_day_cells(one) for one in by_day]
        else:
            rows = [_session_cells(one, now) for one in sessions]
        if rows:
            show_table(_COLUMNS[options.by], rows)
            print()
        unknown = any(one.cost.unpriced for one in models)
        uncounted: Mapping[str, int] = records.uncounted(window(options.since)) if unknown else {}
        for line in _words(models, compared, span(now - options.since), uncounted):
            for part in folded(line, screen_width()):
                print(part)
        show_losses(records)
    return 0


def _spent(day: str, models: Iterable[ModelStats]) -> Spent:
    of = list(models)
    usage = Usage()
    for one in of:
        usage = usage + one.usage
    return Spent(day, sum(one.requests for one in of), usage, added(one.cost for one in of))


def _compared(records: Records, now: float) -> tuple[Spent, Spent, Spent]:
    """Today, yesterday until the same time of day, and all of yesterday."""
    midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    before = midnight - timedelta(days=1)
    same_time = datetime.fromtimestamp(now) - timedelta(days=1)
    spans = (
        ("today", Window(midnight.timestamp(), (midnight + timedelta(days=1)).timestamp())),
        ("yesterday until now", Window(before.timestamp(), max(before.timestamp(), same_time.timestamp()))),
        ("yesterday", Window(before.timestamp(), midnight.timestamp())),
    )
    today, until_now, yesterday = (_spent(name, records.models(over)) for name, over in spans)
    return today, until_now, yesterday


def _by_day(records: Records, start: float, now: float) -> tuple[Spent, ...]:
    return tuple(_spent(day, records.models(over)) for day, over in days(start, now)[:_MOST_DAYS])


def _by_session(records: Records, options: argparse.Namespace) -> tuple[SessionLine, ...]:
    return records.sessions(window(options.since), sort="cost", limit=max(1, options.lines))


def _model_cells(one: ModelStats) -> list[Cell]:
    return [
        one.model or "(not named)",
        count(one.requests),
        tokens(one.usage),
        shown(one.latency.p95),
        *_cost_cells((one.cost,)),
    ]


def _day_cells(one: Spent) -> list[Cell]:
    return [one.day, count(one.requests), tokens(one.usage) if one.requests else "", *_cost_cells(one.costs)]


def _session_cells(one: SessionLine, now: float) -> list[Cell]:
    who = one.principal if one.tenant == "default" else f"{one.principal} ({one.tenant})"
    return [
        one.session,
        who,
        when(one.updated, now),
        count(one.runs),
        tokens(one.usage),
        *_cost_cells((one.cost, *one.others)),
    ]


def _cost_cells(costs: Sequence[Money]) -> list[Cell]:
    """The amount, and how many responses have no price; an amount that lacks those is a lower bound."""
    unpriced = sum(one.unpriced for one in costs)
    known = " + ".join(amount(one.amount, one.currency) for one in costs if one.amount or not unpriced)
    said: Cell = known or "-"
    if unpriced:
        said = (f">= {known}" if known else UNKNOWN, "yellow")
    return [said, (count(unpriced), "yellow") if unpriced else "0"]


def _words(
    models: Sequence[ModelStats], compared: Sequence[Spent], over: str, uncounted: Mapping[str, int]
) -> Iterator[str]:
    today, until_now, yesterday = compared
    total = moneys(one.cost for one in models)
    yield f"the last {over}: {total}"
    yield f"today: {moneys(today.costs)}{_against(today, until_now)}"
    yield f"yesterday: {moneys(until_now.costs)} until this time of day, {moneys(yesterday.costs)} in all"
    missing, silent = told_apart(models, uncounted)
    unpriced = [model or "(not named)" for model in sorted(missing)]
    if silent:
        yield Paint()(f"{plural(silent, 'response')} told no token count: no price says what they cost.", "yellow")
    if unpriced:
        yield Paint()(
            f"No price is known for {', '.join(unpriced)}: state them by Rail(prices=...), "
            "or install toolrail[prices].",
            "yellow",
        )


def _against(today: Spent, before: Spent) -> str:
    """How much more or less than at the same time yesterday; nothing where it cannot be said."""
    if len(today.costs) != 1 or len(before.costs) != 1:
        return ""
    now, then = today.costs[0], before.costs[0]
    if not (now.known and then.known) or now.currency != then.currency or not then.amount:
        return ""
    more = now.amount / then.amount - 1
    return f" ({more * 100:+.0f} % against the same time yesterday)"


def _object(
    options: argparse.Namespace,
    models: Sequence[ModelStats],
    compared: Sequence[Spent],
    by_day: Sequence[Spent],
    sessions: Sequence[SessionLine],
) -> dict[str, Any]:
    today, until_now, yesterday = compared
    shown_rows: dict[str, Any] = {"model": models, "day": by_day, "session": sessions}
    return {
        "since": options.since,
        "by": options.by,
        "lines": plain(tuple(shown_rows[options.by])),
        "total": plain(added(one.cost for one in models)),
        "unpriced": sum(one.cost.unpriced for one in models),
        "today": plain(today),
        "yesterday_until_now": plain(until_now),
        "yesterday": plain(yesterday),
    }
