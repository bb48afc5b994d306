"""Alerts over what real runs recorded: which rule fires, who hears of it, when it is over, what goes wrong."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises import promise
from tests.records.alerting import BUG, DOWN, GOOD, START, WRONG, Heard, Shop, pay
from toolrail import Rail, ToolCall
from toolrail.clock import SystemClock
from toolrail.records.alerts import (
    Alerts,
    AlertSink,
    ErrorRate,
    Evaluator,
    LongRuns,
    Loops,
    LostTelemetry,
    OpenCircuit,
    Slower,
    Spend,
    UnknownOutcomes,
)
from toolrail.records.alerts.evaluator import LEASED
from toolrail.records.alerts.keeping import take_lease
from toolrail.records.database import RecordsError, connect
from toolrail.records.reading import Records
from toolrail.testing import run_virtual

HEALTHY = [GOOD] * 60


@promise("see:alerts")
@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ([WRONG, GOOD] * 15, "wrong-arguments"),
        ([DOWN, GOOD] * 15, "dependency-fails"),
        ([BUG, GOOD] * 15, "tool-bug"),
        ([WRONG, DOWN, BUG, *[GOOD] * 25, WRONG, DOWN, BUG, GOOD], "error-rate"),
    ],
)
def test_wrong_arguments_a_failing_dependency_and_a_bug_are_told_apart(
    tmp_path: Path, arguments: list[str], rule: str
) -> None:
    shop = Shop(tmp_path)
    shop.calls(*arguments)
    assert shop.look() == [(rule, "pay", "firing")]
    assert [change.rule for change in shop.heard.changes] == [rule]


@promise("see:alerts")
def test_an_alert_says_what_is_wrong_and_stands_in_the_record(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.calls(*[DOWN] * 6, *[GOOD] * 24)
    shop.look()
    text = "pay: 6 of its last 30 calls failed (20.0%, limit 5%): 6 by the dependency"
    assert shop.heard.changes[0].text == text
    with Records(shop.url) as records:
        (line,), (note,) = records.alerts(), records.alert_log()
    assert (line.rule, line.subject, line.state, line.severity) == ("dependency-fails", "pay", "firing", "critical")
    assert (note.state, note.text, note.told) == ("firing", text, ("log", "heard"))


@promise("see:alerts")
def test_too_few_calls_and_refusals_by_a_policy_are_no_alert(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.calls(*[DOWN] * 19)
    assert shop.look() == []
    shop.calls(*[GOOD] * 200, name="nothing")  # tools that do not exist: the model's mistake, told under one name
    assert {subject for _, subject, _ in shop.look()} == {"(unknown)"}


@promise("see:alerts")
def test_it_clears_after_enough_good_calls_and_is_told_once_each_way(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.calls(*[DOWN] * 30)
    assert shop.look() == [("dependency-fails", "pay", "firing")]
    assert shop.look() == []
    shop.calls(*HEALTHY)  # in the same minute: they do not count
    assert shop.look(after=60.0) == []
    shop.calls(*[GOOD] * 39)
    assert shop.look() == []
    shop.calls(GOOD)
    assert shop.look() == [("dependency-fails", "pay", "clear")]
    assert [change.state for change in shop.heard.changes] == ["firing", "clear"]


@promise("see:alerts")
def test_no_traffic_is_not_good_news(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.calls(*[DOWN] * 30)
    shop.look()
    for later in (600.0, 7_200.0, 90_000.0):
        assert shop.look(after=later) == []
        with Records(shop.url) as records:
            (line,) = records.alerts()
        assert line.state == "firing"
        assert "; no" in line.text
    assert "2027-01-15 08:01 UTC" in line.text


@promise("see:alerts")
def test_it_must_last_for_seconds_if_the_rule_says_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [ErrorRate("errors", for_seconds=120.0)])
    shop.calls(*[DOWN] * 30)
    assert shop.look() == shop.look(after=60.0) == []
    assert shop.look(after=61.0) == [("errors", "pay", "firing")]


@promise("see:alerts")
def test_a_silenced_tool_says_nothing_and_what_is_silenced_later_is_over(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [ErrorRate("errors")])
    shop.calls(*[DOWN] * 30)
    assert shop.look() == [("errors", "pay", "firing")]
    shop.evaluator.alerts = Alerts([ErrorRate("errors", silence=("pa*",))])
    assert shop.look() == [("errors", "pay", "clear")]
    assert shop.look() == []


@promise("see:alerts")
def test_a_p95_that_is_twice_as_long_as_in_the_hours_before_fires_and_clears(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [Slower("slower")])
    shop.calls(*['{"seconds": 0.2}'] * 230, name="find", each=30.0)  # nearly two hours
    assert shop.look() == []
    shop.clock.time += 600.0
    shop.calls(*['{"seconds": 0.3}'] * 60, name="find", each=1.0)  # slower, but not twice
    assert shop.look() == []
    shop.clock.time += 600.0
    shop.calls(*['{"seconds": 0.2}'] * 50, *['{"seconds": 1.2}'] * 10, name="find", each=1.0)
    assert shop.look() == [("slower", "find", "firing")]
    assert "p95 1.2" in shop.heard.changes[0].text
    shop.clock.time += 660.0
    shop.calls(*['{"seconds": 0.2}'] * 60, name="find", each=1.0)
    assert shop.look() == [("slower", "find", "clear")]


@promise("see:alerts")
def test_runs_with_too_many_calls_fire(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [LongRuns("long-runs", over=3, least=20)])
    for number in range(20):
        shop.run(calls=6 if number % 3 == 0 else 2)
    assert shop.look() == [("long-runs", "runs", "firing")]
    assert shop.heard.changes[0].text.startswith("7 of 20 runs made more than 3 calls")


@promise("see:alerts")
def test_loops_fire(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [Loops("loops", count=2)])
    shop.run(calls=12, arguments='{"amount": 1}')
    assert shop.look() == [("loops", "pay", "firing")]


@promise("see:alerts")
def test_an_open_circuit_fires_after_a_minute(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [OpenCircuit("open-circuit")])
    shop.calls(*[f'{{"order": {number}}}' for number in range(40)], name="ship")
    assert shop.look() == []
    assert shop.look(after=61.0) == [("open-circuit", "ship", "firing")]
    assert shop.look(after=3_600.0) == []
    with Records(shop.url) as records:
        assert "nobody has tried it since" in records.alerts()[0].text


@promise("see:alerts")
def test_spend_over_an_amount_or_over_yesterdays_fires_and_says_what_has_no_price(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [Spend("amount", over=5.0), Spend("yesterday", per="hour", factor=3.0)])
    shop.run(calls=1, paid=0.5)
    assert shop.look() == []
    shop.clock.time += 86_400.0 - 60.0
    shop.run(calls=1, paid=1.45)
    assert shop.look() == []
    shop.run(calls=1, paid=1.5)
    shop.run(calls=1, paid=None)
    assert shop.look(after=700.0) == [("amount", "USD", "firing"), ("yesterday", "USD", "firing")]
    unpriced = "at least 5.90 USD (2 responses have no known price) in an hour; the same span yesterday: 1.00 USD"
    assert shop.heard.changes[1].text == unpriced
    assert shop.look(after=90_000.0) == [("amount", "USD", "clear"), ("yesterday", "USD", "clear")]


@promise("see:alerts")
def test_an_unknown_outcome_that_waits_for_ten_minutes_fires(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [UnknownOutcomes("unknown-outcomes")])
    shop.calls('{"item": "lamp"}', name="order")
    assert shop.look() == []
    assert shop.look(after=600.0) == [("unknown-outcomes", "order", "firing")]


@promise("see:alerts")
def test_lost_telemetry_fires_until_nothing_was_lost_for_a_while(tmp_path: Path) -> None:
    shop = Shop(tmp_path, [LostTelemetry("lost")])
    shop.record([], lost=7)
    assert shop.look() == [("lost", "telemetry", "firing")]
    assert shop.look() == []
    assert shop.look(after=600.0) == [("lost", "telemetry", "clear")]
    assert shop.look() == []


# Who looks, and who is told.


@promise("see:alerts")
def test_of_two_evaluators_one_looks_and_the_other_takes_over_when_it_dies(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    other = Evaluator(shop.url, shop.alerts, now=shop.clock.wall)
    shop.look()
    shop.calls(*[DOWN] * 30)
    assert other.look() == []
    assert shop.look() == [("dependency-fails", "pay", "firing")]
    shop.clock.time += 46.0  # three rounds later the lease has lapsed
    shop.calls(*HEALTHY, each=1.0)
    shop.calls(*HEALTHY, each=1.0)
    assert [(one.rule, one.state) for one in other.look()] == [("dependency-fails", "clear")]
    assert shop.look(after=0.0) == []
    assert [change.state for change in shop.heard.changes] == ["firing", "clear"]


WORKER = """
import sys, time
from toolrail.records.alerts import Alerts, Evaluator
evaluator = Evaluator(sys.argv[1], Alerts(every=0.05), now=lambda: float(sys.argv[2]))
for _ in range(5):
    for change in evaluator.look():
        print(change.rule, change.state, flush=True)
