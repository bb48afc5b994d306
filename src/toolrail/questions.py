"""Questions to a person: what binds one to exactly one call, and the rows that keep both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.codes import CODES, Code
from toolrail.decisions import Ask
from toolrail.definition import Tool
from toolrail.digests import blake2b
from toolrail.identity import canonical, digest_of, row_for
from toolrail.run import Job
from toolrail.store import ApprovalRow, CallRow


def binding_of(job: Job, tool: Tool[Any], arguments: str) -> str:
    """What an approval is bound to: tenant, principal, run, call, tool with its schema, and the effective arguments."""
    run = job.run
    return digest_of([run.state.tenant, run.principal.id, run.id, job.key, tool.name, tool.digest, arguments])


def question_of(job: Job, tool: Tool[Any], arguments: str, ask: Ask) -> ApprovalRow:
    """The question about a call with these arguments (canonical JSON), pending. The same question has the same id."""
    binding, wall = binding_of(job, tool, arguments), job.ports.clock.wall()
    return ApprovalRow(
        tenant=job.run.state.tenant,
        approval=f"apr_{binding[:24]}",
        run=job.run.id,
        key=job.key,
        principal=job.run.principal.id,
        tool=tool.name,
        digest=tool.digest,
        arguments=arguments,
        binding=binding,
        reason=ask.reason,
        four_eyes=ask.four_eyes,
        needs=ask.needs,
        created=wall,
        expires=None if ask.expires is None else wall + ask.expires,
    )


def pending_row(job: Job, tool: Tool[Any], arguments: str) -> CallRow:
    """The call, as one that waits for a person: nothing ran and no key is held."""
    return replace(
        row_for(job, tool),
        state="pending",
        status=CODES[Code.APPROVAL_PENDING].status,
        code=Code.APPROVAL_PENDING,
        flags=job.flags,
        arguments=arguments,
        arguments_digest=blake2b(arguments, 16),
    )


def rebuilt(tool: Tool[Any], arguments: str) -> Accepted | None:
    """Arguments made anew from their canonical JSON, so that nobody who was shown them has a hand on them. None when
    they come out as others: then nobody can say what would run."""
    read = tool.reader.read(arguments, json.loads(arguments))
    return read if isinstance(read, Accepted) and canonical(read.effective) == arguments else None


def changes_between(before: str, after: str) -> str:
    """What was changed, for the model: `amount: 900 -> 500; note: removed`."""
    old: Mapping[str, Any] = json.loads(before)
    new: Mapping[str, Any] = json.loads(after)
    said = [
        f"{name}: {canonical(old[name]) + ' -> ' if name in old else ''}{canonical(value)}"
        for name, value in new.items()
        if name not in old or old[name] != value
    ]
    return "; ".join([*said, *(f"{name}: removed" for name in old if name not in new)])
