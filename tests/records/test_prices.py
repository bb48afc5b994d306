"""Prices and costs: each kind of token at its own price, users' own first, and what nobody knows is unknown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loop.helpers import TOOLS, run
from tests.promises import promise
from toolrail import Agent, DefinitionError, Rail, RunLimits, Usage
from toolrail.money import NO_PRICES
from toolrail.providers.anthropic_codec import usage_of as of_anthropic
from toolrail.providers.openai_offer import usage_of as of_openai
from toolrail.records.pricefile import as_toml, prices_in
from toolrail.records.prices import Cost, First, Price, PriceBook, Prices, Tier, book_of, combined, cost_of
from toolrail.testing import Calls, FixedClock, Say, ScriptedModel

D = Decimal
PLAIN = Price(D(2), D(10))
FULL = Price(D(2), D(10), cached=D("0.5"), cache_write=D("2.5"), reasoning=D(20))
TIERED = Price(D(1), D(4), cached=D("0.1"), tiers=(Tier(1_000, D(2), D(8), cached=D("0.2")), Tier(5_000, D(3), D(9))))
MILLION = 1_000_000


@promise("see:cost")
@pytest.mark.parametrize(
    ("usage", "price", "amount"),
    [
        (Usage(MILLION, MILLION), PLAIN, "12"),
        (Usage(MILLION, 0, cached_tokens=MILLION), PLAIN, "2"),
        (Usage(MILLION, 0, cached_tokens=MILLION), FULL, "0.5"),
        (Usage(MILLION, 0, cached_tokens=400_000, cache_write_tokens=100_000), FULL, "1.45"),
        (Usage(0, MILLION, reasoning_tokens=600_000), PLAIN, "10"),
        (Usage(0, MILLION, reasoning_tokens=600_000), FULL, "16"),
        (Usage(1_000, 1_000), TIERED, "0.005"),
        (Usage(1_001, 1_000), TIERED, "0.010002"),
        (Usage(2_000, 0, cached_tokens=2_000), TIERED, "0.0004"),
        (Usage(6_000, 0, cached_tokens=6_000), TIERED, "0.018"),
        (Usage(1_000, 0), Price(D(1), D(1), request=D("0.005")), "0.006"),
        (Usage(10, 10), Price(D(0), D(0)), "0"),
    ],
)
def test_each_kind_of_token_costs_its_own_price_and_none_is_paid_twice(usage: Usage, price: Price, amount: str) -> None:
    assert cost_of(usage, "m", {"m": price}) == Cost(D(amount))


@promise("see:cost")
def test_cached_tokens_cost_the_same_whether_a_provider_counts_them_inside_the_input_or_on_top() -> None:
    inside = of_openai(
        {"prompt_tokens": 1_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 600}},
        sent="prompt",
        made="completion",
    )
    on_top = of_anthropic({"input_tokens": 400, "cache_read_input_tokens": 600, "output_tokens": 100})
    assert inside == on_top == Usage(1_000, 100, cached_tokens=600)
    assert cost_of(inside, "m", {"m": FULL}) == Cost(D("0.0021"))
    wrote = of_anthropic({"input_tokens": 400, "cache_creation_input_tokens": 600, "output_tokens": 100})
    assert cost_of(wrote, "m", {"m": FULL}) == Cost(D("0.0033"))


@promise("see:cost")
@pytest.mark.parametrize(
    ("usage", "prices"),
    [(Usage(10, 10), {}), (Usage(10, 10), {"m:other": PLAIN}), (Usage(), {"m": PLAIN}), (Usage(10, 10), NO_PRICES)],
    ids=["no prices", "of another model", "a response that does not count its tokens", "no book"],
)
def test_what_nobody_knows_is_unknown_and_never_zero(usage: Usage, prices: Any) -> None:
    cost = cost_of(usage, "m", prices)
    assert (cost.amount, cost.known, str(cost)) == (None, False, "unknown")


@given(
    counts=st.tuples(*[st.integers(0, 10**7)] * 5),
    rates=st.tuples(*[st.decimals(0, 100, places=4)] * 5),
)
def test_a_cost_is_between_all_tokens_at_the_lowest_and_all_at_the_highest_price(
    counts: tuple[int, ...], rates: tuple[Decimal, ...]
) -> None:
    plain, read, wrote, said, thought = counts
    usage = Usage(plain + read + wrote, said + thought, read, wrote, thought)
    price = Price(rates[0], rates[1], cached=rates[2], cache_write=rates[3], reasoning=rates[4])
    amount = cost_of(usage, "m", {"m": price}).amount
    if usage.total_tokens:
        assert amount is not None
        assert min(rates) * usage.total_tokens <= amount * MILLION <= max(rates) * usage.total_tokens


# Books


class Contract:
    """A book of the user's own."""

    def price(self, model: str, at: float) -> Price | None:
        return PLAIN if model == "scripted" else None


