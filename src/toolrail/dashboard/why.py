"""Why a call ended as it did: what the record says of each stage on its way, and what it does not say.

The record has events, not a trace of the stages: what was passed follows from how far the call came. Where several
stages can give a code and nothing tells them apart, this says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from toolrail.codes import CODES, Code
from toolrail.records.meanings import MEANINGS
from toolrail.records.views import AttemptLine, CallLine, Moment

Stage = Literal[
    "find", "validate", "ground", "authorise", "recall", "approve", "admit", "claim", "execute", "encode", "settle"
]
STAGES: tuple[Stage, ...] = (
    "find",
    "validate",
    "ground",
    "authorise",
    "recall",
    "approve",
    "admit",
    "claim",
    "execute",
    "encode",
    "settle",
)
State = Literal["passed", "here", "maybe", "answered", "waits", "skipped", "unreached", "open", "unrecorded"]
"""`here`: it ended there without success; `maybe`: it may have been here; `answered`: an earlier result was given;
`skipped`: not needed for this call; `unreached`: it never came so far; `unrecorded`: the record does not say."""

PURPOSE: Mapping[Stage, str] = {
    "find": "Is it a tool on offer to this principal?",
    "validate": "Do the arguments fit the schema?",
    "ground": "Did somebody say the arguments, or did the model make them up?",
    "authorise": "May this principal do it? Permissions, then policies.",
    "recall": "Was the same effect done before, or is it under way?",
    "approve": "Has a person said yes, where that is needed?",
    "admit": "Limits, loops, rates, places, and the circuit of its dependency.",
    "claim": "Its start is written down, so that a crash leaves no silence.",
    "execute": "The tool's own code, with its attempts and its deadline.",
    "encode": "The result becomes text that the model can read.",
    "settle": "One result goes to the model, one row to the record.",
}

_ENDS: Mapping[Code, tuple[Stage, ...]] = {
    Code.UNKNOWN_TOOL: ("find",),
    Code.TRUNCATED: ("find",),
    Code.INVALID_ARGUMENTS: ("validate",),
    Code.UNGROUNDED: ("ground",),
    Code.NOT_AUTHORISED: ("authorise",),
    Code.EFFECT_CONFLICT: ("recall",),
    Code.APPROVAL_REJECTED: ("approve",),
    Code.APPROVAL_EXPIRED: ("approve", "claim"),
    Code.APPROVAL_PENDING: ("approve",),
    Code.TOOL_CHANGED: ("find", "approve"),
    Code.RATE_LIMITED: ("admit",),
    Code.CIRCUIT_OPEN: ("admit",),
    Code.LIMIT_REACHED: ("admit",),
    Code.LOOP_DETECTED: ("admit",),
    Code.SHUTTING_DOWN: ("approve", "admit", "claim"),
    Code.STORE_UNAVAILABLE: ("recall", "approve", "claim"),
    Code.TIMEOUT: ("recall", "admit"),
    Code.OUTCOME_UNKNOWN: ("recall",),
    Code.WAITING: ("recall",),
}
"""Where a call ends that has a code and never began."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the way of one call."""

    stage: Stage
    state: State
    said: str
    """What the record says of it, in a sentence."""
    facts: tuple[tuple[str, str], ...] = ()
    """Names and values. Some come from outside."""


@dataclass(frozen=True, slots=True)
class Why:
    """The answer to `why`."""

    headline: str
    steps: tuple[Step, ...]
    next: tuple[str, ...]
    """What to do, as sentences."""
    commands: tuple[str, ...]
    """What to type after `toolrail`."""


def why(call: CallLine, attempts: Sequence[AttemptLine] = (), moments: Sequence[Moment] = ()) -> Why:
    """All that is known of one call; `moments` are those of its run that concern it or come before its end."""
    own = tuple(one for one in moments if one.key == call.key)
    reached = _reached(call, attempts, own)
    ends = _ends(call, attempts, own)
    steps = tuple(_step(stage, call, reached=reached, ends=ends, told=_Told(tuple(attempts), own)) for stage in STAGES)
    return Why(_headline(call, ends), steps, _next(call, attempts), _commands(call))


@dataclass(frozen=True, slots=True)
class _Told:
    attempts: tuple[AttemptLine, ...]
    moments: tuple[Moment, ...]

    def last(self, kind: str) -> Moment | None:
        return next((one for one in reversed(self.moments) if one.kind == kind), None)