"""


@promise("see:alerts")
def test_of_two_processes_that_look_at_once_one_tells(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.calls(*[DOWN] * 30)
    command = [sys.executable, "-c", WORKER, shop.url, str(START + 30.0)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    said = [one.communicate(timeout=60)[0] for one in both]
    assert sorted(said) == ["", "dependency-fails firing\n"]


@promise("see:alerts")
def test_whoever_did_not_hear_is_told_at_the_next_rounds_and_nobody_twice(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.heard.deaf = 2
    shop.calls(*[DOWN] * 30)
    shop.look()
    shop.look()
    assert shop.heard.changes == []
    shop.look()
    shop.look()
    assert [change.state for change in shop.heard.changes] == ["firing"]
    with Records(shop.url) as records:
        assert records.alert_log()[0].told == ("log", "heard")


@promise("see:alerts")
def test_a_teller_that_raises_is_logged_without_its_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Heard):
        def tell(self, change: object) -> str | None:
            raise OSError("https://hooks.example/SECRET")

    shop = Shop(tmp_path)
    shop.evaluator.alerts = Alerts(tellers=(Broken("broken"),))
    shop.calls(*[DOWN] * 30)
    assert shop.look() == [("dependency-fails", "pay", "firing")]
    assert "by broken: OSError" in caplog.text
    assert "SECRET" not in caplog.text


@promise("see:alerts")
def test_a_damaged_file_is_said_once_and_the_thread_goes_on_when_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "shop.records.db"
    path.write_bytes(b"this is no database, " * 400)
    shop = Shop(tmp_path, every=0.01)
    with pytest.raises(RecordsError, match="not an SQLite database"):
        shop.look()
    shop.evaluator.start()
    while shop.evaluator.failures < 3:
        pass
    assert caplog.text.count("Alerts cannot be looked at") == 1
    path.unlink()
    shop.calls(*[DOWN] * 30)
    while not shop.heard.changes:
        shop.clock.time += 0.001
    shop.evaluator.stop()
    assert shop.heard.changes[0].rule == "dependency-fails"


@promise("see:alerts")
def test_a_locked_file_costs_a_round_and_no_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolrail.records.sqlite_database.BUSY_SECONDS", 0.05)
    shop = Shop(tmp_path)
    shop.calls(*[DOWN] * 30)
    other = sqlite3.connect(tmp_path / "shop.records.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordsError, match="another process has been writing"):
        shop.look()
    other.execute("ROLLBACK")
    other.close()
    assert shop.look() == [("dependency-fails", "pay", "firing")]
    assert len(shop.heard.changes) == 1


@promise("see:alerts")
def test_what_a_short_program_did_is_told_as_it_stops(tmp_path: Path) -> None:
    shop = Shop(tmp_path, every=3_600.0)
    shop.evaluator.start()
    shop.calls(*[DOWN] * 30)
    shop.evaluator.stop(30.0)
    assert [change.rule for change in shop.heard.changes] == ["dependency-fails"]
    database = connect(shop.url)
    assert take_lease(database, "another", shop.clock.wall(), 60.0)  # it need not wait until the lease lapses
    database.close()


@promise("see:alerts")
def test_the_record_says_until_when_somebody_looks_and_since_when_nobody_does(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.calls(GOOD)
    with Records(shop.url) as records:
        assert records.looked() is None
        shop.look()
        assert records.looked() == shop.clock.wall() + LEASED * shop.alerts.every
        shop.evaluator.close()  # the connection of this thread
        shop.evaluator.start()
        shop.evaluator.stop(30.0)
        assert records.looked() == shop.clock.wall()


@promise("see:alerts")
def test_a_round_that_cannot_be_written_is_whole_the_next_time(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.calls(*[DOWN] * 30)
    database = sqlite3.connect(tmp_path / "shop.records.db")
    database.execute("ALTER TABLE alert_log RENAME TO away")
    with pytest.raises(RecordsError):
        shop.look()
    database.execute("ALTER TABLE away RENAME TO alert_log")
    database.close()
    assert shop.look() == [("dependency-fails", "pay", "firing")]


# In the process, without a file.


@promise("see:alerts")
def test_without_a_record_the_sink_warns_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolrail.alerts")
    sink = AlertSink()

    async def run() -> None:
        async with Rail([pay], sinks=[sink], clock=SystemClock()) as rail:
            for number, one in enumerate([*[WRONG] * 20, *[GOOD] * 40]):
                await rail.batch([ToolCall(f"c{number}", "pay", one)])
                if number == 19:
                    assert sink.firing == (("wrong-arguments", "pay"),)

    run_virtual(run())
    said = [record.getMessage() for record in caplog.records if record.name == "toolrail.alerts"]
    assert [line.split(" severity")[0] for line in said] == [
        "alert=wrong-arguments subject=pay state=firing",
        "alert=wrong-arguments subject=pay state=clear",
    ]
    assert sink.firing == ()