@promise("see:cost")
def test_the_first_book_that_knows_a_price_has_the_word() -> None:
    own, table = Prices({"a": PLAIN}), Prices({"a": FULL, "b": FULL})
    for book in (combined(own, table), First(own, table), combined(NO_PRICES, own, Contract(), table)):
        assert (book.price("a", 0.0), book.price("b", 0.0), book.price("c", 0.0)) == (PLAIN, FULL, None)
    assert combined() is combined(NO_PRICES) is book_of(None) is book_of({}) is NO_PRICES
    assert dict(combined(own, table).items()) == {"a": PLAIN, "b": FULL}  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]


@promise("see:cost")
def test_rail_and_agent_take_a_mapping_a_book_and_the_path_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("[models.scripted]\ninput = 2\noutput = 10.0\n", encoding="utf-8")
    for prices in ({"scripted": PLAIN}, Prices({"scripted": PLAIN}), Contract(), path, str(path)):
        for options in ({"rail": prices}, {"agent": prices}):
            rail = Rail(TOOLS, prices=options.get("rail"), clock=FixedClock(), sinks=())
            result = run(Agent(ScriptedModel(["Hello."]), rail, prices=options.get("agent")))
            assert result.cost == Cost(D("0.0004"))


@promise("see:cost")
def test_an_agents_own_prices_come_before_those_of_its_rail() -> None:
    rail = Rail(TOOLS, prices={"scripted": FULL, "other": FULL}, clock=FixedClock(), sinks=())
    agent = Agent(ScriptedModel(["Hello."]), rail, prices={"scripted": Price(D(0), D(0))})
    assert run(agent).cost == Cost(D(0))


@promise("see:cost")
def test_each_response_has_the_tier_of_its_own_length_and_not_of_the_whole_run() -> None:
    rail = Rail(TOOLS, prices={"scripted": TIERED}, clock=FixedClock(), sinks=())
    asked = [Calls(("find", {"query": f"{n}"}), usage=Usage(900, 100)) for n in range(3)]
    result = run(Agent(ScriptedModel([*asked, Say("Done.", usage=Usage(2_000, 100))]), rail))
    assert result.cost == Cost(3 * D("0.0013") + D("0.0048"))


@promise("see:cost")
def test_a_run_with_one_response_of_unknown_cost_has_an_unknown_cost() -> None:
    rail = Rail(TOOLS, prices={"scripted": PLAIN}, clock=FixedClock(), sinks=())
    asked = Calls(("find", {"query": "a"}), usage=Usage())
    assert run(Agent(ScriptedModel([asked, "Done."]), rail)).cost == Cost(None)


class LookedUp:
    """As a table of other people's prices answers."""

    def price(self, model: str, at: float) -> Price | None:
        return Price(D(2), D(10), source="a table")


