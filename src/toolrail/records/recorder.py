"""The recorder: takes events at once, writes rows in a thread of its own. What fails here is only counted."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from toolrail.errors import DefinitionError
from toolrail.events import (
    AttemptEnded,
    CallClaimed,
    CallDecided,
    CallRequested,
    Content,
    Event,
    ModelSettled,
    ModelStarted,
)
from toolrail.logs import logger
from toolrail.money import NO_PRICES, PriceBook, cost_of
from toolrail.records.database import Database, RecordsError, connect
from toolrail.records.prices import book_of
from toolrail.records.projecting import Handle, RunKey
from toolrail.records.redaction import masked
from toolrail.records.retention import Keep, Retention
from toolrail.records.writing import Flush, write
from toolrail.settings import positive
from toolrail.stores import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolrail.records.alerts import Alerts, Evaluator
    from toolrail.records.prices import Price

log = logger("toolrail")
ContentMode = Literal["off", "redacted", "full"]

QUEUE = 20_000
"""Events that wait at most; further ones are lost, and counted."""
FULL = 15_000
"""From so many on, events of how a call is going are lost first: without its end it would be under way for ever."""
CONTENT_BYTES = 64_000_000
"""Characters of content that wait at most; further ones are lost, and counted."""
HURRY = 5_000
"""So many events do not wait for the end of the pause. Fewer would keep the thread at work beside a busy loop, and what
it frees there costs the loop twice as much to make anew."""
BATCH = 2_000
"""Events in one transaction."""
PAUSE = 0.25
"""Seconds in which events are gathered."""
IDLE = 5.0
"""Seconds without any after which thread and connection are given up. The next event begins anew."""
RETRY = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds to the next try, after each that failed."""
EXIT_SECONDS = 2.0
"""What the end of the process may be held up."""
FORK_SECONDS = 2.0
"""What a fork waits for a write to end."""
_GOING: Final = (CallRequested, CallDecided, CallClaimed, AttemptEnded, ModelStarted)
HANDLES = 10_000
"""Runs that are remembered between flushes."""


