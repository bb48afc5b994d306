"""Tokens and money: hard limits of a run, and budgets of a session or a day; what has no price is never spent."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.loop.helpers import TOOLS, agent_of, run, went
from tests.promises import promise
from toolrail import Agent, Principal, Rail, RunLimits
from toolrail.events import BudgetNear
from toolrail.limits import Budget, Budgets
from toolrail.messages import Usage
from toolrail.providers import openai_chat
from toolrail.records.prices import Cost, Price, cost_of, price_of
from toolrail.run import Run
from toolrail.store import Op, Spend
from toolrail.stores.memory import MemoryStore
from toolrail.testing import Calls, FixedClock, Recorder, Say, ScriptedModel, run_virtual

ALICE = Principal("alice")
PRICES = {"scripted": Price(Decimal("2.5"), Decimal("10"))}
EACH = Decimal("0.00045")
"""100 tokens in and 20 out: what each scripted response costs."""


def endless(**options: Any) -> ScriptedModel:
    """Calls one tool after the other, each time with other arguments."""
    return ScriptedModel(
        [lambda messages: Calls(("find", {"query": f"lamp {len(messages)}"}), **options)], endless=True
    )


@promise("loop:limits/money")
@pytest.mark.parametrize(
    ("money", "requests"), [("0.0001", 1), ("0.00045", 1), ("0.00046", 2), ("0.0009", 2), ("0.0018", 4)]
)
def test_no_request_is_sent_once_the_money_is_spent(money: str, requests: int) -> None:
    agent, model, _ = agent_of(endless(), prices=PRICES, limits=RunLimits(money=Decimal(money)))
    result = run(agent)
    assert (result.stop_reason, len(model.requests)) == ("limit:money", requests)
    assert result.cost == Cost(EACH * requests)
    assert went(result) == ["ok"] * requests


@promise("loop:limits/money")
@pytest.mark.parametrize(
    "options",
    [
        {"limits": RunLimits(money=Decimal(1))},
        {"limits": RunLimits(money=Decimal(1)), "prices": {"another": PRICES["scripted"]}},
        {"budgets": Budgets(session=Budget(money=Decimal(1)))},
        {
            "budgets": Budgets(principal_day=Budget(money=Decimal(1), currency="EUR")),
            "prices": PRICES,
        },
    ],
    ids=["none", "of another model", "of a session", "in another currency"],
)
def test_a_model_without_a_price_is_not_asked_at_all_where_money_is_limited_and_the_log_says_why(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    foreign = "prices" in options and "budgets" in options
    note = "price_in:USD" if foreign else "price_unknown:scripted"
    words = "prices, which are in USD. State both" if foreign else "no price for scripted. Give Rail(prices="
    options = dict(options)
    rail = Rail(TOOLS, budgets=options.pop("budgets", None), clock=FixedClock(), sinks=())
    model = endless()
    result = run(Agent(model, rail, **options))
    assert (result.stop_reason, result.notes, model.requests) == ("limit:money", (note,), [])
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert result.run_id in warning
    assert words in warning


@promise("loop:limits/money", "see:cost")
def test_without_a_limit_an_unknown_price_stops_nothing() -> None:
    agent, _, _ = agent_of(["Hello."])
    result = run(agent)
    assert (result.stop_reason, result.cost, result.notes) == ("answer", Cost(None), ())


@promise("loop:limits/money")
@pytest.mark.parametrize("usage", [Usage(), Usage(1_000, 0, cached_tokens=5_000)], ids=["none", "contradictory"])
def test_a_response_without_usage_cannot_be_paid_for_and_its_calls_do_not_run(usage: Usage) -> None:
    agent, model, _ = agent_of(endless(usage=usage), prices=PRICES, limits=RunLimits(money=Decimal(1)))
    result = run(agent)
    assert (result.stop_reason, result.notes) == ("limit:money", ("usage_unknown:scripted",))
    assert (went(result), len(model.requests)) == (["LIMIT_REACHED"], 1)


@promise("loop:limits/money")
def test_an_answer_is_kept_though_it_took_the_last_of_the_money() -> None:
    agent, _, _ = agent_of([Say("Hello.")], prices=PRICES, limits=RunLimits(money=Decimal("0.0001")))
    result = run(agent)
    assert (result.stop_reason, result.text) == ("answer", "Hello.")


@promise("loop:limits/money", "loop:limits/tokens", "auth:limits")
@pytest.mark.parametrize(
    ("budget", "reason", "what"),
    [
        (Budget(tokens=360), "limit:tokens", "tokens"),
        (Budget(tokens=241), "limit:tokens", "tokens"),
        (Budget(money=EACH * 3), "limit:money", "USD"),
        (Budget(money=EACH * 2 + Decimal("0.000001")), "limit:money", "USD"),
    ],
)
@pytest.mark.parametrize("scope", ["session", "principal_day"])
def test_tokens_and_money_of_several_runs_are_one_budget(scope: str, budget: Budget, reason: str, what: str) -> None:
    recorder = Recorder()
    budgets = Budgets(**{scope: budget})
    rail = Rail(TOOLS, budgets=budgets, prices=PRICES, clock=FixedClock(), sinks=[recorder])
    model = ScriptedModel([Calls(("find", {"query": "a"})), "One.", Calls(("find", {"query": "b"})), "Two."])
    agent = Agent(model, rail)
    options: dict[str, Any] = {"principal": ALICE, "session": "s"}
    assert run(agent, **options).stop_reason == "answer"
    second, third = run(agent, **options), run(agent, **options)
    assert [(one.stop_reason, one.notes) for one in (second, third)] == [(reason, (f"budget:{scope}:{what}",))] * 2
    assert (len(model.requests), went(second), went(third)) == (3, ["ok"], [])
    ((_, label, _),) = recorder.of(BudgetNear)
    assert label == f"{scope}:{what}"
    others: dict[str, Any] = {"principal": Principal("bob"), "session": "t"}
    assert run(agent, **others).stop_reason == "answer"


@promise("loop:limits/money", "loop:limits/tokens")
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (RunLimits(tokens=140), "20 of 140 tokens are left in this run."),
        (RunLimits(money=Decimal("0.0005")), "0.0001 of 0.0005 USD are left in this run."),
        (RunLimits(seconds=100), "10 of 100 seconds are left in this run."),
    ],
)
def test_the_model_is_told_what_is_left_of_tokens_money_and_time(limits: RunLimits, words: str) -> None:
    model = ScriptedModel([Calls(("find", {"query": "a"})), "Done."], seconds=90.0 if limits.seconds else 0.0)
    agent, _, _ = agent_of(model, prices=PRICES, limits=limits)
    (found,) = run(agent).calls
    assert found.content == f"found a\n\n{words}"


@promise("tool:offered/budgets", "auth:limits")
def test_a_spent_budget_is_a_refusal_with_a_reason_and_what_is_offered_stays_the_same() -> None:
    rail = Rail(TOOLS, budgets=Budgets(principal_day=Budget(calls=2)), clock=FixedClock(), sinks=())
    model = ScriptedModel(["Hello.", *[Calls(("find", {"query": f"{n}"})) for n in range(3)], "Done."])
    agent = Agent(model, rail)
    first, second = run(agent, principal=ALICE), run(agent, principal=ALICE)
    assert [went(one) for one in (first, second)] == [[], ["ok", "ok", "LIMIT_REACHED"]]
    assert "2 calls for this user today is reached" in second.calls[-1].content
    assert [request.tool_choice for _, request in model.requests] == ["auto"] * 5
    assert len({tuple(tool.name for tool in setup.tools) for setup in model.setups}) == 1


class Failing(MemoryStore):
    """Cannot count from the given transaction on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    async def apply(self, *ops: Op) -> list[Any]:
        if any(isinstance(op, Spend) for op in ops):
            self.left -= 1
            if self.left < 0:
                raise ConnectionError("gone")
        return await super().apply(*ops)


