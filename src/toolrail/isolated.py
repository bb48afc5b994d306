"""What runs in an isolated handler's process: it takes its limits and its work, calls the handler, gives one answer.

`toolrail.processes` starts it. Its standard input carries the work and stays open for as long as we are awaited; its
standard output carries the answer, and is put out of the handler's reach before that is called.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from toolrail.crossing import OVER_MEMORY, error_out, value_out
from toolrail.isolation import load_main, look_up

HEAD = 8
FLUSH_MILLISECONDS = 1000
READY = b"\1"
"""Says, in front of the answer, that the handler is loaded. The first byte of an answer's length is never that."""


def main() -> None:
    """One piece of work, and the process is over."""
    inbox, outbox = _private_pipes()
    request = pickle.loads(_message(inbox))
    limit_memory(request["memory_bytes"])
    threading.Thread(target=_end_with_parent, args=(inbox,), daemon=True).start()
    answer = _answer(request, outbox)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    _write(outbox, len(answer).to_bytes(HEAD, "big"))
    _write(outbox, answer)
    os._exit(0)


def _answer(request: dict[str, Any], outbox: int) -> bytes:
    began = False
    try:
        # By the names that OpenTelemetry has for the environment: also for programs that the handler starts.
        os.environ.update((name.upper().replace("-", "_"), value) for name, value in request["trace"].items())
        if request["main"] is not None:
            load_main(*request["main"])
        fn = look_up(request["name"])
        args, values = pickle.loads(request["arguments"])
        traced = _continue_trace(request["trace"])
        limit_cpu(request["cpu_seconds"])
        _write(outbox, READY)
        began = True
        try:
            value = _call(fn, args, values)
        finally:
            if traced:
                _flush_traces()
        return value_out(value, max_bytes=request["result_bytes"], shown=request["shown_bytes"])
    except MemoryError:
        return OVER_MEMORY
    except BaseException as error:  # a SystemExit, too, is an answer
        return error_out(error, began=began)


def _call(fn: Any, args: tuple[Any, ...], values: dict[str, Any]) -> Any:
    value: Any = fn(*args, **values)
    if not hasattr(value, "__await__"):
        return value
    import asyncio  # a third of the start-up; most handlers that need a process of their own are plain functions

    async def awaited() -> Any:
        return await value

    return asyncio.run(awaited())


def _continue_trace(carrier: dict[str, str]) -> bool:
    """What the handler does is done in its call's span, if its module traces; whether it does."""
    if not carrier or "opentelemetry" not in sys.modules:
        return False
    with suppress(Exception):
        from opentelemetry.context import attach
        from opentelemetry.propagate import extract

        attach(extract(carrier))
        return True
    return False


def _flush_traces() -> None:
    """The process is about to end without a farewell; what its provider has collected would be lost."""
    with suppress(Exception):
        from opentelemetry.trace import get_tracer_provider

        flush: Any = getattr(get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush(FLUSH_MILLISECONDS)


def _private_pipes() -> tuple[int, int]:
    """The two pipes under numbers that programs which the handler starts do not inherit; what it prints goes to
    standard error, and there is nothing to read."""
    inbox, outbox = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return inbox, outbox


def _message(fd: int) -> bytes:
    size = int.from_bytes(_read(fd, HEAD), "big")
    return _read(fd, size)


def _read(fd: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = os.read(fd, size - len(data))
        if not chunk:
            os._exit(1)  # nobody is there any more
        data += chunk
    return bytes(data)


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _end_with_parent(inbox: int) -> None:
    """Nobody waits for a process whose parent has died: the pipe that it holds open has an end then."""
    with suppress(OSError):
        os.read(inbox, 1)
    os.killpg(0, signal.SIGKILL)


def limit_memory(size: int | None) -> None:
    """No core dumps, and no more address space than `size`, where the system can say that."""
    import resource  # not on Windows, where nothing is isolated

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if size is not None:
        with suppress(ValueError, OSError):  # macOS does not take it
            resource.setrlimit(resource.RLIMIT_AS, (size, size))


def limit_cpu(seconds: int) -> None:
    """So many seconds more than were used until now; one later the system no longer asks."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    with suppress(ValueError, OSError):  # a lower limit is there already
        resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + 1))
