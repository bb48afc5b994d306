"""`toolrail rule` explains what a DefinitionError names."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Command
from toolrail.rules import RULES


@pytest.mark.parametrize("given", ["TR101", "tr101"])
def test_a_rule_is_explained_with_its_reason_and_both_examples(command: Command, given: str) -> None:
    rule = RULES["TR101"]
    done = command("rule", given)
    assert done.code == 0
    for part in (rule.id, rule.title, rule.reason, "Wrong:", "Mended:"):
        assert part in done.out
    assert "    ping = tool(lambda: " in done.out


def test_all_rules_are_listed_without_an_id(command: Command) -> None:
    lines = command("rule").out.splitlines()
    assert [line.split()[0] for line in lines] == list(RULES)


def test_an_unknown_rule_is_1_and_says_where_all_of_them_are(command: Command) -> None:
    done = command("rule", "TR999")
    assert done.code == 1
    assert done.out == ""
    assert "rule TR999: there is no such rule." in done.err
    assert "`toolrail rule` lists all of them" in done.err


def test_json_has_the_same_for_scripts(command: Command) -> None:
    one, every = json.loads(command("rule", "TR101", "--json").out), json.loads(command("rule", "--json").out)
    assert one["id"] == "TR101"
    assert one in every
    assert len(every) == len(RULES)