@promise("auth:limits")
@pytest.mark.parametrize(("at", "requests"), [(0, 0), (1, 1), (2, 1), (3, 2)])
def test_a_store_that_does_not_answer_ends_the_run_before_the_next_request(at: int, requests: int) -> None:
    rail = Rail(TOOLS, budgets=Budgets(session=Budget(tokens=10_000)), store=Failing(at), clock=FixedClock(), sinks=())
    model = endless()
    result = run(Agent(model, rail))
    assert (result.stop_reason, result.notes) == ("store_unavailable", ("budget_unavailable",))
    assert len(model.requests) == requests


@promise("auth:limits")
def test_what_could_not_be_counted_is_counted_with_the_next_transaction() -> None:
    class Hiccup(Failing):
        async def apply(self, *ops: Op) -> list[Any]:
            if self.left == 0 and any(isinstance(op, Spend) for op in ops):
                self.left = 100
                raise ConnectionError("gone for once")
            return await super().apply(*ops)

    rail = Rail(TOOLS, budgets=Budgets(session=Budget(tokens=100)), store=Hiccup(1), clock=FixedClock(), sinks=())
    result = run(Agent(endless(), rail))
    assert (result.stop_reason, went(result)) == ("limit:tokens", ["STORE_UNAVAILABLE"])


