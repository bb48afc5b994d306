"""Runs Python that a model wrote in `pydantic-monty`: an interpreter in its own process, without files or network.

Each run starts a new process and ends it: nothing is left over for the next one, and what is stuck is killed.
"""

from __future__ import annotations

from dataclasses import dataclass

import pydantic_monty as monty

from toolrail import ToolError

SECONDS = 1.0
MEMORY_BYTES = 64 * 1024 * 1024
PRINT_BYTES = 256 * 1024
MAX_CHARACTERS = 4_000
"""Of the result and of the printed output, as shown."""

_KILL_AFTER = 2.0


@dataclass(frozen=True, slots=True)
class PythonResult:
    """What a piece of Python said."""

    result: str | None
    """The `repr` of the last expression, or None where there was none."""
    output: str
    """What it printed."""


class SandboxError(Exception):
    """The code failed or went over a limit; the text is about the code alone and may be shown to whoever wrote it."""


def run_python(code: str) -> PythonResult:
    """Runs a short piece of Python in a sandbox and returns its last value and what it printed."""
    try:
        return run_code(code)
    except SandboxError as error:
        raise ToolError(str(error)) from None


def run_code(code: str, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> PythonResult:
    """Runs `code` to its end. Blocks the calling thread, so it belongs in a thread.

    `seconds` limits its running time, `memory_bytes` its heap. Raises `SandboxError`.

    >>> run_code("print('hello'); 6 * 7")
    PythonResult(result='42', output='hello\\n')
    """
    printed = monty.CollectString(max_bytes=PRINT_BYTES)
    limits: monty.ResourceLimits = {"max_feed_duration_secs": seconds, "max_memory": memory_bytes}
    # Sleeping is a no-op: it would cost a tool call's time and mean nothing here.
    with (
        monty.Monty(max_processes=1, request_timeout=seconds + _KILL_AFTER) as pool,
        pool.checkout(limits=limits, os_policy={"sleep": "zero"}) as session,
    ):
        try:
            value = session.feed_run(code, print_callback=printed)
        except monty.MontyError as error:
            raise SandboxError(_explain(error, printed.output)) from None
    return PythonResult(None if value is None else _cut(_repr(value)), _cut(printed.output))


def _explain(error: monty.MontyError, printed: str) -> str:
    match error:
        case monty.MontyRuntimeError() | monty.MontySyntaxError():
            lines = [frame.line for frame in error.traceback()]
            where = f" (line {lines[-1]})" if lines else ""
            text = error.display("type-msg") + where
        case monty.MontyCrashedError(timed_out=True):
            text = "TimeoutError: the code ran too long and was killed"
        case monty.MontyCrashedError():
            text = "The sandbox crashed while it ran the code"
        case _:
            text = str(error)
    return _cut(f"{text}. Printed before: {printed}" if printed else f"{text}.")


def _repr(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of more digits than Python turns into text
        raise SandboxError("ValueError: the result is a number with too many digits to show.") from None


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} ... (cut, {len(text)} characters)"
