"""Whole processes: they end whatever a handler did, and a real Ctrl-C stops them once the batch is settled."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.promises import promise
from tests.spine.helpers import call, codes, rail_of
from toolrail.definition import tool
from toolrail.messages import ToolResult
from toolrail.testing import fault_tool, run_virtual

ROOT = Path(__file__).parents[2]
SECONDS = 30.0
"""After which a process that should have ended counts as one that hangs."""

START = """
import asyncio, os, signal, sys, threading, time
from toolrail.messages import ToolCall
from toolrail.rail import Rail
from toolrail.run import ToolEnded
from toolrail.testing import fault_tool
from toolrail.definition import tool

def show(results):
    for result in results:
        print(result.call_id, result.code.value if result.code else result.status, flush=True)

@tool(effect="read")
async def sibling() -> str:
    "Works."
    return "kept"

async def batch(rail, *names):
    async with rail.run([]) as run:
        run.observer = lambda e: show([e.result]) if isinstance(e, ToolEnded) else None
        return await rail.batch([ToolCall(name, name, "") for name in names], run)
"""


@contextmanager
def _started(code: str) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _output(code: str) -> tuple[int, list[str], str]:
    """The process's exit status, its output's lines and its errors."""
    with _started(code) as process:
        out, err = process.communicate(timeout=SECONDS)
    return process.returncode, sorted(out.splitlines()), err


def _interrupted(code: str) -> tuple[int, list[str], str]:
    """The same, with a SIGINT once the process has printed `ready`."""
    early: list[str] = []
    with _started(code) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            assert line, process.communicate()[1]
            early.append(line.rstrip())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    return process.returncode, sorted([*early, *out.splitlines()]), err


@promise("call:total", "call:deadline/async", "steady:isolation")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("system_exit", "INTERNAL_ERROR"),
        ("keyboard_interrupt", "INTERNAL_ERROR"),
        ("cancelled_error", "INTERNAL_ERROR"),
        ("recursion", "INTERNAL_ERROR"),
        ("swallow", "TIMEOUT"),
        ("slow_cleanup", "TIMEOUT"),
        ("hang", "TIMEOUT"),
    ],
)
@pytest.mark.parametrize("loop", ["asyncio.run(main())", "asyncio.new_event_loop().run_until_complete(main())"])
def test_no_async_fault_stops_the_process_or_keeps_it_alive(fault: str, code: str, loop: str) -> None:
    status, lines, _ = _output(f"""
async def main():
    await batch(Rail([fault_tool({fault!r}, timeout=0.05), sibling], sinks=[]), {fault!r}, "sibling")
    print("went on")
{loop}
""")
    assert status == 0
    assert lines == sorted([f"{fault} {code}", "sibling ok", "went on"])


@promise("call:total", "call:deadline/threads", "call:sync", "steady:isolation")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("system_exit", "INTERNAL_ERROR"),
        ("keyboard_interrupt", "INTERNAL_ERROR"),
        ("recursion", "INTERNAL_ERROR"),
        ("hang", "TIMEOUT"),
    ],
)
def test_no_sync_fault_stops_the_process_or_keeps_it_alive(fault: str, code: str) -> None:
    status, lines, _ = _output(f"""
async def main():
    tools = [fault_tool({fault!r}, sync=True, timeout=0.2), sibling]
    await batch(Rail(tools, sinks=[]), {fault!r}, "sibling")
    print("went on")
asyncio.run(main())
""")
    assert status == 0
    assert lines == sorted([f"{fault} {code}", "sibling ok", "went on"])


WAITING = """
@tool(effect="once")
async def wait() -> str:
    "Waits."
    asyncio.get_running_loop().call_later(0.05, lambda: print("ready", flush=True))
    await asyncio.sleep(60)
    return "never"

async def main():
    names = ["sibling", "wait"] if {siblings} else ["wait"]
    await batch(Rail([sibling, wait], sinks=[]), *names)
    print("went on")
