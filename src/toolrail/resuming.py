"""Resuming: the calls that waited go through the spine again, and their results take their placeholders' place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from toolrail.approvals import decide
from toolrail.batch import Batch, settle_jobs
from toolrail.codes import Code
from toolrail.decisions import Approval, Principal
from toolrail.errors import ApprovalError, RunError, RunNotFound
from toolrail.history.placing import is_result, place
from toolrail.identity import row_for
from toolrail.messages import Message, ToolCall, ToolResult
from toolrail.opening import WAITS, saved
from toolrail.ports import STORE_SECONDS, Ports, log
from toolrail.questions import changes_between
from toolrail.run import Job, Resumed, Run, RunState
from toolrail.stages.recall import replayed_as
from toolrail.stages.settle import settled_row
from toolrail.store import (
    ApprovalRow,
    CallRow,
    CallsOf,
    CallState,
    FindApproval,
    ListApprovals,
    LoadRun,
    Op,
    Settle,
    ask,
)
from toolrail.wording import MOVED_OFF, MOVED_ON, WORDING, refusal

Answers = Mapping[str, bool | Approval]
"""Decisions by the id of their approval. True and False are those of whoever resumes the run."""

_WAITING: tuple[CallState, ...] = ("planned", "pending")
_BACK = frozenset(
    {Code.STORE_UNAVAILABLE, Code.RATE_LIMITED, Code.CIRCUIT_OPEN, Code.TIMEOUT, Code.CANCELLED, Code.SHUTTING_DOWN}
)
"""Why a call that was approved could not begin now: it goes on waiting, so that the approval is not lost."""
_ALL = 10_000


class Results(Protocol):
    """What of a codec resuming needs."""

    def results(self, results: Sequence[ToolResult], /) -> list[Message]: ...
    def user(self, text: str, /) -> Message: ...


@dataclass(frozen=True, slots=True)
class PendingCall:
    """One call that waits."""

    call_key: str
    """By which `rail.settle` finds it, where it waits for another system."""
    call_id: str
    """The provider's."""
    tool: str
    code: Code
    """`APPROVAL_PENDING` or `WAITING`."""
    arguments: str | None
    """Effective, canonical JSON."""
    arguments_digest: str | None
    approval: str = ""
    """Id of the question to a person; empty where none is asked."""
    reason: str = ""
    """Why that person is asked."""
    expires: float | None = None
    """Wall time after which it is too late."""


async def pending_of(run: Run[Any]) -> tuple[PendingCall, ...]:
    """The calls that a suspended run waits for."""
    if not run.state.pending:
        return ()
    rows, questions = await _stored(run)
    return tuple(_pending(rows[key], questions.get(key)) for key in run.state.pending if key in rows)


def _pending(row: CallRow, question: ApprovalRow | None) -> PendingCall:
    code = row.code or Code.WAITING
    found = PendingCall(row.key, row.call_id, row.tool, code, row.arguments, row.arguments_digest)
    if question is None or code is not Code.APPROVAL_PENDING:
        return found
    return replace(found, approval=question.approval, reason=question.reason, expires=question.expires)


async def suspended(ports: Ports, run_id: str, principal: Principal) -> RunState:
    """The state of a run that waits.

    Raises:
        RunNotFound: there is none of this principal.
        RunError: it does not wait for anything.
    """
    row = await ask(ports.store, LoadRun(principal.tenant, run_id))
    if row is None or row.principal != principal.id:
        raise RunNotFound(f"There is no run {run_id!r}.")
    state = RunState.from_json(row.state)
    _check_suspended(state)
    return state


def _check_suspended(state: RunState) -> None:
    if not state.pending:
        how = (
            "is still under way, or its process has died"
            if state.stop_reason is None
            else f"has ended: {state.stop_reason}"
        )
        raise RunError(f"Run {state.run_id!r} waits for nothing; it {how}.")


