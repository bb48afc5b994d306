"""`isolate="process"`: a process of its own, limits that hold, a kill that is one, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import pytest
from pydantic import BaseModel

from tests.promises import promise
from tests.spine import isolated_handlers as handlers
from tests.spine.helpers import call, codes, in_run, rail_of, really, said, virtually
from toolrail.context import RunContext
from toolrail.definition import ResultRules, Tool, ToolOptions, tool, tool_from_model, tool_from_schema
from toolrail.errors import DefinitionError
from toolrail.events import AttemptEnded, OutcomeSettled
from toolrail.isolation import Isolation
from toolrail.limits import CallLimits
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.results import read_result
from toolrail.starting import Starts, starts

SECONDS = 60.0
"""After which something that should have happened counts as never."""
ROOT = Path(__file__).parents[2]


def isolated(fn: Callable[..., Any], **options: Any) -> Tool[Any]:
    """A tool of one of the handlers, a read unless said otherwise."""
    given: ToolOptions = {"effect": "read", "timeout": SECONDS, "isolate": "process", **options}  # type: ignore[typeddict-item]
    return tool(**given)(fn)


def one(made: Tool[Any], arguments: dict[str, Any] | None = None) -> ToolResult:
    """The result of one call on a fresh rail."""
    rail, _ = rail_of(made)
    (result,) = really(rail, [call(made.name, arguments)])
    return result


@promise("tool:isolated")
@pytest.mark.parametrize("fn", [handlers.pid, handlers.pid_async])
def test_each_call_has_a_process_of_its_own_that_is_gone_afterwards(fn: Callable[..., Any]) -> None:
    rail, _ = rail_of(isolated(fn))
    pids = [int(result.content) for result in really(rail, [call(fn.__name__)] * 3)]
    assert len({os.getpid(), *pids}) == 4
    for pid in pids:
        with pytest.raises(ProcessLookupError):  # not even a zombie
            os.kill(pid, 0)


@promise("tool:isolated")
def test_typed_arguments_cross_as_they_are_and_results_as_plain_data() -> None:
    result = one(isolated(handlers.receipt), {"price": "19.99", "count": 3, "on": "2026-02-28"})
    assert result.status == "ok"
    told = said(result)
    assert (told["total"], told["on"]) == ("59.97", "2026-02-28")
    assert told["pid"] != os.getpid()


class Visit(BaseModel):
    """An argument of a class."""

    on: date
    price: Decimal


def total(visit: Visit) -> str:
    """Takes the model itself."""
    return f"{type(visit).__name__} {visit.price * 2} {visit.on.year} {os.getpid()}"


@promise("tool:isolated")
def test_a_handler_that_takes_a_model_gets_it() -> None:
    made = tool_from_model(Visit, total, effect="read", isolate="process", timeout=SECONDS)
    assert one(made, {"on": "2026-02-28", "price": "1.5"}).content.startswith("Visit 3.0 2026 ")


@promise("tool:isolated")
def test_a_handler_of_a_raw_schema_and_a_static_method_are_found() -> None:
    schema = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    made = tool_from_schema(schema, handlers.Machine.twice, effect="read", isolate="process", timeout=SECONDS)
    assert one(made, {"number": 21}).content == "42"


@promise("tool:isolated")
@pytest.mark.parametrize(
    ("name", "content", "flags"),
    [
        ("text", 'plain "text" \u2603', ()),
        ("surrogate", "a?b", ("surrogates_replaced",)),
        ("nothing", "null", ()),
        ("number", str(10**30), ()),
        ("nan", "[1.5,null]", ("nan_as_null",)),
        ("image", "[plot: image/png, 4 bytes]", ()),
        ("mixed", "see [attachment: image/png, 4 bytes]", ()),
    ],
)
def test_a_value_reads_as_that_of_a_tool_in_this_process(name: str, content: str, flags: tuple[str, ...]) -> None:
    near = one(tool(effect="read")(handlers.value), {"name": name})
    far = one(isolated(handlers.value), {"name": name})
    assert (far.status, far.content, far.flags, far.media) == ("ok", content, flags, near.media)
    assert (near.content.replace(" ", ""), near.flags) == (far.content.replace(" ", ""), far.flags)


@promise("tool:isolated")
@pytest.mark.parametrize("cap", [1_000, 32_768])
def test_of_a_result_over_its_size_one_preview_is_shown_and_nothing_kept_as_if_it_were_whole(
    cap: int, caplog: pytest.LogCaptureFixture
) -> None:
    made = isolated(handlers.value, isolate=Isolation(result_bytes=10_000), result=ResultRules(max_bytes=cap))
    rail, _ = rail_of(made, read_result)
    (result,) = really(rail, [call("value", {"name": "large"})])
    assert (result.status, result.flags) == ("ok", ("preview",))
    assert "20000 items" in said(result)["note"]
    assert "The rest is lost" in said(result)["note"]
    assert "handle" not in said(result)
    assert len(result.content) <= min(cap, 10_000)
    assert "over Isolation(result_bytes=10000)" in caplog.text


@promise("tool:isolated", "call:size")
def test_a_result_within_its_size_crosses_whole_and_is_kept() -> None:
    rail, _ = rail_of(isolated(handlers.value, isolate=Isolation(result_bytes=150_000)), read_result)
    (result,) = really(rail, [call("value", {"name": "large"})])
    assert result.flags == ("preview", "kept")
    assert said(result)["handle"]


@promise("tool:isolated", "call:deadline/threads")
@pytest.mark.parametrize("effect", ["read", "once"])
def test_a_process_waits_for_its_turn_to_start_within_its_deadline(effect: Any) -> None:
    rail, _ = rail_of(isolated(handlers.pid, effect=effect, timeout=0.2), isolated(handlers.value, timeout=SECONDS))
    others = [threading.Event() for _ in range(1_000)]
    for turn in others:
        starts().join(turn)
    try:
        (late,) = really(rail, [call("pid")])
    finally:
        for turn in others:
            starts().leave(turn)
    assert (codes([late]), late.flags) == (["TIMEOUT"], ())  # it never began, whatever its effect
    assert really(rail, [call("value", {"name": "text"})])[0].status == "ok"


@promise("tool:isolated")
def test_turns_to_start_are_given_in_order_and_those_who_left_are_passed_over() -> None:
    line, turns = Starts(2), [threading.Event() for _ in range(5)]
    for turn in turns:
        line.join(turn)

    def started() -> list[int]:
        return [at for at, turn in enumerate(turns) if turn.is_set()]

    assert started() == [0, 1]
    line.leave(turns[2])
    line.leave(turns[1])
    line.leave(turns[1])
    assert started() == [0, 1, 3]
    line.leave(turns[0])
    assert started() == [0, 1, 3, 4]


@promise("tool:isolated", "call:errors")
@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("tool_error", "TOOL_ERROR", "The plan is full."),
        ("model_retry", "TOOL_ERROR", "Give a date in the future."),
        ("not_authorised", "TOOL_ERROR", "No order 7."),
        ("wrapped", "TOOL_ERROR", "The bank is slow."),
        ("passing", "MAX_RETRIES", None),
        ("refused", "MAX_RETRIES", None),
        ("bug", "INTERNAL_ERROR", None),
        ("exit", "INTERNAL_ERROR", None),
    ],
)
def test_an_exception_means_what_it_means_in_this_process(
    how: str, code: str, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    limits = CallLimits(timeout=SECONDS, attempts=1)
    near = one(tool(effect="read", limits=limits)(handlers.fail), {"how": how})
    caplog.clear()
    rail, recorder = rail_of(tool(effect="read", limits=limits, isolate="process")(handlers.fail))
    (far,) = really(rail, [call("fail", {"how": how})])
    assert codes([near, far]) == [code, code]
    assert (far.recorded_code, far.status) == (near.recorded_code, near.status)
    assert text is None or said(far) == said(near) == {"error": text, "code": code}
    assert handlers.SECRET not in far.content
    assert len(recorder.of(AttemptEnded)) == 1
    if how in ("bug", "passing"):
        assert handlers.SECRET in caplog.text  # the traceback there is in the log here
        assert "isolated_handlers.py" in caplog.text


@promise("tool:isolated")
@pytest.mark.parametrize(
    ("how", "code"), [("tool_error", "TOOL_ERROR"), ("wrapped", "OUTCOME_UNKNOWN"), ("refused", "OUTCOME_UNKNOWN")]
)
def test_what_a_once_tool_says_is_believed_only_where_it_says_something(how: str, code: str) -> None:
    assert codes([one(isolated(handlers.fail, effect="once"), {"how": how})]) == [code]


@promise("tool:isolated")
def test_a_passing_failure_is_tried_again_in_another_process(tmp_path: Path) -> None:
    rail, recorder = rail_of(isolated(handlers.flaky))
    (result,) = really(rail, [call("flaky", {"path": str(tmp_path / "attempts")})])
    assert (result.content, len(recorder.of(AttemptEnded))) == ("2", 2)


LIMITS = Isolation(memory_bytes=256 * 1024 * 1024, cpu_seconds=1)
DEATHS = {
    "memory": "die went over its memory limit of 256 MB and was stopped.",
    "processor": "die went over its limit of 1 s of processor time and was stopped.",
    "crash": "die crashed (SIGSEGV).",
    "killed": "die was killed from outside, perhaps for want of memory of 256 MB.",
    "silent": "die ended without an answer.",
}


@promise("tool:isolated")
@pytest.mark.parametrize("how", DEATHS)
def test_the_model_reads_why_the_process_of_a_read_died(how: str) -> None:
    assert said(one(isolated(handlers.die, isolate=LIMITS), {"how": how})) == {
        "error": DEATHS[how],
        "code": "TOOL_ERROR",
    }


@promise("tool:isolated")
@pytest.mark.parametrize("how", ["memory", "crash"])
@pytest.mark.parametrize(
    ("effect", "code"),
    [("idempotent", "OUTCOME_UNKNOWN"), ("once", "OUTCOME_UNKNOWN"), ("undeclared", "INTERNAL_ERROR")],
)
def test_a_process_that_died_says_nothing_of_what_it_did_before(how: str, effect: Any, code: str) -> None:
    result = one(isolated(handlers.die, isolate=LIMITS, effect=effect), {"how": how})
    assert codes([result]) == [code]
    assert "may_have_happened" in result.flags


async def _line(pipe: Path) -> tuple[TextIO, str]:
    """Waits until the handler has opened the pipe and written a line; the pipe stays open."""
    file = await asyncio.to_thread(pipe.open)
    return file, await asyncio.to_thread(file.readline)


async def _all_gone(file: TextIO) -> None:
    """Every process that held the pipe's other end is dead: only then has it an end."""
    async with asyncio.timeout(SECONDS):
        assert await asyncio.to_thread(file.read) == ""
    file.close()