"""

BUSY = """
@tool(effect={effect!r})
async def busy() -> str:
    "Computes."
    print("ready", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass
    return "never"

async def main():
    names = ["sibling", "busy", "sibling"] if {siblings} else ["busy"]
    await batch(Rail([sibling, busy], sinks=[]), *names)
    print("went on")
"""


@promise("call:total", "call:cancel")
@pytest.mark.parametrize("siblings", [False, True], ids=["alone", "with a sibling"])
def test_ctrl_c_under_asyncio_run_settles_the_batch_and_stops_the_process(siblings: bool) -> None:
    status, lines, err = _interrupted(WAITING.format(siblings=siblings) + "asyncio.run(main())")
    assert lines == sorted(["wait OUTCOME_UNKNOWN", *(["sibling ok"] if siblings else [])])
    assert status != 0
    assert err.rstrip().endswith("KeyboardInterrupt")


@promise("call:total", "call:cancel")
@pytest.mark.parametrize(("effect", "code"), [("once", "OUTCOME_UNKNOWN"), ("read", "CANCELLED")])
@pytest.mark.parametrize("siblings", [False, True], ids=["alone", "with siblings"])
def test_ctrl_c_inside_a_handler_on_a_bare_loop_settles_the_batch_and_stops_the_process(
    siblings: bool, effect: str, code: str
) -> None:
    run = "loop = asyncio.new_event_loop()\nloop.run_until_complete(main())"
    status, lines, err = _interrupted(BUSY.format(siblings=siblings, effect=effect) + run)
    assert lines == sorted([f"busy {code}", *(["sibling ok"] * 2 if siblings else [])])
    assert status != 0
    assert "KeyboardInterrupt" in err


@promise("call:cancel")
def test_ctrl_c_between_two_steps_on_a_bare_loop_stops_the_process() -> None:
    run = "loop = asyncio.new_event_loop()\nloop.run_until_complete(main())"
    status, lines, err = _interrupted(WAITING.format(siblings=False) + run)
    assert status != 0
    assert "went on" not in lines  # the loop itself was interrupted: nothing of ours ran any more
    assert "KeyboardInterrupt" in err


@promise("call:cancel", "call:sync")
def test_ctrl_c_while_a_thread_works_stops_the_process() -> None:
    status, lines, err = _interrupted("""
@tool(effect="once")
def block() -> str:
    "Blocks."
    threading.Event().wait(0.2)  # until the loop sleeps: Python may miss a signal in the instant before that
    print("ready", flush=True)
    threading.Event().wait(60)
    return "never"

async def main():
    await batch(Rail([block], sinks=[]), "block")
asyncio.run(main())
""")
    assert lines == ["block OUTCOME_UNKNOWN"]
    assert status != 0
    assert err.rstrip().endswith("KeyboardInterrupt")


@promise("call:total")
def test_a_keyboard_interrupt_of_a_helper_thread_is_its_tools_error() -> None:
    def helper() -> None:
        raise KeyboardInterrupt

    @tool(effect="read")
    async def delegate() -> None:
        """Hands its work to a thread of its own."""
        await asyncio.to_thread(helper)

    rail, _ = rail_of(delegate)
    assert codes(asyncio.run(rail.batch([call("delegate")]))) == ["INTERNAL_ERROR"]


@promise("call:deadline/async")
def test_the_documented_limit_children_of_a_tool_outlive_its_call() -> None:
    """The answer comes at the deadline. What tasks that the tool spawned do after that is not ours to stop."""
    rail, _ = rail_of(fault_tool("stuck_children", timeout=1.0))

    async def main() -> tuple[list[ToolResult], float, int]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        results = await rail.batch([call("stuck_children")])
        for _ in range(5):
            await asyncio.sleep(0)
        return results, loop.time() - began, len(asyncio.all_tasks()) - 1

    results, seconds, left = run_virtual(main())
    assert codes(results) == ["TIMEOUT"]
    assert seconds == pytest.approx(1.05)
    assert left >= 2


FORKED = """
import os, sys
from toolrail.clock import SystemClock

clock = SystemClock()
clock.new_id("run")
for worker in range(2):
    if os.fork() == 0:
        lines = "".join(f"{clock.new_id('run')[-16:]} {clock.random()}\\n" for _ in range(50))
        os.write(1, lines.encode())
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@promise("effect:once", "see:record")
def test_workers_that_were_forked_make_different_ids_and_pauses() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in done.stdout.splitlines()]
    assert len(pairs) == 100
    assert len({bits for bits, _ in pairs}) == len({pause for _, pause in pairs}) == 100
