"""The tables of alerts: what fires, what changed and who was told of it, and the lease of the one who looks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

from toolrail.records.alerts.evaluate import Key, Now
from toolrail.records.alerts.readings import State, clock
from toolrail.records.alerts.telling import Change
from toolrail.records.database import Database

LEASE = "alerts"
OWED = 900.0
"""Seconds for which somebody is still owed to be told."""
KEPT = 90 * 86_400.0
"""Seconds that the log of changes is kept."""


class Row(NamedTuple):
    """A row of `alerts`."""

    state: State
    text: str
    severity: str
    updated: float


def take_lease(database: Database, holder: str, now: float, seconds: float) -> bool:
    """Whether this holder is the one who looks, for so many seconds from now."""
    database.execute(
        "INSERT INTO leases (name, holder, until) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
        " SET holder = excluded.holder, until = excluded.until WHERE leases.holder = excluded.holder"
        " OR leases.until <= ? OR leases.until > ?",  # the last: by a clock that was far ahead
        (LEASE, holder, now + seconds, now, now + 100 * seconds),
    )
    return _holds(database, holder)


def leave_lease(database: Database, holder: str, now: float) -> None:
    """Lets another look at once. The row stays: it says since when nobody looks."""
    database.execute("UPDATE leases SET until = ? WHERE name = ? AND holder = ?", (now, LEASE, holder))


def _holds(database: Database, holder: str) -> bool:
    return database.select("SELECT holder FROM leases WHERE name = ?", (LEASE,)) == [(holder,)]


def remembered(database: Database) -> dict[Key, Row]:
    """All that fires, or fired."""
    rows = database.select("SELECT rule, subject, state, since, updated, text, severity, memory FROM alerts")
    found: dict[Key, Row] = {}
    for rule, subject, state, since, updated, text, severity, memory in rows:
        kept = _object(memory)
        remembers = State(state == "firing", since, basis=kept.get("basis"), seen=kept.get("seen"))
        found[rule, subject] = Row(remembers, text, severity, updated)
    return found


def write(
    database: Database, holder: str, found: Mapping[Key, Now], before: Mapping[Key, Row], now: float
) -> list[Change]:
    """Writes a round: all of it, or nothing if another has the lease meanwhile."""
    changed = [(key, one) for key, one in found.items() if one.changed]
    changes = [_change(f"{number:04d}", key, one, before, now) for number, (key, one) in enumerate(changed)]
    rows = [_row(key, one, now) for key, one in found.items() if one.changed or key in before]
    quiet = [
        (f"{row.text}; nothing to see since {clock(row.updated)}", *key)
        for key, row in before.items()
        if row.state.firing and key not in found and "; no" not in row.text
    ]
    with database.transaction():
        if not _holds(database, holder):
            return []
        database.executemany(
            "INSERT INTO alerts (rule, subject, state, since, updated, value, text, severity, memory)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (rule, subject) DO UPDATE SET state = excluded.state,"
            " since = excluded.since, updated = excluded.updated, value = excluded.value, text = excluded.text,"
            " severity = excluded.severity, memory = excluded.memory",
            rows,
        )
        database.executemany("UPDATE alerts SET text = ? WHERE rule = ? AND subject = ?", quiet)
        database.executemany(
            "INSERT INTO alert_log (id, wall, rule, subject, state, value, text, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(one.id, one.wall, one.rule, one.subject, one.state, one.value, one.text, "[]") for one in changes],
        )
        if changes:
            database.execute("DELETE FROM alert_log WHERE wall < ?", (now - KEPT,))
    return changes


def owed(database: Database, now: float) -> list[tuple[Change, tuple[str, ...]]]:
    """What changed lately, the oldest first, with who was told of it."""
    rows = database.select(
        "SELECT l.id, l.wall, l.rule, l.subject, l.state, l.value, l.text, l.told, a.severity, a.since FROM alert_log l"
        " LEFT JOIN alerts a ON a.rule = l.rule AND a.subject = l.subject WHERE l.wall >= ? ORDER BY l.wall, l.id",
        (now - OWED,),
    )
    return [
        (
            Change(key, wall, rule, subject, _state(state), severity or "warning", value, text, since or wall),
            tuple(_list(told)),
        )
        for key, wall, rule, subject, state, value, text, told, severity, since in rows
    ]


def mark(database: Database, change: Change, told: tuple[str, ...]) -> None:
    """Writes down who was told."""
    database.execute("UPDATE alert_log SET told = ? WHERE id = ?", (json.dumps(told), change.id))


def _change(number: str, key: Key, now: Now, before: Mapping[Key, Row], wall: float) -> Change:
    began = before[key].state.since if key in before and not now.state.firing else wall
    state = "firing" if now.state.firing else "clear"
    return Change(f"{number}-{uuid.uuid4().hex}", wall, *key, state, now.severity, now.value, now.text, began)


def _row(key: Key, now: Now, wall: float) -> tuple[Any, ...]:
    state = now.state
    memory = json.dumps({"basis": state.basis, "seen": state.seen})
    word = "firing" if state.firing else "clear"
    return (*key, word, state.since, wall, now.value, now.text, now.severity, memory)


def _state(word: str) -> Literal["firing", "clear"]:
    return "firing" if word == "firing" else "clear"


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _list(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [str(one) for one in cast("list[Any]", found)] if isinstance(found, list) else []
