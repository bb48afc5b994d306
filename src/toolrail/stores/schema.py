"""The tables of the SQLite store, as ordered migrations: a file at version N has had the first N of them.

The version stands in a table, not in `user_version`: a tool may keep its own tables in the same file, and its own tools
may use that pragma. A released migration is never changed; a change is one more at the end.
"""

from __future__ import annotations

import sqlite3

from toolrail.stores.failures import StoreError

_FIRST = (
    "CREATE TABLE toolrail_schema (version INTEGER NOT NULL)",
    "INSERT INTO toolrail_schema (version) VALUES (0)",
    """
    CREATE TABLE calls (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        run TEXT NOT NULL,
        call_key TEXT NOT NULL,
        turn INTEGER NOT NULL,
        call_index INTEGER NOT NULL,
        call_id TEXT NOT NULL,
        tool TEXT NOT NULL,
        digest TEXT NOT NULL,
        principal TEXT NOT NULL,
        effect TEXT NOT NULL,
        state TEXT NOT NULL,
        effect_key TEXT,
        holds_key INTEGER NOT NULL,  -- 1 from the claim until a failure frees the key; a replayed call never holds it
        arguments_digest TEXT,
        status TEXT,
        code TEXT,
        content TEXT,
        trust TEXT NOT NULL,
        flags TEXT NOT NULL,         -- JSON list
        attempts INTEGER NOT NULL,
        argument_bytes INTEGER NOT NULL,
        result_bytes INTEGER NOT NULL,
        seconds REAL NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        lease_until REAL,
        PRIMARY KEY (tenant, call_key)
    )
    """,
    "CREATE UNIQUE INDEX calls_one_holder ON calls (tenant, effect_key) WHERE holds_key = 1",
    "CREATE INDEX calls_of_run ON calls (tenant, run, turn, call_index)",
    "CREATE INDEX calls_open ON calls (tenant, tool, arguments_digest) WHERE state IN ('started', 'unknown')",
    """
    CREATE TABLE runs (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        run TEXT NOT NULL,
        session TEXT,
        principal TEXT NOT NULL,
        state TEXT NOT NULL,         -- JSON of RunState
        stop_reason TEXT,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        PRIMARY KEY (tenant, run)
    )
    """,
    "CREATE INDEX runs_newest ON runs (updated)",
    "CREATE INDEX runs_newest_of_tenant ON runs (tenant, updated)",
    """
    CREATE TABLE sessions (
        tenant TEXT NOT NULL,
        session TEXT NOT NULL,
        principal TEXT NOT NULL,
        provider TEXT NOT NULL,
        messages TEXT NOT NULL,      -- JSON in the provider's wire form
        created REAL NOT NULL,
        updated REAL NOT NULL,
        PRIMARY KEY (tenant, session)
    )
    """,
    """
    CREATE TABLE leases (
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        holder TEXT NOT NULL,
        until REAL NOT NULL,
        PRIMARY KEY (tenant, name)
    )
    """,
    """
    CREATE TABLE approvals (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        approval TEXT NOT NULL,
        run TEXT NOT NULL,
        call_key TEXT NOT NULL,
        principal TEXT NOT NULL,     -- who asked for the call
        tool TEXT NOT NULL,
        digest TEXT NOT NULL,        -- of the tool and its schema
        arguments TEXT NOT NULL,     -- effective, canonical JSON: what the handler will get
        arguments_digest TEXT NOT NULL,
        reason TEXT NOT NULL,        -- why the policy asks
        four_eyes INTEGER NOT NULL,  -- 1: the principal may not approve
        state TEXT NOT NULL,         -- pending, approved, rejected, expired, used
        approver TEXT,
        comment TEXT,
        created REAL NOT NULL,
        expires REAL,
        decided REAL,
        used REAL,
        PRIMARY KEY (tenant, approval)
    )
    """,
    "CREATE INDEX approvals_of_call ON approvals (tenant, call_key)",
    "CREATE INDEX approvals_pending ON approvals (tenant, created) WHERE state = 'pending'",
    """
    CREATE TABLE results (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        handle TEXT NOT NULL,
        run TEXT NOT NULL,
        call_key TEXT NOT NULL,
        principal TEXT NOT NULL,
        trust TEXT NOT NULL,
        content TEXT NOT NULL,
        created REAL NOT NULL,
        PRIMARY KEY (tenant, handle)
    )
    """,
    "CREATE INDEX results_of_run ON results (tenant, run)",
)

