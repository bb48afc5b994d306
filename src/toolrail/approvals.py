"""Approvals: the questions that wait for a person, and the decision, with who may take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.decisions import Approval, Principal, fault_of
from toolrail.definition import Tool
from toolrail.errors import ApprovalError
from toolrail.identity import canonical
from toolrail.ports import Ports
from toolrail.stages.validate import validate
from toolrail.store import ApprovalRow, ApprovalState, DecideApproval, FindApproval, ListApprovals, ask

ToolNamed = Callable[[str], Tool[Any] | None]
"""Finds a tool by its name."""


class Approvals:
    """The questions of one rail: `rail.approvals`.

    Example:

        for question in await rail.approvals.list():
            print(question.approval, question.tool, question.arguments, question.reason)
        await rail.approvals.decide(question.approval, approved=True, by=Principal("carol"))
        await agent.resume(question.run, principal=user, deps=shop)
    """

    def __init__(self, ports: Ports, tool: ToolNamed) -> None:
        self._ports = ports
        self._tool = tool

    async def list(
        self,
        *,
        tenant: str | None = None,
        run: str | None = None,
        state: ApprovalState | None = "pending",
        limit: int = 100,
    ) -> tuple[ApprovalRow, ...]:
        """The questions, the oldest first: by default those that may be decided now, of all tenants.

        Args:
            tenant, run: only those of this one.
            state: None for every state. What is pending but has expired is listed only then.
            limit: at most so many are read.
        """
        rows = await ask(self._ports.store, ListApprovals(tenant, run, state, limit))
        now = self._ports.clock.wall()
        return tuple(row for row in rows if state is None or row.state != "pending" or not row.expired(now))

    async def decide(
        self,
        approval: str,
        *,
        approved: bool,
        by: Principal,
        note: str = "",
        message: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> ApprovalRow:
        """Answers one question. The call runs when its run is resumed, in this process or another.

        Args:
            approval: its id.
            approved: yes or no.
            by: who says so; your application knows who is logged in. Questions of another tenant do not exist for it.
            note: for the record.
            message: of a rejection, what the model may read.
            arguments: approved with these in place of those asked for. They are validated now, and authorised when
                the call runs: a policy may still deny them. The model is told what was changed.

        Raises:
            ApprovalError: there is no such question, it is decided already or has expired, `by` may not decide it, or
                the arguments do not fit.
        """
        answer = Approval(approved, by, note=note, message=message, arguments=arguments)
        return await decide(self._ports, self._tool, approval, answer)


async def decide(
    ports: Ports, tool: ToolNamed | None, approval: str, answer: Approval, *, tenant: str | None = None
) -> ApprovalRow:
    """`Approvals.decide`. Without `tool` the arguments are validated only when the call runs.

    Raises:
        ApprovalError: see there.
    """
    _check_answer(answer)
    home = answer.approver.tenant if isinstance(answer.approver, Principal) else tenant or "default"
    row = await ask(ports.store, FindApproval(home, approval))
    if row is None or (answer.digest and answer.digest != row.binding):
        raise ApprovalError(f"There is no approval {approval!r}.")
    _check_open(row, ports.clock.wall())
    _check_person(row, answer)
    given = _instead(tool, row, answer)
    now, approved = ports.clock.wall(), answer.approved is True
    op = DecideApproval(row.tenant, approval, approved, answer.name, now, answer.note, given)
    after = await ask(ports.store, op)
    if after is None:
        raise ApprovalError(f"There is no approval {approval!r}.")
    mine = after.decided == now and after.approver == answer.name and (after.state == "approved") == approved
    if not mine:
        _check_open(after, now)
    return after


def _check_answer(answer: Approval) -> None:
    if not isinstance(answer.approved, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ApprovalError(f"A decision is True or False, and not {answer.approved!r}. Nothing was decided.")


def _local(wall: float | None) -> str:
    """Wall time as local date and time, for whoever decides."""
    return "a time that is not known" if wall is None else datetime.fromtimestamp(wall).strftime("%Y-%m-%d %H:%M:%S")


def _check_open(row: ApprovalRow, now: float) -> None:
    if row.state != "pending":
        raise ApprovalError(
            f"Approval {row.approval!r} is {row.state} already, by {row.approver!r} at {_local(row.decided)}."
        )
    if row.expired(now):
        raise ApprovalError(f"Approval {row.approval!r} expired at {_local(row.expires)}.")


def _check_person(row: ApprovalRow, answer: Approval) -> None:
    """Who asked for the call may always take it back."""
    if answer.approved is not True and answer.name == row.principal:
        return
    four_eyes = row.four_eyes and answer.approved is True
    fault = fault_of(answer.approver, requester=row.principal, tenant=row.tenant, four_eyes=four_eyes, needs=row.needs)
    if fault is not None:
        raise ApprovalError(f"Approval {row.approval!r} cannot be decided so: {fault}.")


def _instead(tool: ToolNamed | None, row: ApprovalRow, answer: Approval) -> str | None:
    """What the approver gives in place of what was asked for."""
    if answer.arguments is None:
        return None if answer.approved is True else answer.message
    if answer.approved is not True:
        raise ApprovalError("Arguments can be changed by an approval only. Mend: drop arguments=, or approve.")
    given = canonical(answer.arguments)
    if tool is not None:
        given = _validated(tool(row.tool), row, given)
    return None if given == row.arguments else given


def _validated(tool: Tool[Any] | None, row: ApprovalRow, given: str) -> str:
    if tool is None or tool.digest != row.digest:
        raise ApprovalError(f"The tool {row.tool!r} has changed since approval {row.approval!r} was asked for.")
    read = validate(tool.reader, given, tool=tool.name)
    if not isinstance(read, Accepted):
        raise ApprovalError(f"The arguments do not fit {row.tool!r}: {read.message}")
    return canonical(read.effective)
