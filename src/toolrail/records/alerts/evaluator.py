"""Who looks: one of all processes that share the telemetry, by a lease, from a daemon thread of its own."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable

from toolrail.logs import logger
from toolrail.records.alerts.configuration import Alerts
from toolrail.records.alerts.evaluate import Key, evaluate
from toolrail.records.alerts.facts import Facts
from toolrail.records.alerts.keeping import leave_lease, mark, owed, remembered, take_lease, write
from toolrail.records.alerts.readings import State
from toolrail.records.alerts.telling import Change
from toolrail.records.database import Database, RecordsError, connect
from toolrail.records.reading import Records

log = logger("toolrail.alerts")
LEASED = 3.0
"""A lease lasts so many rounds: a worker that died is replaced after them."""


class Evaluator:
    """Looks at the record every few seconds, and tells of what changed. It needs no event loop, and breaks nothing: a
    database that cannot be used is said once in the log, counted, and tried again at the next round.

    Args:
        url: of the telemetry, as `connect` has it.
        alerts: rules and tellers.
        now: the wall clock.

    Example: `evaluator = Evaluator("sqlite:///rail.records.db", Alerts()); evaluator.start()`
    """

    def __init__(self, url: str, alerts: Alerts, *, now: Callable[[], float] = time.time) -> None:
        self.alerts = alerts
        self.failures = 0
        """Rounds that came to nothing."""
        self._url, self._now = url, now
        self._holder = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._facts = Facts()
        self._met: dict[Key, State] = {}
        """What is too much, but not for long enough yet."""
        self._database: Database | None = None
        self._records: Records | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._failing = False

    def start(self) -> None:
        """Begins to look, in a daemon thread; does nothing if it does already."""
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._look_on, name="toolrail-alerts", daemon=True)
            self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Looks once more, so that what a short program did is told, and ends; waits no longer than this."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds)
            self._thread = None

    def look(self) -> list[Change]:
        """One round, in this thread; gives what changed. Nothing if another process is the one who looks.

        Raises:
            RecordsError: the telemetry cannot be used.
        """
        try:
            database = self._database = self._database or connect(self._url)
            now = self._now()
            if not take_lease(database, self._holder, now, LEASED * self.alerts.every):
                self._met.clear()
                return []
            records = self._records = self._records or Records(self._url)
            kept = remembered(database)
            before = {key: row.state for key, row in kept.items()}
            for key, state in self._met.items():
                if not before.get(key, state).firing:
                    before[key] = before.get(key, state)._replace(met=state.met)
            found = evaluate(self.alerts.holding, self._facts.at(records, now), before)
            self._met = {key: one.state for key, one in found.items() if one.state.met is not None}
            changes = write(database, self._holder, found, kept, now)
            self._tell(database, now)
            return changes
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connections of this thread; the next round opens them again."""
        for one in (self._records, self._database):
            if one is not None:
                one.close()
        self._records = self._database = None

    def _tell(self, database: Database, now: float) -> None:
        """Written first, told then: what a process that dies has not told, the next one does."""
        dumb: set[str] = set()
        for change, heard in owed(database, now):
            told = list(heard)
            for teller in self.alerts.to_tell:
                if teller.name in told or teller.name in dumb:
                    continue
                try:
                    problem = teller.tell(change)
                except Exception as error:
                    problem = type(error).__name__  # its text may hold a secret address
                if problem is None:
                    told.append(teller.name)
                else:
                    dumb.add(teller.name)  # it would fail for the next one too, and each try takes its time
                    log.warning("Nobody heard of alert %s by %s: %s.", change.rule, teller.name, problem)
            if len(told) > len(heard):
                mark(database, change, tuple(told))

    def _look_on(self) -> None:
        while True:
            last = self._stop.wait(self.alerts.every)
            self._try()
            if last:
                self._leave()
                return

    def _try(self) -> None:
        try:
            self.look()
            self._failing = False
        except Exception as error:
            self.failures += 1
            if not self._failing:  # once for each time that it begins
                known = isinstance(error, RecordsError)
                log.warning("Alerts cannot be looked at: %s", error if known else "", exc_info=not known)
            self._failing = True

    def _leave(self) -> None:
        try:
            if self._database is not None:
                leave_lease(self._database, self._holder, self._now())
        except Exception:
            log.debug("The lease of alerts stays until it lapses.", exc_info=True)
        self.close()