async def resume_turn(run: Run[Any], codec: Results, *, approvals: Answers | None = None) -> Batch:
    """Goes on with the calls that wait, as far as they are decided or settled, and puts their results in place.

    Those decided pass all stages again, under their old call keys; siblings that ran do not. What is still undecided
    goes on waiting, and so does what could not begin now.

    Raises:
        RunError: nothing waits.
        ApprovalError: a decision cannot be taken; then none of the calls has run.
    """
    _check_suspended(run.state)
    run.attachments.pop(WAITS, None)
    await _decide(run, approvals or {})
    rows, questions = await _stored(run)
    _keep_positions(run, rows)
    results: dict[str, ToolResult] = {}
    jobs: list[Job] = []
    for key in run.state.pending:
        row = rows.get(key)
        if row is None:
            results[key] = _lost(run, key)
        elif _under_way(run, row):
            continue
        elif (ended := _ended(run, row)) is not None:
            results[key] = ended
        elif _ready(run, row, questions.get(key)):
            jobs.append(_job(run, row, questions.get(key)))
    batch = await settle_jobs(run, jobs) if jobs else Batch([], None)
    results |= {job.key: one for job, one in zip(jobs, batch.results, strict=True) if not _held_back(job, one)}
    in_order = [results[key] for key in run.state.pending if key in results]
    interrupt = await _write(run, codec, results, jobs=jobs)
    return Batch(in_order, batch.interrupt or interrupt)