def _code(call: CallLine) -> Code | None:
    return Code(call.code) if call.code in Code.__members__ else None


def _reached(call: CallLine, attempts: Sequence[AttemptLine], moments: Sequence[Moment]) -> int:
    """The number of the last stage that an event proves the call came to."""
    if call.attempts or attempts or call.began:
        return STAGES.index("execute")
    if call.claimed_seq is not None:
        return STAGES.index("claim") + 1
    if any(one.kind in ("CallSuspended", "ApprovalDecided") for one in moments):
        return STAGES.index("approve")
    if call.decision is not None:
        return STAGES.index("authorise")
    return STAGES.index("validate") if call.digest and _code(call) is not Code.TOOL_CHANGED else 0


def _ends(call: CallLine, attempts: Sequence[AttemptLine], moments: Sequence[Moment]) -> tuple[Stage, ...]:
    """The stages at one of which it ended; empty while it is under way, and for a success that ran."""
    code = _code(call)
    if call.status is None or (call.status == "ok" and not call.replayed):
        return ()
    if call.replayed:
        return ("recall",)
    if call.attempts or call.began or attempts:
        return ("execute", "encode") if code is Code.INTERNAL_ERROR else ("execute",)
    if code is Code.NOT_AUTHORISED and call.decision != "deny":
        return ("find",) if not call.digest else ("authorise",)
    if code is Code.LIMIT_REACHED and not call.digest:
        return ("find",)
    known = _ENDS.get(code) if code is not None else None
    low = _reached(call, attempts, moments)
    found = known or STAGES[low : STAGES.index("execute")]
    return tuple(stage for stage in found if STAGES.index(stage) >= low) or found[-1:]


def _step(stage: Stage, call: CallLine, *, reached: int, ends: tuple[Stage, ...], told: _Told) -> Step:
    at = STAGES.index(stage)
    if ends:
        first, last = STAGES.index(ends[0]), STAGES.index(ends[-1])
        if stage in ends:
            return _ended(stage, call, told, sure=len(ends) == 1)
        if stage == "settle":
            return _settled(call)
        if at > last:
            return Step(stage, "unreached", "It did not come so far.")
        if at > first and at > reached:
            return Step(stage, "unrecorded", "The record does not say whether it came so far.")
        return _passed(stage, call, told)
    if call.status is None:
        return _open(stage, call, at, reached, told)
    return _settled(call) if stage == "settle" else _passed(stage, call, told)


def _open(stage: Stage, call: CallLine, at: int, reached: int, told: _Told) -> Step:
    if at < reached:
        return _passed(stage, call, told)
    if at > reached:
        return Step(stage, "unreached", "Not yet, as far as the record says.")
    said = "It came at least so far, and no result is recorded: it is under way, or its process died."
    return Step(stage, "open", said, _facts(stage, call, told))


def _ended(stage: Stage, call: CallLine, told: _Told, *, sure: bool) -> Step:
    """The stage at which it ended, or may have ended."""
    code, meaning = call.code or call.status or "", _meaning(call)
    if call.replayed:
        said = "The same effect was done before: its result was given again, and nothing ran."
        return Step(stage, "answered", said, _facts(stage, call, told))
    facts = (("code", code), *_facts(stage, call, told))
    if call.status == "pending":
        return Step(stage, "waits", f"It waits here: {meaning}.", facts)
    if not sure:
        return Step(stage, "maybe", f"It ended here or at another stage with this mark: {meaning}.", facts)
    verb = "Refused here" if not (call.began or call.attempts) else "It ended here"
    return Step(stage, "here", f"{verb}: {meaning}.", facts)


