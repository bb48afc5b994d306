"""A real PostgreSQL for tests: a given server, or one from a wheel, whose packages are imported only when needed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

EXTERNAL_SERVER = "TOOLRAIL_TEST_POSTGRES"
"""The URL of a PostgreSQL server where databases may be made, for machines that `pgserver` has no wheel for."""


@contextmanager
def postgres_server() -> Generator[str]:
    """The URL of a running server: a given one, or one that is started and stopped here."""
    external = os.environ.get(EXTERNAL_SERVER)
    if external:
        yield external
        return
    # Not below pytest's directory: as root, pgserver gives the server a user of its own, and each other session of
    # pytest takes away that user's right to enter there.
    with TemporaryDirectory(prefix="toolrail-pg-", ignore_cleanup_errors=True) as directory:
        server = _started(Path(directory))
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextmanager
def database(server: str, name: str, *, template: str = "template1") -> Generator[str]:
    """The URL of a database that is made here, and dropped afterwards."""
    asyncio.run(execute(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        asyncio.run(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Runs SQL on a connection of its own; the rows of the last statement."""
    connection = await import_module("asyncpg").connect(url)
    try:
        rows = [await connection.fetch(statement) for statement in statements]
    finally:
        await connection.close()
    return [tuple(row) for row in rows[-1]]


def _started(directory: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it warns where XDG_RUNTIME_DIR is not set
        pgserver = import_module("pgserver")
    last: subprocess.SubprocessError | None = None
    # It gives a server ten seconds to start, which a busy machine can miss.
    for attempt in range(3):
        try:
            return pgserver.get_server(directory / str(attempt))
        except subprocess.SubprocessError as error:
            last = error
    raise RuntimeError("PostgreSQL did not start") from last
