"""Figures as commands print them: counts, shares, money, moments; and as scripts read them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from toolrail.cli.lines import duration
from toolrail.messages import Usage
from toolrail.records.views import ModelLine, ModelStats, Money

_DAY = 86_400.0
UNKNOWN = "unknown"


def count(number: float) -> str:
    """`1,234`."""
    return f"{number:,.0f}"


def share(part: float) -> str:
    """`0 %`, `0.4 %`, `12 %`."""
    percent = part * 100
    if percent and percent < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"


def seconds(value: float | None) -> str:
    """A duration; `-` where nothing was measured."""
    if value is None:
        return "-"
    return duration(value) if value < 100 else span(value)


def span(value: float) -> str:
    """A long time, short: `45 s`, `12 min`, `3.5 h`, `2.1 d`."""
    for unit, size in (("d", _DAY), ("h", 3_600.0), ("min", 60.0)):
        if value >= size * (2 if unit == "d" else 1):
            return f"{value / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{value:.0f} s"


def amount(value: float, currency: str) -> str:
    """`12.34 USD`; small ones with more digits, so that no cost looks like none."""
    digits = 2 if value >= 10 or value == 0 else 4 if value >= 0.001 else 6
    shown = f"{value:,.{digits}f}"
    if value and not shown.strip("0.,"):
        return f"<0.000001 {currency}"
    return f"{shown} {currency}"


def money(cost: Money) -> str:
    """What it cost; where a price is missing, the lower bound and how many responses have none, never 0."""
    if cost.known:
        return amount(cost.amount, cost.currency)
    if not cost.amount:
        return UNKNOWN
    return f">= {amount(cost.amount, cost.currency)}"


def spent(costs: Sequence[Money], usage: Usage) -> str:
    """The same of one line, in all its currencies; `-` where no response was recorded, which may have cost nothing."""
    if not usage.total_tokens and not any(one.amount or one.unpriced for one in costs):
        return "-"
    return money(costs[0]) if len(costs) == 1 else " + ".join(money(one) for one in costs)


def added(costs: Iterable[Money]) -> tuple[Money, ...]:
    """Sums by currency. Responses without a price have no currency of their own: they go with any known amount."""
    amounts: dict[str, float] = {}
    unpriced = 0
    for one in costs:
        unpriced += one.unpriced
        if one.amount or one.known:
            amounts[one.currency] = amounts.get(one.currency, 0.0) + one.amount
    spent = {currency: value for currency, value in amounts.items() if value} or dict(list(amounts.items())[:1])
    if not spent:
        return (Money(0.0, "USD", unpriced),) if unpriced else ()
    first, *others = sorted(spent)
    return (Money(spent[first], first, unpriced), *(Money(spent[one], one) for one in others))


def told_apart(models: Iterable[ModelStats], uncounted: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Of responses of unknown cost: by model those that lack a price, and how many told no token count."""
    unknown: dict[str, int] = {}
    for one in models:
        unknown[one.model] = unknown.get(one.model, 0) + one.cost.unpriced
    silent = {model: min(times, uncounted.get(model, 0)) for model, times in unknown.items()}
    return {model: left for model, times in unknown.items() if (left := times - silent[model])}, sum(silent.values())


def moneys(costs: Iterable[Money]) -> str:
    """Sums by currency in words; `nothing` where no model was asked."""
    sums = added(costs)
    unpriced = sum(one.unpriced for one in sums)
    if not sums:
        return "nothing"
    known = " + ".join(amount(one.amount, one.currency) for one in sums if one.amount or not unpriced)
    if not unpriced:
        return known
    missing = f"{count(unpriced)} {'response' if unpriced == 1 else 'responses'} without a price"
    return f"at least {known}; {missing}" if known else f"{UNKNOWN}: {missing}"


def tokens(usage: Usage) -> str:
    """`1,200 in (400 cached), 56 out`."""
    cached = f" ({count(usage.cached_tokens)} cached)" if usage.cached_tokens else ""
    reasoning = f" ({count(usage.reasoning_tokens)} reasoning)" if usage.reasoning_tokens else ""
    return f"{count(usage.input_tokens)} in{cached}, {count(usage.output_tokens)} out{reasoning}"


def when(wall: float, now: float) -> str:
    """Local time, with the day where it is not today."""
    then, today = time.localtime(wall), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M:%S", then)
    return time.strftime("%m-%d %H:%M" if then[0] == today[0] else "%Y-%m-%d", then)


def plural(number: int, one: str, many: str = "") -> str:
    """`1 call`, `2 calls`."""
    return f"{count(number)} {one if number == 1 else many or f'{one}s'}"


def exact(value: float) -> float:
    """Without the drift of sums in binary: `0.3` and not `0.30000000000000004`."""
    return float(f"{value:.12g}")


def price_object(cost: Money) -> dict[str, Any]:
    """Money for scripts. `amount` is null where nothing is known; with `at_least` it is a lower bound."""
    nothing = not cost.known and not cost.amount
    return {
        "amount": None if nothing else exact(cost.amount),
        "currency": None if nothing else cost.currency,
        "unpriced": cost.unpriced,
        "at_least": not cost.known and not nothing,
    }


def plain(value: Any) -> Any:
    """A view as JSON can write it: dataclasses as objects, tuples as lists, money as `price_object` has it."""
    if isinstance(value, Money):
        return price_object(value)
    if isinstance(value, ModelLine):
        return plain(asdict(value)) | {"cost": None if value.cost is None else exact(value.cost)}
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value
