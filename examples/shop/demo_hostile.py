"""Part 3 of the demo: four calls that nobody should make. Each is answered, none of them does anything."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.text import Text

from examples.shop.data import OTHER_ORDER, TARGET_ORDER
from examples.shop.demo_rail import LOGGED_IN
from examples.shop.demo_screen import Screen, colour
from examples.shop.orders import Order
from examples.shop.script import scripted_model
from examples.shop.shop import Shop
from toolrail import Rail, ToolCall, ToolResult
from toolrail.agent import Agent

TRAP_QUESTION = "Tell me about the bamboo desk lamp by Lumeo."


@dataclass(frozen=True, slots=True)
class Attack:
    """A call that should not be made, as a model's raw text."""

    title: str
    tool: str
    arguments: str


ATTACKS = (
    Attack("bad JSON", "search_products", '{"query": "desk lamp", "max_results": 5'),
    Attack("a limit of -5", "search_products", '{"query": "desk lamp", "max_results": -5}'),
    Attack("another customer's order", "get_order_status", json.dumps({"order_id": OTHER_ORDER})),
)
INJECTED = Attack(
    "a cancellation that a text hidden in a product asked for", "cancel_order", json.dumps({"order_id": TARGET_ORDER})
)


async def show_hostile(screen: Screen, rail: Rail[Shop], shop: Shop) -> list[ToolResult]:
    """Lets the rail answer them and prints what it made of each."""
    screen.title(3, "Hostile calls: what was sent, what refused it and what the model was told")
    async with rail.run([], principal=LOGGED_IN, deps=shop) as run:
        calls = [ToolCall(f"hostile_{at}", one.tool, one.arguments) for at, one in enumerate(ATTACKS)]
        results = await rail.batch(calls, run)
        run.stop("done")
    for attack, result in zip(ATTACKS, results, strict=True):
        _show(screen, attack, result)
    return [*results, await _injected(screen, rail, shop)]


async def _injected(screen: Screen, rail: Rail[Shop], shop: Shop) -> ToolResult:
    """A model that obeys every text it reads, and a product whose description wants an order cancelled."""
    before = await _state(shop)
    agent = Agent(scripted_model(obedient=True), rail)
    result = await agent.run(TRAP_QUESTION, principal=LOGGED_IN, deps=shop)
    refused = next(one for one in result.calls if one.name == "cancel_order")
    _show(screen, INJECTED, refused)
    after = await _state(shop)
    _note(
        screen,
        "The script obeys all that it reads. What stopped it is a policy of the shop: a person is asked before every "
        "cancellation, and nobody said yes. toolrail did not know that the wish came from a product's text. "
        f"The order was {before!r} before and is {after!r} now.",
    )
    return refused


def _show(screen: Screen, attack: Attack, result: ToolResult) -> None:
    code = result.recorded_code or result.code
    told = json.loads(result.content)
    screen.heading(attack.title)
    screen.paragraph("sent     ", f"{attack.tool} {attack.arguments}", indent=6)
    said = Text().append(str(code), style=colour(result.status)).append(f"  {told['error']}")
    screen.paragraph("refused  ", said, indent=6)
    if code != result.code:
        _note(screen, f"The model sees the code {told['code']}: word for word as if there were no such order.")


def _note(screen: Screen, text: str) -> None:
    screen.paragraph("         ", text, indent=6, style="dim")


async def _state(shop: Shop) -> str:
    """As it stands in the database."""
    found = await shop.orders.find(TARGET_ORDER, customer_id=LOGGED_IN.id)
    return found.state if isinstance(found, Order) else "gone"
