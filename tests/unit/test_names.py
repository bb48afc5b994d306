"""Tool names on the wire: allowed everywhere, one-to-one, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from toolrail.dialects import NameMap, name_rule
from toolrail.dialects.names import Provider

PATTERNS: dict[Provider, str] = {
    "openai": r"[a-zA-Z0-9_-]{1,64}",
    "anthropic": r"[a-zA-Z0-9_-]{1,64}",
    "gemini": r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}",
}
PROVIDERS: list[Provider] = ["openai", "anthropic", "gemini"]
LONG = "x" * 65


@promise("tool:names")
@pytest.mark.parametrize(
    ("provider", "name", "wire"),
    [
        ("openai", "search", "search"),
        ("openai", "billing.pay", "billing_pay"),
        ("openai", "files/read", "files_read"),
        ("openai", "zahle_ü", "zahle__"),
        ("openai", "2fa", "2fa"),
        ("openai", "", "_"),
        ("anthropic", "billing.pay", "billing_pay"),
        ("gemini", "billing.pay", "billing.pay"),
        ("gemini", "2fa", "_2fa"),
        ("gemini", "-x", "_-x"),
        ("gemini", "a:b", "a_b"),
    ],
)
def test_a_refused_name_is_sent_as_the_nearest_allowed_one(provider: Provider, name: str, wire: str) -> None:
    names = NameMap([name], name_rule(provider))
    assert names.to_wire(name) == wire
    assert names.to_tool(wire) == name


@promise("tool:names")
@pytest.mark.parametrize(
    "offered",
    [
        ["billing.pay", "billing_pay"],
        ["billing.pay", "billing/pay"],
        ["billing.pay", "billing/pay", "billing_pay"],
        [LONG, LONG + "y"],
        [LONG + ".a", LONG + ".b", "x" * 64],
        ["", "_", "."],
    ],
)
def test_names_that_would_collide_are_told_apart_in_any_order(offered: list[str]) -> None:
    names, backwards = NameMap(offered, name_rule("openai")), NameMap(reversed(offered), name_rule("openai"))
    wires = [names.to_wire(name) for name in offered]
    assert len(set(wires)) == len(offered)
    assert wires == [backwards.to_wire(name) for name in offered]
    assert [names.to_tool(wire) for wire in wires] == offered


@promise("tool:names")
def test_an_allowed_name_is_never_changed_by_its_neighbours() -> None:
    names = NameMap(["a.b", "a/b", "a_b"], name_rule("openai"))
    assert names.to_wire("a_b") == "a_b"


@promise("tool:names")
def test_a_name_that_we_did_not_send_comes_back_unchanged() -> None:
    names = NameMap(["billing.pay"], name_rule("openai"))
    assert names.to_tool("billing.pay") == "billing.pay"
    assert names.to_tool("pay_everyone") == "pay_everyone"


@promise("tool:names")
def test_a_tool_of_an_old_message_gets_an_allowed_name_that_no_offered_tool_has() -> None:
    names = NameMap(["billing.pay"], name_rule("openai"))
    for old in ("billing/pay", "billing_pay", "gone.tool"):
        wire = names.to_wire(old)
        assert re.fullmatch(PATTERNS["openai"], wire)
        assert names.to_tool(wire) == wire


@promise("tool:names")
@given(st.lists(st.text(max_size=80) | st.sampled_from(["a.b", "a_b", "a/b", "a-b", LONG, LONG + "."])))
def test_offered_names_map_one_to_one_to_allowed_names(offered: list[str]) -> None:
    for provider in PROVIDERS:
        names = NameMap(offered, name_rule(provider))
        wires = {name: names.to_wire(name) for name in offered}
        assert len(set(wires.values())) == len(set(offered))
        assert all(re.fullmatch(PATTERNS[provider], wire) for wire in wires.values())
        assert all(names.to_tool(wire) == name for name, wire in wires.items())
