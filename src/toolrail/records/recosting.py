"""Recorded costs computed again from the raw usage: after a price was stated, corrected, or found for the first time.

Everything that adds costs up is corrected with them: runs, sessions and rollups. What nobody knows a price for now
keeps the cost that was recorded: a recomputation never makes a known cost unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from toolrail.messages import Usage
from toolrail.money import PriceBook, cost_of
from toolrail.records.database import Database, connect
from toolrail.records.metrics import bin_of
from toolrail.records.rollups import ModelSums, starts_of

RUNS = 200
"""In one transaction: whoever records meanwhile waits for no longer than that."""
_TOKENS: Final = "input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens"
_SUMS: Final = f"requests, attempts, seconds, {_TOKENS}, cost, unpriced, bins"
_KEY: Final = "grain = ? AND start = ? AND model = ? AND currency = ?"
RunKey = tuple[str, str]
SumsKey = tuple[int, int, str, str]


class Response(NamedTuple):
    """One row of a model's response."""

    tenant: str
    run: str
    seq: int
    wall: float
    model: str
    seconds: float | None
    attempts: int
    usage: Usage
    cost: float | None
    currency: str


@dataclass(slots=True)
class Spent:
    """A sum as runs and sessions keep it: in one currency; what is in another counts as unpriced."""

    cost: float = 0.0
    currency: str = "USD"
    unpriced: int = 0

    def add(self, cost: float | None, currency: str) -> None:
        """Adds one cost; None: it is unknown."""
        if cost is None:
            self.unpriced += 1
        elif self.cost == 0.0 or self.currency == currency:
            self.cost, self.currency = self.cost + cost, currency
        else:
            self.unpriced += 1


@dataclass(slots=True)
class Recomputed:
    """What a recomputation did."""

    responses: int = 0
    """That were looked at."""
    changed: int = 0
    """Whose cost is another now."""
    priced: int = 0
    """Of those, how many had an unknown cost."""
    kept: int = 0
    """Whose recorded cost stays, though no price is known for them now."""
    unpriced: dict[str, int] = field(default_factory=dict[str, int])
    """Responses whose cost is still unknown, by model."""
    before: dict[str, float] = field(default_factory=dict[str, float])
    """By currency."""
    after: dict[str, float] = field(default_factory=dict[str, float])


def recompute(url: str, book: PriceBook, *, write: bool = True) -> Recomputed:
    """Computes the recorded costs again.

    Args:
        url: of the records.
        book: knows the prices, each at the moment of its response.
        write: False only tells what would change.

    Raises:
        RecordsError: the records cannot be read or written. Runs that were done by then are done.

    Example: `recompute("sqlite:///rail.records.db", Prices.from_toml("prices.toml"))`
    """
    done, last = Recomputed(), ("", "")
    db = connect(url, readonly=not write)
    try:
        while True:
            with db.transaction():
                keys = db.select(
                    "SELECT run, tenant FROM runs WHERE (run, tenant) > (?, ?) ORDER BY run, tenant LIMIT ?",
                    (*last, RUNS),
                )
                if keys:
                    _some(db, [(tenant, run) for run, tenant in keys], book, done, write=write)
            if not keys:
                return done
            last = keys[-1]
    finally:
        db.close()


def _some(db: Database, keys: Sequence[RunKey], book: PriceBook, done: Recomputed, *, write: bool) -> None:
    changed: list[tuple[Response, Response]] = []
    now: dict[RunKey, list[Response]] = {}
    for key in keys:
        for one in _responses(db, key):
            new = _again(one, book, done)
            now.setdefault(key, []).append(new)
            if new is not one:
                changed.append((one, new))
    if not write or not changed:
        return
    rows = [(new.cost, new.currency, new.tenant, new.run, new.seq) for _, new in changed]
    db.executemany("UPDATE models SET cost = ?, currency = ? WHERE tenant = ? AND run = ? AND seq = ?", rows)
    _correct_rollups(db, changed)
    _correct_runs(db, {key: now[key] for key in {(new.tenant, new.run) for _, new in changed}})


def _responses(db: Database, key: RunKey) -> list[Response]:
    sql = (
        f"SELECT tenant, run, seq, wall, model, seconds, attempts, {_TOKENS}, cost, currency FROM models "
        "WHERE tenant = ? AND run = ? ORDER BY seq"
    )
    return [Response._make((*row[:7], Usage(*row[7:12]), *row[12:])) for row in db.select(sql, key)]


