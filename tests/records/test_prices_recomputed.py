"""`toolrail prices`: what models cost, who says so, and recorded costs computed again from the raw usage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from toolrail import Agent, Rail, Usage, tool
from toolrail.cli import main
from toolrail.events import Event
from toolrail.money import NO_PRICES, PriceBook
from toolrail.records.database import connect
from toolrail.records.prices import Price, Prices
from toolrail.records.recorder import Recorder
from toolrail.records.recosting import Spent, recompute
from toolrail.testing import Calls, Say, ScriptedModel
from toolrail.testing import Recorder as Events

D = Decimal
OWN = {"scripted": Price(D(2), D(10), cached=D("0.5")), "another": Price(D(1), D(1), currency="EUR")}
TOML = """
[models.scripted]
input = 2
output = 10
cached = 0.5

[models.another]
input = 1
output = 1
currency = "EUR"
"""
TABLES = {
    "models": "SELECT run, seq, model, cost, currency FROM models ORDER BY run, seq",
    "runs": "SELECT run, cost, currency, unpriced, input_tokens FROM runs ORDER BY run",
    "sessions": "SELECT session, cost, currency, unpriced, runs FROM sessions ORDER BY session",
    "rollups": "SELECT grain, start, model, currency, requests, input_tokens, cost, unpriced, bins FROM model_rollups "
    "ORDER BY grain, start, model, currency",
}


@tool(effect="read")
async def find(query: str) -> str:
    """Finds products."""
    return f"found {query}"


async def _runs() -> list[Event]:
    """Three runs of two models in two sessions, as a rail tells of them."""
    recorder = Events()
    async with Rail([find], sinks=[recorder]) as rail:
        usage = Usage(10_000, 500, cached_tokens=4_000)
        for session, name in (("s", "scripted"), ("s", "scripted"), ("t", "another")):
            turns = [Calls(("find", {"query": session}), usage=usage), Say("Done.", usage=Usage(20_000, 100))]
            model = ScriptedModel(turns)
            model.name = name
            await Agent(model, rail).run("Go.", session=session)
    return recorder.events


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """What real runs told."""
    return asyncio.run(_runs())


def recorded(path: Path, events: list[Event], book: PriceBook) -> str:
    """A record of these events, with costs by these prices."""
    url = f"sqlite:///{path}"
    recorder = Recorder(url, prices=book)
    for event in events:
        recorder.emit(event)
    recorder.close()
    assert recorder.lost == 0
    return url


def tables(url: str) -> dict[str, Any]:
    """All that has to do with money, with sums to the millionth of a cent."""
    db = connect(url, readonly=True)
    found = {
        name: [tuple(round(one, 9) if isinstance(one, float) else one for one in row) for row in db.select(sql)]
        for name, sql in TABLES.items()
    }
    db.close()
    return found


@promise("see:cost")
def test_costs_computed_again_are_those_that_would_have_been_recorded(tmp_path: Path, events: list[Event]) -> None:
    url = recorded(tmp_path / "late.db", events, NO_PRICES)
    wanted = tables(recorded(tmp_path / "known.db", events, Prices(OWN)))
    before = tables(url)
    assert all(cost is None for *_, cost, _ in before["models"])
    preview = recompute(url, Prices(OWN), write=False)
    assert (preview.responses, preview.changed, preview.priced, preview.kept) == (6, 6, 6, 0)
    assert tables(url) == before
    done = recompute(url, Prices(OWN))
    assert done == preview
    assert tables(url) == wanted
    assert done.before == {}
    assert done.after == pytest.approx({"USD": 2 * (0.012 + 0.002 + 0.005 + 0.04 + 0.001), "EUR": 0.0306})
    again = recompute(url, Prices(OWN))
    assert (again.responses, again.changed, again.kept) == (6, 0, 0)


@promise("see:cost")
def test_a_corrected_price_corrects_every_sum_and_a_lost_one_loses_no_cost(tmp_path: Path, events: list[Event]) -> None:
    wrong = {"scripted": Price(D(9), D(9), currency="EUR"), "another": Price(D(9), D(9))}
    url = recorded(tmp_path / "wrong.db", events, Prices(wrong))
    wanted = tables(recorded(tmp_path / "right.db", events, Prices(OWN)))
    assert recompute(url, Prices(OWN)).changed == 6
    assert tables(url) == wanted
    done = recompute(url, NO_PRICES)
    assert (done.changed, done.kept, done.unpriced) == (0, 6, {})
    assert tables(url) == wanted


@promise("see:cost")
def test_what_retention_took_away_stays_in_the_sums_of_a_session_and_since_the_beginning(
    tmp_path: Path, events: list[Event]
) -> None:
    url = recorded(tmp_path / "old.db", events, Prices({"scripted": Price(D(4), D(20), cached=D(1))}))
    db = connect(url)
    ((first,),) = db.select("SELECT run FROM runs WHERE session = 's' ORDER BY started LIMIT 1")
    with db.transaction():
        db.execute("DELETE FROM runs WHERE run = ?", (first,))
        db.execute("DELETE FROM models WHERE run = ?", (first,))
        db.execute("DELETE FROM model_rollups WHERE grain = 60")
    db.close()
    recompute(url, Prices({"scripted": OWN["scripted"]}))
    found = tables(url)
    ((_, cost, _, unpriced, runs),) = [row for row in found["sessions"] if row[0] == "s"]
    assert (cost, unpriced, runs) == (pytest.approx(0.06 * 2 + 0.06), 0, 2)
    totals = {row[2]: row[6] for row in found["rollups"] if row[0] == 0}
    assert totals["scripted"] == pytest.approx(0.18)
    assert {row[0] for row in found["rollups"]} == {0, 3600}


@pytest.mark.parametrize(
    ("costs", "spent"),
    [
        ([(1.0, "USD"), (None, "USD")], Spent(1.0, "USD", 1)),
        ([(None, "USD"), (1.0, "EUR")], Spent(1.0, "EUR", 1)),
        ([(1.0, "EUR"), (1.0, "USD"), (2.0, "EUR")], Spent(3.0, "EUR", 1)),
    ],
)
def test_a_sum_is_in_one_currency_and_what_is_in_another_counts_as_unknown(
    costs: list[tuple[float | None, str]], spent: Spent
) -> None:
    found = Spent()
    for cost, currency in costs:
        found.add(cost, currency)
    assert found == spent


# The command


@pytest.fixture
def place(tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """A record without costs, and a file of prices."""
    monkeypatch.delenv("TOOLRAIL_PRICES", raising=False)
    file = tmp_path / "prices.toml"
    file.write_text(TOML, encoding="utf-8")
    return {"record": recorded(tmp_path / "rail.records.db", events, NO_PRICES), "prices": str(file)}


@promise("see:cost")
def test_the_command_lists_models_with_their_prices_and_who_says_so(
    place: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prices", "--records", place["record"]]) == 0
    out = capsys.readouterr().out
    assert "scripted" in out
    assert "unknown" in out
    assert "State a price for" in out
    assert main(["prices", "--records", place["record"], "--prices", place["prices"], "--json"]) == 0
    found = {one["model"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["scripted"]["source"] == "own"
    assert found["scripted"]["price"]["cached"] == "0.5"
    assert (found["scripted"]["requests"], found["scripted"]["unpriced"]) == (4, 4)
    assert main(["prices", "--records", place["record"], "--prices", place["prices"]]) == 0
    out = capsys.readouterr().out
    assert "own" in out
    assert "6 responses were recorded without a price that is known now: --recompute." in out


@promise("see:cost")
def test_the_command_computes_costs_again_or_says_what_it_would_do(
    place: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prices", "--records", place["record"], "--prices", place["prices"], "--own-only"]
    assert main([*words, "--preview", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) | {"after": 0} == {
        "responses": 6, "changed": 6, "priced": 6, "kept": 0, "unpriced": {}, "before": {}, "after": 0,
        "written": False,
    }  # fmt: skip
    assert main([*words, "--recompute"]) == 0
    assert "6 costs were changed" in capsys.readouterr().out
    assert main([*words, "--preview"]) == 0
    assert "0 costs would be changed" in capsys.readouterr().out
    assert main(["prices", "--records", place["record"], "--own-only", "--recompute"]) == 0
    assert "6 were kept" in capsys.readouterr().out
    assert main(["cost", "--records", place["record"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unpriced"] == 0


@promise("see:cost")
def test_the_price_of_one_model_is_told_without_a_record(
    place: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--prices", place["prices"], "--own-only"]
    assert main(["prices", "scripted", *own]) == 0
    assert "scripted  own" in capsys.readouterr().out
    assert main(["prices", "scripted", *own, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["price"]["input"] == "2"
    assert main(["prices", "openai:gpt-4o", "--toml"]) == 0
    assert capsys.readouterr().out.startswith("# genai-prices ")
    assert main(["prices", "nobody:x", *own]) == 1
    assert "no price is known" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--toml"], 2, "do not go together"),
        (["scripted", "--recompute"], 2, "do not go together"),
        (["--prices", "none.toml"], 1, "TR309 none.toml: it cannot be read"),
        (["--records", "none.db"], 1, "none.db: there is no such file"),
        (["--records", "none.db", "--recompute"], 1, "none.db: there is no such file"),
    ],
)
def test_what_cannot_be_done_is_said_with_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], code: int, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["prices", *words]) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_record_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connect(f"sqlite:///{tmp_path / 'r.db'}").close()
    assert main(["prices", "--records", str(tmp_path / "r.db")]) == 0
    assert "No model was asked" in capsys.readouterr().out


@promise("see:cost")
def test_what_is_recorded_has_ones_own_price_or_the_looked_up_one_or_an_unknown_cost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'looked.records.db'}"
    recorder = Recorder(url, prices={"openai:gpt-5": Price(D(1), D(1))})

    async def main() -> None:
        async with Rail([find], sinks=[recorder]) as rail:
            own = {"mine": {"mine": Price(D(3), D(3))}}
            for name in ("openai:gpt-5", "openai:gpt-4o", "nobody:x", "mine"):
                model = ScriptedModel([Say("Done.", usage=Usage(1_000_000, 0))])
                model.name = name
                await Agent(model, rail, prices=own.get(name)).run("Go.")

    asyncio.run(main())
    assert recorder.flush(30.0)
    recorder.close()
    costs = {model: cost for _, _, model, cost, _ in tables(url)["models"]}
    assert costs == {"openai:gpt-5": 1.0, "openai:gpt-4o": 2.5, "nobody:x": None, "mine": 3.0}
