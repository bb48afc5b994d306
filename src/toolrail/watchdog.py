"""Finds the async tool that blocks the event loop, and names it: a thread looks, because the loop itself cannot.

Nothing is noted while tools run. A thread that exists only while calls are under way looks four times a second at
what all threads execute: where the same step of the same tool is found twice, that tool holds its loop. Code that also
keeps the interpreter's lock (a regular expression that never ends) can be found only when it lets go; blocks in tasks
that a tool spawned are not its step, and not found.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from types import FrameType

from toolrail.drive import Driven
from toolrail.events import LoopBlocked
from toolrail.logs import logger
from toolrail.run import Job

log = logger("toolrail")

LOOKS = 2
"""Within one lag: a block is noticed between half a lag and a whole one after it began."""
REST = 8
"""Looks in vain, with nothing under way, after which the thread ends; the next call starts another one."""
STEPS = frozenset((Driven.send.__code__, Driven.throw.__code__))
"""Where a tool's step stands on the stack."""


@dataclass(slots=True)
class _Seen:
    """A step that was under way at a look. The frame is kept, so that no later step can pass for it."""

    frame: FrameType
    since: float
    told: bool = False


class Watchdog:
    """One rail's. `awake` is all that a call looks at.

    Args:
        driven: the handlers under way; shared with the rail.
        lag: seconds; a step that takes as long is reported, one that takes less than half of it never. None: nobody
            wants to know.
    """

    def __init__(self, driven: set[Driven], lag: float | None) -> None:
        self._unwanted = lag is None
        self.awake = self._unwanted
        """A thread looks, or nobody needs to."""
        self._driven = driven
        self._period = (lag or 0.0) / LOOKS
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seen: dict[int, _Seen] = {}
        self._idle = 0
        self._pid = os.getpid()

    def wake(self, loop: AbstractEventLoop) -> None:
        """Starts looking. Not on a loop with simulated time: nobody waits there, and a real thread would disturb it."""
        if hasattr(loop, "hold"):
            return
        with self._lock:
            if self.awake:
                return
            self.awake, self._idle = True, 0
            self._stop = threading.Event()
            work = (weakref.ref(self), self._stop, self._period)
            with suppress(RuntimeError):  # the system has no thread left: tools run all the same
                threading.Thread(target=_watch, args=work, name="toolrail-watchdog", daemon=True).start()

    def close(self) -> None:
        """Ends the thread. A call that comes after that wakes another one."""
        with self._lock:
            self.awake = self._unwanted
            self._stop.set()

    def after_fork(self) -> None:
        """A child process has none of its parent's threads."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.Lock()
            self.awake = self._unwanted
            self._seen = {}

    def look(self, frames: Mapping[int, FrameType], now: float) -> None:
        """One look at the innermost frame of each thread."""
        steps = {thread: found for thread, frame in frames.items() if (found := self._step(frame)) is not None}
        for thread, (driven, step) in steps.items():
            seen = self._seen.get(thread)
            if seen is None or seen.frame is not step:
                self._seen[thread] = _Seen(step, now)
            elif not seen.told and now - seen.since >= self._period:
                seen.told = True
                _tell(driven.job, now - seen.since, frame=frames[thread], step=step)
        for thread in self._seen.keys() - steps.keys():
            del self._seen[thread]

    def _step(self, frame: FrameType | None) -> tuple[Driven, FrameType] | None:
        """The step of one of our tools that a thread is in."""
        while frame is not None:
            if frame.f_code in STEPS:
                driven = frame.f_locals["self"]
                if driven in self._driven:
                    return driven, frame
            frame = frame.f_back
        return None

    def rests(self, stop: threading.Event) -> bool:
        """Whether the thread of `stop` may end: another one looks, or nothing was under way for a while. One look
        before that it says so, and then looks once more for a call that had not heard it."""
        with self._lock:
            if stop is not self._stop:
                return True
            self._idle = 0 if self._driven else self._idle + 1
            self.awake = self._idle < REST
            return self._idle > REST


def _watch(watchdog: weakref.ref[Watchdog], stop: threading.Event, period: float) -> None:
    """The thread. It keeps no rail alive: between two looks it holds nothing."""
    while not stop.wait(period):
        found = watchdog()
        if found is None or found.rests(stop):
            return
        try:
            # There is no public way; `faulthandler` has it as a text without values only.
            found.look(sys._current_frames(), time.monotonic())  # pyright: ignore[reportPrivateUsage]
        except Exception:
            log.exception("The watchdog failed at one look.")
        del found


def _tell(job: Job | None, seconds: float, *, frame: FrameType, step: FrameType) -> None:
    """Now, and from this thread: a loop that is blocked for ever could never say so itself."""
    if job is None:
        return
    inner = list(takewhile(lambda found: found[0] is not step, traceback.walk_stack(frame)))
    place = "".join(traceback.StackSummary.extract(reversed(inner)).format())
    name, run = job.call.name, job.run.id
    log.warning("%s blocks the event loop: %.2f s so far (run %s). It is at\n%s", name, seconds, run, place)
    job.run.emit(lambda head: LoopBlocked(head, job.ref(), seconds))
