"""What is wrong now: faults and since when, dependencies, circuits, alerts, losses; and what one can choose from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from toolrail.records.database import Database
from toolrail.records.reading_rollups import HOUR, ToolSum, by_class, quantiles
from toolrail.records.rollups import merge_bins
from toolrail.records.schema import TOTAL, UNSETTLED
from toolrail.records.views import AlertLine, AlertNote, CircuitLine, DependencyStats, Fault, Names, Window

CIRCUIT_SECONDS = 3600.0
"""A circuit that changed longer ago counts as closed: with calls it would have changed, and its process may be gone."""
MOST_NAMES = 500
_WORST = {"closed": 0, "half-open": 1, "open": 2}


def faults(db: Database, window: Window, limit: int) -> tuple[Fault, ...]:
    """Those that were last seen within the window, the newest spell first."""
    sql = """SELECT tool, code, digest, dependency, class, since, last, calls, tenant, key, error_type FROM faults
        WHERE last >= ? AND last < ? ORDER BY since DESC, tool, code LIMIT ?"""
    rows = db.select(sql, (window.since, window.until, limit))
    if not rows:
        return ()
    seen = _versions(db, min(row[5] for row in rows))
    return tuple(
        Fault(*row, versions=max(1, sum(until > row[5] for until in seen.get(row[0], {}).values()))) for row in rows
    )


def _versions(db: Database, since: float) -> dict[str, dict[str, int]]:
    """By tool and digest: the end of the newest hour in which it was called."""
    sql = "SELECT tool, digest, max(start) FROM tool_rollups WHERE grain = ? AND start >= ? GROUP BY tool, digest"
    found: dict[str, dict[str, int]] = {}
    for tool, digest, start in db.select(sql, (HOUR, int(since // HOUR * HOUR))):
        found.setdefault(tool, {})[digest] = start + HOUR
    return found


def circuits(db: Database) -> tuple[CircuitLine, ...]:
    """As each process saw it last, the newest first."""
    sql = "SELECT process, dependency, state, wall FROM circuits ORDER BY wall DESC, dependency, process"
    return tuple(CircuitLine(*row) for row in db.select(sql))


def worst_circuits(lines: Iterable[CircuitLine], now: float) -> dict[str, CircuitLine]:
    """By dependency, over all processes."""
    found: dict[str, CircuitLine] = {}
    for line in lines:
        known = found.get(line.dependency)
        fresh = line.state == "closed" or line.wall >= now - CIRCUIT_SECONDS
        if fresh and (known is None or _WORST.get(line.state, 0) > _WORST.get(known.state, 0)):
            found[line.dependency] = line
    return found


def dependencies(found: Mapping[str, ToolSum], worst: Mapping[str, CircuitLine]) -> tuple[DependencyStats, ...]:
    """All tools by what they stand on, the most failing first; also one whose circuit is open and that nobody calls."""
    groups: dict[str, dict[str, ToolSum]] = {name: {} for name, line in worst.items() if line.state != "closed"}
    for tool, known in found.items():
        if known.dependency:
            groups.setdefault(known.dependency, {})[tool] = known
    lines = [_dependency(name, tools, worst.get(name)) for name, tools in groups.items()]
    return tuple(sorted(lines, key=lambda line: (line.circuit == "closed", -line.errors, -line.calls, line.dependency)))


def _dependency(name: str, tools: Mapping[str, ToolSum], circuit: CircuitLine | None) -> DependencyStats:
    return DependencyStats(
        dependency=name,
        tools=tuple(sorted(tools)),
        calls=sum(known.counts[0] for known in tools.values()),
        errors=sum(by_class(known.codes).get("dependency", 0) for known in tools.values()),
        circuit="closed" if circuit is None else circuit.state,
        since=None if circuit is None else circuit.wall,
        latency=quantiles(merge_bins(packed for known in tools.values() for packed in known.packs)),
    )


def unsettled(db: Database) -> int:
    """Calls whose outcome is unknown and not settled since."""
    ((count,),) = db.select(f"SELECT count(*) FROM calls WHERE {UNSETTLED}")
    return count


def alerts(db: Database) -> tuple[AlertLine, ...]:
    """Those that fire first, then the newest."""
    sql = """SELECT rule, subject, state, since, updated, value, text, severity FROM alerts
        ORDER BY CASE state WHEN 'firing' THEN 0 ELSE 1 END, since DESC, rule, subject"""
    return tuple(AlertLine(*row) for row in db.select(sql))


def alert_log(db: Database, limit: int) -> tuple[AlertNote, ...]:
    """The newest first."""
    sql = "SELECT wall, rule, subject, state, value, text, told FROM alert_log ORDER BY wall DESC, id DESC LIMIT ?"
    found = db.select(sql, (limit,))
    return tuple(AlertNote(*row, told=tuple(json.loads(told))) for *row, told in found)


def looked(db: Database) -> float | None:
    """When the lease of the one who looks at alerts ends, or ended."""
    rows = db.select("SELECT until FROM leases WHERE name = 'alerts'")
    return rows[0][0] if rows else None


def lost(db: Database) -> int:
    """Events that no row was written for, ever."""
    ((count,),) = db.select("SELECT coalesce(sum(lost), 0) FROM losses")
    return count


def names(db: Database) -> Names:
    """What there is to choose from, in alphabetical order; at most 500 of each."""

    def column(sql: str) -> tuple[str, ...]:
        return tuple(name for (name,) in db.select(f"{sql} ORDER BY 1 LIMIT {MOST_NAMES}"))

    ((reasons,),) = db.select(f"SELECT coalesce(max(reasons), '{{}}') FROM run_rollups WHERE grain = {TOTAL}")
    return Names(
        tenants=column("SELECT DISTINCT tenant FROM runs"),
        tools=column(f"SELECT DISTINCT tool FROM tool_rollups WHERE grain = {TOTAL}"),
        models=column(f"SELECT DISTINCT model FROM model_rollups WHERE grain = {TOTAL}"),
        codes=column("SELECT DISTINCT code FROM calls WHERE code IS NOT NULL"),
        reasons=tuple(sorted(json.loads(reasons))),
    )