_EFFECTS_IN_FULL = (
    "ALTER TABLE calls ADD COLUMN scope TEXT",
    "ALTER TABLE calls ADD COLUMN open_key TEXT",
    "ALTER TABLE calls ADD COLUMN idempotency_key TEXT",
    "ALTER TABLE calls ADD COLUMN repeats TEXT",  # key of the call whose unknown outcome this one took over
    "ALTER TABLE calls ADD COLUMN arguments TEXT",  # effective, canonical JSON
    "ALTER TABLE runs ADD COLUMN version INTEGER NOT NULL DEFAULT 0",
    "DROP INDEX calls_open",
    "CREATE INDEX calls_unknown ON calls (tenant, open_key) WHERE state IN ('started', 'unknown')",
    "CREATE INDEX calls_open ON calls (created) WHERE state IN ('started', 'waiting', 'unknown')",
    "CREATE UNIQUE INDEX calls_one_follower ON calls (tenant, repeats) WHERE repeats IS NOT NULL",
    "CREATE INDEX calls_key ON calls (call_key)",
    "DROP TABLE approvals",  # no version ever wrote to it
    """
    CREATE TABLE approvals (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        approval TEXT NOT NULL,
        run TEXT NOT NULL,
        call_key TEXT NOT NULL,
        principal TEXT NOT NULL,     -- who asked for the call
        tool TEXT NOT NULL,
        digest TEXT NOT NULL,        -- of the tool and its schema
        arguments TEXT NOT NULL,     -- effective, canonical JSON: what the handler will get
        binding TEXT NOT NULL,
        reason TEXT NOT NULL,        -- why the policy asks
        four_eyes INTEGER NOT NULL,  -- 1: the principal may not approve
        needs TEXT,                  -- permission that the approver must have
        state TEXT NOT NULL,         -- pending, approved, rejected, used
        approver TEXT,
        note TEXT NOT NULL,
        edited TEXT,                 -- arguments that the approver put in place
        created REAL NOT NULL,
        expires REAL,
        decided REAL,
        PRIMARY KEY (tenant, approval)
    )
    """,
    "CREATE INDEX approvals_of_run ON approvals (tenant, run)",
    "CREATE INDEX approvals_by_state ON approvals (state, created)",
    "CREATE INDEX approvals_by_id ON approvals (approval)",
    """
    CREATE TABLE counters (
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        value REAL NOT NULL,
        expires REAL NOT NULL,
        PRIMARY KEY (tenant, name)
    )
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _EFFECTS_IN_FULL)
"""In order. Each is done in one transaction with its version."""
TABLES = ("calls", "runs", "sessions", "leases", "approvals", "results", "counters", "toolrail_schema")
"""Names that must be free in a file that holds tables of others: those stay as they are beside ours."""


def version_of(db: sqlite3.Connection, path: str) -> int:
    """The schema version of an open file; 0 for one without a table of ours.

    Raises:
        StoreError: a table of another application has a name of ours, or a newer toolrail wrote the file.
    """
    names = {name.lower() for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    if "toolrail_schema" not in names:
        taken = [name for name in TABLES if name in names]
        if taken:
            raise StoreError(
                path,
                f"another application's table has a name that the store needs: {', '.join(taken)}.",
                "Rename that table, or give the store a path of its own.",
            )
        return 0
    (version,) = db.execute("SELECT max(version) FROM toolrail_schema").fetchone()
    if not isinstance(version, int) or version < 1:
        raise StoreError(path, "its schema version cannot be read.", "Restore the file from a backup.")
    if version > len(MIGRATIONS):
        raise StoreError(
            path,
            f"a newer toolrail wrote it (schema {version}; this one knows {len(MIGRATIONS)}).",
            "Upgrade toolrail, or give it another file.",
        )
    return version


def migrate(db: sqlite3.Connection, path: str) -> None:
    """Brings a file to the newest schema, in one transaction that other processes wait for.

    Raises:
        StoreError: see `version_of`; the file is left as it was.
    """
    if version_of(db, path) == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[version_of(db, path) :]:  # again: another process may have been first
            for statement in statements:
                db.execute(statement)
        db.execute("UPDATE toolrail_schema SET version = ?", (len(MIGRATIONS),))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
