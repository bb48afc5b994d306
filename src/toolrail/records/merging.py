"""How what is new about a call, a run, a session or a fault changes its row. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from toolrail.codes import CODES, Code
from toolrail.events import RunEnded
from toolrail.records.projecting import CallFacts, RunFacts, written
from toolrail.records.redaction import masked
from toolrail.records.rollups import UNKNOWN, Sums, named, tokens

Row = tuple[Any, ...]

QUIET = 1800.0
"""Seconds without a failure after which the next one begins a new spell of it."""
REASON = 300
"""Characters of a decision's reason: a policy may quote what the model wrote."""
LOOKED_AT = 16_000
"""Of them, those that are searched for secrets."""
_ID = 128
"""Characters of a provider's id."""
_TOKENS: Final = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
CALL_COLUMNS: Final = (
    "tenant", "key", "run", "session", "principal", "turn", "idx", "call_id", "tool", "digest", "dependency",
    "wall", "mono", "seq", "settled_seq", "settled", "status", "code", "attempts", "argument_bytes", "result_bytes",
    "seconds", "handler_seconds", "flags", "replayed", "began", "reference", "decision", "rule", "reason",
    "decided_seq", "decided_mono", "effect", "effect_key", "claimed_seq", "claimed_mono", "later", "later_how",
)  # fmt: skip
RUN_COLUMNS: Final = (
    "tenant", "run", "session", "principal", "model", "started", "mono", "updated", "ended", "reason", "turns",
    "calls", "failed", "repeats", "pending", "unknown", "seconds", "offered", "limits", "trace", "events",
    "counted_calls", "counted_turns", "counted_seconds", *_TOKENS, "cost", "currency", "unpriced",
)  # fmt: skip
SESSION_COLUMNS: Final = (
    "tenant", "session", "principal", "started", "updated", "runs", "calls", "failed", "repeats", *_TOKENS, "cost",
    "currency", "unpriced",
)  # fmt: skip
FAULT_COLUMNS: Final = (
    "tool", "code", "digest", "dependency", "class", "since", "last", "calls", "tenant", "key", "error_type",
)  # fmt: skip
_AT = {name: at for at, name in enumerate(CALL_COLUMNS)}
STATUS: Final = _AT["status"]
_SETTLED_AT, _CODE, _BEGAN, _LATER = _AT["settled"], _AT["code"], _AT["began"], _AT["later"]
_IDENTITY, _SETTLED, _DECIDED, _CLAIMED = slice(8, 11), slice(14, 27), slice(27, 32), slice(32, 36)


@dataclass(frozen=True, slots=True)
class Change:
    """What is added to the counts of a run and of its session."""

    calls: int = 0
    failed: int = 0
    repeats: int = 0
    unknown: int = 0

    def __add__(self, other: Change) -> Change:
        return Change(
            self.calls + other.calls,
            self.failed + other.failed,
            self.repeats + other.repeats,
            self.unknown + other.unknown,
        )


NOTHING: Final = Change()


def change_of(before: Row | None, after: Row) -> Change:
    """What a call's row changes in its run. Almost every one is new and went well."""
    if before is None and after[_CODE] is None:
        return _ONE
    old = (0, 0, 0) if before is None else _counted(before)
    new = _counted(after)
    differences = (mine - theirs for mine, theirs in zip(new, old, strict=True))
    return Change(int(before is None), *differences)


_ONE: Final = Change(1)


def _counted(row: Row) -> tuple[int, int, int]:
    """Whether it failed, was refused as a repetition, and is unknown."""
    status = row[STATUS]
    unknown = status == "unknown" and bool(row[_BEGAN]) and row[_LATER] is None
    return int(status in ("error", "unknown")), int(row[_CODE] == Code.LOOP_DETECTED.value), int(unknown)