class Fork:
    """A fork for which the writing thread waits."""

    def __init__(self) -> None:
        self.reached, self.over = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Until it is over. A fork that failed says so, too; the bound is for one of which nothing is heard."""
        self.reached.set()
        self.over.wait(2 * FORK_SECONDS)


class Recorder:
    """A sink that writes the record into a file or a database, for the dashboard, the command line and alerts.

    It opens nothing until the first event. Then a daemon thread writes what came within a quarter of a second, and ends
    after 5 s without any. What fails there is counted and logged once, and no run notices.

    Args:
        url: `sqlite:///rail.records.db` (relative), `sqlite:////var/lib/rail.records.db` or `postgresql://...`.
        content: whether arguments, results and messages are kept: "off", "redacted" (what looks like a secret is
            masked) or "full".
        keep_days: days that runs are kept. Totals, and runs with a call whose outcome is unknown, stay. None: for ever.
        keep_bytes: bytes that it may take; then the oldest runs go first. None: as many as it likes.
        prices: as for a `Rail`, for responses of which neither their agent nor their rail knows the price. None: those
            of the first rail that it is given to.
        alerts: rules to look at, and who is told. None: `Alerts()`, which has the default rules and tells the log.
            False: none are looked at here.

    Raises:
        DefinitionError: the prices are none (TR309), the URL or `content` is none (TR311), a number is not over zero
            (TR301).

    Example: `Rail(tools, store="sqlite:///rail.db", records=Recorder("sqlite:///rail.records.db", content="redacted"))`
    """

    def __init__(
        self,
        url: str,
        *,
        content: ContentMode = "off",
        keep_days: float | None = 30.0,
        keep_bytes: int | None = 2_000_000_000,
        prices: Mapping[str, Price] | PriceBook | str | None = None,
        alerts: Alerts | Literal[False] | None = None,
    ) -> None:
        _check(url, content)
        positive("Recorder", keep_days=keep_days, keep_bytes=keep_bytes)
        self.url = url
        self.content: ContentMode = content
        self.keep = Keep(keep_days, keep_bytes)
        self.prices = book_of(prices, "Recorder")
        self.lost: int
        """Events for which no row was or will be written."""
        self.failures: int
        """Flushes that failed; what they had to write was kept."""
        self._alerts: Alerts | Literal[False] | None = alerts
        self.renew()
        _remember(self)

    @property
    def wants_content(self) -> bool:
        """Whether arguments, results and messages are to be given to `take`."""
        return self.content != "off"

    def emit(self, event: Event | Content) -> None:
        """Takes an event, in less than a microsecond."""
        queue = self._queue
        waiting = len(queue)
        if waiting >= FULL and (waiting >= QUEUE or isinstance(event, _GOING)):
            self._lose(event)
            return
        queue.append(event)
        if self._resting or waiting == HURRY:
            self._wake(hurry=waiting >= HURRY)

    def take(self, content: Content) -> None:
        """Takes content. Only called where `wants_content` is true."""
        if len(self._queue) >= FULL or self._given - self._taken > CONTENT_BYTES:
            self._lose(content)
            return
        self._given += len(content.text)
        self.emit(content)

    def adopt(self, prices: PriceBook) -> None:
        """Takes a rail's prices, where it was given none of its own and no rail before had any."""
        if self.prices is NO_PRICES:
            self.prices, self._book = prices, None

    def flush(self, timeout: float = EXIT_SECONDS) -> bool:
        """Waits until all that was given so far is written; whether it is. It blocks: on an event loop, call it by
        `asyncio.to_thread`.

        Args:
            timeout: seconds.

        Example: `await asyncio.to_thread(recorder.flush, 5.0)`
        """
        with self._lock:
            if self._resting and not self._queue and not self._unwritten:
                return True
            asked = threading.Event()
            self._asked.append(asked)
        self._wake(hurry=True)
        return asked.wait(timeout) and not self._failing

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Writes what is left and gives thread and connection back, within `timeout` seconds. An event that comes
        later begins anew."""
        until = time.monotonic() + timeout
        self.flush(timeout)
        with self._lock:
            thread, evaluator, self._evaluator = self._thread, self._evaluator, None
            self._closing = thread is not None
        self._hurry.set()
        self._woken.set()
        for end in (None if thread is None else thread.join, None if evaluator is None else evaluator.stop):
            if end is not None:
                end(max(0.0, until - time.monotonic()))

    def renew(self) -> None:
        """As new: after a fork, what waits here is the parent's to write."""
        self.lost = self.failures = 0
        self._lock = threading.Lock()
        self._queue: deque[Event | Content] = deque()
        self._unwritten: list[Event | Content] = []
        self._given = self._taken = 0
        self._woken, self._hurry = threading.Event(), threading.Event()
        self._asked: list[threading.Event] = []
        self._thread: threading.Thread | None = None
        self._resting = True
        self._closing = False
        self._failing = False
        self._fork: Fork | None = None
        self._losses: Counter[str] = Counter()
        self._said: Mapping[str, int] = {}
        self._handles: OrderedDict[RunKey, Handle] = OrderedDict()
        self._process = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._evaluator: Evaluator | None = None
        self._book: PriceBook | None = None
        self._retention = Retention(self.keep)

    def before_fork(self) -> None:
        """Gives the file back for as long as it takes: SQLite's own account of who locks it must not be copied."""
        with self._lock:
            thread, evaluator, self._evaluator = self._thread, self._evaluator, None
            fork = self._fork = Fork()
        if evaluator is not None:
            evaluator.stop(FORK_SECONDS)
        if thread is not None:
            self._hurry.set()
            self._woken.set()
            fork.reached.wait(FORK_SECONDS)

    def after_fork(self) -> None:
        """Goes on."""
        fork, self._fork = self._fork, None
        if fork is not None:
            fork.over.set()

    def _lose(self, event: Event | Content) -> None:
        self.lost += 1
        self._losses[event.__class__.__name__] += 1

    def _wake(self, *, hurry: bool) -> None:
        with self._lock:
            self._resting = False
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="toolrail-records", daemon=True)
                self._thread = thread
                try:
                    thread.start()
                except RuntimeError:  # the process is about to end
                    self._thread = None
                    self._resting = True
                    raise
            if hurry:
                self._hurry.set()
            self._woken.set()

    def _rest(self) -> bool:
        """Whether the thread may end: nothing came, so whatever comes starts another one."""
        with self._lock:
            self._resting = True
            if self._queue or self._unwritten or self._asked:
                self._resting = False
                return False
            self._thread, self._closing = None, False
            return True

    def _wait(self) -> bool:
        """Until there is something to write; False after a long quiet."""
        while True:
            self._resting = True  # first: what comes after the look at the queue wakes us
            if self._queue or self._asked or self._closing or self._fork or not self._woken.wait(IDLE):
                break
            self._woken.clear()
        self._woken.clear()
        self._resting = False
        if not self._queue and not self._asked:
            return False
        if not self._closing and self._fork is None and len(self._queue) < HURRY:
            self._hurry.wait(PAUSE)
        self._hurry.clear()
        return True

    def _gather(self) -> list[Event | Content]:
        """The next events to write, beginning with those of a try that failed."""
        found, queue = self._unwritten, self._queue
        while queue and len(found) < BATCH:
            event = queue.popleft()
            if isinstance(event, Content):
                self._taken += len(event.text)
            found.append(event)
        return found

    def _write(self, db: Database, events: Sequence[Event | Content]) -> None:
        """One transaction."""
        costs = {id(event): self._cost(event) for event in events if isinstance(event, ModelSettled)}
        flush = Flush(self._process, dict(self._losses), time.time(), masked if self.content == "redacted" else str)
        facts = write(db, events, handles=self._handles, costing=lambda event: costs[id(event)], flush=flush)
        if facts.unread:
            self.lost += facts.unread
            self._losses["unread"] += facts.unread
        self._said = flush.lost
        for key, handle in facts.handles.items():
            self._handles[key] = handle
            self._handles.move_to_end(key)
        for key, run in facts.runs.items():
            if run.over:
                self._handles.pop(key, None)
        while len(self._handles) > HANDLES:
            self._handles.popitem(last=False)

    def _catch_up(self, db: Database) -> None:
        """Writes what waits, one transaction at a time: whoever forks is let in between."""
        if self._gather() or self._losses != self._said:
            try:
                self._write(db, self._unwritten)
            except RecordsError:
                raise
            except Exception:
                log.exception("Telemetry could not be written; its events are tried one by one.")
                self._write_singly(db)
            self._unwritten = []
        if self._queue:
            return
        self._failing = False
        self._answer()
        self._retention.look(db, time.time())

    def _write_singly(self, db: Database) -> None:
        """What cannot be written must not stand in the way of all that comes after it."""
        while self._unwritten:
            event = self._unwritten[0]
            try:
                self._write(db, (event,))
            except RecordsError:
                raise
            except Exception:
                self._lose(event)
            del self._unwritten[0]

    def _run(self) -> None:
        """The thread."""
        db: Database | None = None
        failed = 0
        while True:
            busy, fork = self._wait(), self._fork
            if fork is not None or not busy:
                db = _closed(db)
            if fork is not None:
                fork.wait()
                continue
            if not busy:
                if self._rest():
                    return
                continue
            try:
                db = db or connect(self.url)
                self._look_at_alerts()
                self._catch_up(db)
                failed = 0
            except Exception as error:
                failed += 1
                db = _closed(db)
                self._failed(error, failed)

    def _failed(self, error: Exception, times: int) -> None:
        """What was to be written stays, unless the process or the rail ends. Said once for each time that it begins."""
        self.failures += 1
        self._failing = True
        if times == 1:
            known = isinstance(error, RecordsError)
            log.warning("Telemetry cannot be written: %s", error if known else "", exc_info=not known)
        self._answer()
        if self._closing:
            for event in (*self._unwritten, *self._queue):
                self._lose(event)
            self._unwritten = []
            self._queue.clear()
            self._taken = self._given
            return
        self._hurry.clear()
        self._hurry.wait(RETRY[min(times, len(RETRY)) - 1])

    def _cost(self, event: ModelSettled) -> tuple[float | None, str]:
        """As its run has paid it; where that had no price, by the recorder's own."""
        if event.cost is not None:
            return float(event.cost), event.currency
        try:
            if self._book is None:
                from toolrail.records.genai import recording  # here, off the event loop: it may start a process

                self._book = recording(self.prices)
            cost = cost_of(event.usage, event.model, self._book, at=event.head.wall)
        except Exception:
            log.debug("A price could not be asked for.", exc_info=True)
            return None, "USD"
        return None if cost.amount is None else float(cost.amount), cost.currency

    def _answer(self) -> None:
        with self._lock:
            asked, self._asked = self._asked, []
        for one in asked:
            one.set()

    def _look_at_alerts(self) -> None:
        if self._alerts is False or self._evaluator is not None:
            return
        from toolrail.records.alerts import Alerts, Evaluator  # in this thread: no run waits for it

        self._evaluator = Evaluator(self.url, Alerts() if self._alerts is None else self._alerts)
        self._evaluator.start()