async def _decide(run: Run[Any], approvals: Answers) -> None:
    for approval in approvals:
        row = await ask(run.ports.store, FindApproval(run.state.tenant, approval))
        if row is None or row.run != run.id:
            raise ApprovalError(f"There is no approval {approval!r} in run {run.id!r}.")
    for approval, answer in approvals.items():
        said = answer.approved if isinstance(answer, Approval) else answer
        if not isinstance(said, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ApprovalError(
                f"The decision on {approval!r} is True, False or an Approval, and not {said!r}. Nothing was decided."
            )
    for approval, answer in approvals.items():
        given = answer if isinstance(answer, Approval) else Approval(answer, run.principal)
        await decide(run.ports, run.offered.get, approval, given, tenant=run.state.tenant)


async def _stored(run: Run[Any]) -> tuple[dict[str, CallRow], dict[str, ApprovalRow]]:
    """The run's calls and the newest question about each, by call key."""
    calls, questions = CallsOf(run.state.tenant, run.id), ListApprovals(run.state.tenant, run.id, None, _ALL)
    found = await run.ports.store.apply(calls, questions)
    return {row.key: row for row in found[0]}, {row.key: row for row in found[1]}


def _under_way(run: Run[Any], row: CallRow) -> bool:
    """Whether somebody else will say how it ends: another system, the call that repeats it, or a process that was at
    work on it and whose lease has not lapsed yet."""
    live = row.state == "started" and (row.lease_until is None or run.ports.clock.wall() <= row.lease_until)
    return live or row.state in ("waiting", "repeated")


def _ended(run: Run[Any], row: CallRow) -> ToolResult | None:
    """The result of a call that has ended meanwhile, or that an earlier process began and lost."""
    call = ToolCall(row.call_id, row.tool, "")
    if row.state in ("done", "failed"):
        found = replayed_as(call, row)
        if found.content or row.state == "done":
            return replace(found, replayed=False, started=True)
        return replace(found, status="error", content=refusal(_NOTHING, row.code or Code.TOOL_ERROR))
    tool = run.offered.get(row.tool)
    if row.state in ("started", "unknown") and (tool is None or not tool.effect.holds_key):
        code = Code.CANCELLED if row.effect == "read" else Code.OUTCOME_UNKNOWN
        status = "cancelled" if row.effect == "read" else "unknown"
        return ToolResult(call.id, call.name, status, refusal(_text(code, row.tool), code), code=code, started=True)
    return None


_NOTHING = "It did not take place."


def _text(code: Code, tool: str) -> str:
    return WORDING[code].format(tool=tool)


def _lost(run: Run[Any], key: str) -> ToolResult:
    log.error("The store of run %s has lost call %s.", run.id, key)
    code = Code.OUTCOME_UNKNOWN
    return ToolResult("", "", "unknown", refusal(_text(code, "the call"), code), code=code)


def _ready(run: Run[Any], row: CallRow, question: ApprovalRow | None) -> bool:
    """Whether it may go on: it is decided, or too late; or it met another's call, which may have ended meanwhile."""
    if row.state not in _WAITING or row.code is Code.WAITING or question is None:
        return True
    return question.state != "pending" or question.expired(run.ports.clock.wall())


def _job(run: Run[Any], row: CallRow, question: ApprovalRow | None) -> Job:
    """The call with its effective arguments, or those that the approver put in their place."""
    arguments, edited = row.arguments or "{}", ""
    if question is not None and question.state in ("approved", "used"):
        arguments = question.edited or question.arguments
        edited = changes_between(question.arguments, question.edited) if question.edited else ""
    job = Job(run.ports, run, ToolCall(row.call_id, row.tool, arguments), row.index, row.key, run.now())
    job.resumed, job.edited = Resumed(row, question), edited
    return job


def _held_back(job: Job, result: ToolResult) -> bool:
    if result.code is Code.APPROVAL_PENDING or (result.code is Code.WAITING and not result.started):
        return True
    return job.claimed is None and not result.started and result.code in _BACK


async def _write(
    run: Run[Any], codec: Results, results: Mapping[str, ToolResult], *, jobs: Sequence[Job]
) -> BaseException | None:
    """The results into the messages, and both into the store, in one transaction; answers what came meanwhile."""
    state = run.state
    moved_on = bool(run.messages) and not is_result(run.messages[-1])
    ended: list[str] = []
    unplaced: list[ToolResult] = []
    for key, result in results.items():
        placed = _place(run, codec, key, result)
        if result.status != "pending":
            ended.extend([result.name] if placed else [])
            unplaced.extend([] if placed else [result])
    if moved_on and ended:
        run.messages.append(codec.user(MOVED_ON.format(tools=", ".join(dict.fromkeys(ended)))))
    _tell(run, codec, unplaced)
    state.pending = tuple(key for key in state.pending if key not in results or results[key].status == "pending")
    state.stop_reason = "pending" if state.pending else None
    refused = [job for job in jobs if job.claimed is None and job.key in results]
    rows = [settled_row(job, row_for(job, job.tool), results[job.key]) for job in refused]
    ops: list[Op] = [*(Settle(row, _WAITING) for row in rows if row.state != "waiting"), *saved(run)]
    task = run.ports.own(run.ports.store.apply(*ops))
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await asyncio.shield(task)
    except asyncio.CancelledError as interrupt:
        return interrupt
    except Exception:
        # The outcomes of what ran are written; whoever resumes again finds them there.
        log.exception("The store could not save run %s.", run.id)
    return None


def _tell(run: Run[Any], codec: Results, unplaced: Sequence[ToolResult]) -> None:
    """The results of calls that nothing in the messages answers any more, for what was done must not be lost."""
    if not unplaced:
        return
    for result in unplaced:
        log.warning(
            "Run %s: nothing in its messages answers call %s of %s any more, so its result was added as a message at "
            "their end. Mend: resume with the messages that the run was suspended with.",
            run.id,
            result.call_id,
            result.name,
        )
    said = [MOVED_OFF.format(tool=one.name or "a tool", content=one.content) for one in unplaced]
    run.messages.append(codec.user("\n\n".join(said)))


def _place(run: Run[Any], codec: Results, key: str, result: ToolResult) -> bool:
    """Whether something answered the call, and its result stands there now."""
    try:
        answers = codec.results([result])
    except Exception:
        log.exception("A result could not be rendered with its media; its text is sent alone.")
        answers = codec.results([replace(result, media=())])
    position = _position(key)
    at = 0 if position is None else max(0, position - run.state.shift)
    placed = [place(run.messages, answer, at=at) for answer in answers]
    return all(placed)


def _position(key: str) -> int | None:
    """Where the turn of a call stands in the messages; None for a batch beside the turns."""
    place = key.rsplit(":", 2)[-2].partition("-")[0]
    return int(place) if place.isdigit() else None


def _keep_positions(run: Run[Any], rows: Iterable[str]) -> None:
    """A history that was cut off at the front must not give a turn the position of an earlier one of this run."""
    answered = [int(place) for place in run.state.answered if place.isdigit()]
    known = [*answered, *(place for key in rows if (place := _position(key)) is not None)]
    run.state.shift = max(run.state.shift, max(known, default=-1) + 1 - len(run.messages))
