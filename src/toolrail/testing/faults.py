"""Tools that go wrong in every way a tool can, async and sync, to see what your loop makes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Literal

from toolrail.definition import Tool, tool
from toolrail.effects import BY_NAME, Effect
from toolrail.errors import ModelRetry, NotAuthorised, ToolError

SECRET = "s3cr3t-value"
"""Stands in the text of every exception that must not reach the model."""

Fault = Literal[
    "ok",
    "retryable",
    "permanent",
    "model_retry",
    "not_authorised",
    "unexpected",
    "transient",
    "system_exit",
    "keyboard_interrupt",
    "cancelled_error",
    "recursion",
    "hang",
    "swallow",
    "slow_cleanup",
    "stuck_children",
    "unencodable",
    "huge",
    "nan",
    "cyclic",
    "generator",
]


def fault_tool(
    fault: Fault,
    *,
    sync: bool = False,
    effect: str | Effect = "read",
    timeout: float = 1.0,
    name: str | None = None,
    until: threading.Event | None = None,
) -> Tool[object]:
    """A tool without arguments that has this fault each time it is called.

    Args:
        fault: which one.
        sync: as a plain function, run in a thread.
        until: what a sync tool that hangs waits for; without one it waits for ever, in a thread that is abandoned.
    """
    chosen = effect if isinstance(effect, Effect) else BY_NAME[effect]
    fn = _sync(fault, until or threading.Event()) if sync else _async(fault)
    made = tool(name=name or fault, effect=chosen, timeout=timeout, description=f"Has the fault {fault!r}.")(fn)
    return replace(made)


def fault_tools(*, sync: bool = False, effect: str | Effect = "read", timeout: float = 1.0) -> list[Tool[object]]:
    """One tool for each fault that is possible in this form."""
    names: tuple[Fault, ...] = SYNC_FAULTS if sync else ASYNC_FAULTS
    return [fault_tool(fault, sync=sync, effect=effect, timeout=timeout) for fault in names]


def _raising(fault: Fault) -> BaseException | None:
    match fault:
        case "retryable":
            return ToolError("The service is busy.", retryable=True)
        case "permanent":
            return ToolError("There is no such order.")
        case "model_retry":
            return ModelRetry("Give the order's number, not its date.")
        case "not_authorised":
            return NotAuthorised()
        case "unexpected":
            return RuntimeError(f"bug with {SECRET}")
        case "transient":
            return ConnectionResetError(f"peer {SECRET} reset")
        case "system_exit":
            return SystemExit(SECRET)
        case "keyboard_interrupt":
            return KeyboardInterrupt(SECRET)
        case "cancelled_error":
            return asyncio.CancelledError(SECRET)
        case _:
            return None


def _value(fault: Fault) -> Any:
    match fault:
        case "ok":
            return "fine"
        case "unencodable":
            return {"socket": object(), "lock": threading.Lock()}
        case "huge":
            return "x" * 50_000_000
        case "nan":
            return {"price": float("nan"), "limit": float("inf")}
        case "cyclic":
            loop: list[Any] = [1]
            loop.append(loop)
            return loop
        case "generator":
            return (number for number in range(3))
        case "recursion":
            return _forever(0)
        case _:
            raise AssertionError(f"{fault} is no fault of this form")


def _forever(depth: int) -> int:
    return _forever(depth + 1) + 1


def _async(fault: Fault) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def faulty() -> Any:
        error = _raising(fault)
        await asyncio.sleep(0)
        if error is not None:
            raise error
        await _stuck(fault)
        return _value(fault)

    return faulty


async def _stuck(fault: Fault) -> None:
    match fault:
        case "hang":
            await asyncio.Event().wait()
        case "swallow":
            await _swallow()
        case "slow_cleanup":
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(3_600)
        case "stuck_children":
            await asyncio.gather(_swallow(), _swallow())
        case _:
            return


async def _swallow() -> None:
    # The first hour of cancellations is ignored; so a process that runs this in simulated time ends.
    end = asyncio.get_running_loop().time() + 3_600
    while asyncio.get_running_loop().time() < end:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            continue


def _sync(fault: Fault, until: threading.Event) -> Callable[[], Any]:
    def faulty() -> Any:
        error = _raising(fault)
        if error is not None:
            raise error
        if fault == "hang":
            until.wait()
            return "late"
        return _value(fault)

    return faulty


_BOTH: tuple[Fault, ...] = (
    "ok",
    "retryable",
    "permanent",
    "model_retry",
    "not_authorised",
    "unexpected",
    "transient",
    "system_exit",
    "keyboard_interrupt",
    "cancelled_error",
    "recursion",
    "hang",
    "unencodable",
    "huge",
    "nan",
    "cyclic",
    "generator",
)
SYNC_FAULTS: tuple[Fault, ...] = _BOTH
ASYNC_FAULTS: tuple[Fault, ...] = (*_BOTH, "swallow", "slow_cleanup", "stuck_children")
