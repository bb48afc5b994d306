"""What must hold after a seed: the world's effects, the ledger and the callers' answers agree."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

from tests.simulation.answers import Answer
from tests.simulation.shadow import no_repeat_after_unknown
from tests.simulation.stage import Stage
from tests.simulation.tools import BY_TOOL
from tests.simulation.workload import ASKED_FOR, EVE
from tests.simulation.world import HONOURED, Effect, Visit
from toolrail.store import CallRow

OPEN = ("started", "waiting", "unknown")
REACHED = ("done", "started", "unknown", "repeated")
"""States of a call whose effect may have taken place."""


def checked(stage: Stage) -> None:
    """Notes every promise that does not hold."""
    rows = {row.key: row for row in rows_of(stage)}
    _effects_once(stage)
    no_repeat_after_unknown(stage)
    _done_stays(stage)
    _ledger_knows(stage, rows)
    _open_ones(stage, rows)
    _authority(stage)
    _budgets(stage)
    for answer in stage.told.answers:
        _answered(stage, answer, rows.get(answer.key))


def rows_of(stage: Stage) -> list[CallRow]:
    """The whole ledger, in the order of the claims."""
    calls: dict[object, CallRow] = getattr(stage.disk.rows, "_calls")  # noqa: B009 - as a debugger would
    return list(calls.values())


def _effects_once(stage: Stage) -> None:
    """1. Never two effects for one key; of an unsafe tool without a key never two for one call."""
    groups: dict[tuple[str, ...], list[Effect]] = defaultdict(list)
    for effect in stage.world.effects:
        visit = effect.visit
        if visit.kind == "read":
            continue
        if visit.kind == "idempotent":
            groups["key", visit.tool, visit.key].append(effect)
        elif visit.scope is not None:
            groups["scope", *visit.same].append(effect)
        else:
            groups["call", visit.tool, visit.key if visit.kind in HONOURED else visit.call_key].append(effect)
    for group, effects in groups.items():
        if len(effects) > 1:
            stage.history.breaks("never two effects for one key", f"{group}: {[one.receipt for one in effects]}")


def _done_stays(stage: Stage) -> None:
    """3b. What is done is never anything else again."""
    done: dict[str, str | None] = {}
    for change in stage.disk.changes:
        key, row = change.row.key, change.row
        if key in done and (row.state != "done" or row.content != done[key]):
            stage.history.breaks("what is done stays done", f"{key} ({row.tool}) is {change.kind}: {row.state}")
        if change.kind == "settled" and row.state == "done":
            done[key] = row.content


def _ledger_knows(stage: Stage, rows: dict[str, CallRow]) -> None:
    """2b. Every effect is done in the ledger, or stands there as open; never as something that did not happen."""
    for effect in stage.world.effects:
        visit = effect.visit
        if visit.kind in ("read", "undeclared"):
            continue
        row = rows.get(visit.call_key)
        if row is None or row.state not in REACHED:
            state = row.state if row else "not there"
            stage.history.breaks("the ledger knows every effect", f"{effect.receipt} of {visit.call_key} is {state}")
        elif row.state == "done" and row.content != effect.receipt:
            stage.history.breaks("a row tells of its own effect", f"{row.content!r} for {effect.receipt}")


def _open_ones(stage: Stage, rows: dict[str, CallRow]) -> None:
    """2c. What stands open had begun: the handler ran, or nobody could take the claim back. Of one key at most one."""
    begun = {visit.call_key for visit in stage.world.visits}
    dead = {process.name for process in stage.processes if process.dead}
    orphans = {change.row.key for change in stage.disk.changes if change.process in dead}
    kept: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows.values():
        if row.state not in OPEN:
            continue
        stage.history.count(f"left open: {row.state}")
        if row.key not in begun | orphans and row.key not in stage.disk.troubled:
            stage.history.breaks("only what began stands open", f"{row.key} ({row.tool}) {row.state}")
        if row.effect_key is not None:
            kept[row.tenant, row.effect_key].append(row.key)
    for place, keys in kept.items():
        if len(keys) > 1:
            stage.history.breaks("one open call for each key", f"{place}: {keys}")


def _authority(stage: Stage) -> None:
    """Nothing ran that a policy denied, or that a person was to allow and did not."""
    for answer in stage.told.answers:
        if answer.caller.principal == EVE and answer.result.status == "ok" and not answer.asked.tool.startswith("look"):
            stage.history.breaks("nothing is told to whom a policy denied it", answer.key)
    for visit in stage.world.visits:
        if visit.caller.principal == EVE and visit.kind != "read":
            stage.history.breaks("nothing denied runs", visit.call_key)
        if visit.amount == ASKED_FOR and visit.call_key not in stage.told.approved:
            stage.history.breaks("nothing runs without its approval", visit.call_key)


def _budgets(stage: Stage) -> None:
    """5. Never more handlers than the limits of the run. The run's lease keeps others out, if clocks agree."""
    if stage.plan.one_named_by_many:
        return
    ran: dict[str, list[Visit]] = defaultdict(list)
    for visit in stage.world.visits:
        if visit.kind != "read" or not visit.caller.process.dead:  # a read leaves no trace before its turn is over
            ran[visit.caller.run].append(visit)
    for run_id, visits in ran.items():
        limits = [visit.caller.limits for visit in visits]
        calls = {(visit.call_key, visit.tool) for visit in visits}
        _within(stage, run_id, calls, _most(one.calls for one in limits), _most(one.calls_per_tool for one in limits))


