"""`list`, `tools`, `sessions` and `cost` tell what real runs wrote, in words, in 80 columns, and as JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.recorded import Seen
from tests.promises import promise
from toolrail.cli.sessions import suspicion
from toolrail.messages import Usage
from toolrail.records.metrics import Distribution
from toolrail.records.views import Money, SessionLine

UNKNOWN_COST = {"amount": None, "currency": None, "unpriced": 1, "at_least": False}
TABLES = [
    ("list",),
    ("list", "--failed"),
    ("tools",),
    ("tools", "--sort", "p99"),
    ("sessions",),
    ("cost",),
    ("cost", "--by", "day"),
    ("cost", "--by", "session"),
]


def _json(command: Command, seen: Seen, *words: str) -> Any:
    done = command(*words, *seen.options, "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", TABLES, ids=" ".join)
def test_a_table_is_never_wider_than_the_screen_and_says_what_it_leaves_out(
    command: Command, seen: Seen, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = command(*words, *seen.options)
    assert (narrow.code, narrow.err) == (0, "")
    assert max(map(len, narrow.out.splitlines())) <= columns
    monkeypatch.delenv("COLUMNS")
    wide = command(*words, *seen.options).out
    table = next(line for line in wide.splitlines() if re.match(r"(began|tool|last|model|day|session) ", line))
    dropped = set(re.split(r"  +", table)) - set(re.split(r"  +", next(_heads(narrow.out))))
    assert not dropped or all(name in narrow.out.replace("\n", " ") for name in dropped)
    assert bool(dropped) == ("not shown on a screen this narrow" in narrow.out.replace("\n", " "))


def _heads(out: str) -> Any:
    return (line for line in out.splitlines() if re.match(r"(began|tool|last|model|day|session) ", line))


@pytest.mark.parametrize(
    ("words", "planted"),
    [
        (("--failed",), {"arguments", "dependency", "unknown", "hostile", "loop"}),
        (("--looping",), {"loop"}),
        (("--unknown",), {"unknown"}),
        (("--running",), set[str]()),
        (("--session", "s-good"), {"good"}),
        (("--tool", "charge"), {"dependency"}),
        (("--principal", "nobody"), set[str]()),
        (("--tenant", "other"), set[str]()),
    ],
    ids=["failed", "looping", "unknown", "running", "session", "tool", "principal", "tenant"],
)
def test_a_filter_finds_the_runs_that_it_names(
    command: Command, seen: Seen, words: tuple[str, ...], planted: set[str]
) -> None:
    found = {one["run"] for one in _json(command, seen, "list", *words)}
    assert planted == {name for name, run in seen.runs.items() if run in found}


def test_the_list_is_the_newest_first_and_says_when_there_is_more(command: Command, seen: Seen) -> None:
    runs = _json(command, seen, "list", "-n", "100")
    assert [one["started"] for one in runs] == sorted((one["started"] for one in runs), reverse=True)
    assert [one["run"] for one in _json(command, seen, "list", "-n", "3")] == [one["run"] for one in runs[:3]]
    assert "-n shows more" in command("list", "-n", "3", *seen.options).out
    assert "-n shows more" not in command("list", "-n", "100", *seen.options).out
    assert command("list", "--session", "none", *seen.options).out == "No run is like this.\n"


def test_a_list_says_of_each_run_how_it_stands(command: Command, seen: Seen) -> None:
    lines = {name: run[-8:] for name, run in seen.runs.items()}
    out = command("list", *seen.options).out.splitlines()
    state = {name: next(line for line in out if short in line) for name, short in lines.items()}
    assert state["good"].endswith("  answer")
    assert state["loop"].endswith("  loops (1 refused), limit:turns")
    assert state["unknown"].endswith("  1 UNKNOWN, answer")
    assert "  unknown  answer" in state["unpriced"]  # its cost


@promise("see:percentiles")
def test_tools_shows_errors_by_class_percentiles_and_attempts(command: Command, seen: Seen) -> None:
    tools = {one["tool"]: one for one in _json(command, seen, "tools")}
    charge = tools["charge"]
    assert (charge["calls"], charge["errors"], charge["error_rate"], charge["attempts"]) == (1, 1, 1.0, 3)
    assert charge["by_class"]["dependency"] == 1
    assert tools["find_invoice"]["by_class"] == tools["find_invoice"]["by_class"] | {"argument": 1, "policy": 1}
    assert 0 < charge["latency"]["p50"] <= charge["latency"]["p95"] <= charge["latency"]["p99"]
    out = command("tools", *seen.options).out
    assert re.search(r"^charge +1 +1 \(100 %\) .* 3\.00 .*dependency 1$", out, re.MULTILINE)
    assert "(unknown)" in out  # what a model made up is one line, however many names


def _tool(one: Any) -> str:
    return one["tool"]


def _value(one: Any, key: str) -> float:
    match key:
        case "rate":
            return one["error_rate"]
        case "attempts":
            return one["attempts"] / one["calls"]
        case "bytes":
            return (one["argument_bytes"] + one["result_bytes"]) / one["calls"]
        case "calls" | "errors":
            return one[key]
        case _:
            return one["latency"][key]


@pytest.mark.parametrize("key", ["calls", "errors", "rate", "p50", "p95", "p99", "attempts", "bytes", "name"])
def test_tools_are_sorted_by_what_is_asked_for_and_that_column_stays(
    command: Command, seen: Seen, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    found = _json(command, seen, "tools", "--sort", key)
    if key == "name":
        assert found == sorted(found, key=_tool)
    else:
        values = [_value(one, key) for one in found]
        assert values == sorted(values, reverse=True)
    monkeypatch.setenv("COLUMNS", "60")
    head = command("tools", "--sort", key, *seen.options).out.splitlines()[0]
    assert {"rate": "errors", "attempts": "tries", "bytes": "result", "name": "tool"}.get(key, key) in head.split()


def test_the_spark_line_has_an_ascii_form(command: Command, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "█" in command("tools", *seen.options).out
    monkeypatch.setattr("toolrail.cli.screen.shows", str.isascii)
    out = command("tools", *seen.options).out + command("sessions", *seen.options).out
    assert out.isascii()


@promise("see:session")
def test_sessions_shows_the_average_the_distribution_and_what_looks_like_a_loop(command: Command, seen: Seen) -> None:
    shown = _json(command, seen, "sessions")
    sizes = shown["calls_per_session"]
    assert (sizes["count"], sizes["total"], sizes["most"]) == (9, 16, 7)
    assert sizes["mean"] == pytest.approx(16 / 9)
    assert {one["session"]: one["suspicion"] for one in shown["sessions"] if one["suspicion"]} == {
        "s-loop": "a loop: 1 call refused as repetition"
    }
    out = command("sessions", *seen.options).out
    assert "9 sessions in the last 7 d: 1.8 calls on average, half have at most 1, 95 % at most 7, the longest 7" in out
    assert re.search(r"^ +4-7 calls  \S+ 1$", out, re.MULTILINE)
    assert [one["calls"] for one in _json(command, seen, "sessions", "--sort", "calls", "-n", "2")["sessions"]] == [
        7,
        2,
    ]


def test_a_session_with_many_times_the_usual_calls_is_pointed_out() -> None:
    sizes = Distribution(100, 300, {2: 50, 4: 50})
    line = SessionLine("default", "s", "ada", 0.0, 0.0, 1, 40, 0, 0, Usage(), Money())
    assert suspicion(line, sizes) == "many calls: 10 times what 95 % do not exceed"
    assert suspicion(line, Distribution(3, 6, {2: 3})) == ""  # of three sessions none is usual


@promise("see:cost")
def test_an_unknown_price_is_shown_as_unknown_and_counted_and_never_as_nothing(command: Command, seen: Seen) -> None:
    out = command("cost", *seen.options).out
    assert re.search(r"^priced .* 4\.4000 USD +0$", out, re.MULTILINE)
    assert re.search(r"^unpriced .* unknown +1$", out, re.MULTILINE)
    assert "today: at least 4.4000 USD; 1 response without a price" in out
    assert "No price is known for unpriced" in out
    shown = _json(command, seen, "cost")
    assert shown["unpriced"] == 1
    assert shown["total"] == [{"amount": 4.4, "currency": "USD", "unpriced": 1, "at_least": True}]
    assert [one["cost"] for one in shown["lines"] if one["model"] == "unpriced"] == [UNKNOWN_COST]
    assert [one["cost"] for one in _json(command, seen, "list") if one["model"] == "unpriced"] == [UNKNOWN_COST]
    assert shown["today"]["costs"] == shown["total"]
    assert shown["yesterday"]["costs"] == []
    assert "yesterday: nothing until this time of day, nothing in all" in out


def test_cost_by_session_and_by_day(command: Command, seen: Seen) -> None:
    by_session = _json(command, seen, "cost", "--by", "session")["lines"]
    assert by_session[0]["session"] == "s-loop"
    by_day = _json(command, seen, "cost", "--by", "day", "--since", "2d")["lines"]
    assert [one["requests"] for one in by_day] == [23, 0, 0]
    assert len({one["day"] for one in by_day}) == 3


@pytest.mark.parametrize("since", ["", "soon", "2x", "-1h", "25:00", "2026-13-01", "2999-01-01", "99999999d"])
@pytest.mark.parametrize("name", ["list", "tools", "sessions", "cost"])
def test_a_time_that_is_none_is_wrong_usage(command: Command, seen: Seen, name: str, since: str) -> None:
    done = command(name, f"--since={since}", *seen.options)
    assert done.code == 2
    assert "--since" in done.err


@pytest.mark.parametrize("since", ["90s", "30m", "2h", "3d", "1w", "00:00", "2026-01-02", "2026-01-02T03:04"])
def test_a_time_may_be_a_span_a_time_of_day_or_a_date(command: Command, seen: Seen, since: str) -> None:
    assert len(_json(command, seen, "tools", "--since", since)) == 6