def merged_call(before: Row | None, facts: CallFacts) -> Row:
    """The row of a call."""
    settled, outcome = _settled_of(facts), facts.outcome
    later = (None, None) if outcome is None else (outcome.status, outcome.how)
    if before is None:
        return (*_begun(facts), *settled, *_decided_of(facts), *_claimed_of(facts), *later)
    identity = _named(facts) if facts.call.digest else before[_IDENTITY]
    newer = settled[1] is not None and (before[_SETTLED_AT] is None or settled[1] >= before[_SETTLED_AT])
    return (
        *before[:8],
        *identity,
        *before[11:14],
        *(settled if newer else before[_SETTLED]),
        *(before[_DECIDED] if facts.decided is None else _decided_of(facts)),
        *(before[_CLAIMED] if facts.claimed is None else _claimed_of(facts)),
        *(later if outcome is not None else before[_LATER:]),
    )


def _begun(facts: CallFacts) -> Row:
    head, call, settled = facts.head, facts.call, facts.settled
    wall, mono = head.wall, head.mono
    if facts.requested is None and settled is not None:  # its beginning was lost, or is another's
        wall, mono = settled.head.wall - settled.seconds, settled.head.mono - settled.seconds
    who = (head.tenant, call.key, head.run, head.session, head.principal, head.turn)
    return (*who, call.index, call.call_id[:_ID], *_named(facts), wall, mono, facts.seq)


def _named(facts: CallFacts) -> Row:
    call, settled = facts.call, facts.settled
    if not call.digest:
        return named(call.tool), "", ""
    return call.tool, call.digest, (settled.dependency if settled is not None else "") or call.tool


def _settled_of(facts: CallFacts) -> Row:
    one = facts.settled
    if one is None:
        size = 0 if facts.requested is None else facts.requested.argument_bytes
        return (None, None, None, None, 0, size, 0, None, None, "", 0, 0, None)
    code = None if one.code is None else one.code.value
    sizes = (one.attempts, one.argument_bytes, one.result_bytes, one.seconds, one.handler_seconds)
    flags = (",".join(one.flags), int(one.replayed), int(one.started), one.reference)
    return (facts.settled_seq, one.head.wall, one.status, code, *sizes, *flags)


def _decided_of(facts: CallFacts) -> Row:
    one = facts.decided
    if one is None:
        return (None, None, None, None, None)
    reason = masked(one.reason[:LOOKED_AT])[:REASON] if one.reason else ""  # cut first, a secret may lose its form
    return (one.decision, one.rule[:REASON], reason, facts.decided_seq, one.head.mono)


def _claimed_of(facts: CallFacts) -> Row:
    one = facts.claimed
    return (None, None, None, None) if one is None else (one.effect, one.effect_key, facts.claimed_seq, one.head.mono)


def merged_run(before: Row | None, facts: RunFacts, change: Change, sums: Sums, *, opened: float | None = None) -> Row:
    """The row of a run. One that ends is counted in the sums, with what of it was not counted before. `opened` is when
    the run was opened last, as far as others have told: of an earlier handle, what it says at last changes nothing."""
    row: dict[str, Any] = dict(zip(RUN_COLUMNS, before or _new_run(facts), strict=True))
    row["model"] = row["model"] or named(facts.model)
    row["updated"] = max(row["updated"], facts.updated)
    row["turns"] = max(row["turns"], facts.turn)
    row["events"] = max(row["events"], facts.seq)
    for name in ("calls", "failed", "repeats", "unknown"):
        row[name] += getattr(change, name)
    if facts.started is not None and facts.started.head.wall < row["started"]:
        row["started"], row["mono"] = facts.started.head.wall, facts.started.head.mono
    newest = not _outdated(facts, opened)
    if newest:
        _go_on(row, facts)
    if facts.ended is not None:
        _count(row, facts.ended, sums)
    elif facts.guest and before is None:  # a batch without a run: it is over with its calls
        row["reason"], row["ended"] = "batch", facts.updated
    elif facts.guest and row["reason"] == "batch":
        row["ended"] = facts.updated
    _spend(row, facts)
    return tuple(row.values())


