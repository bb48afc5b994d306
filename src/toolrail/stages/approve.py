"""approve: when the decision is Ask, a person says yes to exactly this call, or it does not run. No approver: no."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.codes import Code
from toolrail.decisions import Allow, Approval, ApprovalRequest, Ask, Pending, fault_of, needed
from toolrail.definition import Tool
from toolrail.events import ApprovalDecided, CallSuspended
from toolrail.identity import canonical
from toolrail.messages import ToolResult
from toolrail.ports import STORE_SECONDS, log
from toolrail.questions import binding_of, changes_between, pending_row, question_of, rebuilt
from toolrail.run import Job
from toolrail.stages.authorise import request_for
from toolrail.stages.person import answer_of
from toolrail.store import ApprovalRow, Op, RequestApproval, SaveRun, Settle, ask
from toolrail.wording import EDITS_UNFIT, NOBODY, NOT_APPROVED, SAID


async def approve(
    job: Job, tool: Tool[Any], arguments: Accepted, *, decision: Allow | Ask
) -> Accepted | ToolResult | None:
    """The arguments to go on with, rebuilt from what was approved; APPROVAL_REJECTED, APPROVAL_EXPIRED or
    APPROVAL_PENDING; or None: a person put other arguments in their place, and the call starts over with those."""
    if job.resumed is not None and job.resumed.question is not None:
        return _resumed(job, tool, arguments, decision, job.resumed.question)
    if isinstance(decision, Allow):
        return arguments
    given = canonical(arguments.effective)
    fresh = rebuilt(tool, given)
    if fresh is None:
        return _unfit(job, tool)
    row = question_of(job, tool, given, decision)
    if job.granted is not None:
        return await _granted(job, fresh, row, job.granted)
    if job.ports.approver is None:
        return await _unasked(job, row)
    answer = await answer_of(job, _request(job, tool, row), approver=job.ports.approver)
    return await _answered(job, tool, fresh, row, answer=answer)


def _request(job: Job, tool: Tool[Any], row: ApprovalRow) -> ApprovalRequest:
    asked = replace(request_for(job, tool, {}), arguments=json.loads(row.arguments))
    return ApprovalRequest(asked, row.reason, row.binding, row.four_eyes, row.needs, row.expires, row.approval)


async def _answered(
    job: Job, tool: Tool[Any], fresh: Accepted, row: ApprovalRow, *, answer: Any
) -> Accepted | ToolResult | None:
    match answer:
        case Approval(approved=True) if answer.digest in ("", row.binding):  # it was asked this one question
            edited = None if answer.arguments is None else canonical(answer.arguments)
            if edited is None or edited == row.arguments:
                return await _granted(job, fresh, row, answer)
            return _started_over(job, row, answer, edited)
        case Approval():
            _explain(job, row, answer)
            return await _rejected(job, row, answer)
        case Pending():
            return await _suspended(job, tool, row, fresh)
        case ToolResult():
            return answer
        case _:  # an approver of the user's: True is no approval of exactly this
            log.error("The approver returned a %s; the call is rejected.", type(answer).__name__)
            return await _rejected(job, row, Approval(False, "approver-error"))


def _explain(job: Job, row: ApprovalRow, answer: Approval) -> None:
    """Says why a yes does not count."""
    if answer.approved is True:
        log.error(
            "The approver's yes to %s does not count: its digest %r is that of another question, not %r. Mend: "
            "return Approval(True, who, request.digest).",
            job.call.name,
            answer.digest,
            row.binding,
        )
    elif answer.approved is not False:
        log.error(
            "The approver said Approval(%r) to %s, which is neither True nor False; the call is rejected.",
            answer.approved,
            job.call.name,
        )


async def _unasked(job: Job, row: ApprovalRow) -> ToolResult:
    log.warning("%s has to be approved, and the rail asks nobody. Mend: give Rail(approver=...).", job.call.name)
    return await _rejected(job, row, Approval(False, "nobody"), decided=NOBODY)


def unfit_edits(job: Job, fault: str) -> ToolResult:
    """The answer where the arguments that a person put in place of the model's do not fit: the model wrote none of
    them, so it has nothing to correct."""
    log.error(
        "%s was approved with changed arguments that do not fit, so it was not made (call %s): %s Mend: let the model "
        "call again, and a person decide again.",
        job.call.name,
        job.key,
        fault,
    )
    job.edited = ""  # nothing was made with them
    return _refused(job, None, decided=EDITS_UNFIT)


def _started_over(job: Job, row: ApprovalRow, answer: Approval, edited: str) -> None:
    """Other arguments are another call: it goes back to the beginning, where a policy may still deny it."""
    job.edited = changes_between(row.arguments, edited)
    job.call = replace(job.call, arguments=edited)
    job.granted = answer
    job.repeats = None


async def _granted(job: Job, fresh: Accepted, row: ApprovalRow, answer: Approval) -> Accepted | ToolResult:
    """In a store that tells of it later the approval stands before it is used, and `claim` uses it up."""
    principal = job.run.principal
    fault = fault_of(
        answer.approver,
        requester=principal.id,
        tenant=principal.tenant,
        four_eyes=row.four_eyes,
        needs=row.needs,
    )
    if fault is not None:
        log.warning("An approval of %s does not count: %s.", job.call.name, fault)
        return await _rejected(job, row, replace(answer, approved=False, message=None))
    if not await _kept(job, row, answer):
        return job.ports.refuse(job, Code.STORE_UNAVAILABLE)
    _decided(job, True, answer.name)
    return fresh


async def _rejected(job: Job, row: ApprovalRow, answer: Approval, *, decided: str = NOT_APPROVED) -> ToolResult:
    await _kept(job, row, answer)
    _decided(job, False, answer.name)
    return _refused(job, answer.message, decided=decided)


def _refused(job: Job, message: str | None, *, decided: str = NOT_APPROVED) -> ToolResult:
    said = SAID.format(message=_ended(message.strip())) if message and message.strip() else ""
    return job.ports.refuse(job, Code.APPROVAL_REJECTED, values={"decided": decided, "said": said})


def _ended(sentence: str) -> str:
    """With a full stop, where it has no end of its own: ours goes on behind it."""
    end = sentence.rstrip("\"')]")[-1:]
    return sentence if end in (".", "!", "?", "\u2026", "\u3002") else f"{sentence}."


async def _kept(job: Job, row: ApprovalRow, answer: Approval) -> bool:
    """Writes who decided what; whether that could be done."""
    if not job.ports.store.durable:
        return True
    state = "approved" if answer.approved is True else "rejected"
    words = None if answer.approved is True else answer.message
    wall = job.ports.clock.wall()
    row = replace(row, state=state, approver=answer.name, note=answer.note, edited=words, decided=wall)
    try:
        async with asyncio.timeout(STORE_SECONDS):
            known = await ask(job.ports.store, RequestApproval(row))
    except Exception:
        log.exception("The store could not keep an approval of %s.", job.call.name)
        return False
    job.approval = known.approval
    return True


async def _suspended(job: Job, tool: Tool[Any], row: ApprovalRow, fresh: Accepted) -> ToolResult | Accepted:
    """The call and the question about it are written in one transaction, before anyone hears that it waits."""
    ops: list[Op] = [RequestApproval(row), Settle(pending_row(job, tool, row.arguments))]
    if not job.run.stored:
        ops.append(SaveRun(job.run.row()))
    try:
        async with asyncio.timeout(STORE_SECONDS):
            known: ApprovalRow = (await job.ports.store.apply(*ops))[0]
    except Exception:
        log.exception("The store could not keep a question about %s; the call was not made.", job.call.name)
        return job.ports.refuse(job, Code.STORE_UNAVAILABLE)
    if known.state != "pending":  # the same turn is answered again, and it was decided meanwhile
        return _resumed(job, tool, fresh, Ask(row.reason), known)
    job.run.emit(lambda head: CallSuspended(head, job.ref(), row.binding))
    return job.ports.refuse(job, Code.APPROVAL_PENDING)


def _resumed(
    job: Job, tool: Tool[Any], arguments: Accepted, decision: Allow | Ask, question: ApprovalRow
) -> Accepted | ToolResult:
    """What the stored answer to the question means for this call now."""
    own = question.state == "used" and job.repeats is not None and job.repeats.key == job.key
    if question.state == "rejected":
        _decided(job, False, question.approver or "")
        return _refused(job, question.edited)
    if not own and (question.state == "used" or question.expired(job.ports.clock.wall())):
        return job.ports.refuse(job, Code.APPROVAL_EXPIRED)
    if binding_of(job, tool, question.arguments) != question.binding:
        return job.ports.refuse(job, Code.TOOL_CHANGED)
    if question.state == "pending":
        return job.ports.refuse(job, Code.APPROVAL_PENDING)
    given = canonical(arguments.effective)
    fresh = rebuilt(tool, given)
    if fresh is None or (question.edited is None and given != question.arguments):
        return _unfit(job, tool)
    if isinstance(decision, Ask) and not _covers(job, question, decision):
        log.warning("The approval of %s by %r does not do any more.", job.call.name, question.approver)
        return _refused(job, None)
    job.approval = None if own else question.approval
    _decided(job, True, question.approver or "")
    return fresh


def _covers(job: Job, question: ApprovalRow, decision: Ask) -> bool:
    """Whether the approver is one who may approve what the policy asks now; his permissions are not stored."""
    if decision.four_eyes and question.approver == job.run.principal.id:
        return False
    return set(needed(decision.needs)) <= set(needed(question.needs))


def _decided(job: Job, approved: bool, approver: str) -> None:
    job.run.emit(lambda head: ApprovalDecided(head, job.ref(), approved, approver))


def _unfit(job: Job, tool: Tool[Any]) -> ToolResult:
    """What would run is not what was, or would be, approved: its JSON read again is something else."""
    job.reference = job.ports.clock.new_id("err")[-12:]
    log.error(
        "Arguments of %s cannot be approved: their JSON read again gives others (reference %s). Mend: a validator must "
        "leave alone what it has made before.",
        tool.name,
        job.reference,
    )
    values = {"reference": job.reference}
    return job.ports.refuse(job, Code.INTERNAL_ERROR, values=values, extra=values)