def _most(limits: Iterable[int | None]) -> int | None:
    """What all that work on one run are held to; handles of one run may have different limits."""
    found = list(limits)
    return None if None in found else max(one for one in found if one is not None)


def _within(stage: Stage, run_id: str, calls: set[tuple[str, str]], most: int | None, per_tool: int | None) -> None:
    if most is not None and len(calls) > most:
        stage.history.breaks("budgets are exact", f"{len(calls)} handlers in {run_id}, at most {most}")
    for name in sorted({tool for _, tool in calls}):
        count = sum(tool == name for _, tool in calls)
        if per_tool is not None and count > per_tool:
            stage.history.breaks("budgets are exact", f"{count} handlers of {name} in {run_id}, at most {per_tool}")


def _answered(stage: Stage, answer: Answer, row: CallRow | None) -> None:
    result, recorded = answer.result, "not_recorded" not in answer.result.flags
    writes = BY_TOOL[answer.asked.tool].kind not in ("read", "undeclared")
    if result.status == "ok":
        _right_content(stage, answer)
        if writes and recorded and not result.replayed:
            _not_lost(stage, answer, row)
    elif result.status == "unknown" and result.started and recorded:
        if row is None or row.state not in (*REACHED, "failed"):
            stage.history.breaks("an unknown outcome is in the ledger", f"{answer.key} is {row and row.state}")
    elif result.code == "EFFECT_CONFLICT":
        _conflicted(stage, answer)
    elif result.status in ("error", "denied", "cancelled", "pending"):
        _says_nothing_happened(stage, answer)


def _not_lost(stage: Stage, answer: Answer, row: CallRow | None) -> None:
    if row is None or row.state != "done" or (row.content or "") not in answer.result.content:
        stage.history.breaks("no result is lost", f"{answer.key}: {answer.result.content!r} but {row and row.state}")


def _right_content(stage: Stage, answer: Answer) -> None:
    """3. A result is that of the call's own effect, or of the first one of its key, with the very same arguments."""
    asked, content = answer.asked, answer.result.content
    wanted = f"{asked.tool} {asked.invoice} {asked.amount} #"
    start = content.find(wanted)
    if start < 0:
        stage.history.breaks("a result answers its own call", f"{answer.key}: {content!r} for {wanted}")
        return
    digits = content[start + len(wanted) :].partition('"')[0].split()[0]
    effect = stage.world.effects[int(digits)]
    effect_of, who = effect.visit, answer.caller
    there = effect_of.caller
    scope = effect_of.scope
    same_owner = {
        None: there.principal == who.principal,
        "tenant": True,
        "principal": there.principal == who.principal,
        "session": (there.session or there.run) == (who.session or who.run),
        "run": there.run == who.run,
    }[scope]
    if effect_of.kind != "idempotent" and (there.tenant != who.tenant or not same_owner):
        stage.history.breaks("a result stays within its scope", f"{answer.key}: {content!r}")


def _conflicted(stage: Stage, answer: Answer) -> None:
    """3c. A conflict has a cause: somebody claimed the same with another amount."""
    asked, tenant = answer.asked, answer.caller.tenant
    rows = [change.row for change in stage.disk.changes if change.kind == "claimed"]
    others = [row for row in rows if row.tool == asked.tool and row.tenant == tenant and row.arguments is not None]
    wanted = [json.loads(row.arguments or "{}") for row in others]
    if not any(one["invoice"] == asked.invoice and one["amount"] != asked.amount for one in wanted):
        stage.history.breaks("a conflict has a cause", f"{answer.key} {asked}")


def _says_nothing_happened(stage: Stage, answer: Answer) -> None:
    """4. Whoever is told that a call failed can rely on it, unless told that it may have happened."""
    if answer.asked.tool.startswith("look") or "may_have_happened" in answer.result.flags:
        return
    for effect in stage.world.effects:
        if effect.visit.call_key == answer.key and effect.visit.seq < answer.at:
            stage.history.breaks(
                "a failure that says nothing happened is true", f"{answer.key} {answer.result.code}: {effect.receipt}"
            )
