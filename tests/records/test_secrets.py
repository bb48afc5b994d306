"""Secrets in arguments, results, errors and URLs: in no log, row, span, page or message that anyone outside sees."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.records.planted import ALL, FORMS, TOOLS, WORD, Logged, Planted, found, logged, plain, planted
from tests.records.serving import free_port
from tests.records.test_alert_settings import hook
from toolrail import Agent, Rail, ToolCall, tool
from toolrail.cli import main
from toolrail.logs import LONGEST, UNREADABLE, logger
from toolrail.model import ModelFailure
from toolrail.records.alerts import Alerts, ErrorRate, Evaluator
from toolrail.records.json_logging import JsonFormatter
from toolrail.records.recorder import Recorder
from toolrail.testing import ScriptedModel, run_virtual

EVERYTHING = {*FORMS, "word"}


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("off"), "off")


@pytest.fixture(scope="module")
def redacted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("redacted"), "redacted")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("full"), "full")


# What is written


@promise("see:record", "see:otel")
def test_without_content_nothing_that_anyone_wrote_is_in_a_row_or_a_span(off: Planted) -> None:
    assert found(*off.ledger_bytes()) == EVERYTHING  # the ledger needs it; so the search finds it
    assert found(*off.record_bytes()) == set()
    assert found(off.traced.everything()) == set()
    assert len(off.traced.spans) > len(TOOLS)


@promise("see:record", "see:otel")
def test_redacted_content_has_the_words_and_none_of_the_known_forms(redacted: Planted) -> None:
    assert found(*redacted.record_bytes()) == {"word"}
    assert found(redacted.traced.everything()) == {"word"}


@promise("see:record", "see:otel")
def test_full_content_is_kept_as_it_was(full: Planted) -> None:
    assert found(*full.record_bytes()) == EVERYTHING
    assert found(full.traced.everything()) == EVERYTHING


@promise("see:log", "call:errors")
def test_no_log_has_a_secret_whatever_is_recorded_and_however_it_is_formatted(
    off: Planted, redacted: Planted, full: Planted
) -> None:
    for played in (off, redacted, full):
        for written, lines in played.logged.by.items():
            assert found(*lines) == set(), written
    plain = "\n".join(off.logged.by["plain"])
    for handler in ("broken", "down", "pay", "stated", "policy", "approver"):
        assert re.search(rf'planted.py", line \d+, in {handler}\n', plain), handler
    assert re.search(r"Unexpected error in broken \(reference [0-9a-f]{12}\)", plain)
    assert "RuntimeError: Authorization: [masked]" in plain
    assert 'rule=house reason="they wrote: Authorization: [masked]' in plain


# What is shown


@promise("see:record")
@pytest.mark.parametrize("content", ["off", "redacted"])
def test_no_command_shows_content_unasked(
    content: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    played: Planted = request.getfixturevalue(content)
    where = ("--store", played.store)
    views = (
        ("show", played.run),
        ("tail", "--once"),
        ("list",),
        ("tools",),
        ("sessions",),
        ("cost",),
        ("alerts",),
        ("approvals", "list"),
    )
    for view in views:
        for form in ((), ("--json",)):
            main([*view, *where, *form])
            out, err = capsys.readouterr()
            assert out or err
            assert found(out, err) == set(), view
    main(["metrics", "--once", *where])
    assert found(*capsys.readouterr()) == set()


@promise("see:record")
def test_the_ledgers_content_is_shown_to_those_who_ask_for_it(off: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", off.run, "--store", off.store, "--content", "--json"])
    assert "word" in found(capsys.readouterr().out)
    main(["effects", "list", "--store", off.store, "--json"])
    assert "word" in found(capsys.readouterr().out)  # whoever settles a payment must see which one
    main(["approvals", "list", "--all", "--store", off.store])
    assert "word" in found(capsys.readouterr().out)  # and whoever decides, what is asked for


@promise("see:record", "see:alerts")
def test_no_alert_tells_a_secret(tmp_path: Path) -> None:
    planted(tmp_path, "full")
    rules = [ErrorRate("any", classes=("argument", "dependency", "bug"), over=0.001, calls=20, least=1, z=0.1)]
    with hook(200) as (url, sent), logged() as kept:
        alerts = Alerts(rules, webhook=url)
        looking = Evaluator(f"sqlite:///{tmp_path / 'rail.records.db'}", alerts, now=time.time)
        changes = looking.look()
        looking.close()
    assert {change.subject for change in changes} >= {"down", "broken"}
    assert len(sent) == len(changes)
    assert found(*(body for _, body in sent), *(str(headers) for headers, _ in sent)) == set()
    assert found(kept.text) == set()
    assert "SECRET-PATH" not in kept.text


# Exceptions


def _failing(error: Callable[[], BaseException]) -> Logged:
    """What is logged of a tool that fails so, in a real run."""

    @tool(effect="read", name="failing")
    async def failing() -> str:
        """Fails."""
        raise error()

    async def run() -> None:
        async with Rail([failing]) as rail:
            (result,) = await rail.batch([ToolCall("c", "failing", "{}")])
        assert found(result.content) == set()

    with logged() as kept:
        asyncio.run(run())
    return kept


def _caused() -> Exception:
    error = KeyError("outside")
    error.__cause__ = ValueError(ALL)
    error.__cause__.__context__ = error  # in a circle
    return error


def _mute_cause() -> Exception:
    error = KeyError(ALL)
    error.__cause__ = Mute()
    return error


def _noted() -> Exception:
    error = KeyError("outside")
    error.add_note(ALL)
    return error


class Mute(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise ValueError(ALL)


@promise("see:log", "call:errors")
@pytest.mark.parametrize("form", FORMS)
def test_each_known_form_is_masked_in_an_exceptions_text_and_the_rest_of_it_stays(form: str) -> None:
    text, _ = FORMS[form]
    kept = _failing(lambda: RuntimeError(f"before {text} after"))
    assert found(kept.text) == set()
    for lines in kept.by.values():
        trace = "\n".join(lines)
        assert "RuntimeError" in trace
        assert "before " in trace
        assert "test_secrets.py" in trace


@promise("see:log", "call:errors")
@pytest.mark.parametrize(
    ("error", "named"),
    [
        (_caused, "KeyError"),
        (_noted, "KeyError"),
        (lambda: ExceptionGroup(ALL, [ValueError(ALL), ExceptionGroup("inner", [OSError(ALL)])]), "ExceptionGroup"),
        (lambda: OSError(5, ALL, ALL), "OSError"),
        (lambda: UnicodeDecodeError("utf-8", ALL.encode(), 0, 1, ALL), "UnicodeDecodeError"),
        (lambda: SyntaxError(ALL, ("file", 1, 1, ALL)), "SyntaxError"),
        (Mute, "Mute"),
        (_mute_cause, "KeyError"),
    ],
    ids=["cause", "note", "group", "several arguments", "its own form", "syntax", "mute", "mute cause"],
)
def test_causes_notes_and_groups_are_masked_too(error: Callable[[], BaseException], named: str) -> None:
    kept = _failing(error)
    assert found(kept.text) == set()
    plain = "\n".join(kept.by["plain"])
    assert named in plain
    assert "Unexpected error in failing (reference " in plain or "failing failed (transient)" in plain
    assert UNREADABLE not in plain


@promise("see:log", "call:errors")
def test_of_an_endless_text_the_beginning_is_logged_and_the_traceback_stays() -> None:
    kept = _failing(lambda: RuntimeError(f"page {'<p>and more</p>' * 300_000} {ALL}"))
    assert found(kept.text) == set()
    (trace,) = [line for line in kept.by["plain"] if "Unexpected error" in line]
    assert "RuntimeError: page <p>and more" in trace
    assert "in failing" in trace
    assert len(trace) < 2 * LONGEST


@promise("see:log")
def test_a_secret_where_a_long_text_is_cut_is_masked_before() -> None:
    for before in range(LONGEST - 60, LONGEST + 20, 4):
        with logged() as kept:
            logger("toolrail").error("%s see %s %s", "." * before, FORMS["userinfo"][0], "." * LONGEST)
        assert "ann:" not in kept.text


@promise("see:log", "see:record")
def test_a_failing_models_text_is_masked_in_the_log_and_is_in_no_row(tmp_path: Path) -> None:
    model = ScriptedModel([ModelFailure("authentication", ALL)])
    url = f"sqlite:///{tmp_path / 'rail.records.db'}"

    async def run() -> None:
        async with Rail([plain], records=Recorder(url, content="redacted")) as rail:
            result = await Agent(model, rail).run("Go.")
        assert result.stop_reason == "model_unavailable"

    with logged() as kept:
        run_virtual(run())
    assert "The model scripted failed: authentication: Authorization: [masked]" in kept.text
    assert found(kept.text, *(path.read_bytes() for path in tmp_path.glob("rail.records.db*"))) == set()


@promise("call:errors")
def test_an_exception_without_a_secret_reaches_handlers_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    error = RuntimeError("the shelf 4 is empty")
    logger("toolrail").error("It failed.", exc_info=error)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@promise("see:log")
@pytest.mark.parametrize("arguments", [(Mute(),), (1, 2)], ids=["a value that cannot be shown", "too many"])
def test_a_message_that_cannot_be_made_is_left_out_and_nothing_fails(arguments: tuple[Any, ...]) -> None:
    with logged() as kept:
        logger("toolrail").error("It says %s.", *arguments)
    assert [line for line in kept.by["plain"] if UNREADABLE in line]
    assert found(kept.text) == set()


@promise("see:log")
def test_what_a_message_quotes_is_masked_and_its_form_is_kept_where_there_is_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logger("toolrail")
    log.warning("It says %s.", ALL)
    log.warning("It says %s.", "100 %s")
    assert found(caplog.text) == set()
    assert caplog.records[1].msg == "It says %s."
    assert caplog.messages[1] == "It says 100 %s."


@promise("see:log")
def test_the_json_formatter_leaves_other_libraries_records_to_them() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
        record = logging.LogRecord("app", logging.ERROR, "app.py", 1, "It failed.", (), info)
    assert json.loads(JsonFormatter().format(record))["traceback"].endswith("ValueError: two\nlines")


# URLs of the store and the record

PASSWORD = "PWDplum9471"
URLS = {
    "in front of the host": f"postgresql://ann:{PASSWORD}@127.0.0.1:%d/app",
    "as an option": f"postgresql://ann@127.0.0.1:%d/app?password={PASSWORD}",
    "with a slash": f"postgresql://ann:a/{PASSWORD}@127.0.0.1:%d/app",
    "no such kind": f"mysql://ann:{PASSWORD}@127.0.0.1:%d/app",
}


@promise("see:log", "see:record")
@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_no_text_has_the_password_of_a_store_or_a_record(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    place, said = url % free_port(), list[str]()

    async def run(**places: Any) -> None:
        async with Rail(TOOLS[-1:], **places) as rail:
            said.extend(map(repr, (rail, rail.ports.store)))
            (result,) = await rail.batch([ToolCall("c", "plain", '{"query": "ask"}')])
            said.append(result.content)

    with logged() as kept:
        for places in ({"store": place}, {"store": "memory://", "records": place}):
            try:
                asyncio.run(run(**places))
            except Exception as error:
                said.append(f"{error!r} {error}")
        try:
            said.append(repr(Recorder(place)))
        except Exception as error:
            said.append(str(error))
        for command in (("effects", "list"), ("show", "run"), ("tools",), ("approvals", "list"), ("doctor",)):
            try:
                main([*command, "--store", place])
            except SystemExit as left:
                said.append(str(left))
            said.extend(capsys.readouterr())
    assert said
    assert [text for text in (*said, kept.text) if PASSWORD in text] == []


@promise("see:record")
def test_a_plain_word_is_kept_out_of_the_record_by_leaving_content_out_alone(off: Planted, redacted: Planted) -> None:
    assert WORD.encode() not in b"".join(off.record_bytes())
    assert WORD.encode() in b"".join(redacted.record_bytes())
