"""Tells a real Ctrl-C from a KeyboardInterrupt that a tool raised by itself."""

from __future__ import annotations

import dis
import signal
from types import TracebackType
from typing import Any


def from_signal(error: BaseException) -> bool:
    """Whether a KeyboardInterrupt came from SIGINT.

    Python's own handler is a built-in and leaves no frame, so the innermost frame is the interrupted one, at any
    instruction but a `raise`; a handler in Python is itself among the frames.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    frames = _frames(error.__traceback__)
    if not frames:
        return False
    handler: Any = signal.getsignal(signal.SIGINT)
    handler = getattr(handler, "func", handler)  # asyncio's runner registers a partial of its method
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    if code is not None and any(tb.tb_frame.f_code is code for tb in frames):
        return True
    last = frames[-1]
    opcode = last.tb_frame.f_code.co_code[last.tb_lasti]
    return dis.opname[opcode] not in ("RAISE_VARARGS", "RERAISE")


def _frames(tb: TracebackType | None) -> list[TracebackType]:
    found: list[TracebackType] = []
    while tb is not None:
        found.append(tb)
        tb = tb.tb_next
    return found
