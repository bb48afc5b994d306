"""approve: when the decision is Ask, a person says yes to exactly this call, or it does not run. No approver: no."""

from __future__ import annotations

import inspect
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.codes import Code
from toolrail.decisions import Allow, Approval, ApprovalRequest, Ask, Pending
from toolrail.definition import Tool
from toolrail.events import ApprovalDecided, CallSuspended
from toolrail.messages import ToolResult
from toolrail.ports import log
from toolrail.run import Job
from toolrail.stages.authorise import request_for
from toolrail.stages.recall import digest_of


async def approve(job: Job, tool: Tool[Any], arguments: Accepted, *, decision: Allow | Ask) -> ToolResult | None:
    """None when the call may go on, else APPROVAL_REJECTED or APPROVAL_PENDING."""
    if isinstance(decision, Allow):
        return None
    request = ApprovalRequest(request_for(job, tool, arguments.values), decision.reason, _binding(job, tool, arguments))
    answer = await _ask(job, request)
    match answer:
        case Approval(approved=True, digest=digest) if digest == request.digest:
            job.run.emit(lambda head: ApprovalDecided(head, job.ref(), True, answer.approver))
            return None
        case Approval():
            job.run.emit(lambda head: ApprovalDecided(head, job.ref(), False, answer.approver))
            return job.ports.refuse(job, Code.APPROVAL_REJECTED)
        case Pending():
            job.run.emit(lambda head: CallSuspended(head, job.ref(), request.digest))
            return job.ports.refuse(job, Code.APPROVAL_PENDING)
        case _:  # an approver of the user's: True is no approval of exactly this
            log.error("The approver returned a %s; the call is rejected.", type(answer).__name__)
            job.run.emit(lambda head: ApprovalDecided(head, job.ref(), False, "approver-error"))
            return job.ports.refuse(job, Code.APPROVAL_REJECTED)


def _binding(job: Job, tool: Tool[Any], arguments: Accepted) -> str:
    """What an approval is bound to: tenant, principal, run, call, tool with its schema, and the effective arguments."""
    run = job.run
    return digest_of([run.state.tenant, run.principal.id, run.id, job.key, tool.name, tool.digest, arguments.effective])


async def _ask(job: Job, request: ApprovalRequest) -> Any:
    approver = job.ports.approver
    if approver is None:
        return Approval(False, "nobody", request.digest)
    try:
        answer = approver(request)
        return await answer if inspect.isawaitable(answer) else answer
    except Exception:
        log.exception("The approver failed; the call is rejected.")
        return Approval(False, "approver-error", request.digest)
