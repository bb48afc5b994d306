"""Retention: the oldest runs go when they are too old or take too much room, in small slices between writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from toolrail.records.database import Database

EVERY = 60.0
"""Seconds between two looks."""
SLICE = 50
"""Runs in one transaction: other writers wait for it."""
SLICES = 20
"""Transactions in one look; the next look goes on."""
DAY = 86_400.0
HOUR = 3_600.0
MINUTES_DAYS = 8.0
"""The rows of minutes are kept so long, those of hours as long as `HOURS_DAYS`, totals for ever."""
HOURS_DAYS = 400.0
ROOM = 0.9
"""What is too large is brought down to this share of what is allowed, so that not every look finds it too large."""
LIVE = 60.0
"""Seconds for which a run that was written to is left alone, however large the file."""
_OF_RUN: Final = ("models", "moments", "contents")
_ROLLUPS: Final = ("tool_rollups", "model_rollups", "run_rollups")


class Keep(NamedTuple):
    """How long and how much. None: no limit."""

    days: float | None
    bytes: int | None


class Retention:
    """Looks now and then, and deletes what is to go. What is too much for one look is left for the next.

    A run with a call whose outcome is unknown stays until that is settled.
    """

    def __init__(self, keep: Keep, *, every: float = EVERY) -> None:
        self._keep = keep
        self._every = every
        self._looked: float | None = None
        self.deleted = 0
        """Runs, in all."""

    def look(self, db: Database, wall: float) -> None:
        """Deletes, if it is time for it.

        Raises:
            RecordsError: the telemetry cannot be used.
        """
        if self._looked is not None and 0 <= wall - self._looked < self._every:
            return
        self._looked = wall
        before = self.deleted
        if self._keep.days is not None:
            self._by_age(db, wall, wall - self._keep.days * DAY)
        if self._keep.bytes is not None:
            self._by_size(db, wall, self._keep.bytes)
        if self.deleted > before:
            db.tidy()

    def _by_age(self, db: Database, wall: float, until: float) -> None:
        for _ in range(SLICES):
            if self._slice(db, until) < SLICE:
                break
        with db.transaction():
            minutes = max(until, wall - MINUTES_DAYS * DAY) // HOUR * HOUR  # the read side counts on whole hours
            for table in _ROLLUPS:
                db.execute(f"DELETE FROM {table} WHERE grain = 60 AND start < ?", (int(minutes),))
                db.execute(f"DELETE FROM {table} WHERE grain = 3600 AND start < ?", (int(wall - HOURS_DAYS * DAY),))
            db.execute("DELETE FROM sessions WHERE updated < ?", (until,))
            db.execute("DELETE FROM faults WHERE last < ?", (until,))
            db.execute("DELETE FROM alert_log WHERE wall < ?", (until,))
            db.execute("DELETE FROM circuits WHERE wall < ?", (until,))

    def _by_size(self, db: Database, wall: float, most: int) -> None:
        if db.size() <= most:
            return
        for _ in range(SLICES):
            if self._slice(db, wall - LIVE) == 0 or db.size() <= most * ROOM:
                break

    def _slice(self, db: Database, until: float) -> int:
        """Deletes the oldest runs that were last written to before a moment; how many there were."""
        with db.transaction():
            sql = "SELECT tenant, run FROM runs WHERE updated < ? AND unknown <= 0 ORDER BY updated LIMIT ?"
            runs = db.select(sql, (until, SLICE))
            for run in runs:
                _delete(db, run)
        self.deleted += len(runs)
        return len(runs)


def _delete(db: Database, run: Sequence[Any]) -> None:
    blobs = db.select("SELECT DISTINCT blob FROM contents WHERE tenant = ? AND run = ? AND blob IS NOT NULL", run)
    attempts = "DELETE FROM attempts WHERE tenant = ? AND key IN (SELECT key FROM calls WHERE tenant = ? AND run = ?)"
    db.execute(attempts, (run[0], *run))
    for table in ("calls", *_OF_RUN, "runs"):
        db.execute(f"DELETE FROM {table} WHERE tenant = ? AND run = ?", run)
    for (digest,) in blobs:
        unused = "NOT EXISTS (SELECT 1 FROM contents WHERE blob = ?)"
        db.execute(f"DELETE FROM blobs WHERE digest = ? AND {unused}", (digest, digest))
