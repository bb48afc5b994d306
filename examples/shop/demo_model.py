"""Which model the shop talks to: the one that the environment names, or else a script, and then it says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from examples.shop.script import NAME, scripted_model
from toolrail.model import Model
from toolrail.providers import model_for
from toolrail.providers.compatible import Compatible
from toolrail.records.prices import Price

PRICES: Mapping[str, Price] = {
    NAME: Price(Decimal("2.50"), Decimal("10.00")),
    "openai:gpt-4o": Price(Decimal("2.50"), Decimal("10.00"), cached=Decimal("1.25")),
    "anthropic:claude-sonnet-4-5": Price(
        Decimal("3.00"), Decimal("15.00"), cached=Decimal("0.30"), cache_write=Decimal("3.75")
    ),
}
"""Per million tokens, as this example states them: look yours up. A model that is not here has an unknown cost."""

_BY_KEY = {"OPENAI_API_KEY": "openai:gpt-4o", "ANTHROPIC_API_KEY": "anthropic:claude-sonnet-4-5"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model, and what to say about it."""

    model: Model
    says: str
    scripted: bool = False


def chosen_model(environment: Mapping[str, str] = os.environ, *, seconds: float = 0.0) -> Chosen:
    """The model of `TOOLRAIL_MODEL` (at `TOOLRAIL_BASE_URL`, if that is set), of a provider's key, or the script.

    `seconds` is how long each of the script's responses takes. Raises `DefinitionError` for a spec that names no model
    and `ValueError` for a base URL without a model.
    """
    spec, base_url = environment.get("TOOLRAIL_MODEL"), environment.get("TOOLRAIL_BASE_URL")
    if base_url:
        if not spec:
            raise ValueError("TOOLRAIL_BASE_URL is set: set TOOLRAIL_MODEL too, to the model's name on that server.")
        # A provider's own key is never sent to another server.
        model = Compatible(spec, base_url=base_url, api_key=environment.get("TOOLRAIL_API_KEY"))
        return Chosen(model, f"{spec} at {base_url}")
    if spec:
        return Chosen(model_for(spec), f"{spec} (from TOOLRAIL_MODEL)")
    for key, by_default in _BY_KEY.items():
        if environment.get(key):
            return Chosen(model_for(by_default), f"{by_default} (from {key}; TOOLRAIL_MODEL names another one)")
    return Chosen(
        scripted_model(seconds=seconds),
        "none: no OPENAI_API_KEY, ANTHROPIC_API_KEY or TOOLRAIL_MODEL is set, so a script plays the model. It has "
        "never seen the database: what it asks for comes from the user's words and from earlier results.",
        scripted=True,
    )
