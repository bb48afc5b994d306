"""Who asks, and what a policy or a person may say to a call. Values, never exceptions."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may go on."""

    rule: str = "default"


@dataclass(frozen=True, slots=True)
class Deny:
    """The call may not. `reason` is for the record; only `message` reaches the model."""

    reason: str
    message: str | None = None
    rule: str = "policy"


@dataclass(frozen=True, slots=True)
class Ask:
    """A person decides. `reason` is shown to that person."""

    reason: str
    rule: str = "policy"


Decision = Allow | Deny | Ask


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What a person is asked: exactly this call, with exactly these arguments."""

    request: PolicyRequest
    reason: str
    digest: str
    """Binds tenant, principal, run, call key, tool, schema and canonical arguments."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's yes or no to one `ApprovalRequest`."""

    approved: bool
    approver: str
    digest: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """No answer yet; the call waits."""

    digest: str


class Approver(Protocol):
    """Asks a person. Without one, the answer is no."""

    def __call__(self, request: ApprovalRequest, /) -> Approval | Pending | Awaitable[Approval | Pending]: ...
