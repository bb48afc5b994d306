"""The default store: dictionaries in this process. Nothing outlives it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toolrail.store import (
    CallRow,
    CallsOf,
    Claim,
    Claimed,
    DropLease,
    FindEffect,
    Held,
    ListRuns,
    LoadRun,
    LoadSession,
    Op,
    Plan,
    RunRow,
    SaveRun,
    SaveSession,
    SessionRow,
    Settle,
    TakeLease,
)

HOLDING = ("started", "done", "unknown")


class MemoryStore:
    """Keeps rows in dictionaries. Only what has an effect key, a run id or a session name ever comes here."""

    durable = False

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], CallRow] = {}
        self._effects: dict[tuple[str, str], str] = {}
        self._runs: dict[tuple[str, str], RunRow] = {}
        self._sessions: dict[tuple[str, str], SessionRow] = {}
        self._leases: dict[tuple[str, str], tuple[str, float]] = {}

    async def apply(self, *ops: Op) -> list[Any]:
        return [self._do(op) for op in ops]

    async def close(self) -> None:
        return None

    def _do(self, op: Op) -> Any:
        match op:
            case Plan(rows):
                for row in rows:
                    self._calls.setdefault((row.tenant, row.key), row)
            case Claim(row):
                return self._claim(row)
            case Settle(row):
                self._settle(row)
            case FindEffect(tenant, effect_key):
                key = self._effects.get((tenant, effect_key))
                return None if key is None else self._calls[tenant, key]
            case CallsOf(tenant, run):
                rows = [row for row in self._calls.values() if (row.tenant, row.run) == (tenant, run)]
                return tuple(sorted(rows, key=lambda row: (row.turn, row.index)))
            case SaveRun(row):
                self._runs[row.tenant, row.run] = row
            case LoadRun(tenant, run):
                return self._runs.get((tenant, run))
            case ListRuns(limit, tenant, since):
                rows = [r for r in self._runs.values() if tenant in (None, r.tenant) and r.updated > since]
                return tuple(sorted(rows, key=lambda r: r.updated, reverse=True)[:limit])
            case SaveSession(row):
                self._sessions[row.tenant, row.session] = row
            case LoadSession(tenant, session):
                return self._sessions.get((tenant, session))
            case TakeLease():
                return self._take(op)
            case DropLease(tenant, name, holder):
                if self._leases.get((tenant, name), ("", 0.0))[0] == holder:
                    del self._leases[tenant, name]
            case _:
                raise TypeError(f"unknown operation {type(op).__name__}")
        return None

    def _claim(self, row: CallRow) -> Claimed | Held:
        if row.effect_key is not None:
            holder = self._effects.get((row.tenant, row.effect_key))
            if holder is not None and holder != row.key:
                return Held(self._calls[row.tenant, holder])
            self._effects[row.tenant, row.effect_key] = row.key
        self._calls[row.tenant, row.key] = row
        return Claimed()

    def _settle(self, row: CallRow) -> None:
        known = self._calls.get((row.tenant, row.key))
        if known is not None and known.state == "done":
            return
        self._calls[row.tenant, row.key] = replace(row, created=known.created) if known else row
        if row.effect_key is not None and row.state not in HOLDING:
            self._release(row)

    def _release(self, row: CallRow) -> None:
        key = (row.tenant, row.effect_key or "")
        if self._effects.get(key) == row.key:
            del self._effects[key]

    def _take(self, op: TakeLease) -> bool:
        holder, until = self._leases.get((op.tenant, op.name), ("", 0.0))
        if holder not in ("", op.holder) and until > op.now:
            return False
        self._leases[op.tenant, op.name] = (op.holder, op.until)
        return True
