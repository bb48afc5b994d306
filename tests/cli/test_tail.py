"""`toolrail tail` prints each settled call once: what is there, and what comes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import SECRET_ANSWER, Command, Written, find, refuse
from toolrail import Rail, ToolCall
from toolrail.cli.reading import Record
from toolrail.cli.tail import Followed


def test_once_prints_a_line_for_each_call_with_what_its_code_means(command: Command, written: Written) -> None:
    done = command("tail", "--once", "--store", str(written.path))
    assert done.code == 0
    head, *lines = done.out.splitlines()
    assert head.split() == ["time", "run", "tool", "took", "args", "result", "tries", "outcome"]
    assert len(lines) == 3
    assert all(re.match(rf"\d\d:\d\d:\d\d  {written.called[-8:]}  (?:find|refuse) ", line) for line in lines)
    assert sum(line.endswith("  ok") for line in lines) == 1
    assert any(line.endswith("TOOL_ERROR: the tool said no") for line in lines)
    assert SECRET_ANSWER not in done.out


def test_json_has_one_object_a_line_and_no_content(command: Command, written: Written) -> None:
    done = command("tail", "--once", "--json", "--store", str(written.path))
    calls = [json.loads(line) for line in done.out.splitlines()]
    assert {one["run"] for one in calls} == {written.called}
    assert sorted(one["code"] or "ok" for one in calls) == ["INVALID_ARGUMENTS", "TOOL_ERROR", "ok"]
    assert all("content" not in one for one in calls)


@pytest.mark.parametrize(("lines", "printed"), [("0", 0), ("1", 1), ("2", 2), ("50", 3)])
def test_lines_says_how_many_of_the_newest_calls_are_printed(
    command: Command, written: Written, lines: str, printed: int
) -> None:
    done = command("tail", "--once", "--json", "-n", lines, "--store", str(written.path))
    assert len(done.out.splitlines()) == printed


def test_it_says_when_earlier_calls_are_left_out(command: Command, written: Written) -> None:
    assert "-n shows more" in command("tail", "--once", "-n", "1", "--store", str(written.path)).out
    assert "-n shows more" not in command("tail", "--once", "--store", str(written.path)).out


def test_following_prints_what_comes_and_each_call_once(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rail.db"
    asyncio.run(_calls(path, "first"))
    steps: Iterator[str] = iter(("second", "", "third"))

    def meanwhile(seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        if step:
            asyncio.run(_calls(path, step))

    monkeypatch.setattr("toolrail.cli.tail.time.sleep", meanwhile)
    done = command("tail", "--json", "--store", str(path))
    assert done.code == 130
    calls = [json.loads(line) for line in done.out.splitlines()]
    assert [one["tool"] for one in calls] == ["find", "refuse"] * 3
    assert len({one["key"] for one in calls}) == 6


async def _calls(path: Path, query: str) -> None:
    async with Rail([find, refuse], store=f"sqlite:///{path}") as rail, rail.run([]) as run:
        calls = [ToolCall("1", "find", json.dumps({"query": query})), ToolCall("2", "refuse", "{}")]
        await rail.batch(calls, run)


def test_a_run_that_the_first_look_left_out_is_not_printed_as_new(written: Written) -> None:
    followed, record = Followed(first=1), Record(str(written.path))
    assert followed.look(record) == []  # the newest run has no calls; the one with calls was left out
    followed.since = 1.0  # as if that run had been written to again
    assert followed.look(record) == []