def _closed(db: Database | None) -> None:
    """Closes it; nothing is left of it."""
    try:
        if db is not None:
            db.close()
    except Exception:
        log.debug("Telemetry could not be closed.", exc_info=True)


def _check(url: str, content: str) -> None:
    if content not in get_args(ContentMode):
        mend = 'Write content="off", content="redacted" or content="full".'
        raise DefinitionError("TR311", f"Recorder(content={content!r})", "there is no such mode.", mend)
    scheme, _, rest = url.partition("://") if isinstance(url, str) else ("", "", "")  # pyright: ignore[reportUnnecessaryIsInstance]
    if scheme in ("postgresql", "postgres") and rest:
        return
    try:
        if scheme == "sqlite":
            sqlite_path(url)
            return
        problem = "no telemetry has this URL."
    except DefinitionError as error:
        problem = error.message
    shown = f"{scheme}://..." if "@" in str(url) else url  # there may be a password before it
    mend = 'Use "sqlite:///rail.records.db" (relative), "sqlite:////var/lib/rail.records.db" or "postgresql://...".'
    raise DefinitionError("TR311", f"Recorder({shown!r})", problem, mend)


_ALL: Final[weakref.WeakSet[Recorder]] = weakref.WeakSet()


def _remember(recorder: Recorder) -> None:
    if not _HOOKED:
        _HOOKED.append(True)
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_here, after_in_child=_after_fork)
        atexit.register(_at_exit)
    _ALL.add(recorder)


_HOOKED: Final[list[bool]] = []
_TOLD: Final[list[bool]] = []


def _before_fork() -> None:
    _tell_multiprocessing()
    for recorder in list(_ALL):
        recorder.before_fork()


def _tell_multiprocessing() -> None:
    """Its forked workers leave by `os._exit`, which no `atexit` hears of; its own finalisers do."""
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None or _TOLD:
        return

    def in_child(_: object) -> None:
        util.Finalize(None, _at_exit, exitpriority=10)

    _TOLD.append(True)
    util.register_after_fork(Recorder, in_child)


def _after_fork_here() -> None:
    for recorder in list(_ALL):
        recorder.after_fork()


def _after_fork() -> None:
    for recorder in list(_ALL):
        recorder.renew()


def _at_exit() -> None:
    """What waits is written; the process ends all the same when that takes too long."""
    until = time.monotonic() + EXIT_SECONDS
    for recorder in list(_ALL):
        recorder.close(max(0.0, until - time.monotonic()))
