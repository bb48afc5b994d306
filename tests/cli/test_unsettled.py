"""A call that was started and never settled is what matters most: `tail` and `show` tell of it, loudly."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from toolrail.cli.reading import Record
from toolrail.cli.tail import Followed
from toolrail.codes import Code
from toolrail.run import RunState
from toolrail.store import CallRow, Claim, Op, RunRow, SaveRun, Settle
from toolrail.stores.sqlite import SQLiteStore
from toolrail.wording import text_for

PAST, FUTURE = 1_000.0, 9_000_000_000.0
RUN = "run_killed"
UNKNOWN = "OUTCOME UNKNOWN: started, not settled: the outcome is unknown; it will not be repeated"
UNDER_WAY = "UNDER WAY: started, not settled yet"


def _run(run: str = RUN, *, updated: float = PAST) -> SaveRun:
    state = RunState(run, "default", "ada", turn=1, offered=("pay",))
    return SaveRun(RunRow("default", run, None, "ada", state.to_json(), None, PAST, updated))


def _started(tool: str = "pay", *, lease_until: float | None = PAST, updated: float = PAST, index: int = 0) -> CallRow:
    return CallRow(
        "default",
        RUN,
        f"{RUN}:1:{index}",
        1,
        index,
        "call_1",
        tool,
        "digest",
        "ada",
        "once",
        "started",
        created=PAST,
        updated=updated,
        lease_until=lease_until,
    )


def _done(call: CallRow) -> CallRow:
    return replace(call, state="done", status="ok", content="paid", lease_until=None, updated=call.updated + 1)


def _write(path: Path, *ops: Op) -> None:
    async def write() -> None:
        store = SQLiteStore(path)
        try:
            await store.apply(*ops)
        finally:
            await store.close()

    asyncio.run(write())


CASES = [(PAST, UNKNOWN, "unknown"), (FUTURE, UNDER_WAY, "under_way"), (None, UNDER_WAY, "under_way")]


@pytest.mark.parametrize(("lease_until", "says", "label"), CASES)
@pytest.mark.parametrize("words", [("tail", "--once"), ("show", RUN)])
def test_a_call_that_was_never_settled_is_shown_with_what_that_means(
    command: Command, tmp_path: Path, words: tuple[str, ...], lease_until: float | None, says: str, label: str
) -> None:
    path = tmp_path / "rail.db"
    _write(path, Claim(_started(lease_until=lease_until), PAST), _run())
    assert [line for line in command(*words, "--store", str(path)).out.splitlines() if "pay " in line and says in line]
    shown = json.loads(command(*words, "--store", str(path), "--json").out)
    call = shown["calls"][0] if words[0] == "show" else shown
    assert (call["tool"], call["state"], call["status"], call["unsettled"]) == ("pay", "started", None, label)
    assert call["lease_until"] == lease_until


def test_the_head_of_a_run_counts_its_unknown_outcomes_and_a_settled_call_is_none(
    command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "rail.db"
    _write(path, _run(), Claim(_started(index=0), PAST), Claim(_started(index=1, lease_until=FUTURE), PAST))
    assert "UNKNOWN   1 of the calls: started, not settled" in command("show", RUN, "--store", str(path)).out
    _write(path, Settle(_done(_started(index=0))))
    shown = command("show", RUN, "--store", str(path), "--json").out
    assert [call["unsettled"] for call in json.loads(shown)["calls"]] == [None, "under_way"]
    assert "UNKNOWN" not in command("show", RUN, "--store", str(path)).out


def test_a_call_that_never_settled_is_printed_even_where_newer_calls_push_it_out(
    command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "rail.db"
    newer = [_done(_started("find", index=at, updated=PAST + at)) for at in range(1, 6)]
    _write(path, _run(), Claim(_started(), PAST), *(Settle(row) for row in newer))
    done = command("tail", "--once", "--json", "-n", "2", "--store", str(path))
    assert [json.loads(line)["tool"] for line in done.out.splitlines()] == ["pay", "find", "find"]


def test_following_tells_a_call_again_when_it_settles_though_nobody_wrote_to_its_run(tmp_path: Path) -> None:
    path = tmp_path / "rail.db"
    _write(path, _run(), Claim(_started(lease_until=FUTURE), PAST))
    followed, record = Followed(now=lambda: FUTURE - 1), Record(str(path))
    assert [call.state for call in followed.look(record)] == ["started"]
    assert followed.look(record) == []
    _write(path, Settle(_done(_started())))
    assert [call.state for call in followed.look(record)] == ["done"]
    assert followed.look(record) == []


def test_following_tells_a_call_again_when_its_lease_lapses_however_many_runs_came_since(tmp_path: Path) -> None:
    path, now = tmp_path / "rail.db", [FUTURE - 1]
    _write(path, _run(), Claim(_started(lease_until=FUTURE), PAST))
    followed, record = Followed(now=lambda: now[0]), Record(str(path))
    assert len(followed.look(record)) == 1
    _write(path, *(_run(f"run_{at}", updated=PAST + at) for at in range(100)))
    assert followed.look(record) == []
    now[0] = FUTURE + 1
    assert [call.key for call in followed.look(record)] == [f"{RUN}:1:0"]
    assert followed.look(record) == []


def test_a_call_of_a_later_turn_is_found_though_its_run_was_saved_before(tmp_path: Path) -> None:
    path = tmp_path / "rail.db"
    _write(path, _run(), Claim(_started(), PAST))
    followed, record = Followed(), Record(str(path))
    assert len(followed.look(record)) == 1
    _write(path, Claim(_started(index=1), PAST))
    assert [call.index for call in followed.look(record)] == [1]


@pytest.mark.parametrize("state", ["", "{}", "[]", "null"])
def test_a_run_whose_state_cannot_be_read_is_named_with_its_mend(command: Command, tmp_path: Path, state: str) -> None:
    path = tmp_path / "rail.db"
    _write(path, SaveRun(replace(_run().row, state=state)), Claim(_started(), PAST))
    done = command("show", RUN, "--store", str(path))
    assert done.code == 1
    assert f"run {RUN}: its state cannot be read" in done.err
    assert "Mend: " in done.err
    assert UNKNOWN in command("tail", "--once", "--store", str(path)).out


def test_the_model_is_told_that_somebody_has_to_check_and_not_that_somebody_does() -> None:
    told = text_for(Code.OUTCOME_UNKNOWN, {}, {"tool": "pay"})
    assert told == (
        "It is not known whether pay took effect. Do not call it again; tell the user that the outcome is not known "
        "and has to be checked."
    )
