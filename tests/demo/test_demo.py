"""`make demo` shows what it says it shows, with a script and with a model behind HTTP, and leaves a record."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from examples.shop.data import TARGET_ORDER
from examples.shop.demo_patterns import PATTERNS
from examples.shop.demo_table import percentile
from examples.shop.script import reply
from tests.dashboard.served import serving
from tests.demo.conftest import Ran, run_module
from tests.fakes.model_server import Call, Fault, ModelServer, Recorded, Say, Turn
from tests.promises import promise
from toolrail.cli.dashboard import PORT
from toolrail.dashboard.app import Settings
from toolrail.run import RunState
from toolrail.store import CallsOf, ListRuns
from toolrail.stores.reading import StoreReader

TRIPS = {"single tool": (1, 2), "parallel tools": (3, 2), "sequential chain": (3, 4), "forced choice": (1, 2)}
"""Calls and requests of each pattern: one request to answer, and one for each round trip of calls."""


def _patterns(out: str) -> dict[str, tuple[int, int]]:
    found = re.findall(r"^   (\S.*?) +(\d+) +(\d+) = 1 \+ (\d+)  1 \+ ", out, re.MULTILINE)
    assert all(int(requests) == 1 + int(trips) for _, _, requests, trips in found)
    return {name: (int(calls), int(requests)) for name, calls, requests, _ in found}


def test_it_ends_well_without_a_word_of_complaint(demo: Ran) -> None:
    assert (demo.returncode, demo.stderr) == (0, "")
    assert "Traceback" not in demo.stdout


def test_what_is_no_terminal_gets_no_colours_and_lines_of_at_most_80(demo: Ran) -> None:
    assert "\x1b" not in demo.stdout
    assert max(len(line) for line in demo.stdout.splitlines()) <= 80
    assert all(line == line.rstrip() for line in demo.stdout.splitlines())


def test_the_first_lines_say_plainly_that_a_script_plays_the_model(demo: Ran) -> None:
    first = " ".join(" ".join(demo.stdout.splitlines()[:6]).split())
    assert "model none: no OPENAI_API_KEY, ANTHROPIC_API_KEY or TOOLRAIL_MODEL is set" in first
    assert "a script plays the model. It has never seen the database" in first


@promise("loop:trips")
def test_the_round_trips_are_those_of_the_table_of_patterns_on_the_screen_and_in_the_record(
    demo: Ran, demo_directory: Path
) -> None:
    assert _patterns(demo.stdout) == TRIPS
    reader = StoreReader(demo_directory / ".demo/rail.db")
    runs = sorted(reader.ask(ListRuns()), key=lambda row: row.created)
    first = [row for row in runs if "search_products" in RunState.from_json(row.state).offered][: len(TRIPS)]
    turns = [RunState.from_json(row.state).turn for row in first]
    calls = [len(reader.ask(CallsOf(row.tenant, row.run))) for row in first]
    assert list(zip(calls, turns, strict=True)) == [TRIPS[pattern.name] for pattern in PATTERNS]


def test_every_call_of_the_patterns_is_printed_under_its_request_with_time_tries_sizes_and_outcome(demo: Ran) -> None:
    line = re.compile(r"^   (\d| ) (\w+)\(.* +[\d.]+ m?s +(\d) +\d+ B +[\d.]+ k?B  ok$", re.MULTILINE)
    calls = line.findall(demo.stdout)
    assert [(number, tool) for number, tool, _ in calls] == [
        ("1", "get_order_status"),
        ("1", "get_order_status"),
        (" ", "get_order_status"),
        (" ", "search_products"),
        ("1", "search_products"),
        ("2", "shipping_quote"),
        ("3", "calculate"),
        ("1", "search_products"),
    ]
    assert [tries for _, tool, tries in calls if tool == "shipping_quote"] == ["2"]
    assert "shipping_quote failed (HTTPStatusError, which may pass); try 2 in " in demo.stdout


def test_three_calls_at_once_begin_together_and_in_turn_one_after_the_other(demo: Ran) -> None:
    bars = [line for line in demo.stdout.splitlines() if "\u2588" in line]
    begins = [line.index("\u2588") for line in bars]
    assert len(bars) == 6
    assert max(begins[:4]) < begins[4] < begins[5]
    together, in_turn = (float(bars[at].split()[-2]) for at in (2, 5))
    assert 0.5 <= together < in_turn  # measured: no timer ends early
    assert in_turn >= 1.5


@pytest.mark.parametrize(
    ("attack", "code", "told"),
    [
        ("bad JSON", "INVALID_ARGUMENTS", "the JSON is not complete"),
        ("a limit of -5", "INVALID_ARGUMENTS", "max_results: expected an integer >= 1, got -5"),
        ("another customer's order", "NOT_AUTHORISED", "No order "),
        (
            "a cancellation that a text hidden in a product",
            "APPROVAL_REJECTED",
            "Nobody is there who could approve this call",
        ),
    ],
)
def test_a_hostile_call_is_refused_with_its_code_and_what_the_model_was_told(
    demo: Ran, attack: str, code: str, told: str
) -> None:
    part = demo.stdout[demo.stdout.index(f"   {attack}") :].partition("\n\n")[0]
    assert f"refused  {code}  " in part
    assert told in " ".join(part.split())


def test_the_hidden_instruction_changed_nothing_and_the_demo_says_what_stopped_it(demo: Ran) -> None:
    words = " ".join(demo.stdout.split())
    assert f'sent cancel_order {{"order_id": "{TARGET_ORDER}"}}' in words
    assert "What stopped it is a policy of the shop: a person is asked before every cancellation" in words
    assert "The order was 'placed' before and is 'placed' now." in words


def test_the_table_counts_what_the_record_holds(demo: Ran, demo_directory: Path) -> None:
    reader = StoreReader(demo_directory / ".demo/rail.db")
    recorded = [call for row in reader.ask(ListRuns()) for call in reader.ask(CallsOf(row.tenant, row.run))]
    table = demo.stdout.partition("What the record says")[2]
    rows = re.findall(r"^   (\w+) +(\d+) +[\d.]+ m?s +[\d.]+ m?s +(\d+|-) +(\d+|-) ", table, re.MULTILINE)
    assert {tool: int(calls) for tool, calls, _, _ in rows} == {
        tool: sum(call.tool == tool for call in recorded) for tool in {call.tool for call in recorded}
    }
    failed = {tool: (errors, refused) for tool, _, errors, refused in rows if (errors, refused) != ("-", "-")}
    assert failed == {
        "search_products": ("2", "-"),
        "get_order_status": ("-", "1"),
        "cancel_order": ("-", "1"),
        "pay": ("2", "-"),
    }


@promise("effect:unknown")
def test_a_payment_whose_answer_is_lost_is_charged_twice_by_hand_and_once_through_the_rail(demo: Ran) -> None:
    act = demo.stdout.partition("A payment whose answer gets lost")[2].partition("What the record says")[0]
    assert re.search(r"charged 2x +charged 1x, 1 unknown", act)
    assert act.count("the bank charges 42.00 for INV-2041") == 3
    assert act.count("OUTCOME_UNKNOWN") == 2


def test_tokens_and_cost_are_told_with_the_price_that_the_example_states(demo: Ran) -> None:
    words = " ".join(demo.stdout.split())
    found = re.search(
        r"scripted: 13 requests, ([\d,]+) tokens in, (\d+) out: ([\d.]+) USD \(at 2.50 and 10.00 a", words
    )
    assert found is not None
    read, written, cost = (float(text.replace(",", "")) for text in found.groups())
    assert cost == pytest.approx((read * 2.5 + written * 10) / 1_000_000, abs=0.00005)
    assert "a script has no tokens" in words


def test_the_commands_that_it_names_work(demo: Ran, demo_directory: Path) -> None:
    commands = re.findall(r"\.venv/bin/toolrail (\w+ .*)$", demo.stdout, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["effects", "show", "tail", "tools"]
    ran = [run_module("toolrail.cli", *command.split(), cwd=demo_directory) for command in commands]
    assert [one.returncode for one in ran] == [0, 0, 0, 0]
    listed, shown, followed, tools = ran
    assert listed.stdout.count("INV-2041") == 1
    assert all(f"turn {number}" in shown.stdout for number in (1, 2, 3))
    assert "APPROVAL_REJECTED" in followed.stdout
    assert followed.stdout.count("INVALID_ARGUMENTS") == 2
    assert "search_products" in tools.stdout


def test_it_ends_with_the_address_of_a_dashboard_of_what_it_ran_with_costs_and_content(
    demo: Ran, demo_directory: Path
) -> None:
    assert demo.stdout.endswith(f"make dashboard, at http://127.0.0.1:{PORT}/\n")
    record, store = (f"sqlite:///{demo_directory / '.demo' / name}" for name in ("rail.records.db", "rail.db"))
    with serving(Settings(records=record, store=store, by="carol")) as dashboard, dashboard.browser() as browser:
        tools, costs = browser.get("/tools").text, browser.get("/costs").text
        found = re.search(r"show (\w+) --store", demo.stdout)
        assert found is not None
        listed = browser.get("/runs", params={"text": found[1]}).text
        (run,) = set(re.findall(r'"(/run\?id=[^"]+)"', listed))
        contents = re.findall(r'"(/text\?[^"]+)"', browser.get(run).text)
        said = [browser.get(html.unescape(address)).text for address in contents]
    assert all(name in tools for name in ("search_products", "ask_supplier_in_turn", "pay", "shipping_quote"))
    assert re.search(r"0\.0\d", costs)
    assert '{"value":"67.95","exact":true}' in said


def _like_the_script(request: Recorded) -> Turn:
    """The same rules, over HTTP."""
    said = reply(request.messages, forced=isinstance(request.body.get("tool_choice"), dict))
    return Say(said) if isinstance(said, str) else [Call(name, json.dumps(values)) for name, values in said]


def test_with_a_model_behind_http_it_talks_to_that_and_states_no_price_that_it_does_not_know(tmp_path: Path) -> None:
    with ModelServer(_like_the_script) as server:
        where = {
            "TOOLRAIL_BASE_URL": server.openai_url,
            "TOOLRAIL_MODEL": "tiny",
            "OPENAI_API_KEY": "sk-not-for-others",
        }
        done = run_module("examples.shop.demo", cwd=tmp_path, **where)
        assert (done.returncode, done.stderr) == (0, "")
        assert _patterns(done.stdout) == TRIPS
        assert f"tiny at {server.openai_url}" in done.stdout
        assert "compatible:tiny: 10 requests, 1,200 tokens in, 300 out: cost unknown" in " ".join(done.stdout.split())
        assert len(server.requests) == 10
        assert "sk-not-for-others" not in str([request.headers for request in server.requests])


def test_with_a_key_that_is_refused_it_says_so_shows_the_rest_and_is_1(tmp_path: Path) -> None:
    with ModelServer(lambda _: Fault("401")) as server:
        where = {"TOOLRAIL_BASE_URL": server.openai_url, "TOOLRAIL_MODEL": "tiny"}
        done = run_module("examples.shop.demo", cwd=tmp_path, **where)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("no answer: model_unavailable model:authentication") == len(PATTERNS)
    assert "APPROVAL_REJECTED" in done.stdout


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"TOOLRAIL_BASE_URL": "http://127.0.0.1:1/v1"}, "set TOOLRAIL_MODEL too"),
        ({"TOOLRAIL_MODEL": "gpt-4o"}, "model='gpt-4o': it names no provider and model"),
    ],
)
@pytest.mark.parametrize("module", ["examples.shop.demo", "examples.shop.chat"])
def test_a_model_that_is_named_wrongly_is_told_in_one_line(
    tmp_path: Path, module: str, environment: dict[str, str], says: str
) -> None:
    done = run_module(module, cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([5.0], 0.5, 5.0),
        ([5.0], 0.95, 5.0),
        ([3.0, 1.0, 2.0, 4.0], 0.5, 2.0),
        ([3.0, 1.0, 2.0, 4.0], 0.95, 4.0),
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
        ([float(n) for n in range(1, 102)], 0.50, 51.0),
    ],
)
def test_percentiles_are_exact(values: list[float], q: float, expected: float) -> None:
    assert percentile(values, q) == expected