@promise("see:cost", "loop:limits/money")
def test_where_money_has_a_limit_only_stated_prices_count_and_the_log_says_how_to_state_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rail = Rail(TOOLS, prices=LookedUp(), clock=FixedClock(), sinks=())
    model = ScriptedModel(["Hello.", "Hello."])
    result = run(Agent(model, rail, limits=RunLimits(money=D(1))))
    assert (result.stop_reason, result.notes) == ("limit:money", ("price_looked_up:scripted",))
    assert (model.requests, result.cost) == ([], Cost(D(0)))
    assert "`toolrail prices scripted --toml`" in caplog.text
    stated = Prices({"scripted": LookedUp().price("scripted", 0.0) or PLAIN})
    agent = Agent(model, Rail(TOOLS, prices=stated, clock=FixedClock(), sinks=()), limits=RunLimits(money=D(1)))
    assert run(agent).stop_reason == "answer"


# What is wrong


WRONG: list[tuple[Any, str]] = [
    ({"m": Price(D(-1), D(1))}, "prices['m'].input: -1 is negative"),
    ({"m": Price(D("nan"), D(1))}, "prices['m'].input: NaN is no amount"),
    ({"m": Price(D("inf"), D(1))}, "prices['m'].input: Infinity is no amount"),
    ({"m": Price(2.5, D(1))}, "prices['m'].input: 2.5 is no Decimal. Mend: Write Decimal(\"2.5\")."),  # pyright: ignore[reportArgumentType]
    ({"m": Price("2", D(1))}, "prices['m'].input: '2' is no Decimal."),  # pyright: ignore[reportArgumentType]
    ({"m": Price(None, D(1))}, "prices['m'].input: None is no Decimal."),  # pyright: ignore[reportArgumentType]
    ({"m": Price(D(1), D(1), cached=D(-1))}, "prices['m'].cached: -1 is negative"),
    ({"m": Price(D(1), D(1), tiers=(Tier(5, D(-1), D(1)),))}, "prices['m'].tiers[0].input: -1 is negative"),
    ({"m": Price(D(1), D(1), tiers=(Tier(5, D(1), D(1)), Tier(5, D(1), D(1))))}, "prices['m']: its tiers do not rise"),
    ({"m": Price(D(1), D(1), currency="")}, "prices['m']: it has no currency"),
    ({"m": D(1)}, "prices['m']: it is no Price"),
    (7, "Rail(prices=int): these are no prices"),
    ("no such file.toml", "no such file.toml: it cannot be read"),
]


