"""Looked-up prices: the table of `genai-prices` (extra `prices`), asked in a process of its own.

Loading that table holds the interpreter for 25 ms, and for 350 ms where its bytecode is not cached (read-only or fresh
containers): every run of this process would stand still. So a short-lived child loads it, answers for one model with
all that has been its price, and ends. What is known is kept, so there is one child for each model and process.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from toolrail.errors import DefinitionError
from toolrail.logs import logger
from toolrail.money import Price, PriceBook, Tier
from toolrail.records.prices import combined

log = logger("toolrail")
PACKAGE = "genai-prices"
SECONDS = 30.0
"""A child that has not answered by then is given up."""
KNOWN = 1_000
"""Models that are remembered: a server may name its models as it likes."""
LOCAL = ("ollama", "vllm", "llama.cpp", "scripted")
"""Servers of one's own, whose models have no price that anybody else could know, and the tests' model."""
ALIASES = {"openai-responses": "openai"}


class Span(NamedTuple):
    """A price and when it holds. Of a model's spans the last one that holds is its price."""

    price: Price
    since: date | None = None
    from_time: time | None = None
    until_time: time | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it is the price at a moment, in UTC."""
        if self.since is not None:
            return at.date() >= self.since
        if self.from_time is None or self.until_time is None:
            return True
        now = at.time()
        if self.until_time < self.from_time:
            return now >= self.from_time or now < self.until_time
        return self.from_time <= now < self.until_time


class GenaiPrices:
    """A book of the prices that `genai-prices` lists. They are looked up, not stated: the record shows them with their
    source, and a limit of money does not trust them.

    A model that was not looked up yet takes half a second. Where an event loop runs in the calling thread, `price`
    does not wait for that: it answers None, and knows the price soon after.

    Raises:
        DefinitionError: TR403, the package is not installed.

    Example: `combined(Prices.from_toml("prices.toml"), GenaiPrices())`
    """

    def __init__(self) -> None:
        self.version = installed()
        if not self.version:
            raise DefinitionError(
                "TR403", "GenaiPrices()", f"the package {PACKAGE} is not installed.", 'pip install "toolrail[prices]"'
            )
        self._known: dict[str, tuple[Span, ...]] = {}
        self._asking: set[str] = set()
        self._lock = threading.Lock()
        self._failed = False

    def price(self, model: str, at: float = 0.0, /) -> Price | None:
        """What a model cost at a moment (0: now); None where that is not listed, or not known yet."""
        spans = self._known.get(model)
        if spans is None:
            spans = self._later(model) if _in_loop() else self._now(model)
        moment = datetime.fromtimestamp(at, UTC) if at else datetime.now(UTC)
        return next((span.price for span in reversed(spans) if span.holds(moment)), None)

    def look_up(self, models: Iterable[str]) -> None:
        """Asks for several models at once, and waits for that: at start-up, not while an event loop serves."""
        new = [model for model in dict.fromkeys(models) if model not in self._known]
        wanted = [model for model in new if not _is_local(model)]
        found = dict(zip(wanted, self._asked(wanted), strict=True)) if wanted else {}
        with self._lock:
            if len(self._known) + len(new) > KNOWN:
                self._known.clear()
            for model in new:
                self._known[model] = found.get(model, ())
                self._asking.discard(model)

    def _later(self, model: str) -> tuple[Span, ...]:
        with self._lock:
            if model in self._asking or model in self._known:
                return self._known.get(model, ())
            self._asking.add(model)
        threading.Thread(target=self.look_up, args=((model,),), name="toolrail-prices", daemon=True).start()
        return ()

    def _now(self, model: str) -> tuple[Span, ...]:
        self.look_up((model,))
        return self._known.get(model, ())

    def _asked(self, models: Sequence[str]) -> list[tuple[Span, ...]]:
        try:
            return [tuple(read_span(one) for one in found or ()) for found in ask(models)]
        except Exception as error:
            with self._lock:
                first, self._failed = not self._failed, True
            if first:
                log.warning("%s could not be asked (%r): the costs of its models are unknown.", PACKAGE, error)
            return [() for _ in models]


def recording(own: PriceBook) -> PriceBook:
    """The book that the record uses: one's own prices, then those of `genai-prices` where that is installed.

    Example: `book = recording(ports.prices)`
    """
    return combined(own, _table()) if installed() else own


@cache
def _table() -> GenaiPrices:
    """One for all recorders of the process, so that each model is asked for once."""
    return GenaiPrices()


def installed() -> str:
    """The version of `genai-prices`, which is the date of its table; empty where it is not installed."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""


def ask(models: Sequence[str]) -> list[Any]:
    """What a child, or this process where it cannot start one, finds for each model.

    Raises:
        OSError, ValueError, subprocess.SubprocessError: it did not answer.
    """
    if not _can_start_python():
        from toolrail.records.genai_lookup import spans_of

        return [spans_of(model) for model in models]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "toolrail.records.genai_lookup"],
        input=json.dumps(models),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    return json.loads(done.stdout)


def read_span(data: Any) -> Span:
    """A span as the child writes it."""
    rates = {name: _decimal(value) for name, value in data["price"].items()}
    tiers = tuple(
        Tier(over=one["over"], **{name: _decimal(value) for name, value in one["price"].items()})
        for one in data["tiers"]
    )
    return Span(
        Price(**rates, tiers=tiers, source=data["source"]),
        date.fromisoformat(data["since"]) if data.get("since") else None,
        time.fromisoformat(data["from"]) if data.get("from") else None,
        time.fromisoformat(data["until"]) if data.get("until") else None,
    )


def provider_of(model: str) -> str:
    """The provider in a name such as `openai:gpt-4o`; empty where it names none."""
    provider, colon, _ = model.partition(":")
    return ALIASES.get(provider, provider) if colon else ""


def _is_local(model: str) -> bool:
    return (provider_of(model) or model) in LOCAL


def _decimal(text: str | None) -> Any:
    return None if text is None else Decimal(text)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _can_start_python() -> bool:
    """Not where the executable is the program itself (a frozen one), or a server that embeds Python."""
    name = os.path.basename(sys.executable or "").lower()
    return not getattr(sys, "frozen", False) and name.startswith(("python", "pypy"))
