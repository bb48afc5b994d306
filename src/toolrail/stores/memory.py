"""The default store: dictionaries in this process. Nothing outlives it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from toolrail.store import (
    ApprovalRow,
    CallRow,
    CallsOf,
    Claim,
    Claimed,
    DecideApproval,
    DropLease,
    FindApproval,
    FindCall,
    FindEffect,
    Forget,
    Held,
    KeepResult,
    ListApprovals,
    ListRuns,
    LoadRun,
    LoadSession,
    NotApproved,
    Op,
    OpenCalls,
    Plan,
    ReadResult,
    RequestApproval,
    ResultRow,
    RunRow,
    SaveRun,
    SaveSession,
    SessionRow,
    Settle,
    Spend,
    Spent,
    TakeLease,
)
from toolrail.stores.protocol import Met, Stored, claimed, decided, revives, settled, spent, unknown_at, used

_Key = tuple[str, str]
"""Tenant and name."""
_OPEN = ("started", "waiting", "unknown")
_KNOWN = frozenset(get_args(Op))
_COUNTERS = 10_000
"""Beyond so many, those that have expired are dropped."""


class MemoryStore:
    """Keeps rows in dictionaries. Only what has an effect key, an unknown outcome, a run id or a session comes here."""

    durable = False

    def __init__(self) -> None:
        self._calls: dict[_Key, CallRow] = {}
        self._holders: dict[_Key, str] = {}
        """Call keys by effect key."""
        self._open: dict[_Key, set[str]] = {}
        """Call keys by open key, of calls that are started or unknown."""
        self._followers: dict[_Key, str] = {}
        """The call key of the one that repeats a call, by its key."""
        self._of_run: dict[_Key, dict[str, None]] = {}
        """Call keys by run."""
        self._forgotten: set[_Key] = set()
        """Runs that are forgotten but for calls whose outcome is open."""
        self._runs: dict[_Key, RunRow] = {}
        self._sessions: dict[_Key, SessionRow] = {}
        self._leases: dict[_Key, tuple[str, float]] = {}
        self._approvals: dict[_Key, ApprovalRow] = {}
        self._results: dict[_Key, ResultRow] = {}
        self._results_of_run: dict[_Key, list[str]] = {}
        self._approvals_of_run: dict[_Key, list[str]] = {}
        self._counters: dict[_Key, tuple[float, float]] = {}
        self._room = _COUNTERS

    async def apply(self, *ops: Op) -> list[Any]:
        for op in ops:
            if type(op) not in _KNOWN:  # before any is done: all or nothing
                raise TypeError(f"unknown operation {type(op).__name__}")
        return [self._do(op) for op in ops]

    async def close(self) -> None:
        return None

    def _do(self, op: Op) -> Any:
        match op:
            case Plan(rows):
                for row in rows:
                    if (row.tenant, row.key) not in self._calls:
                        self._write(Stored(row, False))
            case Claim():
                return self._claim(op)
            case Settle():
                return self._settle(op)
            case FindEffect(tenant, effect_key, open_key, now):
                return self._holder(tenant, effect_key) or self._unknown(tenant, open_key, now)
            case FindCall(tenant, key):
                if tenant is not None:
                    return self._calls.get((tenant, key))
                return min((row for row in self._calls.values() if row.key == key), key=_age, default=None)
            case OpenCalls(tenant, limit):
                rows = [row for row in self._calls.values() if row.state in _OPEN and tenant in (None, row.tenant)]
                return tuple(sorted(rows, key=_age)[:limit])
            case CallsOf(tenant, run):
                rows = [self._calls[tenant, key] for key in self._of_run.get((tenant, run), ())]
                return tuple(sorted(rows, key=lambda row: (row.turn, row.index, row.created, row.key)))
            case Forget(tenant, run):
                self._forget(tenant, run)
            case TakeLease():
                return self._take(op)
            case DropLease(tenant, name, holder):
                if self._leases.get((tenant, name), ("", 0.0))[0] == holder:
                    del self._leases[tenant, name]
            case Spend():
                return self._spend(op)
            case _:
                return self._other(op)
        return None

    def _other(self, op: Op) -> Any:
        match op:
            case SaveRun(row):
                known = self._runs.get((row.tenant, row.run))
                if known is None or known.version <= row.version:
                    self._runs[row.tenant, row.run] = row
            case LoadRun(tenant, run):
                return self._runs.get((tenant, run))
            case ListRuns(limit, tenant, since):
                runs = [r for r in self._runs.values() if tenant in (None, r.tenant) and r.updated > since]
                return tuple(sorted(runs, key=lambda r: (-r.updated, r.tenant, r.run))[:limit])
            case SaveSession(row):
                self._sessions[row.tenant, row.session] = row
            case LoadSession(tenant, session):
                return self._sessions.get((tenant, session))
            case RequestApproval(row):
                return self._request(row)
            case DecideApproval(tenant, approval):
                row = self._approvals.get((tenant, approval))
                if row is not None:
                    row = self._approvals[tenant, approval] = decided(row, op)
                return row
            case FindApproval(tenant, approval):
                if tenant is not None:
                    return self._approvals.get((tenant, approval))
                return min((r for r in self._approvals.values() if r.approval == approval), key=_asked, default=None)
            case ListApprovals():
                return self._listed(op)
            case KeepResult(row):
                self._results[row.tenant, row.handle] = row
                self._results_of_run.setdefault((row.tenant, row.run), []).append(row.handle)
            case ReadResult(tenant, handle):
                return self._results.get((tenant, handle))
            case _:
                raise TypeError(f"unknown operation {type(op).__name__}")
        return None

    # Calls

    def _claim(self, op: Claim) -> Claimed | Held | NotApproved:
        row, tenant = op.row, op.row.tenant
        over = None if op.over is None else self._stored(tenant, op.over)
        approval = None if op.approval is None else self._approvals.get((tenant, op.approval))
        met = Met(
            own=self._calls.get((tenant, row.key)),
            over=over,
            holding=self._holding(tenant, row.effect_key),
            holder=self._holder(tenant, row.effect_key),
            unknown=self._unknown(tenant, row.open_key, op.now, besides=row.key) if over is None else None,
            approval=approval,
        )
        writes = claimed(op, met)
        if not isinstance(writes, tuple):
            return writes
        for stored in writes:
            self._write(stored)
        self._forgotten.discard((tenant, row.run))  # it goes on: what it does from now on counts
        if approval is not None:
            self._approvals[tenant, approval.approval] = used(approval)
        return Claimed()

    def _settle(self, op: Settle) -> bool:
        known = self._stored(op.row.tenant, op.row.key)
        before = list(self._before(known)) if known else ()
        free = (
            known is not None and revives(op, known) and self._holding(known.row.tenant, known.row.effect_key) is None
        )
        writes = settled(op, known, before=before, key_is_free=free)
        for stored in writes or ():
            self._write(stored)
            if (stored.row.tenant, stored.row.run) in self._forgotten:
                self._drop_settled(stored.row.tenant, stored.row.run)
        return writes is not None

    def _stored(self, tenant: str, key: str) -> Stored | None:
        row = self._calls.get((tenant, key))
        if row is None:
            return None
        return Stored(row, row.effect_key is not None and self._holders.get((tenant, row.effect_key)) == key)

    def _before(self, stored: Stored) -> Iterator[Stored]:
        found: Stored | None = stored
        while found is not None and found.row.repeats is not None:
            found = self._stored(found.row.tenant, found.row.repeats)
            if found is not None:
                yield found

    def _holding(self, tenant: str, effect_key: str | None) -> CallRow | None:
        key = None if effect_key is None else self._holders.get((tenant, effect_key))
        return None if key is None else self._calls[tenant, key]

    def _holder(self, tenant: str, effect_key: str | None) -> CallRow | None:
        row = self._holding(tenant, effect_key)
        while row is not None and (follower := self._followers.get((tenant, row.key))) is not None:
            if row.state != "repeated":
                break
            row = self._calls[tenant, follower]
        return row

    def _unknown(self, tenant: str, open_key: str | None, now: float, *, besides: str | None = None) -> CallRow | None:
        keys = self._open.get((tenant, open_key), ()) if open_key is not None else ()
        rows = (self._calls[tenant, key] for key in keys if key != besides)
        return min((row for row in rows if unknown_at(row, now)), key=_age, default=None)

    def _write(self, stored: Stored) -> None:
        row = stored.row
        self._unlink(row.tenant, row.key)
        self._calls[row.tenant, row.key] = row
        self._of_run.setdefault((row.tenant, row.run), {})[row.key] = None
        if row.repeats is not None:
            self._followers[row.tenant, row.repeats] = row.key
        if row.effect_key is not None and stored.holds:
            self._holders[row.tenant, row.effect_key] = row.key
        if row.open_key is not None and row.state in ("started", "unknown"):
            self._open.setdefault((row.tenant, row.open_key), set()).add(row.key)

    def _unlink(self, tenant: str, key: str) -> None:
        """Takes a row out of whatever finds it by something else than its key."""
        row = self._calls.get((tenant, key))
        if row is None:
            return
        if row.repeats is not None and self._followers.get((tenant, row.repeats)) == key:
            del self._followers[tenant, row.repeats]
        if row.effect_key is not None and self._holders.get((tenant, row.effect_key)) == key:
            del self._holders[tenant, row.effect_key]
        if row.open_key is not None and (keys := self._open.get((tenant, row.open_key))) is not None:
            keys.discard(key)
            if not keys:
                del self._open[tenant, row.open_key]

    def _forget(self, tenant: str, run: str) -> None:
        self._runs.pop((tenant, run), None)
        self._drop_settled(tenant, run)
        for handle in self._results_of_run.pop((tenant, run), ()):
            self._results.pop((tenant, handle), None)
        for approval in self._approvals_of_run.pop((tenant, run), ()):
            self._approvals.pop((tenant, approval), None)

    def _drop_settled(self, tenant: str, run: str) -> None:
        """Of a run that is forgotten, what is open stays; once it is settled, it goes too."""
        keys = self._of_run.get((tenant, run), {})
        for key in list(keys):
            row = self._calls[tenant, key]
            if row.scope in (None, "run") and row.state not in (*_OPEN, "repeated"):
                self._unlink(tenant, key)
                del self._calls[tenant, key], keys[key]
        if any(self._calls[tenant, key].scope in (None, "run") for key in keys):
            self._forgotten.add((tenant, run))
            return
        self._forgotten.discard((tenant, run))
        if not keys:
            self._of_run.pop((tenant, run), None)

    # The rest

    def _request(self, row: ApprovalRow) -> ApprovalRow:
        place = (row.tenant, row.approval)
        if place not in self._approvals:
            self._approvals[place] = row
            self._approvals_of_run.setdefault((row.tenant, row.run), []).append(row.approval)
        return self._approvals[place]

    def _listed(self, op: ListApprovals) -> tuple[ApprovalRow, ...]:
        rows = [
            row
            for row in self._approvals.values()
            if op.tenant in (None, row.tenant) and op.run in (None, row.run) and op.state in (None, row.state)
        ]
        return tuple(sorted(rows, key=_asked)[: op.limit])

    def _take(self, op: TakeLease) -> bool:
        holder, until = self._leases.get((op.tenant, op.name), ("", 0.0))
        if holder not in ("", op.holder) and until > op.now:
            return False
        self._leases[op.tenant, op.name] = (op.holder, op.until)
        return True

    def _spend(self, op: Spend) -> Spent:
        place = (op.tenant, op.name)
        answer, expires = spent(op, self._counters.get(place))
        if len(self._counters) >= self._room and place not in self._counters:
            self._counters = {name: kept for name, kept in self._counters.items() if kept[1] >= op.now}
            self._room = max(_COUNTERS, 2 * len(self._counters))
        self._counters[place] = (answer.total, expires)
        return answer


def _age(row: CallRow) -> tuple[float, str, str]:
    return row.created, row.tenant, row.key


def _asked(row: ApprovalRow) -> tuple[float, str, str]:
    return row.created, row.tenant, row.approval
