"""`toolrail prices`: what the models of the record cost a million tokens, who says so, and costs computed again."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from toolrail.cli.figures import amount, count, exact, money, plural, price_object, tokens, told_apart
from toolrail.cli.lines import Paint
from toolrail.cli.looking import faults_of, opened, show_losses, where_of
from toolrail.cli.places import records_argument, records_url
from toolrail.cli.problem import Problem
from toolrail.cli.spans import since_argument, window
from toolrail.cli.tables import Cell, Column, show_table
from toolrail.money import NO_PRICES, Price, PriceBook
from toolrail.records.genai import PACKAGE, GenaiPrices, installed
from toolrail.records.pricefile import as_toml
from toolrail.records.prices import Prices, combined
from toolrail.records.recosting import Recomputed, recompute
from toolrail.records.views import ModelStats

VARIABLE = "TOOLRAIL_PRICES"
OWN = "own"
UNKNOWN = "unknown"
_COLUMNS = (
    Column("model", least=12),
    Column("requests", right=True),
    Column("tokens", spare=2),
    Column("in/M", right=True),
    Column("out/M", right=True),
    Column("cached/M", right=True, spare=3),
    Column("cost", right=True),
    Column("price from", least=16, wraps=True),
)


@dataclass(frozen=True, slots=True)
class Books:
    """Where prices are looked for: one's own file, then the table of other people's."""

    own: PriceBook
    table: GenaiPrices | None

    @property
    def all(self) -> PriceBook:
        """Both, one's own first."""
        return self.own if self.table is None else combined(self.own, self.table)

    def price(self, model: str) -> Price | None:
        """The price as of now."""
        return self.all.price(model, time.time())

    def look_up(self, models: Sequence[str]) -> None:
        """Asks the table once for all that one's own file does not know."""
        if self.table is not None:
            self.table.look_up(model for model in models if self.own.price(model, 0.0) is None)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="only its price, as in openai:gpt-4o; needs no record"
    )
    records_argument(parser)
    since_argument(parser, "30d")
    parser.add_argument(
        "--prices",
        metavar="FILE",
        default=os.environ.get(VARIABLE) or None,
        help=f"your own prices, a TOML file; they come first (default: {VARIABLE} from the environment)",
    )
    parser.add_argument("--own-only", action="store_true", help=f"do not look into the table of {PACKAGE}")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--toml", action="store_true", help="with MODEL: the lines for such a file")
    shape.add_argument(
        "--recompute", action="store_true", help="compute all recorded costs again from the raw usage, and write them"
    )
    shape.add_argument("--preview", action="store_true", help="say what --recompute would do, and write nothing")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints prices, or computes costs again; 1 where the price of MODEL is not known."""
    if (options.toml and options.model is None) or (options.model and (options.recompute or options.preview)):
        mend = "Write toolrail prices MODEL --toml, or toolrail prices --recompute."
        raise Problem("toolrail prices", "these do not go together.", mend, usage=True)
    books = _books(options)
    if options.model is not None:
        return _one(options, books)
    if options.recompute or options.preview:
        return _recomputed(options, books)
    return _listed(options, books)


def _books(options: argparse.Namespace) -> Books:
    own = NO_PRICES if options.prices is None else Prices.from_toml(options.prices)
    return Books(own, None if options.own_only or not installed() else GenaiPrices())


def source_of(price: Price | None) -> str:
    """Who says so: `own`, the table and its version, or `unknown`."""
    return UNKNOWN if price is None else price.source or OWN


def _one(options: argparse.Namespace, books: Books) -> int:
    price = books.price(options.model)
    if price is None:
        mend = f"State it in a file for --prices and Rail(prices=...): {_example(options.model)}"
        more = "" if installed() else f" {PACKAGE} is not installed (toolrail[prices])."
        raise Problem(f"model {options.model}", f"no price is known.{more}", mend)
    if options.json:
        print(json.dumps(_object(options.model, price)))
    elif options.toml:
        print(f"# {source_of(price)}\n{as_toml(options.model, price)}")
    else:
        _show(options.model, price)
    return 0


def _example(model: str) -> str:
    return as_toml(model, Price(Decimal("2.50"), Decimal("10.00"))).replace("\n", "; ")


def _show(model: str, price: Price) -> None:
    paint = Paint()
    print(f"{paint(model, 'bold')}  {source_of(price)}")
    rates = (("input", price.input), ("output", price.output), ("cached", price.cached))
    more = (("cache_write", price.cache_write), ("reasoning", price.reasoning))
    for name, rate in (*rates, *more):
        if rate is not None:
            print(f"  {name:<12} {rate:f} {price.currency} a million tokens")
    if price.request is not None:
        print(f"  {'request':<12} {price.request:f} {price.currency} each")
    for tier in price.tiers:
        print(f"  over {count(tier.over)} input tokens: input {tier.input:f}, output {tier.output:f}")


def _listed(options: argparse.Namespace, books: Books) -> int:
    with opened(options) as records:
        models = [one for one in records.models(window(options.since)) if one.model]
        books.look_up([one.model for one in models])
        found = [(one, books.price(one.model)) for one in models]
        if options.json:
            print(json.dumps([_line_object(one, price) for one, price in found]))
            return 0
        if not found:
            print("No model was asked in this time.")
            return 0
        show_table(_COLUMNS, [_cells(one, price) for one, price in found])
        print()
        unknown = any(one.cost.unpriced for one in models)
        uncounted: Mapping[str, int] = records.uncounted(window(options.since)) if unknown else {}
        for line in _words(found, uncounted):
            print(line)
        show_losses(records)
    return 0


def _cells(one: ModelStats, price: Price | None) -> list[Cell]:
    rates: list[Cell] = ["-", "-", "-"]
    if price is not None:
        cached = price.input if price.cached is None else price.cached
        rates = [f"{rate:f} {price.currency}" for rate in (price.input, price.output, cached)]
    cost: Cell = money(one.cost) if one.cost.known else (money(one.cost), "yellow")
    source: Cell = source_of(price) if price is not None else (UNKNOWN, "yellow")
    if price is None and one.cost.amount:
        source = "stated when it was recorded"
    return [one.model, count(one.requests), tokens(one.usage), *rates, cost, source]


def _words(found: Sequence[tuple[ModelStats, Price | None]], uncounted: Mapping[str, int]) -> list[str]:
    late_ones, early = told_apart((one for one, price in found if price is not None), uncounted)
    never_priced, more = told_apart((one for one, price in found if price is None), uncounted)
    late, silent = sum(late_ones.values()), early + more
    paid = {one.model for one, _ in found if one.cost.amount}
    never = [
        one.model for one, price in found if price is None and (one.model in never_priced or one.model not in paid)
    ]
    words = [f"Table of other people's prices: {f'{PACKAGE} {installed()}' if installed() else 'not installed'}."]
    if late:
        words.append(f"{count(late)} responses were recorded without a price that is known now: --recompute.")
    if silent:
        words.append(f"{plural(silent, 'response')} told no token count: no price says what they cost.")
    if never:
        words.append(f"State a price for {', '.join(never)} in a file for --prices and Rail(prices=...).")
    return words


def _recomputed(options: argparse.Namespace, books: Books) -> int:
    url = records_url(options)
    with opened(options) as records:
        books.look_up([one.model for one in records.total_models() if one.model])
    with faults_of(url):
        done = recompute(url, books.all, write=options.recompute)
    if options.json:
        sums = {
            name: {currency: exact(value) for currency, value in getattr(done, name).items()}
            for name in ("before", "after")
        }
        print(json.dumps({**asdict(done), **sums, "written": options.recompute}))
        return 0
    verb = "were" if options.recompute else "would be"
    print(f"{where_of(url)}: {count(done.responses)} responses, {count(done.changed)} costs {verb} changed, of them")
    print(f"{count(done.priced)} that were unknown; {count(done.kept)} were kept, as no price is known for them now.")
    print(f"before: {_sums(done.before)}; after: {_sums(done.after)}{_still(done)}")
    return 0


def _sums(amounts: dict[str, float]) -> str:
    return " + ".join(amount(value, currency) for currency, value in sorted(amounts.items())) or "nothing known"


def _still(done: Recomputed) -> str:
    if not done.unpriced:
        return ""
    models = ", ".join(f"{model or '(not named)'} ({count(number)})" for model, number in sorted(done.unpriced.items()))
    return f"\nstill unknown: {models}"


def _object(model: str, price: Price | None) -> dict[str, Any]:
    if price is None:
        return {"model": model, "source": UNKNOWN, "price": None}
    values = {name: value for name, value in asdict(price).items() if name != "source"}
    return {"model": model, "source": source_of(price), "price": _plain(values)}


def _plain(value: Any) -> Any:
    """Exact: amounts as text."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _line_object(one: ModelStats, price: Price | None) -> dict[str, Any]:
    cost = price_object(one.cost)
    return {
        **_object(one.model, price),
        "requests": one.requests,
        "usage": asdict(one.usage),
        "cost": cost["amount"],
        **{name: cost[name] for name in ("currency", "unpriced", "at_least")},
    }
