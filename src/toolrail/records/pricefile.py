"""Users' own prices as a TOML file: read, checked, and told what is wrong by file and line or key."""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from typing import Any, NoReturn, cast

from toolrail.errors import DefinitionError
from toolrail.money import Price, Tier
from toolrail.settings import near

_RATES = ("input", "output", "cached", "cache_write", "reasoning")
_MODEL = (*_RATES, "request", "currency", "tiers")
_TIER = ("over", *_RATES)
_EXAMPLE = '[models."openai:gpt-4o"] with input = 2.50 and output = 10.00'


def read_prices(path: str) -> dict[str, Price]:
    """The prices of a file, by model.

    Raises:
        DefinitionError: TR309.
    """
    return prices_in(_text(path), path)


def prices_in(text: str, path: str) -> dict[str, Price]:
    """The prices of a file's text.

    Raises:
        DefinitionError: TR309.
    """
    try:
        root = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        _wrong(path, f"it is no TOML: {error}.", f"Write tables such as {_EXAMPLE}.")
    _keys(path, root, ("currency", "models"))
    currency = _currency(f"{path} currency", root.get("currency", "USD"))
    models = _table(f"{path} models", root.get("models", {}))
    if not models:
        _wrong(f"{path} models", "there is no model in it.", f"Write tables such as {_EXAMPLE}.")
    return {name: _price(f"{path} models.{_quoted(name)}", value, currency) for name, value in models.items()}


def as_toml(model: str, price: Price) -> str:
    """A price as such a file states it.

    Example: `print(as_toml("openai:gpt-4o", price))`
    """
    lines = [f"[models.{_quoted(model)}]", *_rates(price)]
    if price.currency != "USD":
        lines.append(f"currency = {_quoted(price.currency)}")
    if price.request is not None:
        lines.append(f"request = {price.request:f}")
    if price.tiers:
        tiers = (f"{{ over = {tier.over}, {', '.join(_rates(tier))} }}" for tier in price.tiers)
        lines.append(f"tiers = [{', '.join(tiers)}]")
    return "\n".join(lines)


def _rates(price: Price | Tier) -> list[str]:
    found = ((name, getattr(price, name)) for name in _RATES)
    return [f"{name} = {value:f}" for name, value in found if value is not None]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        _wrong(path, "it is no text.", "Save it as UTF-8.")
    except OSError as error:
        _wrong(path, f"it cannot be read: {error.strerror or error}.", "Give the path of a TOML file with prices.")


def _price(where: str, value: Any, currency: str) -> Price:
    table = _table(where, value)
    _keys(where, table, _MODEL)
    rates = _rates_in(where, table)
    request = None if "request" not in table else _amount(f"{where}.request", table["request"])
    tiers = table.get("tiers", [])
    if not isinstance(tiers, list):
        _wrong(f"{where}.tiers", "it is no list.", "Write tiers = [{ over = 200_000, input = 5.00, output = 15.00 }].")
    return Price(
        **rates,
        currency=_currency(f"{where}.currency", table.get("currency", currency)),
        request=request,
        tiers=tuple(_tier(f"{where}.tiers[{at}]", tier) for at, tier in enumerate(cast("list[Any]", tiers))),
    )


def _tier(where: str, value: Any) -> Tier:
    table = _table(where, value)
    _keys(where, table, _TIER)
    over = table.get("over")
    if not isinstance(over, int) or isinstance(over, bool) or over < 0:
        _wrong(f"{where}.over", f"{over!r} is no number of tokens.", "Write a whole number, as in over = 200_000.")
    return Tier(over, **_rates_in(where, table))


def _rates_in(where: str, table: dict[str, Any]) -> dict[str, Any]:
    for name in ("input", "output"):
        if name not in table:
            mend = f"Write {name} = 2.50, in money for a million tokens; 0 where it costs nothing."
            _wrong(f"{where}.{name}", "it is missing.", mend)
    return {name: _amount(f"{where}.{name}", table[name]) for name in _RATES if name in table}


def _table(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(where, f"{value!r} is no table.", f"Write a table such as {_EXAMPLE}.")
    return cast("dict[str, Any]", value)


def _keys(where: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            meant = near(key, known)
            mend = f"Did you mean {meant!r}?" if meant else f"Use one of {', '.join(known)}."
            _wrong(where, f"there is no key {key!r}.", mend)


def _amount(where: str, value: Any) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        _wrong(where, f"{value!r} is no number.", "Write what a million tokens cost, as in 2.50, without quotes.")
    if not value.is_finite() or value < 0:
        what = "is negative" if value.is_finite() else "is no amount"
        _wrong(where, f"{value} {what}.", "Give what a million tokens cost, zero or more.")
    return value


def _currency(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        _wrong(where, f"{value!r} is no currency.", 'Write its code in quotes, as in "USD".')
    return value


def _quoted(name: str) -> str:
    return json.dumps(name)  # whose escapes TOML shares


def _wrong(where: str, message: str, mend: str) -> NoReturn:
    raise DefinitionError("TR309", where, message, mend)
