"""Part 5 of the demo: what its own events say of each tool, and what the tokens cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from examples.shop.demo_screen import Screen
from examples.shop.script import LETTERS_PER_TOKEN, NAME
from toolrail.cli.lines import duration, size
from toolrail.codes import CODES, Status
from toolrail.events import CallSettled, ModelSettled
from toolrail.messages import Usage
from toolrail.records.prices import Cost, Price, cost_of
from toolrail.testing import Recorder

_WIDTHS = (20, -5, -6, -6, -6, -7, -6, -7)


@dataclass(frozen=True, slots=True)
class Row:
    """One tool's figures over all events."""

    tool: str
    calls: int
    p50: float
    p95: float
    errors: int
    """Calls that failed or whose outcome is unknown."""
    refused: int
    """Calls that a policy, a person or a limit said no to."""
    argument_bytes: int
    result_bytes: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What one model's requests came to."""

    model: str
    requests: int
    usage: Usage
    cost: Cost


def rows(events: Sequence[CallSettled]) -> list[Row]:
    """One row a tool, in the order in which the tools were first called."""
    return [_row(tool, [one for one in events if one.call.tool == tool]) for tool in _tools(events)]


def _tools(events: Sequence[CallSettled]) -> list[str]:
    return list(dict.fromkeys(event.call.tool for event in events))


def _row(tool: str, events: Sequence[CallSettled]) -> Row:
    seconds = [event.seconds for event in events]
    return Row(
        tool,
        len(events),
        percentile(seconds, 0.50),
        percentile(seconds, 0.95),
        sum(_status(event) in ("error", "unknown") for event in events),
        sum(_status(event) in ("denied", "pending") for event in events),
        sum(event.argument_bytes for event in events),
        sum(event.result_bytes for event in events),
    )


def _status(event: CallSettled) -> Status:
    """By the code of the record: another's order is refused, even if the model is told that there is none."""
    return event.status if event.code is None else CODES[event.code].status


def percentile(values: Sequence[float], q: float) -> float:
    """The exact percentile: the smallest value that at least a share `q` of them does not exceed."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def spent(events: Sequence[ModelSettled], prices: Mapping[str, Price]) -> list[Spent]:
    """Requests, tokens and cost by model."""
    found: list[Spent] = []
    for model in dict.fromkeys(event.model for event in events):
        of_model = [event for event in events if event.model == model]
        usage = sum((event.usage for event in of_model), Usage())
        found.append(Spent(model, len(of_model), usage, cost_of(usage, model, prices)))
    return found


def show_table(screen: Screen, recorder: Recorder, prices: Mapping[str, Price]) -> None:
    """Prints both."""
    screen.title(5, "What the record says: every call of this demo, by tool")
    screen.line()
    lines = [
        (
            row.tool,
            str(row.calls),
            duration(row.p50),
            duration(row.p95),
            str(row.errors or "-"),
            str(row.refused or "-"),
            size(row.argument_bytes),
            size(row.result_bytes),
        )
        for row in rows(recorder.of(CallSettled))
    ]
    screen.columns(_WIDTHS, ("tool", "calls", "p50", "p95", "errors", "refused", "in", "out"), lines)
    screen.line()
    screen.paragraph(
        "",
        "p50 and p95 are exact; they count from the model's call to the result, the wait for one's turn included. "
        "in and out: bytes of arguments and results.",
    )
    for one in spent(recorder.of(ModelSettled), prices):
        screen.paragraph("", _spent(one, prices.get(one.model)))


def _spent(one: Spent, price: Price | None) -> str:
    usage = one.usage
    said = f"{one.model}: {one.requests} requests, {usage.input_tokens:,} tokens in, {usage.output_tokens:,} out: "
    if price is None or one.cost.amount is None:
        return f"{said}cost unknown (examples/shop/demo_model.py states no price for this model)"
    stated = f"at {price.input} and {price.output} a million, the price that examples/shop/demo_model.py states"
    estimated = f"; a script has no tokens: they are its letters / {LETTERS_PER_TOKEN}" if one.model == NAME else ""
    return f"{said}{one.cost.amount:.4f} {one.cost.currency} ({stated}{estimated})"