@promise("see:cost")
@pytest.mark.parametrize(("prices", "words"), WRONG, ids=[words for _, words in WRONG])
def test_wrong_prices_are_refused_when_the_rail_is_made(prices: Any, words: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        Rail(TOOLS, prices=prices)
    assert raised.value.rule == "TR309"
    assert words in str(raised.value)
    assert "Mend: " in str(raised.value)


GOOD = """
currency = "EUR"

[models."openai:gpt-4o"]
input = 2.50
output = 10
cached = 1.25
tiers = [{ over = 200_000, input = 5.00, output = 15.00, cached = 2.5 }]

[models.house]
input = 0
output = 0
currency = "USD"
request = 0.005
"""


@promise("see:cost")
def test_a_file_states_prices_exactly_and_what_is_printed_reads_back_the_same() -> None:
    found = prices_in(GOOD, "prices.toml")
    tier = Tier(200_000, D("5.00"), D("15.00"), cached=D("2.5"))
    assert found == {
        "openai:gpt-4o": Price(D("2.50"), D(10), cached=D("1.25"), currency="EUR", tiers=(tier,)),
        "house": Price(D(0), D(0), request=D("0.005")),
    }
    text = "\n\n".join(as_toml(model, price) for model, price in found.items())
    assert prices_in(text, "again.toml") == found
    odd = 'a "b" \\ \u20ac\n\x07'
    assert list(prices_in(as_toml(odd, FULL), "odd.toml")) == [odd]


BAD: list[tuple[str, str]] = [
    ("[models.a\n", "prices.toml: it is no TOML: "),
    ("x = 1\n\ny = = 2", "(at line 3, column 5)"),
    ("", "prices.toml models: there is no model in it"),
    ("models = 7", "prices.toml models: 7 is no table"),
    ("currency = 7\n[models.a]", "prices.toml currency: 7 is no currency"),
    ("prices = 1\n[models.a]", "prices.toml: there is no key 'prices'"),
    ("[models.a]\ninput = 1\noutput = 1\nchached = 1", "prices.toml models.\"a\": there is no key 'chached'. "),
    ("[models.a]\ninput = 1\noutput = 1\nchached = 1", "Did you mean 'cached'?"),
    ("[models.a]\ninput = 1", 'prices.toml models."a".output: it is missing'),
    ("[models.a]\ninput = -1\noutput = 1", 'prices.toml models."a".input: -1 is negative'),
    ("[models.a]\ninput = nan\noutput = 1", "NaN is no amount"),
    ("[models.a]\ninput = -inf\noutput = 1", "-Infinity is no amount"),
    ('[models.a]\ninput = "2.5"\noutput = 1', "'2.5' is no number. Mend: Write what a million tokens cost, as in 2.50"),
    ("[models.a]\ninput = true\noutput = 1", "True is no number"),
    ("[models.a]\ninput = 2026-11-22\noutput = 1", "is no number"),
    ("[models]\na = 1", 'prices.toml models."a": 1 is no table'),
    ("[models.a]\ninput = 1\noutput = 1\ntiers = 5", 'models."a".tiers: it is no list'),
    ("[models.a]\ninput = 1\noutput = 1\ntiers = [{ over = -1 }]", 'models."a".tiers[0].over: -1 is no number of'),
    ("[models.a]\ninput = 1\noutput = 1\ntiers = [{ over = 5, input = 1 }]", 'models."a".tiers[0].output: it is miss'),
]


@promise("see:cost")
@pytest.mark.parametrize(("text", "words"), BAD)
def test_a_file_that_is_wrong_is_named_with_its_line_or_key_and_the_mend(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DefinitionError) as raised:
        Rail(TOOLS, prices=path)
    assert str(raised.value).startswith(f"TR309 {path}")
    assert words in str(raised.value)
    assert "Mend: " in str(raised.value)


@pytest.mark.parametrize("make", ["directory", "bytes"])
def test_what_is_no_text_file_is_refused(tmp_path: Path, make: str) -> None:
    path = tmp_path / "prices.toml"
    if make == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DefinitionError, match=r"TR309 .*prices\.toml: it "):
        Prices.from_toml(path)


def test_a_book_remembers_a_bounded_number_of_names_and_lists_its_prices() -> None:
    book: PriceBook = Prices({"openai:a": PLAIN})
    assert [book.price(f"model {n}", 0.0) for n in range(1_500)] == [None] * 1_500
    assert book.price("a", 0.0) is PLAIN
    assert (len(Prices({"a": PLAIN})), list(Prices({"a": PLAIN}))) == (1, ["a"])


@promise("see:cost")
@pytest.mark.parametrize(
    "usage",
    [
        Usage(1000, 0, cached_tokens=5000),
        Usage(1000, 10, cached_tokens=600, cache_write_tokens=600),
        Usage(1000, 10, reasoning_tokens=11),
        Usage(-5, 10),
        Usage(1000, 10, cached_tokens=-1),
    ],
)
def test_counts_that_contradict_one_another_cost_nobody_knows_what(usage: Usage) -> None:
    price = Price(Decimal(1), Decimal(2), cached=Decimal("0.1"))
    assert cost_of(usage, "m", {"m": price}) == Cost(None)


@given(counts=st.tuples(*[st.integers(0, 10**7)] * 4))
def test_a_usage_as_anthropic_counts_it_never_contradicts_itself(counts: tuple[int, ...]) -> None:
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    usage = of_anthropic(dict(zip(names, counts, strict=True)))
    assert cost_of(usage, "m", {"m": FULL}).known is (sum(counts) > 0)
