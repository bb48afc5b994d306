"""What tests of /metrics serve, and how they wait for another process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import CollectorRegistry, start_http_server

from toolrail.records.prometheus import RecordsCollector

T = TypeVar("T")
LOOKS = 400
BETWEEN = threading.Event()


@contextmanager
def metrics_server(record: str) -> Generator[str]:
    """`host:port` where a record's /metrics is served."""
    registry = CollectorRegistry()
    registry.register(RecordsCollector(record))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def until(look: Callable[[], T], right: Callable[[T], bool]) -> T:
    """What another process shows once it is right; looks ten times a second, for 40 seconds at most.

    Raises:
        AssertionError: it never was; the text has what was seen last.
    """
    seen = look()
    for _ in range(LOOKS):
        if right(seen):
            return seen
        BETWEEN.wait(0.1)
        seen = look()
    raise AssertionError(f"after {LOOKS} looks it is still {seen!r}")
