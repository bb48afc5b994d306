"""Part 1 of the demo: the four patterns of tool calling, and how many requests to the model each one takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from examples.shop.data import PAID_ORDER, SHIPPED_ORDER
from examples.shop.demo_rail import LOGGED_IN
from examples.shop.demo_screen import Screen
from examples.shop.shop import Shop
from toolrail.agent import Agent, AgentResult
from toolrail.cli.lines import duration
from toolrail.events import CallSettled, ModelSettled, RunEnded
from toolrail.model import Named, ToolChoice
from toolrail.run import ToolEnded
from toolrail.testing import Recorder


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way of calling tools."""

    name: str
    prompt: str
    expected: str
    """The requests that it should take: one to answer, and one more for each round trip."""
    tool_choice: ToolChoice = "auto"


PATTERNS: Sequence[Pattern] = (
    Pattern("single tool", f"Where is my order {SHIPPED_ORDER}?", "1 + 1"),
    Pattern(
        "parallel tools",
        f"How are my orders {SHIPPED_ORDER} and {PAID_ORDER} doing, and do you have a head torch?",
        "1 + 1",
    ),
    Pattern(
        "sequential chain", "Find a camping stove. What is it in total, sent to Germany (DE)?", "1 + N for N links"
    ),
    Pattern("forced choice", "My reading corner is too dark.", "1 + 1", Named("search_products")),
)


_WIDTHS = (18, -5, -9, 18, -7)


@dataclass(frozen=True, slots=True)
class Ran:
    """A pattern that was run, with what the record says of it."""

    pattern: Pattern
    result: AgentResult
    requests: int
    calls: int
    seconds: float


async def show_patterns(screen: Screen, agent: Agent[Shop], shop: Shop, recorder: Recorder) -> list[Ran]:
    """Runs all four and prints their calls as they happen."""
    screen.title(1, "Four patterns of tool calling, and how many requests each one takes")
    ran: list[Ran] = []
    for pattern in PATTERNS:
        forced = f" (tool_choice: {pattern.tool_choice.name})" if isinstance(pattern.tool_choice, Named) else ""
        screen.heading(f"{pattern.name}{forced}")
        screen.paragraph("user: ", pattern.prompt)
        screen.calls_head()
        ran.append(await _run(screen, agent, shop, recorder, pattern))
    _summarise(screen, ran)
    return ran


async def _run(screen: Screen, agent: Agent[Shop], shop: Shop, recorder: Recorder, pattern: Pattern) -> Ran:
    stream = agent.stream(pattern.prompt, principal=LOGGED_IN, deps=shop, tool_choice=pattern.tool_choice)
    async with stream:
        async for event in stream:
            if isinstance(event, ToolEnded):
                screen.call(event.call.arguments, _settled(recorder, event.call.id))
    result = stream.result
    if result.ok:
        screen.answer(result.turns, result.text)
    else:
        screen.paragraph("", f"no answer: {result.stop_reason} {', '.join(result.notes)}", style="red")
    requests = [event for event in recorder.of(ModelSettled) if event.head.run == result.run_id]
    calls = [event for event in recorder.of(CallSettled) if event.head.run == result.run_id]
    ended = next(event for event in recorder.of(RunEnded) if event.head.run == result.run_id)
    return Ran(pattern, result, len(requests), len(calls), ended.seconds)


def _settled(recorder: Recorder, call_id: str) -> CallSettled:
    return next(event for event in reversed(recorder.of(CallSettled)) if event.call.call_id == call_id)


def _summarise(screen: Screen, ran: Sequence[Ran]) -> None:
    screen.line()
    rows = [
        (
            one.pattern.name,
            str(one.calls),
            f"{one.requests} = 1 + {one.requests - 1}",
            one.pattern.expected,
            duration(one.seconds),
        )
        for one in ran
    ]
    screen.columns(_WIDTHS, ("pattern", "calls", "requests", "expected", "took"), rows)