async def _settled(rail: Rail[Any]) -> None:
    """The thread has reaped its process and is idle again."""
    async with asyncio.timeout(SECONDS):
        while rail.ports.pool.standing().busy or rail.ports.pool.standing().abandoned:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def _left_alone(rail: Rail[Any], task: asyncio.Task[Any]) -> None:
    """Nobody does anything: the deadline comes by itself."""


def _cancelled(rail: Rail[Any], task: asyncio.Task[Any]) -> None:
    task.cancel()


def _drained(rail: Rail[Any], task: asyncio.Task[Any]) -> None:
    rail.ports.own(rail.drain(0.0))


@promise("tool:isolated", "call:deadline/async", "call:cancel", "steady:drain")
@pytest.mark.parametrize(
    ("effect", "end", "code"),
    [
        ("read", _left_alone, "TIMEOUT"),
        ("once", _left_alone, "OUTCOME_UNKNOWN"),
        ("read", _cancelled, "CANCELLED"),
        ("once", _cancelled, "OUTCOME_UNKNOWN"),
        ("read", _drained, "TIMEOUT"),
        ("once", _drained, "OUTCOME_UNKNOWN"),
    ],
)
def test_a_process_that_does_not_end_is_killed_with_all_that_it_started(
    effect: Any, end: Callable[[Rail[Any], asyncio.Task[Any]], None], code: str, pipe: Path
) -> None:
    timeout = 3.0 if end is _left_alone else SECONDS
    rail, recorder = rail_of(isolated(handlers.linger, effect=effect, timeout=timeout))
    ended: list[ToolResult] = []

    async def batch() -> None:
        async with rail.run([]) as run:
            run.observer = lambda event: ended.extend(filter(None, [getattr(event, "result", None)]))
            await rail.batch([call("linger", {"path": str(pipe)})], run)

    async def main() -> int:
        task = asyncio.create_task(batch())
        file, line = await _line(pipe)
        end(rail, task)
        await asyncio.wait([task])
        await _all_gone(file)
        await _settled(rail)
        return int(line)

    pid = asyncio.run(main())
    assert codes(ended) == [code]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert recorder.of(OutcomeSettled) == []  # a process that was killed has no news


