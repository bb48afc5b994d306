"""How pages write times, sizes, money and codes: the filters of every template."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from toolrail.cli.lines import short_id, size
from toolrail.codes import CODES, Code
from toolrail.records.meanings import MEANINGS
from toolrail.records.views import Money

NONE = "\N{EN DASH}"
"""Stands where there is nothing to say."""


def count(number: float | None) -> str:
    """`12,345`."""
    return NONE if number is None else f"{number:,.0f}"


def short_count(number: float) -> str:
    """`950`, `12.3k`, `4.1M`: for where room is short."""
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= bound:
            return f"{number / bound:.1f}{unit}"
    return f"{number:,.0f}"


def seconds(value: float | None) -> str:
    """`0.4 ms`, `12 ms`, `1.31 s`, `4 min`, `2.5 h`."""
    if value is None:
        return NONE
    if value < 0.9995:
        return f"{value * 1_000:.0f} ms" if value >= 0.00995 else f"{value * 1_000:.1f} ms"
    if value < 120:
        return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    return span(value)


def span(value: float) -> str:
    """A longer time, in one unit: `40 s`, `12 min`, `3 h`, `5 d`."""
    for bound, unit, name in ((86_400 * 2, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "min")):
        if value >= bound:
            return f"{value / unit:.0f} {name}"
    return f"{value:.0f} s"


def percent(share: float | None) -> str:
    """`3.2 %`; what is small but not nothing is `<0.1 %`."""
    if share is None:
        return NONE
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{share * 100:.1f} %" if share < 0.0995 else f"{share * 100:.0f} %"


def money(cost: Money | None) -> Markup:
    """An amount; where prices are missing it is unknown, with what is known of it."""
    if cost is None:
        return Markup(NONE)
    amount = _amount(cost.amount, cost.currency)
    if cost.known:
        return Markup('<span class="num">{}</span>').format(amount)
    why = "no price is known, or they told no token count"
    title = f"{cost.unpriced:,} responses of unknown cost: {why}; at least {amount}"
    return Markup('<span class="num unknown" title="{}">unknown</span> <small>&ge; {}</small>').format(title, amount)


def price(amount: float | None, currency: str = "USD") -> Markup:
    """What one response cost; None is unknown."""
    return money(Money(amount or 0.0, currency, int(amount is None)))


def _amount(amount: float, currency: str) -> str:
    places = 2 if amount >= 1 or amount == 0 else 4
    sign = {"USD": "$", "EUR": "€", "GBP": "£"}.get(currency)
    return f"{sign}{amount:,.{places}f}" if sign else f"{amount:,.{places}f} {currency}"


def _iso(wall: float) -> tuple[str, str]:
    local = datetime.fromtimestamp(wall).astimezone()
    return local.isoformat(timespec="seconds"), local.strftime("%Y-%m-%d %H:%M:%S %Z")


def at(wall: float | None) -> Markup:
    """A moment as local time of day, with the date unless it is today's, and everything in the title."""
    if wall is None:
        return Markup(NONE)
    iso, full = _iso(wall)
    there, today = time.localtime(wall), time.localtime()
    text = time.strftime("%H:%M:%S" if there[:3] == today[:3] else "%d %b %H:%M", there)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, full, text)


def ago(wall: float | None) -> Markup:
    """A moment as the time since, with everything in the title."""
    if wall is None:
        return Markup(NONE)
    iso, full = _iso(wall)
    passed = time.time() - wall
    text = f"{span(passed)} ago" if passed >= 1 else "now" if passed > -1 else f"in {span(-passed)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, full, text)


def meaning(code: str | None) -> str:
    """What a code says, for people; empty for an unknown one."""
    return MEANINGS.get(Code(code), "") if code in set(Code) else ""


def kind(code: str | None) -> str:
    """Who has to look at a code: `CODES[code].alert`."""
    return CODES[Code(code)].alert if code in set(Code) else "none"


def outcome(code: str | None, status: str | None = None) -> Markup:
    """A call's end as a badge: its code, or `ok`; the meaning in the title."""
    if code is None:
        shown = status or "under way"
        return Markup('<span class="badge s-{}">{}</span>').format(shown.replace(" ", "-"), shown)
    return Markup('<span class="badge k-{}" title="{}">{}</span>').format(kind(code), meaning(code), code)


def circuit(state: str) -> Markup:
    """A circuit's state as a badge."""
    return Markup('<span class="badge c-{}">{}</span>').format(state, state)


def exact(text: str) -> Markup:
    """Text just as it is: what one cannot see, or what turns the direction of writing, is shown by its number."""
    parts: list[Markup] = []
    plain = 0
    for place, char in enumerate(text):
        if char.isprintable() or char == "\n":
            continue
        parts += [escape(text[plain:place]), Markup('<span class="ctl">U+{:04X}</span>').format(ord(char))]
        plain = place + 1
    return Markup("").join([*parts, escape(text[plain:])])


def visible(value: Any) -> Any:
    """What every page does to text before it is escaped: what one cannot see, or what turns the direction of writing,
    is written as its number, so that no name can look like another."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(char if char.isprintable() or char in "\n\t" else f"<U+{ord(char):04X}>" for char in value)


def typed(text: str) -> str:
    """JSON to be edited: the same values, with what one cannot see as JSON's own escapes."""
    return "".join(char if char.isprintable() or char in "\n\t" else json.dumps(char)[1:-1] for char in text)


def cut(text: str | None, most: int = 60) -> str:
    """A name from outside, on one line and not too long; what one cannot see is named, as in `exact`."""
    shown = "".join(char if char.isprintable() else f"[U+{ord(char):04X}]" for char in (text or "")[: most + 1])
    return shown if len(text or "") <= most else f"{shown[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def indented(text: str) -> str:
    """JSON with a line for each value, every character of it kept: nothing is read and written anew."""
    lines: list[str] = []
    depth, quoted, skip = 0, False, False
    for char in text:
        if quoted or skip:
            lines.append(char)
            quoted = skip or char != '"'
            skip = char == "\\" and not skip
            continue
        if char == '"':
            quoted = True
        if char in "}]":
            depth -= 1
            lines.append("\n" + "  " * depth)
        lines.append(char)
        if char in "{[":
            depth += 1
        if char in "{[,":
            lines.append("\n" + "  " * depth)
        if char == ":":
            lines.append(" ")
    return "".join(lines)


def lines(text: str) -> int:
    """How many lines a text has."""
    return text.count("\n") + 1


def short(run: str) -> str:
    """Enough of an id to name it."""
    return short_id(run)


def data(value: object) -> str:
    """A value for a `data-` attribute, which script reads; the template escapes it."""
    return json.dumps(value, separators=(",", ":"))


def short_source(url: str) -> str:
    """Where the record is, without what may be a password, and without the folders."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}: {rest.rpartition('@')[2].rpartition('/')[2]}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        ago, at, circuit, count, cut, data, exact, indented, kind, lines, meaning, money, outcome, percent, price,
        seconds, short, short_count, short_source, size, span, typed,
    )
}  # fmt: skip
"""By the name that templates use."""
