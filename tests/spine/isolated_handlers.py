"""Handlers for `isolate="process"`: at the top of a module that loads fast, as another process must find them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from toolrail.errors import ModelRetry, NotAuthorised, ToolError
from toolrail.messages import Media

SECRET = "s3cr3t-value"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A result that is no plain data."""

    total: Decimal
    on: date
    pid: int


def pid() -> int:
    """Tells in which process it runs."""
    return os.getpid()


async def pid_async() -> int:
    """Tells it from a coroutine."""
    return os.getpid()


def receipt(price: Decimal, count: int, on: date) -> Receipt:
    """Adds up."""
    return Receipt(price * count, on, os.getpid())


def value(name: str) -> Any:
    """Returns one of several values."""
    values: dict[str, Any] = {
        "text": 'plain "text" \u2603',
        "surrogate": "a\ud800b",
        "nothing": None,
        "number": 10**30,
        "nan": [1.5, float("nan")],
        "image": Media(b"\x89PNG", "image/png", "plot"),
        "mixed": ["see", Media(b"\x89PNG", "image/png")],
        "large": list(range(20_000)),
        "odd": object,
    }
    return values[name]


def fail(how: str) -> None:
    """Fails in one of several ways."""
    match how:
        case "tool_error":
            raise ToolError("The plan is full.")
        case "model_retry":
            raise ModelRetry("Give a date in the future.")
        case "not_authorised":
            raise NotAuthorised(like="No order 7.")
        case "passing":
            raise ConnectionResetError(SECRET)
        case "wrapped":
            try:
                raise TimeoutError(SECRET)
            except TimeoutError:
                raise ToolError("The bank is slow.") from None
        case "refused":
            raise ConnectionRefusedError(SECRET)
        case "exit":
            sys.exit(3)
        case _:
            raise ValueError(SECRET)


def die(how: str) -> None:
    """Takes its process with it."""
    match how:
        case "memory":
            list(range(10**9))
        case "processor":
            while True:
                pass
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            os._exit(0)


def flaky(path: str) -> int:
    """Fails the first time, in whatever process."""
    with Path(path).open("a") as file:
        file.write("x")
        attempts = file.tell()
    if attempts == 1:
        raise ConnectionResetError
    return attempts


def linger(path: str) -> None:
    """Starts a process of its own that holds the pipe open too, says so, ignores what it can, and never ends."""
    pipe = os.open(path, os.O_WRONLY)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], pass_fds=[pipe]):
        os.write(pipe, f"{os.getpid()}\n".encode())
        while True:
            threading.Event().wait()


def noisy() -> str:
    """Prints more than any pipe holds, and finds nothing to read."""
    for _ in range(40):
        print("x" * 100_000)
        print("y" * 1_000, file=sys.stderr)
    os.write(1, b"\0\0\0\0\0\0\0\2{}")
    return sys.stdin.read() + "whole"


def forge(text: str) -> None:
    """Writes into every pipe that it finds, in place of an answer, and dies."""
    for fd in range(3, 64):
        try:
            os.write(fd, text.encode("latin-1"))
        except OSError:
            continue
    os._exit(0)


def orphan(path: str) -> None:
    """Leaves a process behind that keeps all pipes open, and ends without an answer."""
    if os.fork() == 0:
        pipe = os.open(path, os.O_WRONLY)
        os.write(pipe, b"there\n")
        while True:
            threading.Event().wait()
    os._exit(0)


def shadowed() -> None:  # pyright: ignore[reportRedeclaration]
    """Cannot be found any more: its name is another one's."""


hidden = shadowed


def shadowed() -> None:
    """The other one."""


class Machine:
    """Has a method, which needs its object."""

    def run(self) -> None:
        """Runs."""

    @staticmethod
    def twice(number: int) -> int:
        """Doubles."""
        return 2 * number


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/dev/fd"))


def lambda_of() -> Any:
    """A function that only this process has."""

    def inner() -> None:
        """Does nothing."""

    return inner
