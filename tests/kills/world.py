"""A bank in a file, shared by many processes: what it did stands in its lines, whatever becomes of who asked."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class World:
    """Pays, by line. A line is written whole or not at all, under a lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pay(self, key: str, *, honours: bool) -> bool:
        """Pays under a key; a bank that honours keys pays each once, and none that it has given up."""
        with self._locked() as descriptor:
            lines = self._path.read_text().splitlines()
            if honours and (f"void {key}" in lines or f"paid {key}" in lines):
                return f"paid {key}" in lines
            os.write(descriptor, f"paid {key}\n".encode())
            return True

    def paid(self, key: str) -> bool:
        """Whether it has paid under a key. If not, it will not either."""
        with self._locked() as descriptor:
            lines = self._path.read_text().splitlines()
            if f"paid {key}" in lines:
                return True
            if f"void {key}" not in lines:
                os.write(descriptor, f"void {key}\n".encode())
            return False

    def payments(self) -> list[str]:
        """The keys it has paid under."""
        return [line.split()[1] for line in self._path.read_text().splitlines() if line.startswith("paid")]

    @contextmanager
    def _locked(self) -> Generator[int]:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)
