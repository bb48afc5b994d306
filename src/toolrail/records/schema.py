"""The telemetry file: its tables and its migrations. SQLite and PostgreSQL share the statements.

Telemetry is no ledger: it may lose rows under pressure (and counts them), and nothing that runs depends on it. So it
stands beside the store, never in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from toolrail.records.database import RecordsError

TOTAL = 0
"""The grain of totals since the beginning, for counters that may never shrink."""
GRAINS = (60, 3600)
"""Seconds that one row of a rollup covers."""

_TOKENS = """
    input_tokens BIGINT NOT NULL DEFAULT 0, output_tokens BIGINT NOT NULL DEFAULT 0,
    cached_tokens BIGINT NOT NULL DEFAULT 0, cache_write_tokens BIGINT NOT NULL DEFAULT 0,
    reasoning_tokens BIGINT NOT NULL DEFAULT 0"""
_MONEY = """
    cost DOUBLE PRECISION NOT NULL DEFAULT 0, currency TEXT NOT NULL DEFAULT 'USD',
    unpriced BIGINT NOT NULL DEFAULT 0"""
"""`unpriced` counts responses whose price nobody knew: with any, `cost` is a lower bound, never the cost."""

# `calls.flags` are joined by commas; `offered`, `limits`, `data`, `codes`, `reasons` and `sizes` are JSON; `bins` are
# packed as in `rollups.pack_bins`. A call is counted in rollups when it ends, and once: a pending one not yet.
TABLES = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    f"""CREATE TABLE IF NOT EXISTS runs (
    tenant TEXT NOT NULL, run TEXT NOT NULL, session TEXT, principal TEXT NOT NULL, model TEXT NOT NULL DEFAULT '',
    started DOUBLE PRECISION NOT NULL, mono DOUBLE PRECISION NOT NULL, updated DOUBLE PRECISION NOT NULL,
    ended DOUBLE PRECISION, reason TEXT, turns BIGINT NOT NULL DEFAULT 0, calls BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0, repeats BIGINT NOT NULL DEFAULT 0, pending BIGINT NOT NULL DEFAULT 0,
    unknown BIGINT NOT NULL DEFAULT 0, seconds DOUBLE PRECISION NOT NULL DEFAULT 0,
    offered TEXT NOT NULL DEFAULT '[]', limits TEXT NOT NULL DEFAULT '{{}}', trace TEXT,
    events BIGINT NOT NULL DEFAULT 0, counted_calls BIGINT NOT NULL DEFAULT 0,
    counted_turns BIGINT NOT NULL DEFAULT 0, counted_seconds DOUBLE PRECISION NOT NULL DEFAULT 0,{_TOKENS},{_MONEY},
    PRIMARY KEY (run, tenant))""",
    """CREATE TABLE IF NOT EXISTS calls (
    tenant TEXT NOT NULL, key TEXT NOT NULL, run TEXT NOT NULL, session TEXT, principal TEXT NOT NULL,
    turn BIGINT NOT NULL, idx BIGINT NOT NULL, call_id TEXT NOT NULL, tool TEXT NOT NULL, digest TEXT NOT NULL,
    dependency TEXT NOT NULL, wall DOUBLE PRECISION NOT NULL, mono DOUBLE PRECISION NOT NULL,
    seq BIGINT NOT NULL, settled_seq BIGINT, settled DOUBLE PRECISION, status TEXT, code TEXT,
    attempts BIGINT NOT NULL DEFAULT 0, argument_bytes BIGINT NOT NULL DEFAULT 0,
    result_bytes BIGINT NOT NULL DEFAULT 0, seconds DOUBLE PRECISION, handler_seconds DOUBLE PRECISION,
    flags TEXT NOT NULL DEFAULT '', replayed BIGINT NOT NULL DEFAULT 0, began BIGINT NOT NULL DEFAULT 0,
    reference TEXT, decision TEXT, rule TEXT, reason TEXT, decided_seq BIGINT, decided_mono DOUBLE PRECISION,
    effect TEXT, effect_key TEXT, claimed_seq BIGINT, claimed_mono DOUBLE PRECISION,
    later TEXT, later_how TEXT,
    PRIMARY KEY (key, tenant))""",
    """CREATE TABLE IF NOT EXISTS attempts (
    tenant TEXT NOT NULL, key TEXT NOT NULL, attempt BIGINT NOT NULL, seq BIGINT NOT NULL,
    ended_mono DOUBLE PRECISION NOT NULL, seconds DOUBLE PRECISION NOT NULL, failure TEXT, error_type TEXT,
    wait DOUBLE PRECISION, PRIMARY KEY (key, attempt, seq, tenant))""",
    f"""CREATE TABLE IF NOT EXISTS models (
    tenant TEXT NOT NULL, run TEXT NOT NULL, seq BIGINT NOT NULL, turn BIGINT NOT NULL, wall DOUBLE PRECISION NOT NULL,
    mono DOUBLE PRECISION NOT NULL, model TEXT NOT NULL, stop TEXT NOT NULL, seconds DOUBLE PRECISION,
    attempts BIGINT NOT NULL, calls BIGINT NOT NULL,{_TOKENS},
    cost DOUBLE PRECISION, currency TEXT NOT NULL DEFAULT 'USD', PRIMARY KEY (run, seq, tenant))""",
    """CREATE TABLE IF NOT EXISTS moments (
    tenant TEXT NOT NULL, run TEXT NOT NULL, seq BIGINT NOT NULL, turn BIGINT NOT NULL,
    wall DOUBLE PRECISION NOT NULL, mono DOUBLE PRECISION NOT NULL, kind TEXT NOT NULL, key TEXT,
    data TEXT NOT NULL, PRIMARY KEY (run, seq, tenant))""",
    """CREATE TABLE IF NOT EXISTS contents (
    tenant TEXT NOT NULL, run TEXT NOT NULL, seq BIGINT NOT NULL, turn BIGINT NOT NULL, wall DOUBLE PRECISION NOT NULL,
    kind TEXT NOT NULL, key TEXT, bytes BIGINT NOT NULL, text TEXT, blob TEXT, PRIMARY KEY (run, seq, tenant))""",
    "CREATE TABLE IF NOT EXISTS blobs (digest TEXT PRIMARY KEY, wall DOUBLE PRECISION NOT NULL, data {blob} NOT NULL)",
    """CREATE TABLE IF NOT EXISTS tool_rollups (
    grain BIGINT NOT NULL, start BIGINT NOT NULL, tool TEXT NOT NULL, digest TEXT NOT NULL, dependency TEXT NOT NULL,
    calls BIGINT NOT NULL, attempts BIGINT NOT NULL, argument_bytes BIGINT NOT NULL, result_bytes BIGINT NOT NULL,
    replayed BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL,
    argument_errors BIGINT NOT NULL, dependency_errors BIGINT NOT NULL, policy_errors BIGINT NOT NULL,
    limit_errors BIGINT NOT NULL, bug_errors BIGINT NOT NULL, codes TEXT NOT NULL, bins {blob} NOT NULL,
    PRIMARY KEY (grain, start, tool, digest))""",
    f"""CREATE TABLE IF NOT EXISTS model_rollups (
    grain BIGINT NOT NULL, start BIGINT NOT NULL, model TEXT NOT NULL, requests BIGINT NOT NULL,
    attempts BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL,{_TOKENS},{_MONEY}, bins {{blob}} NOT NULL,
    PRIMARY KEY (grain, start, model, currency))""",
    """CREATE TABLE IF NOT EXISTS run_rollups (
    grain BIGINT NOT NULL, start BIGINT NOT NULL, runs BIGINT NOT NULL, calls BIGINT NOT NULL, turns BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL, reasons TEXT NOT NULL, sizes TEXT NOT NULL, PRIMARY KEY (grain, start))""",
    f"""CREATE TABLE IF NOT EXISTS sessions (
    tenant TEXT NOT NULL, session TEXT NOT NULL, principal TEXT NOT NULL, started DOUBLE PRECISION NOT NULL,
    updated DOUBLE PRECISION NOT NULL, runs BIGINT NOT NULL DEFAULT 0, calls BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0, repeats BIGINT NOT NULL DEFAULT 0,{_TOKENS},{_MONEY},
    PRIMARY KEY (tenant, session))""",
    """CREATE TABLE IF NOT EXISTS faults (
    tool TEXT NOT NULL, code TEXT NOT NULL, digest TEXT NOT NULL, dependency TEXT NOT NULL, class TEXT NOT NULL,
    since DOUBLE PRECISION NOT NULL, last DOUBLE PRECISION NOT NULL, calls BIGINT NOT NULL, tenant TEXT NOT NULL,
    key TEXT NOT NULL, error_type TEXT, PRIMARY KEY (tool, code, digest))""",
    """CREATE TABLE IF NOT EXISTS circuits (
    process TEXT NOT NULL, dependency TEXT NOT NULL, state TEXT NOT NULL, wall DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (process, dependency))""",
    """CREATE TABLE IF NOT EXISTS losses (
    process TEXT NOT NULL, kind TEXT NOT NULL, wall DOUBLE PRECISION NOT NULL, lost BIGINT NOT NULL,
    PRIMARY KEY (process, kind))""",
    """CREATE TABLE IF NOT EXISTS alerts (
    rule TEXT NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,
    updated DOUBLE PRECISION NOT NULL, value DOUBLE PRECISION, text TEXT NOT NULL, severity TEXT NOT NULL,
    memory TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (rule, subject))""",
    """CREATE TABLE IF NOT EXISTS alert_log (
    id TEXT PRIMARY KEY, wall DOUBLE PRECISION NOT NULL, rule TEXT NOT NULL, subject TEXT NOT NULL,
    state TEXT NOT NULL, value DOUBLE PRECISION, text TEXT NOT NULL, told TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, until DOUBLE PRECISION NOT NULL)""",
)
"""`{blob}` is each database's own word for bytes.

