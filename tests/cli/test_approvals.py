"""`toolrail approvals` lists what waits for a person and takes the answer."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from toolrail import Principal, Rail, tool
from toolrail.approvers import deferred
from toolrail.decisions import Ask
from toolrail.messages import ToolCall


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with one question in it."""

    @tool(effect="once", approve=Ask("it costs money", needs="payments:approve", four_eyes=True))
    async def pay(invoice: str) -> str:
        """Pays."""
        raise AssertionError("nobody resumes it here")

    async def main() -> None:
        path = tmp_path / "rail.db"
        async with (
            Rail([pay], store=f"sqlite:///{path}", approver=deferred, sinks=()) as rail,
            rail.run([], principal=Principal("alice")) as run,
        ):
            await rail.batch([ToolCall("1", "pay", '{"invoice": "A1"}')], run)

    asyncio.run(main())
    return str(tmp_path / "rail.db")


def test_what_waits_is_listed_and_decided_once_by_somebody_who_may(command: Command, store: str) -> None:
    listed = command("approvals", "list", "--store", store)
    assert listed.code == 0
    assert "pending, until " in listed.out
    assert "alice asks for pay" in listed.out
    assert '"A1"' in listed.out
    assert "it costs money" in listed.out
    (row,) = json.loads(command("approvals", "list", "--json", "--store", store).out)
    words = ("approvals", "decide", row["approval"], "--approve", "--by", "carol", "--store", store)
    refused = command(*words)
    assert (refused.code, "'carol' lacks 'payments:approve'" in refused.err) == (1, True)
    done = command(*words, "--permission", "payments:approve", "--note", "fine", "--json")
    assert done.code == 0
    assert {"state": "approved", "approver": "carol", "note": "fine"}.items() <= json.loads(done.out).items()
    assert "--permission" not in command("approvals", "list", "--all", "--store", store).out
    again = command(*words, "--permission", "payments:approve")
    assert (again.code, "is approved already, by 'carol'" in again.err) == (1, True)
    assert re.search(r"by 'carol' at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.]", again.err)
    assert "Nothing waits for a person." in command("approvals", "list", "--store", store).out
    assert "approved by carol" in command("approvals", "list", "--all", "--store", store).out


def test_a_wrong_answer_says_what_is_wrong(command: Command, store: str, tmp_path: Path) -> None:
    words = ("approvals", "decide", "apr_x", "--by", "carol", "--store", store)
    assert command(*words).code == 2
    assert command(*words, "--approve", "--arguments", "many").code == 2
    assert "There is no approval 'apr_x'" in command(*words, "--approve").err
    missing = tmp_path / "nowhere.db"
    assert "there is no such file" in command("approvals", "list", "--store", str(missing)).err
    assert not missing.exists()


@pytest.mark.parametrize(("answer", "state"), [("--approve", "approved"), ("--reject", "rejected")])
def test_a_question_shows_who_may_decide_and_the_command_to_paste(
    command: Command, store: str, answer: str, state: str
) -> None:
    listed = command("approvals", "list", "--store", store).out
    assert "whoever decides needs payments:approve" in listed
    assert "four eyes: alice asked for it, and another must approve it" in listed
    (typed,) = [line.strip() for line in listed.splitlines() if answer in line]
    assert f"--store {shlex.quote(store)}" in typed
    program, *words = shlex.split(typed.replace("NAME", "carol"))
    assert program == "toolrail"
    done = command(*words)
    assert (done.code, f"{state} by carol" in done.out, "is resumed" in done.out) == (0, True, True)


def test_changed_arguments_are_said_to_be_checked_later(command: Command, store: str) -> None:
    (row,) = json.loads(command("approvals", "list", "--json", "--store", store).out)
    words = ("approvals", "decide", row["approval"], "--approve", "--by", "carol", "--permission", "payments:approve")
    done = command(*words, "--arguments", '{"invoice": "A2"}', "--store", store)
    assert (done.code, "The changed arguments are checked when run " in done.out) == (0, True)