@promise("tool:isolated")
def test_what_a_handler_prints_stays_out_of_its_answer_and_is_kept_in_bounds(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "toolrail"):
        assert one(isolated(handlers.noisy)).content == "whole"
    (printed,) = [record.getMessage() for record in caplog.records if "printed" in record.getMessage()]
    assert 1_000 < len(printed) < 20_000


@promise("tool:isolated")
@pytest.mark.parametrize(
    "text",
    ["\xff" * 64, "\0\0\0\0\0\0\0\2{}", "\0\0\0\0\0\0\0\4null", "\0\0\0\0\0\0\0\1{", "\0\0\0\0\0\0\0\2{}" + "x" * 100],
    ids=["too long", "no value", "no object", "no JSON", "more than one"],
)
def test_a_forged_answer_is_an_error_of_that_call_alone(text: str) -> None:
    rail, _ = rail_of(isolated(handlers.forge), isolated(handlers.pid))
    forged, other = really(rail, [call("forge", {"text": text}), call("pid")])
    assert codes([forged, other]) == ["INTERNAL_ERROR", "ok"]


@promise("tool:isolated")
def test_a_process_whose_children_hold_its_pipes_open_has_ended_all_the_same(pipe: Path) -> None:
    rail, _ = rail_of(isolated(handlers.orphan))

    async def main() -> list[ToolResult]:
        opened = asyncio.create_task(_line(pipe))
        results = await in_run(rail, [call("orphan", {"path": str(pipe)})])
        if (await asyncio.wait([opened], timeout=0))[0]:
            await _all_gone(opened.result()[0])
        else:  # it was killed before it came to open the pipe
            os.close(os.open(pipe, os.O_WRONLY))
            (await opened)[0].close()
        return results

    assert said(asyncio.run(main())[0]) == {"error": "orphan ended without an answer.", "code": "TOOL_ERROR"}


