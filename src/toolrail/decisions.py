"""Who asks, and what a policy or a person may say to a call. Values, never exceptions."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import field
from typing import Any, Protocol

from toolrail.frozen import frozen


@frozen
class Principal:
    """Who is logged in. Set by the application; nothing that a model writes can change it.

    Example: `Principal("CUS-00042", permissions=frozenset({"orders:read"}))`
    """

    id: str
    permissions: frozenset[str] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tenant: str = "default"
    """Rows, limits and effect keys never cross a tenant."""

    def may(self, permission: str) -> bool:
        """Whether the permission is among the principal's, by exact name."""
        return permission in self.permissions


ANONYMOUS = Principal("anonymous")
"""The principal of a run that names none. It has no permissions."""


@frozen
class Allow:
    """The call may go on."""

    rule: str = "default"


@frozen
class Deny:
    """The call may not. `reason` is for the record; only `message` reaches the model."""

    reason: str
    message: str | None = None
    rule: str = "policy"


APPROVAL_SECONDS = 7 * 86_400.0
"""How long a question stands open unless the policy says otherwise: a week."""


@frozen
class Ask:
    """A person decides. `reason` is shown to that person.

    Example: `Ask("over 1,000", needs="payments:approve", four_eyes=True, expires=86_400)`
    """

    reason: str
    rule: str = "policy"
    four_eyes: bool = False
    """Who asked for the call may not approve it."""
    needs: str | None = None
    """A permission that the approver must have, by exact name."""
    expires: float | None = APPROVAL_SECONDS
    """Seconds after which it is too late to approve, or to use an approval. None: never."""

    def with_more(self, other: Ask) -> Ask:
        """Both questions in one, as strict as either."""
        times = [one for one in (self.expires, other.expires) if one is not None]
        needs = dict.fromkeys([*needed(self.needs), *needed(other.needs)])
        return Ask(
            other.reason,
            other.rule,
            self.four_eyes or other.four_eyes,
            "\n".join(needs) or None,
            min(times) if times else None,
        )


Decision = Allow | Deny | Ask


@frozen
class PolicyRequest:
    """What a policy sees: who asks, for which tool, with which validated arguments, and where those came from."""

    principal: Principal
    tool: str
    arguments: Mapping[str, Any]
    requires: tuple[str, ...] = ()
    effect: str = "undeclared"
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])
    run_id: str = ""
    call_key: str = ""


class Policy(Protocol):
    """Decides about one call. Denial wins over asking, asking over allowing; an exception is a denial.

    Example:

        def small_amounts(request: PolicyRequest) -> Decision:
            return Ask("over 100") if request.arguments.get("amount", 0) > 100 else Allow()
    """

    def __call__(self, request: PolicyRequest, /) -> Decision | Awaitable[Decision]: ...


@frozen
class ApprovalRequest:
    """What a person is asked: exactly this call, with exactly these arguments."""

    request: PolicyRequest
    """`request.arguments` are the effective ones, as plain JSON: what the handler will get. A copy."""
    reason: str
    digest: str
    """Binds tenant, principal, run, call key, tool, schema and canonical arguments."""
    four_eyes: bool = False
    needs: str | None = None
    """Permissions that the approver must have, one a line."""
    expires: float | None = None
    """Wall time."""
    id: str = ""
    """Of the question, as in `rail.approvals`."""


@frozen
class Approval:
    """A person's yes or no to one `ApprovalRequest`.

    Example: `Approval(True, Principal("carol", frozenset({"payments:approve"})), request.digest)`
    """

    approved: bool
    approver: str | Principal
    """Who said so. A name alone has no permissions, so where some are needed it takes a `Principal`."""
    digest: str = ""
    """Of the request that it answers. An approver may leave it empty: it was asked one question only."""
    note: str = ""
    """For the record."""
    message: str | None = None
    """What the model may read of a rejection. Without it the model learns only that a person did not approve."""
    arguments: Mapping[str, Any] | None = None
    """Approved with these arguments in place of those asked for; they are validated and authorised anew."""

    @property
    def name(self) -> str:
        """The approver's id."""
        return self.approver.id if isinstance(self.approver, Principal) else self.approver


@frozen
class Pending:
    """No answer yet; the call waits."""

    digest: str


class Approver(Protocol):
    """Asks a person. Without one, the answer is no. `toolrail.approvers` has some.

    A plain function runs in a thread, because asking may block; one that belongs on the event loop is `async`.
    """

    def __call__(self, request: ApprovalRequest, /) -> Approval | Pending | Awaitable[Approval | Pending]: ...


def needed(needs: str | None) -> list[str]:
    """The permissions that `needs` names."""
    return needs.split("\n") if needs else []


def fault_of(
    approver: Principal | str, *, requester: str, tenant: str, four_eyes: bool, needs: str | None
) -> str | None:
    """Why this person may not approve a call; None when he may."""
    if isinstance(approver, Principal) and approver.tenant != tenant:
        return "the approver is of another tenant"
    name = approver.id if isinstance(approver, Principal) else approver
    if four_eyes and name == requester:
        return f"{name!r} asked for the call, and another must approve it"
    for permission in needed(needs):
        if not (isinstance(approver, Principal) and approver.may(permission)):
            return f"{name!r} lacks {permission!r}"
    return None