Rollups: `start` is a multiple of `grain` (0 for `TOTAL`), in seconds of the wall time at which the call was settled.
`*_errors` count each code of that class, refusals included; `codes`, `reasons` and `sizes` are JSON objects of counts;
`bins` are `rollups.pack_bins`. Rows of minutes are deleted by whole hours, so that an hour is there in minutes wholly
or not at all: the read side relies on it.
"""

FAILED = "(failed > 0 OR reason IN ('error', 'model_unavailable', 'store_unavailable', 'output_invalid'))"
LOOPING = "(repeats > 0 OR reason = 'limit:repeats')"
OPEN = "ended IS NULL"
UNSETTLED = "(status = 'unknown' AND began = 1 AND later IS NULL)"
"""Conditions that have an index of their own: queries say them in the same words."""

INDEXES = (
    "CREATE INDEX IF NOT EXISTS runs_started ON runs (started, run, tenant, principal)",
    "CREATE INDEX IF NOT EXISTS runs_updated ON runs (updated)",
    "CREATE INDEX IF NOT EXISTS runs_session ON runs (session, started, run)",
    "CREATE INDEX IF NOT EXISTS runs_cost ON runs (cost, run, started) WHERE cost > 0",
    f"CREATE INDEX IF NOT EXISTS runs_open ON runs (started, run, pending, updated) WHERE {OPEN}",
    f"CREATE INDEX IF NOT EXISTS runs_failed ON runs (started, run) WHERE {FAILED}",
    f"CREATE INDEX IF NOT EXISTS runs_looping ON runs (started, run) WHERE {LOOPING}",
    "CREATE INDEX IF NOT EXISTS runs_unknown ON runs (started, run) WHERE unknown > 0",
    "CREATE INDEX IF NOT EXISTS calls_run ON calls (run, tenant, seq, tool)",
    "CREATE INDEX IF NOT EXISTS calls_settled ON calls (settled, tenant)",
    "CREATE INDEX IF NOT EXISTS calls_tool ON calls (tool, settled, run, tenant)",
    "CREATE INDEX IF NOT EXISTS calls_failed ON calls (code, settled, tool, tenant) WHERE code IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS calls_status ON calls (status, settled, tool, tenant) WHERE status <> 'ok'",
    f"CREATE INDEX IF NOT EXISTS calls_unsettled ON calls (settled) WHERE {UNSETTLED}",
    "CREATE INDEX IF NOT EXISTS sessions_updated ON sessions (updated)",
    "CREATE INDEX IF NOT EXISTS alert_log_wall ON alert_log (wall)",
)
"""Filters that few rows pass have an index of their own (`WHERE`), so that they cost an ordinary row nothing."""

MIGRATIONS: tuple[tuple[str, ...], ...] = ((*TABLES, *INDEXES),)
"""In order: older telemetry is brought forward, newer is refused. Each is done in one transaction with its version."""
_OURS = frozenset({"runs", "calls", "attempts", "models", "moments", "contents", "blobs", "sessions", "faults"})
"""Names that an application's own tables, or a store's, would have too."""


class Tables(Protocol):
    """What is used of a `Database`, and the names of its tables."""

    @property
    def where(self) -> str: ...

    def tables(self) -> set[str]: ...

    def select(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None: ...

    def transaction(self) -> AbstractContextManager[None]: ...


def version_of(db: Tables) -> int:
    """The version of the tables; 0 where there are none.

    Raises:
        RecordsError: they are another application's, or a newer toolrail made them.
    """
    names = db.tables()
    if "meta" not in names:
        taken = sorted(names & _OURS)
        if taken:
            raise RecordsError(
                db.where,
                f"it has tables that are no telemetry: {', '.join(taken)}.",
                "Give telemetry a place of its own, apart from the store and from other applications.",
            )
        return 0
    rows = db.select("SELECT value FROM meta WHERE name = 'version'")
    if not rows or not str(rows[0][0]).isdecimal():
        raise RecordsError(db.where, "its version cannot be read.", "Restore it from a backup, or move it away.")
    version = int(rows[0][0])
    if version > len(MIGRATIONS):
        raise RecordsError(
            db.where,
            f"a newer toolrail wrote it (version {version}; this one knows {len(MIGRATIONS)}).",
            "Upgrade toolrail, or give telemetry another place.",
        )
    return version


def check_readable(db: Tables, version: int) -> None:
    """For those who may not migrate.

    Raises:
        RecordsError: there is nothing yet, or it is of an older version.
    """
    if version == 0:
        raise RecordsError(db.where, "no telemetry was written there yet.", "Make a run with it first.")
    if version < len(MIGRATIONS):
        raise RecordsError(
            db.where,
            f"an older toolrail wrote it (version {version}; this one knows {len(MIGRATIONS)}).",
            "Make a run with this version first: it brings the tables up to date.",
        )


def migrate(db: Tables, *, blob: str) -> None:
    """Brings the tables to the newest version, in one transaction that other processes wait for.

    Raises:
        RecordsError: see `version_of`; all is left as it was.
    """
    if version_of(db) == len(MIGRATIONS):
        return
    with db.transaction():
        for statements in MIGRATIONS[version_of(db) :]:  # again: another process may have been first
            for statement in statements:
                db.execute(statement.replace("{blob}", blob))
        db.execute("DELETE FROM meta WHERE name = 'version'")
        db.execute("INSERT INTO meta (name, value) VALUES ('version', ?)", (str(len(MIGRATIONS)),))