def _passed(stage: Stage, call: CallLine, told: _Told) -> Step:
    facts = _facts(stage, call, told)
    match stage:
        case "ground":
            return Step(stage, "passed", "Nothing stood in its way; whether any argument is checked is not recorded.")
        case "authorise" if call.decision is None:
            return Step(stage, "passed", "Its permissions sufficed, and no policy was there to ask.")
        case "authorise":
            words = {"allow": "A policy allowed it.", "ask": "A policy wants a person to be asked."}
            return Step(stage, "passed", words.get(call.decision or "", "It was decided."), facts)
        case "recall":
            said = "No earlier result stood in its way." if call.effect != "read" else "A read has no effect to recall."
            return Step(stage, "passed" if call.effect != "read" else "skipped", said)
        case "approve":
            return _approved(call, told, facts)
        case "claim" if call.claimed_seq is None:
            said = "Not needed: nothing is written before a read, nor in memory for a call without a key."
            return Step(stage, "skipped", said)
        case "claim":
            return Step(stage, "passed", "Its start was written before its code ran.", facts)
        case "encode" if "preview" in call.flags:
            said = "It was too long to be given to the model at once: it got a preview. Let the tool return less."
            return Step(stage, "passed", said, facts)
        case "execute" if call.later is not None:
            return Step(stage, "passed", "It ran.", facts)
        case _:
            return Step(stage, "passed", _DONE[stage], facts)


_DONE: Mapping[Stage, str] = {
    "find": "It was offered.",
    "validate": "They fit.",
    "admit": "It was let in.",
    "execute": "It ran to its end.",
    "encode": "It was encoded.",
}


def _approved(call: CallLine, told: _Told, facts: tuple[tuple[str, str], ...]) -> Step:
    decided = told.last("ApprovalDecided")
    if decided is not None:
        return Step("approve", "passed", "A person said yes to exactly this call.", facts)
    if call.decision == "ask":
        return Step("approve", "unrecorded", "Somebody had to be asked; the answer is not in this record.")
    return Step("approve", "skipped", "Nobody had to be asked.")


def _settled(call: CallLine) -> Step:
    facts: list[tuple[str, str]] = [("flags", ", ".join(call.flags))] if call.flags else []
    if call.reference:
        facts.append(("reference in the log", call.reference))
    if call.later:
        how = {"late": "its handler returned too late", "verify": "the other side was asked", "hand": "by a person"}
        facts.append(("known since", f"{call.later} ({how.get(call.later_how or '', call.later_how or '')})"))
    if "not_recorded" in call.flags:
        return Step("settle", "passed", "The model was answered, but the store could not write it down.", tuple(facts))
    return Step("settle", "passed", f"The model was answered: {call.code or call.status}.", tuple(facts))


def _facts(stage: Stage, call: CallLine, told: _Told) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str | None]] = []
    if stage == "find":
        found = [("tool", call.tool), ("version", call.digest[:12])]
    elif stage == "validate":
        found = [("arguments", f"{call.argument_bytes:,} bytes")]
    elif stage == "authorise":
        found = [("principal", call.principal), ("rule", call.rule), ("reason", call.reason)]
    elif stage == "approve":
        decided = told.last("ApprovalDecided")
        found = [("decided by", str(decided.data.get("approver", "")) if decided else None)]
    elif stage == "admit":
        found = [("dependency", call.dependency)]
    elif stage == "claim":
        found = [("effect", call.effect), ("effect key", call.effect_key)]
    elif stage == "execute":
        found = [("attempts", str(call.attempts or len(told.attempts) or ""))]
        if call.handler_seconds is not None:
            found.append(("in its code", f"{call.handler_seconds:.3f} s, back-off included"))
        found += [(f"attempt {one.attempt}", _attempt(one)) for one in told.attempts]
    elif stage == "encode":
        found = [("result", f"{call.result_bytes:,} bytes")]
    return tuple((name, value) for name, value in found if value)


def _attempt(one: AttemptLine) -> str:
    how = "returned" if one.failure is None else " ".join(word for word in (one.failure, one.error_type) if word)
    after = f"; then waited {one.wait:.3f} s" if one.wait is not None else ""
    return f"{how} after {one.seconds:.3f} s{after}"


def _meaning(call: CallLine) -> str:
    code = _code(call)
    if code is None:
        return call.status or "no result"
    if code is Code.NOT_AUTHORISED and (call.began or call.attempts):
        return "the tool's own code says that this principal may not"
    return MEANINGS[code]


def _headline(call: CallLine, ends: tuple[Stage, ...]) -> str:
    if call.status is None:
        return "No result is recorded: it is under way, or its process died."
    if call.replayed:
        return "Nothing ran: the result of the same, earlier effect was given again."
    if not ends:
        tries = "" if call.attempts < 2 else f" at attempt {call.attempts}"
        return f"It succeeded{tries}."
    where = ends[0] if len(ends) == 1 else " or ".join(ends)
    verb = "Waits" if call.status == "pending" else "Ended" if call.began or call.attempts else "Refused"
    rule = f" by rule {call.rule!r}" if ends == ("authorise",) and call.rule else ""
    return f"{verb} at {where}{rule}: {_meaning(call)}."


