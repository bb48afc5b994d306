"""The chat: what is shown of a turn, who is asked, and what happens when things end early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.fakes.model_server import Call, Fault, ModelServer
from tests.fakes.model_server import Say as Said
from toolrail import Access, Principal, Rail, Tool, tool
from toolrail.agent import Agent
from toolrail.cli.asking import TerminalApprover
from toolrail.cli.repl import Chat, converse
from toolrail.decisions import ApprovalRequest, PolicyRequest
from toolrail.model import ModelFailure
from toolrail.testing import Calls, ScriptedModel

ROOT = Path(__file__).parents[2]


@tool(effect="read")
async def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@tool(effect="once", access=Access(approve=True))
async def pay(invoice: str) -> str:
    """Pays."""
    return f"paid {invoice}"


def _reader(*lines: str) -> Callable[[str], str]:
    left: Iterator[str] = iter(lines)

    def read(_: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read


def _chat(script: list[object], *lines: str, tools: tuple[Tool[object], ...] = (add, pay)) -> tuple[int, ScriptedModel]:
    model = ScriptedModel(script)  # pyright: ignore[reportArgumentType]
    return converse(Chat(Agent(model, Rail(tools)), "a"), read=_reader(*lines)), model


def test_calls_are_shown_when_they_start_and_when_they_end_and_then_the_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _ = _chat([Calls(("add", {"a": 1, "b": 2}), ("add", {"a": "x", "b": 2})), "It is 3."], "What is 1 + 2?")
    out = capsys.readouterr().out
    assert code == 0
    assert out.index("  -> add(a=1, b=2)") < out.index("  <- add ok (") < out.index("It is 3.")
    assert "  <- add INVALID_ARGUMENTS (" in out
    assert 'the model is told "' in out
    assert "(2 requests, 2 calls, 240 tokens)" in out


def test_the_next_line_goes_on_with_the_same_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    _, model = _chat(["Which number?", "Seven."], "Guess", "", "seven")
    assert [message["content"] for message in model.requests[-1][0]] == ["Guess", "Which number?", "seven"]


@pytest.mark.parametrize(
    ("line", "shown"), [("/tools", "pay                     once"), ("/help", "/quit"), ("/nonsense", "/quit")]
)
def test_commands_of_the_chat_reach_no_model(capsys: pytest.CaptureFixture[str], line: str, shown: str) -> None:
    code, model = _chat([], line, "/quit", "never read")
    assert (code, model.requests) == (0, [])
    assert shown in capsys.readouterr().out


def test_a_model_that_cannot_be_asked_is_told_in_words_and_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = _chat([ModelFailure("authentication", "key abc is wrong")], "Hello")
    captured = capsys.readouterr()
    assert code == 1
    assert "(no answer: the model could not be asked, model:authentication)" in captured.out
    assert "key abc" not in captured.out + captured.err


def test_text_from_a_model_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _chat(["Look:\n\x1b[2J\x1b]0;title\x07 gone"], "Hello")
    assert "\x1b" not in capsys.readouterr().out


REQUEST = ApprovalRequest(PolicyRequest(Principal("u"), "pay", {"invoice": "I-1"}), "it costs money", "digest")


@pytest.mark.parametrize(
    ("answer", "approved"), [("y", True), ("Yes ", True), ("", False), ("n", False), ("yup", False)]
)
def test_the_person_at_the_terminal_says_yes_or_no_to_exactly_this_call(answer: str, approved: bool) -> None:
    asked: list[str] = []

    def question(text: str) -> str:
        asked.append(text)
        return answer

    approval = TerminalApprover(question, present=True)(REQUEST)
    assert (approval.approved, approval.digest, approval.approver) == (approved, "digest", "terminal")
    assert asked == ['  ?  pay(invoice="I-1"): it costs money. May it run? [y/N] ']


@pytest.mark.parametrize("left_by", [EOFError, KeyboardInterrupt])
def test_no_answer_is_a_no_and_ctrl_c_means_what_it_meant_before(left_by: type[BaseException]) -> None:
    def question(_: str) -> str:
        raise left_by

    before = signal.getsignal(signal.SIGINT)
    assert not TerminalApprover(question, present=True)(REQUEST).approved
    assert signal.getsignal(signal.SIGINT) is before


def test_nobody_at_the_terminal_is_a_no_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _chat([Calls(("pay", {"invoice": "I-1"})), "It was refused."], "Pay I-1")
    out = capsys.readouterr().out
    assert "May it run? [y/N] no: nobody is at the terminal" in out
    assert "<- pay APPROVAL_REJECTED" in out


MODEL = ("tests.cli.rails:rail", "--model", "openai:gpt-4o")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nomodule_here:rail",), 1, "there is no module nomodule_here."),
        (("json:rail",), 1, "json has no rail."),
        (("json",), 2, "this is no MODULE:ATTRIBUTE."),
        (("json:loads",), 2, "this is a function. Mend: Name a Rail or an Agent."),
        (("tests.cli.conftest:find",), 2, "this is a Tool."),
        (("tests.cli.rails:rail",), 2, "a rail has no model of its own."),
        (("tests.cli.rails:rail", "--model", "gpt-4o"), 1, "model='gpt-4o': it names no provider"),
        (
            ("tests.cli.rails:rail", "--model", "openai:gpt-4o", "--store", "mongo://x"),
            1,
            "store='mongo://x': no store",
        ),
        (("tests.cli.rails:rail", "--model", "openai:gpt-4o", "--deps", "json:loads"), 1, "json:loads: it could not"),
        ((*MODEL, "--deps", "json:nothing"), 1, "json has no nothing. Mend: Name a value in it"),
        ((*MODEL, "--deps", "tests.cli.rails:open_later"), 2, "this is an async function."),
        ((*MODEL, "--deps", "tests.cli.rails:unreachable"), 1, "it could not be opened: OSError('nobody is there')"),
        (("tests.cli.leaves:rail",), 1, "importing it failed: SystemExit(3)"),
        ((".rails:rail",), 2, "this is no MODULE:ATTRIBUTE."),
        (("json:loads.",), 2, "this is no MODULE:ATTRIBUTE."),
        ((*MODEL, "--store", "sqlite:///nodir/x.db"), 1, "nodir does not exist. Mend: Make the directory first."),
        ((*MODEL, "--store", f"sqlite:///{__file__}"), 1, f"{__file__}: it is not an SQLite database."),
        ((*MODEL, "--store", "sqlite:///tests"), 1, "tests: this is a directory."),
    ],
)
def test_a_target_that_cannot_be_chatted_with_is_named_with_its_mend(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.delenv("TOOLRAIL_MODEL", raising=False)
    monkeypatch.delenv("TOOLRAIL_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.chdir(ROOT)
    done = command("chat", *words)
    assert done.code == code
    assert says in done.err
    assert "Mend: " in done.err


def _run(*words: str, say: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    keys = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TOOLRAIL_MODEL", "TOOLRAIL_BASE_URL")
    env = {name: value for name, value in os.environ.items() if name not in keys}
    return subprocess.run(
        [sys.executable, "-m", "toolrail.cli", "chat", *words],
        input=say,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env=env | environment,
    )


MODULE = """
from toolrail import Rail, RunContext, tool

