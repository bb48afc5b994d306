"""authorise: the tool's permissions, then the policies. Denial wins, then asking; an exception is a denial."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Mapping
from typing import Any

from toolrail.codes import Code
from toolrail.decisions import Allow, Ask, Decision, Deny, Policy, PolicyRequest
from toolrail.definition import Tool
from toolrail.events import CallDecided, made
from toolrail.messages import ToolResult
from toolrail.ports import log
from toolrail.run import Job
from toolrail.wording import DENIED

_ALLOW = Allow()
_PLAIN = (str, int, float, bool, type(None))


async def authorise(job: Job, tool: Tool[Any], arguments: Mapping[str, Any]) -> Allow | Ask | ToolResult:
    """The decision, or NOT_AUTHORISED. The model sees a policy's `message`, never its reason."""
    decision = _permitted(job, tool, arguments)
    if job.ports.policies and not isinstance(decision, Deny):
        decision = await _decided(job, tool, arguments, decision)
    if job.run.closely and not (decision is _ALLOW and not job.ports.policies):
        _record(job, decision)
    if isinstance(decision, Deny):
        return job.ports.refuse(job, Code.NOT_AUTHORISED, text=decision.message or DENIED)
    return decision


def _permitted(job: Job, tool: Tool[Any], arguments: Mapping[str, Any]) -> Decision:
    for permission in tool.access.requires:
        if not job.run.principal.may(permission):
            return Deny(f"lacks {permission!r}", rule=f"requires:{permission}")
    return _ALLOW if tool.access.approve is False else _asks(tool, arguments)


def _asks(tool: Tool[Any], arguments: Mapping[str, Any]) -> Decision:
    """Whether the tool itself wants a person to be asked. A condition that fails wants it."""
    found: Any = tool.access.approve
    if callable(found):
        try:
            found = found(_copied(arguments))
        except Exception:
            log.exception("The approve= of %s failed; a person is asked.", tool.name)
            found = True
    if isinstance(found, Ask):
        return found
    return _ALLOW if found is False else Ask("the tool asks first", rule="approve")


async def _decided(job: Job, tool: Tool[Any], arguments: Mapping[str, Any], found: Allow | Ask) -> Decision:
    for policy in job.ports.policies:
        # Each its own copy: what one does to it changes neither what the next one sees nor what runs.
        decision = await _ask(policy, request_for(job, tool, arguments), tool.limits.timeout)
        if isinstance(decision, Deny):
            return decision
        if isinstance(decision, Ask):
            found = found.with_more(decision) if isinstance(found, Ask) else decision
        elif not isinstance(found, Ask):
            found = decision
    return found


async def _ask(policy: Policy, request: PolicyRequest, seconds: float) -> Decision:
    try:
        decision: Any = policy(request)
        if inspect.isawaitable(decision):
            async with asyncio.timeout(seconds):
                decision = await decision
    except Exception as error:
        log.exception("A policy failed; the call is denied.")
        return Deny(f"the policy raised {type(error).__name__}", rule="policy-error")
    if not isinstance(decision, (Allow, Deny, Ask)):
        return Deny(f"the policy returned {type(decision).__name__}", rule="policy-error")
    return decision


def request_for(job: Job, tool: Tool[Any], arguments: Mapping[str, Any]) -> PolicyRequest:
    """What a policy or a person is shown of a call."""
    return PolicyRequest(
        job.run.principal,
        tool.name,
        _copied(arguments),
        requires=tool.access.requires,
        effect=tool.effect.kind,
        run_id=job.run.id,
        call_key=job.key,
    )


def _copied(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, _PLAIN) else copy.deepcopy(value) for name, value in arguments.items()}


def _record(job: Job, decision: Decision) -> None:
    match decision:
        case Allow(rule):
            said = ("allow", rule, "")
        case Deny(reason, _, rule):
            said = ("deny", rule, reason)
        case Ask(reason=reason, rule=rule):
            said = ("ask", rule, reason)
    job.ports.emit(made(CallDecided, (job.run.head(), job.ref(), *said)))
