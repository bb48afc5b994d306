"""The shared store: real rules in memory, behind a line that is slow, breaks, loses answers or hangs, by seed.

A transaction happens on the store's side, all of it at one instant or not at all; whoever asked for it may be dead by
then, or may never hear of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from tests.simulation.history import History
from tests.simulation.processes import Process
from toolrail.store import CallRow, Claim, Claimed, Op, Settle
from toolrail.stores.memory import MemoryStore

Trouble = Literal["fine", "slow", "slow answer", "refused", "lost answer", "hangs before", "hangs after"]
TROUBLES: tuple[Trouble, ...] = ("slow", "slow answer", "refused", "lost answer", "hangs before", "hangs after")
WEIGHTS = (4, 3, 6, 6, 1, 1)
TOO_MUCH = 20_000
"""Events in one seed after which something goes round in circles; the store answers no more."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How the store is in one seed."""

    trouble: float
    """The share of transactions that go wrong."""
    outages: tuple[tuple[float, float], ...] = ()
    """From when to when it answers nobody."""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of a call, in the order of the commits."""

    seq: int
    time: float
    process: str
    kind: Literal["claimed", "settled"]
    row: CallRow
    now: float = 0.0
    """Wall time of whoever claimed it."""
    over: str | None = None
    """The call whose unknown outcome it took over."""


class Disk:
    """The store's own side."""

    def __init__(self, history: History, rng: Random, weather: Weather, *, rows: MemoryStore | None = None) -> None:
        self.rows = rows or MemoryStore()
        self.weather = weather
        self.changes: list[Change] = []
        self.troubled: set[str] = set()
        """Call keys whose settlement went wrong at least once."""
        self._history = history
        self._rng = rng
        self._loop = asyncio.get_running_loop()

    def open(self, process: Process) -> Line:
        """A process's own connection."""
        return Line(self, process)

    def trouble(self) -> Trouble:
        """What becomes of the next transaction."""
        now, rng = self._loop.time(), self._rng
        if any(start <= now < end for start, end in self.weather.outages):
            return rng.choices(("refused", "hangs before"), (9, 1))[0]
        if rng.random() >= self.weather.trouble:
            return "fine"
        return rng.choices(TROUBLES, WEIGHTS)[0]

    def submit(self, process: Process, ops: tuple[Op, ...]) -> asyncio.Future[list[Any]]:
        """One transaction on its way."""
        rng, loop, trouble = self._rng, self._loop, self.trouble()
        sent = Sent(process, ops, trouble, loop.create_future(), lands=rng.random() < 0.5)
        self._history.count(f"store: {trouble}")
        if self._history.at > TOO_MUCH:
            self._history.breaks("nothing runs away", f"{process.name} asks on and on: {ops}")
            return sent.answer
        there = rng.random() * 0.01
        match trouble:
            case "slow":
                there += 1.0 + rng.random() * 11.0
            case "hangs before" | "hangs after":
                loop.call_later(60.0 + rng.random() * 100.0, self._fail, sent)
            case _:
                pass
        if trouble in ("refused", "hangs before"):
            self._spoilt(sent)
            if trouble == "refused":
                loop.call_later(there, self._fail, sent)
        else:
            loop.call_later(there, self._commit, sent)
        return sent.answer

    def _commit(self, sent: Sent) -> None:
        if (sent.process.dead or sent.answer.cancelled()) and not sent.lands:
            self._spoilt(sent)
            return
        answers = _done(self.rows, sent.ops)
        said = ",".join(f"{type(op).__name__}={_brief(answer)}" for op, answer in zip(sent.ops, answers, strict=True))
        seq = self._history.note(sent.process.name, "commit", said)
        for op, answer in zip(sent.ops, answers, strict=True):
            self._changed(sent, op, answer, seq)
        back = self._rng.random() * 0.01
        match sent.trouble:
            case "lost answer":
                self._spoilt(sent)
                self._loop.call_later(back, self._fail, sent)
            case "hangs after":
                self._spoilt(sent)
            case "slow answer":
                self._spoilt(sent)
                self._loop.call_later(1.0 + self._rng.random() * 11.0, _answer, sent, answers)
            case "slow":
                self._spoilt(sent)
                self._loop.call_later(back, _answer, sent, answers)
            case _:
                self._loop.call_later(back, _answer, sent, answers)

    def _changed(self, sent: Sent, op: Op, answer: Any, seq: int) -> None:
        name, now = sent.process.name, self._loop.time()
        if isinstance(op, Claim) and isinstance(answer, Claimed):
            self.changes.append(Change(seq, now, name, "claimed", op.row, op.now, op.over))
        elif isinstance(op, Settle) and answer:
            self.changes.append(Change(seq, now, name, "settled", op.row))

    def _spoilt(self, sent: Sent) -> None:
        for op in sent.ops:
            if isinstance(op, Settle):
                self.troubled.add(op.row.key)

    def _fail(self, sent: Sent) -> None:
        if not sent.answer.done():
            self._history.note(sent.process.name, "store fails", sent.trouble)
            sent.answer.set_exception(ConnectionError("the store's line broke"))
            sent.answer.exception()  # nobody may be left to ask


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction under way."""

    process: Process
    ops: tuple[Op, ...]
    trouble: Trouble
    answer: asyncio.Future[list[Any]]
    lands: bool
    """Whether it happens although whoever asked for it has gone."""


class Line:
    """What one process sees of the store."""

    durable = True

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process

    async def apply(self, *ops: Op) -> list[Any]:
        """One transaction. A dead process's line is cut."""
        if self._process.dead:
            raise ConnectionError("this process is dead")
        return await self._disk.submit(self._process, ops)

    async def close(self) -> None:
        """Nothing is queued here."""


def _done(rows: MemoryStore, ops: tuple[Op, ...]) -> list[Any]:
    """The memory store never waits, so a transaction is one instant."""
    work = rows.apply(*ops)
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the memory store waited")


def _answer(sent: Sent, answers: list[Any]) -> None:
    if not sent.answer.done():
        sent.answer.set_result(answers)


def _brief(answer: Any) -> str:
    row = getattr(answer, "row", answer)
    if isinstance(row, CallRow):
        return f"{type(answer).__name__}:{row.tool}:{row.state}"
    if isinstance(answer, bool | None):
        return str(answer)
    return type(answer).__name__
