"""The log's JSON twin, and our records in other people's formatters: the same facts, never content."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from toolrail import Agent, Allow, Deny, PolicyRequest, Principal, Rail, ToolError, tool
from toolrail.records.json_logging import JsonFormatter, fields_of
from toolrail.records.logging import WIDEST, LogSink
from toolrail.testing import Calls, FixedClock, ScriptedModel, run_virtual

ADA = Principal("ada", tenant="acme")
SECRET = "sk-live-4242"


@tool(effect="read")
async def find(query: str, seconds: float = 0.0) -> str:
    """Finds products."""
    await asyncio.sleep(seconds)
    if query == "none":
        raise ToolError(f"There is none for {SECRET}.")
    if query == "down":
        raise ConnectionError(f"no route to {SECRET}")
    return f"found {query} {SECRET}"


def _policy(request: PolicyRequest) -> Allow | Deny:
    return Deny("not yours", rule="house") if request.arguments["query"] == "mine" else Allow()


@contextmanager
def written(formatter: logging.Formatter, level: int = logging.INFO) -> Generator[io.StringIO]:
    """What a handler with this formatter writes of calls and runs."""
    stream, log = io.StringIO(), logging.getLogger("toolrail.calls")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    before = log.level
    log.addHandler(handler)
    log.setLevel(level)
    try:
        yield stream
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _run(*queries: str) -> str:
    """A run that asks for these; its id."""
    calls = [Calls(("find", {"query": query, "seconds": 0.25})) for query in queries]
    rail = Rail([find], policies=[_policy], clock=FixedClock(), sinks=[LogSink()])
    result = run_virtual(Agent(ScriptedModel([*calls, "Done."]), rail).run("Go.", principal=ADA, session="s"))
    return result.run_id


@promise("see:log")
def test_a_real_run_is_one_json_object_a_line_with_everything_the_line_says_and_who_and_where() -> None:
    with written(JsonFormatter(static={"service": "shop"})) as stream:
        run = _run("lamp", "none", "down", "mine")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    who = {"run": run, "principal": "ada", "tenant": "acme", "session": "s", "service": "shop"}
    assert all(who.items() <= line.items() for line in lines)
    calls = [line for line in lines if line["kind"] == "call"]
    first = calls[0]
    assert first["time"].endswith("+00:00")
    assert {name: first[name] for name in ("level", "logger", "tool", "latency_ms", "attempts", "status", "code")} == {
        "level": "INFO", "logger": "toolrail.calls", "tool": "find", "latency_ms": 250.0, "attempts": 1,
        "status": "ok", "code": None,
    }  # fmt: skip
    assert first["args_bytes"] > 0 < first["result_bytes"]
    assert first["message"].startswith("tool=find latency_ms=250.0 args_bytes=")
    assert [(line["turn"], line["code"]) for line in calls] == [
        (1, None), (2, "TOOL_ERROR"), (3, "MAX_RETRIES"), (4, "NOT_AUTHORISED"),
    ]  # fmt: skip
    attempts = [(one["attempt"], one["failure"], one["error"]) for one in lines if one["kind"] == "attempt"]
    assert attempts == [
        (1, "statement", "ToolError"), *[(at, "transient", "ConnectionError") for at in (1, 2, 3)],
    ]  # fmt: skip
    (denial,) = [line for line in lines if line["kind"] == "denial"]
    assert (denial["tool"], denial["rule"], denial["reason"], denial["level"]) == (
        "find", "house", "not yours", "WARNING",
    )  # fmt: skip
    (end,) = [line for line in lines if line["kind"] == "run"]
    assert (end["turns"], end["calls"], end["stop"]) == (5, 4, "answer")


@promise("see:log")
def test_neither_arguments_nor_results_nor_exception_texts_are_logged() -> None:
    for formatter in (JsonFormatter(), logging.Formatter("%(message)s %(toolrail)s", defaults={"toolrail": {}})):
        with written(formatter, logging.DEBUG) as stream:
            _run(f"the {SECRET} lamp", "none", "down")
        assert stream.getvalue()
        assert SECRET not in stream.getvalue()


@promise("see:log")
def test_what_a_model_wrote_is_one_short_field_of_one_line() -> None:
    asked = "x" * 3_000 + '\n{"level": "INFO"}'
    with written(JsonFormatter()) as stream:
        rail = Rail([find], clock=FixedClock(), sinks=[LogSink()])
        run_virtual(Agent(ScriptedModel([Calls((asked, {})), "Done."]), rail).run("Go."))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["kind"] for line in lines] == ["call", "run"]
    assert len(lines[0]["tool"]) == WIDEST


@promise("see:log")
def test_structlog_formats_our_records_with_their_fields() -> None:
    def flat(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(fields_of(event["_record"]))
        return event

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
        processors=[
            flat,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    with written(formatter) as stream:
        run = _run("lamp")
    found = json.loads(stream.getvalue().splitlines()[0])
    assert found["event"].startswith("tool=find latency_ms=250.0")
    assert (found["level"], found["tool"], found["latency_ms"], found["run"]) == ("info", "find", 250.0, run)


@promise("see:log")
def test_structlogs_own_way_with_extras_finds_our_fields_too() -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow={"toolrail"})],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    with written(formatter) as stream:
        _run("lamp")
    assert json.loads(stream.getvalue().splitlines()[0])["toolrail"]["tool"] == "find"


# Anybody's records


def _raised() -> logging.LogRecord:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
        return logging.LogRecord("app", logging.ERROR, "app.py", 1, "It %s.", ("failed",), info)


class Unreadable:
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def _of(message: Any, *values: Any, **attributes: Any) -> logging.LogRecord:
    record = logging.LogRecord("app", logging.INFO, "app.py", 1, message, values, None, sinfo="Stack (x):\n  here")
    record.__dict__.update(attributes)
    return record


RECORDS: dict[str, tuple[Callable[[], logging.LogRecord], dict[str, Any]]] = {
    "plain": (lambda: _of("It %s.", "works"), {"message": "It works.", "stack": "Stack (x):\n  here"}),
    "a traceback": (_raised, {"message": "It failed.", "level": "ERROR"}),
    "values that do not fit": (lambda: _of("%d of %d", "x"), {"message": "%d of %d"}),
    "no text": (lambda: _of({"a": 1}), {"message": "{'a': 1}"}),
    "unreadable": (lambda: _of("%s", Unreadable()), {"message": "%s"}),
    "a message that is unreadable": (lambda: _of(Unreadable()), {"message": "<Unreadable>"}),
    "an attribute of ours that is none": (lambda: _of("x", toolrail="theirs"), {"message": "x"}),
    "names of our own fields": (
        lambda: _of("x", toolrail={"message": "forged", "tool": "t", "odd": Unreadable()}),
        {"message": "x", "tool": "t", "odd": "<Unreadable>"},
    ),
    "extras of another library": (lambda: _of("x", password=SECRET), {"message": "x"}),
    "half a character": (lambda: _of("\ud800\u2028"), {"message": "\ud800\u2028"}),
    "already formatted": (lambda: _of("x", exc_text="Traceback ..."), {"traceback": "Traceback ..."}),
}


@promise("see:log")
@pytest.mark.parametrize("name", RECORDS)
def test_records_of_other_libraries_are_one_line_each_whatever_they_hold(name: str) -> None:
    make, wanted = RECORDS[name]
    line = JsonFormatter().format(make())
    assert "\n" not in line
    assert line.isascii()
    assert SECRET not in line
    assert wanted.items() <= json.loads(line).items()


def test_a_traceback_is_one_field() -> None:
    found = json.loads(JsonFormatter().format(_raised()))
    assert found["traceback"].startswith("Traceback (most recent call last):")
    assert found["traceback"].endswith("ValueError: two\nlines")


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.binary()))
def test_whatever_a_record_says_its_line_is_json(message: str, fields: dict[str, Any]) -> None:
    record = logging.LogRecord("app", logging.INFO, "app.py", 1, message.replace("%", ""), (), None)
    record.toolrail = fields
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == message.replace("%", "")


def test_a_record_of_nobodys_has_no_fields() -> None:
    assert dict(fields_of(logging.LogRecord("app", logging.INFO, "app.py", 1, "x", (), None))) == {}


# What it costs where nobody listens


@promise("see:log")
def test_above_info_no_record_is_made_of_what_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    factory = logging.getLogRecordFactory()

    def count(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made.append(args[0])
        return factory(*args, **kwargs)

    logging.setLogRecordFactory(count)
    try:
        with written(JsonFormatter(), logging.WARNING):
            _run("lamp")
        assert made == []
        with written(JsonFormatter()):
            _run("lamp")
        assert made == ["toolrail.calls"] * 2
    finally:
        logging.setLogRecordFactory(factory)
