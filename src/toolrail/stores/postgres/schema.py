"""The tables of the PostgreSQL store, as ordered migrations: a schema at version N has had the first N of them.

A released migration is never changed; a change is one more at the end.
"""

from __future__ import annotations

from toolrail.stores.failures import StoreError
from toolrail.stores.postgres.locks import lock_of
from toolrail.stores.postgres.sql import Session
from toolrail.stores.postgres.url import Place

_FIRST = (
    "CREATE TABLE @migrations (version INTEGER PRIMARY KEY)",
    """
    CREATE TABLE @calls (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        run TEXT NOT NULL,
        call_key TEXT NOT NULL,
        turn BIGINT NOT NULL,
        call_index BIGINT NOT NULL,
        call_id TEXT NOT NULL,
        tool TEXT NOT NULL,
        digest TEXT NOT NULL,
        principal TEXT NOT NULL,
        effect TEXT NOT NULL,
        state TEXT NOT NULL,
        effect_key TEXT,
        scope TEXT,
        open_key TEXT,
        idempotency_key TEXT,
        repeats TEXT,               -- key of the call whose unknown outcome this one took over
        arguments TEXT,             -- effective, canonical JSON
        arguments_digest TEXT,
        status TEXT,
        code TEXT,
        content TEXT,
        trust TEXT NOT NULL,
        flags TEXT NOT NULL,        -- JSON list
        attempts BIGINT NOT NULL,
        argument_bytes BIGINT NOT NULL,
        result_bytes BIGINT NOT NULL,
        seconds DOUBLE PRECISION NOT NULL,
        created DOUBLE PRECISION NOT NULL,
        updated DOUBLE PRECISION NOT NULL,
        lease_until DOUBLE PRECISION,
        holds_key BOOLEAN NOT NULL, -- from the claim until a failure frees the key; a replayed call never holds it
        PRIMARY KEY (tenant, call_key)
    )
    """,
    "CREATE UNIQUE INDEX calls_one_holder ON @calls (tenant, effect_key) WHERE holds_key",
    "CREATE UNIQUE INDEX calls_one_follower ON @calls (tenant, repeats) WHERE repeats IS NOT NULL",
    "CREATE INDEX calls_of_run ON @calls (tenant, run, turn, call_index)",
    "CREATE INDEX calls_unknown ON @calls (tenant, open_key) WHERE state IN ('started', 'unknown')",
    "CREATE INDEX calls_open ON @calls (created) WHERE state IN ('started', 'waiting', 'unknown')",
    "CREATE INDEX calls_by_key ON @calls (call_key)",
    """
    CREATE TABLE @runs (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        run TEXT NOT NULL,
        session TEXT,
        principal TEXT NOT NULL,
        state TEXT NOT NULL,        -- JSON of RunState
        stop_reason TEXT,
        created DOUBLE PRECISION NOT NULL,
        updated DOUBLE PRECISION NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (tenant, run)
    )
    """,
    "CREATE INDEX runs_newest ON @runs (updated)",
    "CREATE INDEX runs_newest_of_tenant ON @runs (tenant, updated)",
    """
    CREATE TABLE @sessions (
        tenant TEXT NOT NULL,
        session TEXT NOT NULL,
        principal TEXT NOT NULL,
        provider TEXT NOT NULL,
        messages TEXT NOT NULL,     -- JSON in the provider's wire form
        created DOUBLE PRECISION NOT NULL,
        updated DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, session)
    )
    """,
    """
    CREATE TABLE @leases (
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        holder TEXT NOT NULL,
        until DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, name)
    )
    """,
    """
    CREATE TABLE @approvals (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        approval TEXT NOT NULL,
        run TEXT NOT NULL,
        call_key TEXT NOT NULL,
        principal TEXT NOT NULL,    -- who asked for the call
        tool TEXT NOT NULL,
        digest TEXT NOT NULL,       -- of the tool and its schema
        arguments TEXT NOT NULL,    -- effective, canonical JSON: what the handler will get
        binding TEXT NOT NULL,
        reason TEXT NOT NULL,
        four_eyes INTEGER NOT NULL, -- 1: the principal may not approve
        needs TEXT,                 -- permission that the approver must have
        state TEXT NOT NULL,        -- pending, approved, rejected, used
        approver TEXT,
        note TEXT NOT NULL,
        edited TEXT,                -- arguments that the approver put in place
        created DOUBLE PRECISION NOT NULL,
        expires DOUBLE PRECISION,
        decided DOUBLE PRECISION,
        PRIMARY KEY (tenant, approval)
    )
    """,
    "CREATE INDEX approvals_of_run ON @approvals (tenant, run)",
    "CREATE INDEX approvals_by_state ON @approvals (state, created)",
    "CREATE INDEX approvals_by_id ON @approvals (approval)",
    """
    CREATE TABLE @results (
        tenant TEXT NOT NULL,
        bucket INTEGER NOT NULL,
        handle TEXT NOT NULL,
        run TEXT NOT NULL,
        call_key TEXT NOT NULL,
        principal TEXT NOT NULL,
        trust TEXT NOT NULL,
        content TEXT NOT NULL,
        created DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, handle)
    )
    """,
    "CREATE INDEX results_of_run ON @results (tenant, run)",
    """
    CREATE TABLE @counters (
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        value DOUBLE PRECISION NOT NULL,
        expires DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, name)
    )
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""In order."""


async def migrate(session: Session, place: Place) -> None:
    """Brings a schema to the newest version, in one transaction that other processes wait for.

    Raises:
        StoreError: a newer toolrail wrote it; nothing was changed.
    """
    if await _version(session, place) == len(MIGRATIONS):
        return
    connection = session.connection
    await connection.execute("BEGIN")
    await connection.execute(f"SELECT pg_advisory_xact_lock({lock_of(place.schema, 'migrate')})")
    known = await connection.fetch("SELECT 1 FROM pg_namespace WHERE nspname = $1", place.schema)
    if not known:  # asked first: making it needs a right that using it does not
        await connection.execute(f'CREATE SCHEMA "{place.schema}"')
    for statements in MIGRATIONS[await _version(session, place) :]:  # again: another process may have been first
        for statement in statements:
            await connection.execute(session.text(statement))
    await connection.execute(session.text("DELETE FROM @migrations"))
    await connection.execute(session.text("INSERT INTO @migrations VALUES ($1)"), len(MIGRATIONS))
    await connection.execute("COMMIT")


async def _version(session: Session, place: Place) -> int:
    tables = "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'migrations'"
    if not await session.connection.fetch(tables, place.schema):
        return 0
    found = await session.connection.fetch(session.text("SELECT version FROM @migrations"))
    version = max((number for (number,) in found), default=0)
    if not 1 <= version <= len(MIGRATIONS):
        raise StoreError(
            place.shown,
            f"a newer toolrail wrote its tables (schema {version}; this one knows {len(MIGRATIONS)}).",
            "Upgrade toolrail, or give it another schema (?schema=name).",
        )
    return version
