"""`toolrail sessions`: calls per session, the sessions that look like loops, and what they cost."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

from toolrail.cli.figures import count, plain, plural, span, spent, tokens, when
from toolrail.cli.lines import Paint
from toolrail.cli.looking import opened, show_losses
from toolrail.cli.places import records_argument
from toolrail.cli.screen import bar, folded, padded, screen_width
from toolrail.cli.spans import since_argument, window
from toolrail.cli.tables import Cell, Column, show_table
from toolrail.records.views import Distribution, SessionLine

MANY = 3.0
"""A session with more calls than this times the 95th percentile of the others is pointed out."""
_BAR = 30
_COLUMNS = (
    Column("last", spare=1),
    Column("session", least=12),
    Column("principal", least=8, spare=2),
    Column("runs", right=True, spare=3),
    Column("calls", right=True),
    Column("failed", right=True),
    Column("tokens", spare=4),
    Column("cost", right=True),
    Column("looks like", wraps=True),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    since_argument(parser, "7d")
    parser.add_argument("--sort", choices=("updated", "calls", "cost"), default="updated", help="default: updated")
    parser.add_argument("--tenant", help="only this tenant's sessions; the distribution is of all")
    parser.add_argument("-n", "--lines", type=_lines, default=20, metavar="N", help="how many (20)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the distribution and the sessions."""
    with opened(options) as records:
        over = window(options.since)
        sizes = records.calls_per_session(over)
        found = records.sessions(over, tenant=options.tenant, sort=options.sort, limit=options.lines)
        if options.json:
            shown = {"calls_per_session": _figures(sizes), "sessions": [as_object(one, sizes) for one in found]}
            print(json.dumps(shown))
            return 0
        for line in _distribution(sizes, span(time.time() - options.since)):
            print(line)
        if found:
            print()
            now = time.time()
            show_table(_COLUMNS, [_cells(one, sizes, now) for one in found])
        show_losses(records)
    return 0


def _distribution(sizes: Distribution, over: str) -> Iterator[str]:
    if not sizes.count:
        yield f"No session in the last {over}."
        return
    text = (
        f"{plural(sizes.count, 'session')} in the last {over}: {sizes.mean:.1f} calls on average, "
        f"half have at most {count(sizes.quantile(0.5))}, 95 % at most {count(sizes.quantile(0.95))}, "
        f"the longest {count(max(sizes.sizes))}"
    )
    yield from folded(text, screen_width())
    paint = Paint()
    rows = _grouped(sizes)
    most = max(times for _, times in rows)
    for name, times in rows:
        yield f"  {padded(name, 11, right=True)} calls  {paint(bar(times / most, _BAR), 'cyan')} {count(times)}"


def _grouped(sizes: Distribution) -> list[tuple[str, int]]:
    """By powers of two, from the least to the most that occurred: `0`, `1`, `2-3`, `4-7`, ..."""
    groups: dict[int, int] = {}
    for size, times in sizes.sizes.items():
        groups[size.bit_length()] = groups.get(size.bit_length(), 0) + times
    return [(_name(bits), groups.get(bits, 0)) for bits in range(min(groups), max(groups) + 1)]


def _name(bits: int) -> str:
    if bits < 2:
        return str(bits)
    return f"{count(2 ** (bits - 1))}-{count(2**bits - 1)}"


def suspicion(one: SessionLine, sizes: Distribution) -> str:
    """Why it looks like a loop; empty where it does not."""
    if one.repeats:
        return f"a loop: {plural(one.repeats, 'call')} refused as repetition"
    usual = sizes.quantile(0.95)
    if sizes.count >= 20 and usual and one.calls > MANY * usual:
        return f"many calls: {one.calls / usual:.0f} times what 95 % do not exceed"
    return ""


def _cells(one: SessionLine, sizes: Distribution, now: float) -> list[Cell]:
    who = one.principal if one.tenant == "default" else f"{one.principal} ({one.tenant})"
    return [
        when(one.updated, now),
        one.session,
        who,
        count(one.runs),
        count(one.calls),
        (count(one.failed), "red") if one.failed else "0",
        tokens(one.usage),
        spent((one.cost, *one.others), one.usage),
        (suspicion(one, sizes), "yellow"),
    ]


def _figures(sizes: Distribution) -> dict[str, Any]:
    quantiles = {f"p{round(q * 100)}": sizes.quantile(q) for q in (0.5, 0.95, 0.99)}
    return plain(sizes) | {"mean": sizes.mean, "most": max(sizes.sizes, default=0)} | quantiles


def as_object(one: SessionLine, sizes: Distribution) -> dict[str, Any]:
    """A session for scripts. `suspicion` is null where it does not look like a loop."""
    return plain(one) | {"suspicion": suspicion(one, sizes) or None}


def _lines(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError("must be 1 to 10000")
    return number
