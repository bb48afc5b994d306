"""`toolrail show RUN` tells one run from the store, found by its id or a part of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import SECRET_ANSWER, Command, Written


def test_a_run_is_told_turn_by_turn_with_codes_sizes_and_why_it_ended(command: Command, written: Written) -> None:
    done = command("show", written.called, "--store", str(written.path))
    assert done.code == 0
    facts = dict(line.split(maxsplit=1) for line in done.out.split("\n\n")[0].splitlines())
    assert facts["run"] == written.called
    assert facts["principal"] == "CUS-1"
    assert facts["session"] == "first"
    assert facts["ended"] == "answer"
    assert facts["requests"] == "3 to the model, 3 calls"
    assert facts["tokens"] == "300 in, 60 out"
    assert facts["offered"] == "find, refuse"
    story = [line for line in done.out.splitlines() if re.match(r"turn|\+[\d.]+ ms +(?:find|refuse) ", line)]
    assert [line for line in story if line.startswith("turn")][:2] == ["turn 1", "turn 2"]
    calls = [line for line in story if line.startswith("+")]
    assert len(calls) == 3
    assert re.search(r" find .* 17 B +\d+ B +1  ok", calls[0])
    assert "INVALID_ARGUMENTS: the arguments do not fit; nothing ran" in calls[1]
    assert re.search(r" refuse .*TOOL_ERROR: the tool said no", calls[2])
    assert story.index("turn 1") < story.index(calls[1]) < story.index("turn 2") < story.index(calls[2])


def test_what_the_model_was_answered_is_shown_only_when_asked_for(command: Command, written: Written) -> None:
    words = ("show", written.called, "--store", str(written.path))
    assert SECRET_ANSWER not in command(*words).out + command(*words, "--json").out
    assert SECRET_ANSWER in command(*words, "--content").out
    assert SECRET_ANSWER in command(*words, "--content", "--json").out


def test_a_run_without_calls_says_so(command: Command, written: Written) -> None:
    assert "No call was made." in command("show", written.silent, "--store", str(written.path)).out


@pytest.mark.parametrize("part", [slice(-8, None), slice(0, -1), slice(4, -1)], ids=["end", "prefix", "bare prefix"])
def test_a_part_of_the_id_is_enough_where_only_one_run_has_it(command: Command, written: Written, part: slice) -> None:
    done = command("show", written.called[part], "--store", str(written.path), "--json")
    assert json.loads(done.out)["run"] == written.called


def test_a_part_that_several_runs_have_is_a_problem_that_names_them(command: Command, written: Written) -> None:
    done = command("show", "run_", "--store", str(written.path))
    assert done.code == 1
    assert "2 runs match" in done.err
    assert written.called in done.err
    assert written.silent in done.err


def test_json_has_the_calls_with_sizes_and_codes(command: Command, written: Written) -> None:
    shown = json.loads(command("show", written.called, "--store", f"sqlite:///{written.path}", "--json").out)
    assert shown["stop_reason"] == "answer"
    assert shown["turns"] == 3
    assert shown["usage"]["input_tokens"] == 300
    assert [(one["turn"], one["tool"], one["code"]) for one in shown["calls"]] == [
        (1, "find", None),
        (1, "find", "INVALID_ARGUMENTS"),
        (2, "refuse", "TOOL_ERROR"),
    ]
    assert shown["calls"][0]["argument_bytes"] == len('{"query": "lamp"}')


def _nothing(path: Path) -> None:
    """Leaves it missing."""


def _text(path: Path) -> None:
    path.write_text("no database, but a text that is long enough to be taken for one, were it not for its beginning")


def _directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "says"),
    [(_nothing, "there is no such file."), (_text, "it is not an SQLite database."), (_directory, "is a directory.")],
)
@pytest.mark.parametrize("words", [("show", "run_1"), ("tail", "--once")])
def test_a_file_that_is_no_store_is_named_with_its_mend(
    command: Command, tmp_path: Path, make: object, says: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "rail.db"
    assert callable(make)
    make(path)
    done = command(*words, "--store", str(path))
    assert done.code == 1
    assert str(path) in done.err
    assert says in done.err
    assert "Mend: " in done.err


def test_an_unknown_run_is_a_problem(command: Command, written: Written) -> None:
    done = command("show", "run_ffff", "--store", str(written.path))
    assert done.code == 1
    assert "run run_ffff: no run in" in done.err


def test_a_store_that_cannot_be_read_from_outside_is_wrong_usage(command: Command) -> None:
    done = command("show", "run_1", "--store", "memory://")
    assert done.code == 2
    assert "--store memory://: only SQLite files" in done.err


def test_the_store_may_stand_in_the_environment(
    command: Command, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLRAIL_STORE", f"sqlite:///{written.path}")
    assert command("show", written.called).code == 0