def _again(one: Response, book: PriceBook, done: Recomputed) -> Response:
    """The same response, or one with another cost."""
    found = cost_of(one.usage, one.model, book, at=one.wall)
    done.responses += 1
    new = one
    if found.amount is not None:
        cost = float(found.amount)
        if one.cost is None or one.currency != found.currency or abs(cost - one.cost) > 1e-12:
            new = one._replace(cost=cost, currency=found.currency)
            done.changed += 1
            done.priced += one.cost is None
    elif one.cost is None:
        done.unpriced[one.model] = done.unpriced.get(one.model, 0) + 1
    else:
        done.kept += 1
    for sums, row in ((done.before, one), (done.after, new)):
        if row.cost is not None:
            sums[row.currency] = sums.get(row.currency, 0.0) + row.cost
    return new


def _correct_rollups(db: Database, changed: Iterable[tuple[Response, Response]]) -> None:
    """Takes the old costs out of the sums and puts the new ones in. Sums that retention took away stay away."""
    changes: dict[SumsKey, ModelSums] = {}
    for old, new in changed:
        for grain, start in starts_of(old.wall):
            for one, sign in ((old, -1), (new, 1)):
                key = (grain, start, one.model, one.currency)
                changes.setdefault(key, ModelSums()).add(_sums(one, sign))
    gone: set[tuple[int, int, str]] = set()
    found = {key: db.select(f"SELECT {_SUMS} FROM model_rollups WHERE {_KEY}", key) for key in changes}
    for key, change in changes.items():
        if not found[key] and change.requests <= 0:
            gone.add(key[:3])
    for key, change in changes.items():
        if key[:3] in gone:
            continue
        sums = ModelSums.from_row(found[key][0]) if found[key] else ModelSums()
        sums.add(change)
        sums.bins = {index: count for index, count in sums.bins.items() if count > 0}
        sums.cost = 0.0 if sums.unpriced >= sums.requests else max(0.0, sums.cost)
        db.execute(f"DELETE FROM model_rollups WHERE {_KEY}", key)
        if sums.requests > 0:
            marks = ", ".join("?" * 15)
            db.execute(
                f"INSERT INTO model_rollups (grain, start, model, currency, {_SUMS}) VALUES ({marks})",
                (*key, *sums.row()),
            )


def _sums(one: Response, sign: int) -> ModelSums:
    usage = one.usage
    tokens = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    return ModelSums(
        sign,
        sign * one.attempts,
        sign * (one.seconds or 0.0),
        Usage(*(sign * count for count in tokens)),
        sign * (one.cost or 0.0),
        sign * (one.cost is None),
        {} if one.seconds is None else {bin_of(one.seconds): sign},
    )


def _correct_runs(db: Database, runs: dict[RunKey, list[Response]]) -> None:
    sessions: dict[RunKey, None] = {}
    spent: dict[RunKey, Spent] = {}
    for key, responses in runs.items():
        spent[key] = Spent()
        for one in responses:
            spent[key].add(one.cost, one.currency)
        for (session,) in db.select("SELECT session FROM runs WHERE tenant = ? AND run = ?", key):
            if session is not None:
                sessions[key[0], session] = None
    rests = {key: _rest(db, key) for key in sessions}
    rows = [(one.cost, one.currency, one.unpriced, *key) for key, one in spent.items()]
    db.executemany("UPDATE runs SET cost = ?, currency = ?, unpriced = ? WHERE tenant = ? AND run = ?", rows)
    for key, rest in rests.items():
        _add_runs(rest, _runs_of(db, key))
        db.execute(
            "UPDATE sessions SET cost = ?, currency = ?, unpriced = ? WHERE tenant = ? AND session = ?",
            (rest.cost, rest.currency, rest.unpriced, *key),
        )


def _rest(db: Database, key: RunKey) -> Spent:
    """What a session has of runs that retention took away."""
    sql = "SELECT cost, currency, unpriced FROM sessions WHERE tenant = ? AND session = ?"
    found = [Spent(*row) for row in db.select(sql, key)]
    there = Spent()
    _add_runs(there, _runs_of(db, key))
    if not found:
        return Spent()
    whole = found[0]
    cost = whole.cost - there.cost if whole.currency == there.currency else whole.cost
    return Spent(cost if cost > 1e-9 else 0.0, whole.currency, max(0, whole.unpriced - there.unpriced))


def _runs_of(db: Database, key: RunKey) -> list[tuple[Any, ...]]:
    sql = "SELECT cost, currency, unpriced FROM runs WHERE tenant = ? AND session = ? ORDER BY started"
    return db.select(sql, key)


def _add_runs(to: Spent, runs: Iterable[tuple[Any, ...]]) -> None:
    for cost, currency, unpriced in runs:
        to.unpriced += unpriced
        if cost:
            to.add(cost, currency)
