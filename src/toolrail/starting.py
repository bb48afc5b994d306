"""How many isolated processes start at the same time: a start is nothing but work, so more than the cores only wait.

Twenty that start at once on two cores are all late; three at a time answer one after the other.
"""

from __future__ import annotations

import os
import threading
from collections import deque

BESIDE = 1
"""So many more than cores: one waits for its file system while the others compute."""


class Starts:
    """Turns to start, first come, first served. For threads; whoever waits has an event of its own.

    Example:

        turn = threading.Event()
        starts.join(turn)
        turn.wait()
        ...
        starts.leave(turn)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._starting: set[threading.Event] = set()
        self._queue: deque[threading.Event] = deque()

    def join(self, turn: threading.Event) -> None:
        """Waits in line from now on: `turn` is set when it may start."""
        with self._lock:
            self._queue.append(turn)
            self._serve()

    def leave(self, turn: threading.Event) -> None:
        """It has started, or no longer wants to. Safe to call twice."""
        with self._lock:
            if turn in self._starting:
                self._starting.remove(turn)
            elif turn in self._queue:
                self._queue.remove(turn)
            self._serve()

    def _serve(self) -> None:
        while self._queue and len(self._starting) < self._most:
            turn = self._queue.popleft()
            self._starting.add(turn)
            turn.set()


_OF_PROCESS: dict[int, Starts] = {}


def starts() -> Starts:
    """Those of this process. The threads that held a turn before a fork are not here to leave."""
    return _OF_PROCESS.setdefault(os.getpid(), Starts((os.cpu_count() or 1) + BESIDE))
