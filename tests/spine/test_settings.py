"""A wrong setting is a DefinitionError before anything runs: it names the setting, its value and the mend."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, rail_of, said, virtually
from toolrail import Access, Agent, CallLimits, Order, Rail, RailLimits, RunLimits, once, prefixed, tool
from toolrail.definition import ResultRules
from toolrail.effects import Effect, Unclear, Verdict, keyed, transactional, verified
from toolrail.errors import DefinitionError
from toolrail.isolation import Isolation
from toolrail.limits import Budget, Budgets, Circuit, Rate, RetryBudget
from toolrail.stores.memory import MemoryStore
from toolrail.testing import ScriptedModel


def pay(inv: str) -> str:
    """Pays an invoice."""
    return inv


async def ask(*_: object) -> Verdict:
    return Unclear()


async def asked(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments)


def given(**options: Any) -> Any:
    """A tool with these options, whatever their types."""
    return tool(**options)(pay)


def railed(**options: Any) -> Any:
    return Rail([given()], sinks=[], **options)


def agent(**options: Any) -> Any:
    return Agent(ScriptedModel(["Done."]), Rail([given()], sinks=[]), **options)


def limited(**budget: Any) -> Any:
    return railed(budgets=Budgets(session=Budget(**budget)))


EFFECTS: dict[str, Callable[..., Effect]] = {
    "once": once,
    "keyed": keyed,
    "verified": functools.partial(verified, ask),
    "transactional": transactional,
}


@promise("tool:errors")
@pytest.mark.parametrize("kind", EFFECTS)
@pytest.mark.parametrize(
    ("scope", "mend"),
    [("tennant", "Did you mean 'tenant'?"), ("all", "Use one of run, session, principal, tenant.")],
)
def test_a_scope_that_does_not_exist_is_refused_for_every_effect(kind: str, scope: Any, mend: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        EFFECTS[kind](by="inv", scope=scope)
    assert str(caught.value) == f"TR106 {kind}(scope={scope!r}): there is no scope {scope!r}. Mend: {mend}"


WRONG: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: RunLimits(money=cast(Any, "1")), "RunLimits(money='1')", 'Decimal("1")'),
    (lambda: RunLimits(money=cast(Any, 1.5)), "RunLimits(money=1.5)", 'Decimal("1.5")'),
    (lambda: RunLimits(money=cast(Any, True)), "RunLimits(money=True)", "no Decimal"),
    (lambda: RunLimits(money=Decimal("NaN")), "RunLimits(money=Decimal('NaN'))", "must be an amount"),
    (lambda: RunLimits(money=Decimal("Infinity")), "RunLimits(money=Decimal('Infinity'))", "must be an amount"),
    (lambda: RunLimits(turns=cast(Any, "3")), "RunLimits(turns='3')", "Write turns=3, without quotes."),
    (lambda: RunLimits(turns=True), "RunLimits(turns=True)", "must be a number"),
    (lambda: RunLimits(tokens=cast(Any, 1e6)), "RunLimits(tokens=1000000.0)", "Write tokens=1000000."),
    (lambda: RunLimits(parallel=cast(Any, None)), "RunLimits(parallel=None)", "must be a number"),
    (lambda: RunLimits(end_on_loop=cast(Any, "yes")), "RunLimits(end_on_loop='yes')", "True or False"),
    (lambda: RunLimits(repeat_hint=6), "RunLimits(repeat_hint=6)", "Give repeat_hint=5 or less"),
    (lambda: CallLimits(timeout=cast(Any, "5")), "CallLimits(timeout='5')", "Write timeout=5, without quotes."),
    (lambda: CallLimits(timeout=cast(Any, None)), "CallLimits(timeout=None)", "Give a number."),
    (lambda: CallLimits(attempts=cast(Any, 1.5)), "CallLimits(attempts=1.5)", "Write attempts=2."),
    (lambda: CallLimits(wait=cast(Any, "soon")), "CallLimits(wait='soon')", "Give a number, or None."),
    (lambda: CallLimits(rate=cast(Any, 5)), "CallLimits(rate=5)", "Write rate=Rate(5)."),
    (lambda: CallLimits(rate=cast(Any, (5, 1))), "CallLimits(rate=(5, 1))", "Write rate=Rate(5, per=1)."),
    (lambda: CallLimits(rate=Rate(cast(Any, "5"))), "Rate(calls='5')", "Write calls=5, without quotes."),
    (lambda: RailLimits(principal_rate=cast(Any, 5)), "RailLimits(principal_rate=5)", "Rate(5)"),
    (lambda: RailLimits(circuit=cast(Any, True)), "RailLimits(circuit=True)", "Circuit(...)"),
    (lambda: RailLimits(circuit=Circuit(failures=50)), "Circuit(failures=50)", "must not be over one"),
    (lambda: RailLimits(retries=cast(Any, 0.1)), "RailLimits(retries=0.1)", "RetryBudget(share=...)"),
    (lambda: RailLimits(retries=RetryBudget(share=-1)), "RetryBudget(share=-1)", "must not be negative"),
    (lambda: RailLimits(backoff=-1), "RailLimits(backoff=-1)", "must not be negative"),
    (lambda: RailLimits(abandoned=-1), "RailLimits(abandoned=-1)", "must not be negative"),
    (lambda: RailLimits(abandoned=cast(Any, 1.5)), "RailLimits(abandoned=1.5)", "must be a whole number"),
    (lambda: RailLimits(result_share=2.0), "RailLimits(result_share=2.0)", "must not be over one"),
    (lambda: RailLimits(result_bytes=0), "RailLimits(result_bytes=0)", "must be over zero"),
    (lambda: RailLimits(threads=cast(Any, "8")), "RailLimits(threads='8')", "Write threads=8, without quotes."),
    (lambda: railed(budgets=cast(Any, Budget(calls=1))), "Rail(budgets=Budget(", "Budgets(session=Budget(...))"),
    (lambda: railed(budgets=Budgets(session=cast(Any, 5))), "Budgets(session=5)", "Write session=Budget(...)."),
    (lambda: railed(limits=cast(Any, 5)), "Rail(limits=5)", "Write limits=RailLimits(...)."),
    (lambda: limited(calls="5"), "Budget(calls='5')", "Write calls=5, without quotes."),
    (lambda: limited(calls_per_tool={"must": 0}), "Budget.calls_per_tool['must'](calls=0)", "must be over zero"),
    (lambda: limited(currency=5), "Budget(currency=5)", "must be text"),
    (lambda: given(limits=5), "@tool(limits=5)", "Write limits=CallLimits(...)."),
    (lambda: given(order="x"), "@tool(order='x')", "Write order=Order(...)."),
    (lambda: given(access=True), "@tool(access=True)", "Write access=Access(...)."),
    (lambda: given(result=9), "@tool(result=9)", "Write result=ResultRules(...)."),
    (lambda: given(timeout="5"), "@tool(timeout='5')", "Write timeout=5, without quotes."),
    (lambda: given(requires=5), "@tool(requires=5)", 'Write requires="a", or requires=("a", "b").'),
    (lambda: given(polling="no"), "@tool(polling='no')", "True or False"),
    (lambda: given(name=5), "@tool(name=5)", "must be text"),
    (lambda: given(approve="yes"), "Access(approve='yes')", "Write True, False, an Ask or a function"),
    (lambda: given(approve=asked), "Access(approve=<function asked", "async, and nobody would await it"),
    (lambda: Access(requires=cast(Any, "orders:read")), "Access(requires='orders:read')", "('orders:read',)"),
    (lambda: ResultRules(max_bytes=-1), "ResultRules(max_bytes=-1)", "must be over zero"),
    (lambda: Order(barrier=cast(Any, "x")), "Order(barrier='x')", "True or False"),
    (lambda: once(by=cast(Any, 5)), "once(by=5)", 'Write by="a", or by=("a", "b").'),
    (lambda: once(marked=cast(Any, "x")), "once(marked='x')", "True or False"),
    (lambda: verified(ask, settle_after=-1), "verified(settle_after=-1)", "must not be negative"),
    (lambda: Isolation(result_bytes=cast(Any, "8")), "Isolation(result_bytes='8')", "Write result_bytes=8"),
    (
        lambda: agent(context_tokens=-5),
        "Agent(context_tokens=-5)",
        "must be over zero",
    ),
    (
        lambda: agent(limits=5),
        "Agent(limits=5)",
        "Write limits=RunLimits(...).",
    ),
    (
        lambda: agent(max_turns="3"),
        "RunLimits(turns='3')",
        "Write turns=3, without quotes.",
    ),
]


@promise("tool:errors")
@pytest.mark.parametrize(("make", "setting", "words"), WRONG, ids=[setting for _, setting, _ in WRONG])
def test_a_setting_of_the_wrong_kind_or_range_is_named_with_its_value_and_its_mend(
    make: Callable[[], Any], setting: str, words: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        make()
    assert str(caught.value).startswith("TR301 ")
    assert setting in str(caught.value)
    assert words in str(caught.value)


@promise("tool:errors")
def test_a_verified_effect_needs_somebody_to_ask() -> None:
    with pytest.raises(DefinitionError, match=r"TR106 verified\(None\): there is nobody to ask"):
        verified(cast(Any, None))


@promise("tool:errors")
def test_a_list_of_names_does_as_well_as_a_tuple() -> None:
    assert once(by=cast(Any, ["inv"])) == once(by="inv") == once(by=("inv",))
    assert given(requires=["a", "b"]).access.requires == ("a", "b")
    assert given(requires=()).access == Access()


@promise("tool:errors")
@pytest.mark.parametrize(
    ("tools", "name", "mend"),
    [
        ([given()], "pya", "Did you mean 'pay'?"),
        (prefixed("bank_", [given()]), "pay", "Did you mean 'bank_pay'?"),
        ([given()], "refund", "Name tools of the rail: pay."),
    ],
)
@pytest.mark.parametrize("scope", ["session", "principal_day"])
def test_a_budget_of_a_tool_that_is_not_there_is_refused(tools: Any, name: str, mend: str, scope: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Rail(tools, sinks=[], budgets=Budgets(**{scope: Budget(calls_per_tool={name: 1})}))
    assert str(caught.value) == (
        f"TR308 Budget(calls_per_tool={{{name!r}: 1}}): the rail has no tool {name!r}. Mend: {mend}"
    )


@promise("effect:once")
def test_a_scope_that_came_past_the_checks_lets_nothing_run() -> None:
    paid: list[str] = []

    @tool(effect=once(by="inv", scope="tenant"))
    async def settle(inv: str) -> str:
        """Settles an invoice."""
        paid.append(inv)
        return inv

    object.__setattr__(settle.effect, "scope", "tennant")
    rail, _ = rail_of(settle, store=MemoryStore())
    assert codes(virtually(rail, [call("settle", {"inv": "A1"})], principal=ALICE)) == ["INTERNAL_ERROR"]
    assert paid == []


@promise("call:retry")
@pytest.mark.parametrize(("attempts", "words"), [(1, "after 1 attempt."), (2, "after 2 attempts.")])
def test_the_model_reads_after_how_many_attempts(attempts: int, words: str) -> None:
    @tool(effect="read", limits=CallLimits(attempts=attempts))
    async def find() -> str:
        """Fails."""
        raise ConnectionResetError

    rail, _ = rail_of(find)
    assert said(virtually(rail, [call("find")])[0])["error"] == f"find failed for now, {words}"
