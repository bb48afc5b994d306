"""A rail to name on the command line, and what it cannot be given as ctx.deps."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.cli.conftest import find, refuse
from toolrail import Rail

rail = Rail([find, refuse])


async def open_later() -> None:
    """Would have to be awaited."""


@asynccontextmanager
async def unreachable() -> AsyncGenerator[None]:
    """Fails as it is opened."""
    raise OSError("nobody is there")
    yield
