"""What stands out beside errors, and what an alert says: over hours of real runs in which ten things go wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.dashboard.causes import Planted
from tests.dashboard.served import serving
from tests.promises import promise
from toolrail.dashboard.app import Settings
from toolrail.dashboard.pages.alerts import MENDS, told
from toolrail.dashboard.signs import earlier, signs
from toolrail.records.alerts.rules import defaults
from toolrail.records.reading import Records, last
from toolrail.records.views import Quantiles, ToolStats

pytestmark = promise("see:dashboard/pages")

ORDINARY = ToolStats(
    "find", "shop", ("d1",), 100, 0, {}, {}, 100, 1_000, 20_000, 0, Quantiles(0.1, 0.4, 0.5)
)  # fmt: skip


def _kinds(now: ToolStats, before: ToolStats | None = None) -> list[str]:
    return [sign.kind for sign in signs([now], [] if before is None else [before])]


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({}, []),
        ({"attempts": 149}, []),
        ({"attempts": 150}, ["retried"]),
        ({"attempts": 300, "errors": 50}, []),
        ({"result_bytes": 100 * 16_384}, ["large results"]),
        ({"circuit": "open"}, ["open circuit"]),
        ({"circuit": "half-open"}, []),
        ({"latency": Quantiles(5.0, 10.0, 11.0)}, ["slow"]),
        ({"latency": Quantiles()}, []),
        ({"calls": 4, "attempts": 12}, []),
    ],
)
def test_only_what_is_far_from_ordinary_stands_out(more: dict[str, Any], kinds: list[str]) -> None:
    assert _kinds(replace(ORDINARY, **more)) == kinds


@pytest.mark.parametrize(
    ("calls", "was", "kinds"), [(20, 0.2, ["slow"]), (20, 0.21, []), (19, 0.2, []), (20, None, [])]
)
def test_slow_is_twice_the_p95_before_if_enough_calls_say_so(calls: int, was: float | None, kinds: list[str]) -> None:
    assert _kinds(ORDINARY, replace(ORDINARY, calls=calls, latency=Quantiles(0.1, was, 0.5))) == kinds


def test_a_tenth_of_a_second_more_is_the_least_that_is_slow() -> None:
    quick = replace(ORDINARY, latency=Quantiles(0.01, 0.05, 0.06))
    assert _kinds(quick, replace(ORDINARY, latency=Quantiles(0.001, 0.002, 0.003))) == []


def test_real_runs_show_the_planted_signs_and_no_others(desk: Planted) -> None:
    window = last(hours=1)
    with Records(desk.url) as records:
        found = signs(records.tools(window), records.tools(earlier(window)))
    assert {(sign.tool, sign.kind) for sign in found} == {
        ("search_documents", "slow"),
        ("get_stock", "retried"),
        ("export_orders", "large results"),
        ("exchange_rate", "open circuit"),
    }


def test_an_alert_goes_on_saying_why_it_began(desk: Planted) -> None:
    with Records(desk.url) as records:
        said = {(line.rule, line.subject): told(line, records.alert_log()) for line in records.alerts()}
    assert len(said) == 7
    began, since = said["wrong-arguments", "create_ticket"]
    assert re.fullmatch(r"16 of its last 4\d calls failed \(3\d\.\d%, limit 5%\): 16 by their arguments", began)
    assert since == "no further calls since it fired"
    assert not any("0 of" in text for texts in said.values() for text in texts)


def test_every_default_rule_says_what_to_do() -> None:
    assert set(MENDS) == {rule.name for rule in defaults()}


def test_each_alert_leads_to_a_page_that_is_there(desk: Planted) -> None:
    settings = Settings(records=desk.url, store=desk.store, by="carol")
    with serving(settings) as dashboard, dashboard.browser() as browser:
        firing = browser.get("/alerts").text.partition("<h2>What happened</h2>")[0]
        places = re.findall(r'<a class="go" href="([^"]+)">Look at', firing)
        assert len(places) == 7
        assert [browser.get(place.replace("&amp;", "&")).status_code for place in places] == [200] * 7
