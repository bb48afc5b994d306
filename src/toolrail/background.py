"""For synchronous code: one loop in one thread, for as long as the process lives.

Never a fresh loop for each call: the second use of a pooled client would meet the first one's closed loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")
SETTLE_SECONDS = 5.0
"""After a Ctrl-C, how long cancelled work may take to settle."""


class BackgroundLoop:
    """A loop in a daemon thread, started at first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T], *, lending: AbstractContextManager[Any] | None = None) -> T:
        """Runs `work` on the loop and waits. A Ctrl-C cancels it, lets it settle, and goes on.

        Raises:
            RuntimeError: called on the background loop itself, where waiting would never end.
        """
        loop = self._started()
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("This is toolrail's own loop: await the async method in place of the sync one.")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        with lending or nullcontext():
            try:
                return future.result()
            except KeyboardInterrupt:
                future.cancel()
                concurrent.futures.wait([future], timeout=SETTLE_SECONDS)
                raise

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if (
                self._loop is None or self._thread is None or not self._thread.is_alive()
            ):  # not there, or lost by a fork
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="toolrail-loop", daemon=True)
                self._thread.start()
            return self._loop


BACKGROUND = BackgroundLoop()
"""The one that `run_sync` and `rail.sync` use."""