@promise("auth:limits")
def test_what_a_response_cost_is_counted_before_its_calls_run() -> None:
    rail = Rail(TOOLS, budgets=Budgets(principal_day=Budget(tokens=200)), clock=FixedClock(), sinks=())
    slow = ScriptedModel([Calls(("slow", {"seconds": 20.0})), "One."])
    quick = ScriptedModel([Calls(("find", {"query": "a"})), "Two."], seconds=1.0)

    async def main() -> list[Any]:
        return await asyncio.gather(*(Agent(model, rail).run("Go.", principal=ALICE) for model in (slow, quick)))

    first, second = run_virtual(main())
    assert (first.stop_reason, second.stop_reason) == ("limit:tokens", "limit:tokens")
    assert (len(slow.requests), len(quick.requests)) == (1, 1)


async def answered(run: Run[Any], model: str) -> None:
    body: dict[str, Any] = {
        "model": model,
        "choices": [
            {
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"query": "a"}'}}
                    ],
                },
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }
    await openai_chat.answer(run, body)


DROPPED_IN: list[tuple[dict[str, Price], str, tuple[bool, int, str, list[str]]]] = [
    ({}, "gpt-4o-2024-08-06", (False, 0, "limit:money", ["price_unknown"])),
    (
        {"gpt-4o": PRICES["scripted"]},
        "gpt-4o-2024-08-06",
        (True, 1, "limit:money", ["price_unknown:gpt-4o-2024-08-06"]),
    ),
    ({"gpt-4o": PRICES["scripted"]}, "gpt-4o", (True, 3, "limit:money", [])),
    ({"openai:gpt-4o": PRICES["scripted"]}, "gpt-4o", (True, 3, "limit:money", [])),
]


@promise("loop:limits/money", "reach:drop-in")
@pytest.mark.parametrize(
    ("prices", "model", "expected"),
    DROPPED_IN,
    ids=["no prices", "not of this model", "by its name", "by provider and name"],
)
def test_in_a_loop_of_ones_own_the_rails_prices_hold(
    prices: dict[str, Price], model: str, expected: tuple[bool, int, str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    rail = Rail(TOOLS, prices=prices, clock=FixedClock(), sinks=())

    async def main() -> tuple[bool, int, str | None, list[str]]:
        async with rail.run([{"role": "user", "content": "Go."}], limits=RunLimits(money=EACH * 3)) as run:
            opened, requests = run.open, 0
            while run.open:
                await answered(run, model)
                requests += 1
            return opened, requests, run.stop_reason, run.notes

    assert run_virtual(main()) == expected
    warned = [one.getMessage() for one in caplog.records if "Give Rail(prices=" in one.getMessage()]
    assert len(warned) == len(expected[3])


@promise("see:cost")
@pytest.mark.parametrize(
    ("name", "found"),
    [("openai:a", True), ("a", True), ("b", False), ("a-2024", False), ("openai", False), ("azure:a", False)],
)
def test_a_price_is_found_by_its_name_and_never_by_a_near_one(name: str, found: bool) -> None:
    prices = {"openai:a": PRICES["scripted"], "x:b": PRICES["scripted"], "y:b": PRICES["scripted"]}
    assert (price_of(name, prices) is not None) is found
    assert cost_of(Usage(100, 20), name, prices).known is found


@promise("loop:limits/money", "call:cancel")
def test_a_run_that_is_cancelled_while_it_pays_has_paid() -> None:
    class Slow(MemoryStore):
        async def apply(self, *ops: Op) -> list[Any]:
            if any(isinstance(op, Spend) and op.amount for op in ops):
                await asyncio.sleep(1.0)
            return await super().apply(*ops)

    store = Slow()
    rail = Rail(TOOLS, budgets=Budgets(session=Budget(tokens=200)), store=store, clock=FixedClock(), sinks=())

    async def main() -> str:
        agent = Agent(ScriptedModel(["One.", "Two."]), rail)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await agent.run("Go.", session="s")
        await asyncio.sleep(2.0)
        second = await agent.run("Go.", session="s")
        return f"{second.stop_reason} {(await agent.run('Go.', session='s')).stop_reason}"

    assert run_virtual(main()) == "answer limit:tokens"