def _outdated(facts: RunFacts, opened: float | None) -> bool:
    """Whether somebody else has opened the run again since: two processes do not write in the order of their work."""
    if opened is None:
        return False
    word = facts.suspended or facts.ended
    mine = facts.since if facts.since is not None or word is None else word.head.wall
    return mine is not None and mine < opened


def _go_on(row: dict[str, Any], facts: RunFacts) -> None:
    started, suspended, ended = facts.started, facts.suspended, facts.ended
    if started is not None:
        row["offered"], row["limits"] = written(started.offered), written(started.limits)
        row["ended"] = row["reason"] = None
        row["pending"] = 0
    if suspended is not None:
        row["pending"] = suspended.pending
        if not suspended.pending:  # its handle was closed before it came to an end; it may be opened again
            row["reason"], row["ended"] = "open", suspended.head.wall
    if ended is not None:
        row["ended"], row["reason"], row["seconds"], row["pending"] = ended.head.wall, ended.reason, ended.seconds, 0


def _new_run(facts: RunFacts) -> Row:
    head = facts.head
    who = (head.tenant, head.run, head.session, head.principal, "", head.wall, head.mono, head.wall, None, None)
    return (*who, 0, 0, 0, 0, 0, 0, 0.0, "[]", "{}", head.trace, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0.0, "USD", 0)


def _count(row: dict[str, Any], ended: RunEnded, sums: Sums) -> None:
    row["turns"] = max(row["turns"], ended.turns)
    calls = max(0, ended.calls - row["counted_calls"])
    turns = max(0, ended.turns - row["counted_turns"])
    sums.run(ended, calls=calls, turns=turns, seconds=max(0.0, ended.seconds - row["counted_seconds"]))
    row["counted_calls"] = max(row["counted_calls"], ended.calls)
    row["counted_turns"] = max(row["counted_turns"], ended.turns)
    row["counted_seconds"] = max(row["counted_seconds"], ended.seconds)


def _spend(row: dict[str, Any], facts: RunFacts) -> None:
    """Money in a second currency cannot be added to the first: it counts as unknown there."""
    for name, count in zip(_TOKENS, tokens(facts.usage), strict=True):
        row[name] += count
    row["unpriced"] += facts.unpriced
    for currency, cost in facts.costs.items():
        if row["cost"] == 0.0 or row["currency"] == currency:
            row["currency"] = currency
            row["cost"] += cost
        else:
            row["unpriced"] += 1


def merged_session(before: Row | None, facts: RunFacts, change: Change, *, new_run: bool) -> Row:
    """The row of a session, with what is new about one of its runs."""
    head = facts.head
    fresh = (head.tenant, head.session, head.principal, head.wall, head.wall, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, "USD", 0)
    row: dict[str, Any] = dict(zip(SESSION_COLUMNS, before or fresh, strict=True))
    row["updated"] = max(row["updated"], facts.updated)
    row["runs"] += new_run
    for name in ("calls", "failed", "repeats"):
        row[name] += getattr(change, name)
    _spend(row, facts)
    return tuple(row.values())


def merged_fault(before: Row | None, facts: CallFacts) -> Row:
    """The row of a fault, with one more call that failed so. After half an hour of quiet it begins anew."""
    settled, call = facts.settled, facts.call
    assert settled is not None
    assert settled.code is not None
    wall, tool = settled.head.wall, call.tool if call.digest else UNKNOWN
    group = CODES[settled.code].alert
    since, calls, error = wall, 1, facts.error_type
    if before is not None:
        if wall - before[6] < QUIET:
            since, calls = min(before[5], wall), before[7] + 1
        error = error or before[10]
        if wall < before[6]:  # another process was later, and wrote earlier
            return (*before[:5], since, before[6], calls, *before[8:])
    place = (tool, settled.code.value, call.digest, settled.dependency, group)
    return (*place, since, wall, calls, settled.head.tenant, call.key, error)
