"""One handler in a process of its own, seen from here: started, given its work, listened to, killed, reaped."""

from __future__ import annotations

import json
import math
import os
import pickle
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from toolrail.crossing import OVER_MEMORY, IsolatedError, answer_in, began_in
from toolrail.errors import ProcessDied
from toolrail.isolation import MAIN, Isolation, main_path, name_of
from toolrail.logs import logger
from toolrail.starting import Starts, starts

log = logger("toolrail")

READY = b"\1"
"""In front of the answer: the handler is loaded, and the start is over."""
HEAD = 8
"""Bytes that say how long the message after them is."""
STDERR_BYTES = 16 * 1024
"""How much of what a process printed is kept: the end of it."""
ERROR_BYTES = 1024 * 1024
"""How long an answer may be beside the result: texts of errors, their tracebacks."""
CHUNK = 64 * 1024
LOOK_SECONDS = 0.2
"""Between two looks at whether a process is gone whose own children keep its pipes open."""
NESTED = 97
"""The exit status of an isolated process that was about to isolate a handler itself."""
UNGUARDED = (
    "An isolated handler's process was about to isolate a handler itself. Does your program start its work under "
    "`if __name__ == '__main__':`? "
)
CUT = "A result of %s was over Isolation(result_bytes=%d) and was cut. Return less, or raise the limit."
BOOT = (
    "import json, sys; toolrail_isolated = json.loads(sys.argv.pop()); sys.path[:] = toolrail_isolated; "
    "from toolrail.isolated import main; main()"
)
"""Our own search path comes first, so that the process finds what we would find."""

Late = Callable[[Any, BaseException | None], None]


class Killed(Exception):
    """We killed it: its time was over, or nobody waits any more."""


