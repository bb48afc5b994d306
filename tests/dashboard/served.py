"""A dashboard behind a real port, and a browser's part of the conversation, without a browser."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import uvicorn

from toolrail.dashboard.app import Settings, build
from toolrail.dashboard.security import Sessions


@dataclass(frozen=True, slots=True)
class Served:
    """One that answers at `base` until the test ends."""

    base: str
    sessions: Sessions
    settings: Settings

    @contextmanager
    def browser(self, *, signed_in: bool = True) -> Generator[httpx2.Client]:
        """A client with cookies of its own; nothing else of a browser is added."""
        with httpx2.Client(base_url=self.base, timeout=20.0) as client:
            if signed_in:
                assert client.get("/", params={"token": self.sessions.token}).status_code == 200
            yield client


@contextmanager
def serving(settings: Settings) -> Generator[Served]:
    """Serves on a free port of loopback."""
    sessions = Sessions()
    app = build(settings, sessions=sessions)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app,
            log_level="critical",
            lifespan="off",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", sessions, settings)
        finally:
            server.should_exit = True
            thread.join(10.0)