_NEXT: Mapping[Code, str] = {
    Code.UNKNOWN_TOOL: "Look at the name: the model invented it, or the tool is not offered to this principal.",
    Code.INVALID_ARGUMENTS: "Look at the arguments. If models often get them wrong, say more in the tool's "
    "description, its parameters' descriptions and its schema.",
    Code.TRUNCATED: "The model's response hit its token limit: raise ModelSettings.max_tokens.",
    Code.UNGROUNDED: "The model made a value up: let it ask the user.",
    Code.NOT_AUTHORISED: "If this principal should be allowed, give the permission, or change the policy's rule.",
    Code.APPROVAL_REJECTED: "A person said no, or nobody was there to ask: see Rail(approver=...).",
    Code.APPROVAL_EXPIRED: "Ask again, or give people more time.",
    Code.APPROVAL_PENDING: "Decide it; its run goes on when the application resumes it.",
    Code.WAITING: "The other system has to say how it ended; if it never will, a person can.",
    Code.TOOL_ERROR: "Read the result: that is what the tool said to the model.",
    Code.MAX_RETRIES: "Look at its dependency, {dependency}: each attempt failed.",
    Code.TIMEOUT: "Look at its dependency, {dependency}, or give the tool a longer timeout.",
    Code.OUTCOME_UNKNOWN: "Ask the other side, {dependency}, what became of it, then settle it.",
    Code.STORE_UNAVAILABLE: "Look at the store: calls that it cannot record are not made.",
    Code.EFFECT_CONFLICT: "An earlier call has the same effect key and other arguments: look at that one.",
    Code.RATE_LIMITED: "Fewer calls at once, or a higher rate: CallLimits(rate=...).",
    Code.CIRCUIT_OPEN: "Look at its dependency, {dependency}: too many of its calls failed before this one.",
    Code.LIMIT_REACHED: "See the run's limits; if they are too tight, raise RunLimits.",
    Code.LOOP_DETECTED: "The model asked for the same again and again: look at the results before this one.",
    Code.SHUTTING_DOWN: "Nothing to do: the process was ending.",
    Code.TOOL_CHANGED: "The tool has changed since the call was asked for: let the model call again.",
    Code.INTERNAL_ERROR: "Search the log for the reference: the traceback is there.",
}


def _next(call: CallLine, attempts: Sequence[AttemptLine]) -> tuple[str, ...]:
    code = _code(call)
    if call.status is None:
        return ("If its process is gone, nobody will answer it: look whether it took effect.",)
    if code is None or (call.later is not None and call.status == "unknown"):
        return ()
    found = [_NEXT[code].format(dependency=repr(call.dependency))] if code in _NEXT else []
    errors = list(dict.fromkeys(one.error_type for one in attempts if one.error_type))
    if errors and code is not Code.TOOL_ERROR:
        found.append(f"Its code raised {', '.join(errors)}: see the attempts below.")
    if code is Code.OUTCOME_UNKNOWN and not (call.began or call.attempts):
        found = ["An earlier call has the same effect, and nobody knows how that one ended: settle it first."]
    if "may_have_happened" in call.flags:
        found.append("It may have taken effect all the same: look at the other side before anybody repeats it.")
    if CODES[code].model != "-":
        found.append(f"The model was told, in short: {CODES[code].model}.")
    return tuple(found)


def _commands(call: CallLine) -> tuple[str, ...]:
    key, run = shlex.quote(call.key), shlex.quote(call.run)
    if call.status == "unknown" and not (call.began or call.attempts):
        return ("effects list",)
    if call.status == "unknown" and call.later is None:
        settle = f"effects settle {key} --by NAME"
        return (f"effects show {key}", f"{settle} --happened", f"{settle} --did-not-happen")
    if call.status is None and call.claimed_seq is not None:
        return (f"effects show {key}",)
    if call.code == Code.APPROVAL_PENDING:
        return (f"approvals list --run {run}",)
    if call.code == Code.WAITING:
        return (f"effects show {key}",)
    return ()
