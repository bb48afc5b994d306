"""What a run used and what it costs: cached tokens at their own price, an unknown price unknown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.fakes.model_server import Call, Fault, Reply, Say, Tokens
from tests.loop.helpers import PROVIDERS, Provider, agent_of, run, served_run
from tests.promises import promise
from toolrail.events import ModelSettled, RunEnded
from toolrail.messages import Usage
from toolrail.model import ModelFailure
from toolrail.records.prices import Cost, Price
from toolrail.testing import Calls, Recorder
from toolrail.testing import Say as Said

TOKENS = Tokens(input=1_000, output=200, cached=600, written=100, reasoning=50)
PRICE = Price(Decimal(2), Decimal(10), cached=Decimal("0.5"), cache_write=Decimal("2.5"))


@promise("loop:providers")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_tokens_of_all_responses_are_added_up_alike(provider: Provider) -> None:
    recorder = Recorder()
    script = [Reply((Call("find", '{"query": "a"}'),), TOKENS), Fault("500"), Reply((Say("Done."),), TOKENS)]
    result, _ = served_run(provider, script, sinks=[recorder])
    used = result.usage
    assert (used.input_tokens, used.output_tokens, used.cached_tokens) == (2_000, 400, 1_200)
    assert used.reasoning_tokens == 100
    assert used.cache_write_tokens in (0, 200)  # not every API tells
    assert sum((event.usage for event in recorder.of(ModelSettled)), Usage()) == used
    assert recorder.of(RunEnded)[0].usage == used


@promise("loop:answer")
def test_cached_tokens_cost_their_own_price_and_are_not_paid_twice() -> None:
    used = Usage(1_000, 200, cached_tokens=600, cache_write_tokens=100, reasoning_tokens=50)
    script = [Calls(("find", {"query": "a"}), usage=used), Said("Done.", usage=used)]
    agent, _, _ = agent_of(script, prices={"scripted": PRICE})
    # 2 x (300 x 2 + 600 x 0.5 + 100 x 2.5 + 200 x 10) / 1,000,000
    assert run(agent).cost == Cost(Decimal("0.0063"))


@promise("loop:answer")
@pytest.mark.parametrize("prices", [None, {}, {"openai:gpt-4o": PRICE}])
def test_a_price_that_nobody_stated_is_unknown_and_not_zero(prices: dict[str, Price] | None) -> None:
    agent, _, _ = agent_of(["Done."], prices=prices)
    cost = run(agent).cost
    assert (cost.amount, cost.known, str(cost)) == (None, False, "unknown")


@promise("loop:answer", "loop:model-errors")
def test_a_run_that_failed_says_what_it_used_before() -> None:
    agent, _, _ = agent_of([Calls(("find", {"query": "a"})), ModelFailure("rejected", "")], prices={"scripted": PRICE})
    result = run(agent)
    assert (result.usage, result.turns) == (Usage(100, 20), 1)
    assert result.cost == Cost(Decimal("0.0004"))