@promise("tool:isolated")
def test_many_calls_leave_no_file_open_and_no_thread_busy() -> None:
    rail, _ = rail_of(isolated(handlers.pid), isolated(handlers.fail), isolated(handlers.die, isolate=LIMITS))
    calls = [call("pid"), call("fail", {"how": "bug"}), call("die", {"how": "crash"})] * 4

    async def main() -> tuple[int, int]:
        before = handlers.open_files()
        await in_run(rail, calls)
        await _settled(rail)
        return before, handlers.open_files()

    before, after = asyncio.run(main())
    assert after == before


@promise("tool:isolated")
def test_it_works_in_simulated_time_which_stands_still_meanwhile() -> None:
    rail, _ = rail_of(isolated(handlers.pid, timeout=0.001))
    assert codes(virtually(rail, [call("pid")])) == ["ok"]


@promise("tool:isolated")
@pytest.mark.parametrize("trouble", ["no interpreter", "no module"])
def test_a_process_that_never_came_to_its_handler_did_nothing(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fn: Callable[..., Any] = handlers.pid
    if trouble == "no interpreter":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    else:
        ghost = types.ModuleType("ghost_of_a_module")
        exec("def pid() -> int:\n    'Tells.'\n    return 1", vars(ghost))
        monkeypatch.setitem(sys.modules, "ghost_of_a_module", ghost)
        fn = vars(ghost)["pid"]
    result = one(isolated(fn, effect="once"))
    assert codes([result]) == ["INTERNAL_ERROR"]
    assert "may_have_happened" not in result.flags


def takes_context(ctx: RunContext[Any]) -> None:
    """Needs what lives here."""


@promise("tool:isolated", "tool:errors")
@pytest.mark.parametrize(
    ("make", "rule", "reason"),
    [
        (lambda: tool(isolate="thread")(handlers.pid), "TR113", "no isolation 'thread'"),  # type: ignore[typeddict-item]
        (lambda: tool(isolate="process", name="f")(lambda: 1), "TR114", "a lambda"),
        (lambda: tool(isolate="process")(handlers.lambda_of()), "TR114", "made inside a function"),
        (lambda: tool_from_schema({}, handlers.Machine().run, name="run", isolate="process"), "TR114", "a method"),
        (lambda: tool(isolate="process")(handlers.hidden), "TR114", "is not this function"),
        (lambda: tool(isolate="process")(takes_context), "TR115", "cannot have the context"),
        (lambda: tool(isolate=Isolation(cpu_seconds=0))(handlers.pid), "TR301", "must be over zero"),
    ],
    ids=["kind", "lambda", "closure", "method", "shadowed", "context", "limits"],
)
def test_a_handler_that_no_process_could_call_is_refused_at_start_up(
    make: Callable[[], Tool[Any]], rule: str, reason: str
) -> None:
    with pytest.raises(DefinitionError, match=reason) as caught:
        Rail([make()])
    assert caught.value.rule == rule


SCRIPT = """
import asyncio, os
from dataclasses import dataclass
from toolrail import Rail, ToolCall, tool

@dataclass
class Point:
    x: int

@tool(effect="read", isolate="process")
def double(point: Point) -> str:
    "Doubles."
    return f"{type(point).__name__} {point.x * 2} {os.getpid() != PARENT}"

PARENT = int(os.environ.setdefault("PARENT", str(os.getpid())))
rail = Rail([double], sinks=[])

def main():
    [result] = asyncio.run(rail.batch([ToolCall("1", "double", '{"point": {"x": 21}}')]))
    print(result.content)
"""


def _script(path: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path.write_text(text)
    command = [sys.executable, *(arguments or [str(path)])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, cwd=path.parent, env=environment, check=False
    )


@promise("tool:isolated")
@pytest.mark.parametrize("arguments", [(), ("-m", "program")], ids=["file", "module"])
def test_a_program_may_hold_its_own_isolated_handlers(arguments: tuple[str, ...], tmp_path: Path) -> None:
    text = f"{SCRIPT}\nif __name__ == '__main__':\n    main()\n"
    done = _script(tmp_path / "program.py", text, *arguments)
    assert done.stdout == "Point 42 True\n", done.stderr


@promise("tool:isolated")
def test_a_program_without_a_guard_is_told_so_and_does_not_start_itself_for_ever(tmp_path: Path) -> None:
    done = _script(tmp_path / "program.py", f"{SCRIPT}\nprint('started')\nmain()\n")
    assert (done.stdout + done.stderr).count("started") == 2
    assert "INTERNAL_ERROR" in done.stdout
    assert "`if __name__ == '__main__':`" in done.stderr


@promise("tool:isolated")
def test_what_was_typed_in_cannot_be_isolated(tmp_path: Path) -> None:
    done = _script(tmp_path / "program.py", "", "-c", SCRIPT)
    assert "TR114" in done.stderr
    assert "it was typed in" in done.stderr


@promise("tool:isolated")
def test_the_process_dies_with_ours(pipe: Path) -> None:
    program = (
        "import asyncio; from toolrail import Rail, ToolCall, tool; from tests.spine import isolated_handlers as h;"
        "rail = Rail([tool(effect='read', isolate='process')(h.linger)], sinks=[]);"
        f"""asyncio.run(rail.batch([ToolCall("1", "linger", '{{"path": "{pipe}"}}')]))"""
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}

    async def main() -> None:
        file, _ = await _line(pipe)
        ours.send_signal(signal.SIGKILL)
        await _all_gone(file)

    with subprocess.Popen([sys.executable, "-c", program], env=environment) as ours:
        asyncio.run(main())