@tool(effect="read", requires="notes:read")
async def note(ctx: RunContext[dict[str, str]], name: str) -> str:
    '''Reads a note.'''
    return f"{ctx.principal.id}: {ctx.deps[name]}"

rail = Rail([note])
notes = {"today": "nothing to do"}
"""


def test_a_rail_of_the_users_own_is_chatted_with_over_http(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    words = ("mine:rail", "--deps", "mine:notes", "--user", "ada", "--may", "notes:read", "--session", "s", "--store")
    with ModelServer([Call("note", '{"name": "today"}'), Said("Nothing to do.")]) as server:
        where = {"TOOLRAIL_BASE_URL": server.openai_url, "OPENAI_API_KEY": "sk-not-for-others"}
        done = _run(*words, "sqlite:///s.db", "--model", "tiny", say="What is there?\n", cwd=tmp_path, **where)
        assert (done.returncode, done.stderr) == (0, "")
        assert "compatible:tiny with 1 tools of mine:rail, as ada." in done.stdout
        assert '  -> note(name="today")' in done.stdout
        assert "Nothing to do." in done.stdout
        assert [text for _, text in server.requests[-1].results] == ["ada: nothing to do"]
        assert "sk-not-for-others" not in str([request.headers for request in server.requests])
    assert (tmp_path / "s.db").exists()


def test_a_session_is_gone_on_with_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    words = ("mine:rail", "--deps", "mine:notes", "--model", "tiny", "--session", "s", "--store", "sqlite:///s.db")
    with ModelServer([Said("Hello Ada."), Said("Ada.")]) as server:
        for line in ("I am Ada.\n", "Who am I?\n"):
            assert _run(*words, say=line, cwd=tmp_path, TOOLRAIL_BASE_URL=server.openai_url).returncode == 0
        assert [one["content"] for one in server.requests[-1].messages] == ["I am Ada.", "Hello Ada.", "Who am I?"]


def test_a_server_that_refuses_the_key_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    with ModelServer([Fault("401")]) as server:
        where = {"TOOLRAIL_BASE_URL": server.openai_url}
        done = _run("mine:rail", "--deps", "mine:notes", "--model", "tiny", say="Hello\n", cwd=tmp_path, **where)
    assert done.returncode == 1
    assert "(no answer: the model could not be asked, model:authentication)" in done.stdout
    assert "Traceback" not in done.stderr


FAULTY = """
from toolrail import Rail, tool
from toolrail.agent import Agent
from toolrail.testing import Calls, ScriptedModel
import os

@tool(effect="read")
async def lose() -> str:
    '''Loses the store.'''
    os.remove("s.db")
    return ""

agent = Agent(ScriptedModel([Calls(("lose", {})), "Gone."]), Rail([lose], store="sqlite:///s.db"))
"""


def test_a_store_that_is_lost_during_the_chat_is_named_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    done = _run("faulty:agent", "--session", "s", say="Lose it\nGo on\n", cwd=tmp_path)
    assert done.returncode == 1
    assert "toolrail chat: " in done.stderr
    assert "s.db: it was removed or replaced while in use. Mend: Put it back" in done.stderr


HANGING = """
import asyncio
from toolrail import Rail, tool
from toolrail.agent import Agent
from toolrail.testing import Calls, ScriptedModel

@tool(effect="read")
async def hang() -> str:
    '''Never answers.'''
    await asyncio.Event().wait()
    return ""

agent = Agent(ScriptedModel([Calls(("hang", {})), "Never mind."]), Rail([hang]))
"""


def test_ctrl_c_in_mid_turn_stops_the_answer_and_the_chat_goes_on(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    words = [sys.executable, "-u", "-m", "toolrail.cli", "chat", "hanging:agent"]
    chat = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    with chat:
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write("Wait\n")
        chat.stdin.flush()
        while "-> hang()" not in chat.stdout.readline():
            assert chat.poll() is None
        chat.send_signal(signal.SIGINT)
        out, err = chat.communicate("Go on\n", timeout=30)
    assert "(stopped; what was done so far is kept)" in out
    assert "Never mind." in out
    assert (chat.returncode, err) == (0, "")