class Child:
    """One attempt. `run` works in a thread of the pool; `kill` may come from any other, at any time.

    Raises:
        Exception: the arguments cannot be pickled.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        values: Mapping[str, Any],
        *,
        isolation: Isolation,
        tool: str,
        timeout: float,
        shown: int,
    ) -> None:
        if BOOT in sys.orig_argv:  # a program without a guard starts itself again: stop before it does more
            os._exit(NESTED)
        self._isolation = isolation
        self._tool = tool
        self._cpu = math.ceil(timeout if isolation.cpu_seconds is None else isolation.cpu_seconds)
        self._shown = shown
        self._turn = threading.Event()
        self._request = self._framed(fn, pickle.dumps((args, dict(values))))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._answer = bytearray()
        self._ready = False
        self._printed = bytearray()
        self.sent = False
        """The process may have been told what to do. Never becomes true after `kill`."""

    def _framed(self, fn: Callable[..., Any], arguments: bytes) -> bytes:
        name = name_of(fn, self._tool)
        request = {
            "name": name,
            "main": main_path() if name.startswith(f"{MAIN}:") or MAIN.encode() in arguments else None,
            "memory_bytes": self._isolation.memory_bytes,
            "cpu_seconds": self._cpu,
            "result_bytes": self._isolation.result_bytes,
            "shown_bytes": self._shown,
            "arguments": arguments,
            "trace": _trace(),
        }
        message = pickle.dumps(request)
        return len(message).to_bytes(HEAD, "big") + message

    def run(self) -> tuple[Any, tuple[str, ...]]:
        """In a thread: the whole life of the process; the value, and the flags of its encoding.

        Raises:
            ProcessDied: it went over a limit, or ended without an answer.
            Killed: by `kill`.
            Exception: what the handler raised; see `answer_in`.
        """
        line = starts()
        line.join(self._turn)
        try:
            self._turn.wait()  # no longer than until the deadline, at which `kill` comes
            status = self._work(line)
        finally:
            line.leave(self._turn)
        if self._printed:
            log.debug("%s printed: %s", self._tool, self._printed.decode("utf-8", "replace"))
        return self._read(status)

    def kill(self) -> None:
        """Ends the process and all of its group, now; one that was not started yet never is."""
        with self._lock:
            self._killed = True
            self._kill_group()
            self._turn.set()

    def late(self, tell: Late) -> Late:
        """Hears what came after all: a process that we killed has nothing to tell."""

        def hear(outcome: Any, error: BaseException | None) -> None:
            if not isinstance(error, Killed):
                tell(outcome[0] if error is None else None, error)

        return hear

    def _kill_group(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, when all have ended
                os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self) -> subprocess.Popen[bytes]:
        path = json.dumps([os.path.abspath(one) for one in sys.path])
        with self._lock:
            if self._killed:
                raise Killed
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, path],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self.sent = True
            return self._process

    def _work(self, line: Starts) -> int:
        process = self._start()
        try:
            self._exchange(process, line)
        finally:
            status = self._end(process)
        return status

    def _exchange(self, process: subprocess.Popen[bytes], line: Starts) -> None:
        """Gives it its work and takes the answer, until that is whole or the process is gone."""
        assert process.stdin
        assert process.stdout
        assert process.stderr
        request = memoryview(self._request)
        os.set_blocking(process.stdin.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdin, selectors.EVENT_WRITE)
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while not self._whole():
                gone = _gone(process)  # asked first: what it wrote before is then there to be read
                ready = {key.fileobj for key, _ in selector.select(0 if gone else LOOK_SECONDS)}
                if gone and process.stdout not in ready:
                    return
                if process.stdin in ready:
                    request = request[_written(process.stdin.fileno(), request) :]
                    if not request:  # it stays open: when we die, the process reads its end, and dies too
                        selector.unregister(process.stdin)
                if process.stderr in ready and not self._hear(process.stderr.fileno()):
                    selector.unregister(process.stderr)
                if process.stdout in ready:
                    chunk = os.read(process.stdout.fileno(), CHUNK)
                    if not chunk:
                        return
                    self._answer += chunk
                    if not self._ready:
                        self._begin(line)

    def _begin(self, line: Starts) -> None:
        """The first byte came: the start is over, whatever follows."""
        self._ready = True
        if self._answer.startswith(READY):
            del self._answer[:1]
        line.leave(self._turn)

    def _hear(self, fd: int) -> bool:
        chunk = os.read(fd, CHUNK)
        self._printed += chunk
        del self._printed[:-STDERR_BYTES]
        return bool(chunk)

    def _size(self) -> int:
        return int.from_bytes(self._answer[:HEAD], "big")

    def _whole(self) -> bool:
        """Whether the answer is complete, or longer than one may be."""
        size = len(self._answer) - HEAD
        return size >= 0 and (size >= self._size() or self._too_long())

    def _too_long(self) -> bool:
        return self._size() > self._isolation.result_bytes + ERROR_BYTES

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Nothing is left of it: no process of its group, no zombie, no pipe."""
        with self._lock:
            if self._whole():
                self._kill_group()
        _await_exit(process)
        with self._lock:  # a process is reaped only here, so `kill` never meets another one with its number
            self._kill_group()
            status = process.wait()
            self._process = None
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return status

    def _read(self, status: int) -> tuple[Any, tuple[str, ...]]:
        answer = bytes(self._answer[HEAD:])
        if self._whole():
            if self._too_long() or len(answer) != self._size():
                raise IsolatedError("The handler's process gave an answer of a size that was not agreed.")
            if answer == OVER_MEMORY:
                raise ProcessDied(f"{self._tool} went over its memory limit{self._memory()} and was stopped.")
            self.sent = began_in(answer)
            value, flags = answer_in(answer)
            if "preview" in flags:
                log.warning(CUT, self._tool, self._isolation.result_bytes)
            return value, flags
        if self._killed:
            raise Killed
        printed = self._printed.decode("utf-8", "replace")
        if status == NESTED:
            raise IsolatedError(UNGUARDED + printed)
        last_words = IsolatedError(f"It printed:\n{printed}") if printed else None
        raise ProcessDied(f"{self._tool} {self._death(status)}") from last_words

    def _death(self, status: int) -> str:
        match -status:
            case signal.SIGXCPU:
                return f"went over its limit of {self._cpu} s of processor time and was stopped."
            case signal.SIGKILL:
                return f"was killed from outside, perhaps for want of memory{self._memory()}."
            case number if number > 0:
                return f"crashed ({_signal(number)})."
            case _:
                return "ended without an answer."

    def _memory(self) -> str:
        size = self._isolation.memory_bytes
        return "" if size is None else f" of {size // 1024**2} MB"


def _trace() -> dict[str, str]:
    """Where this call stands in a trace, by OpenTelemetry's propagators, so that its process can go on with it. Nothing
    where nobody traces: whoever does has loaded them."""
    carrier: dict[str, str] = {}
    propagate: Any = sys.modules.get("opentelemetry.propagate")
    if propagate is not None:
        with suppress(Exception):
            propagate.inject(carrier)
    return carrier


def _written(fd: int, data: memoryview) -> int:
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except BrokenPipeError:  # it has ended; its exit says why
        return len(data)


def _gone(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended. It stays a zombie, whose number nobody else gets."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _await_exit(process: subprocess.Popen[bytes]) -> None:
    if not hasattr(os, "waitid"):
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
