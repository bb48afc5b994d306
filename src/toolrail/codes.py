"""The closed table of codes: what each means, whether the handler had started, and whether the model may try again."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from toolrail.frozen import frozen

Status = Literal["ok", "error", "denied", "pending", "unknown", "cancelled"]
"""How a call ended. `unknown` means: it was started, and nobody can say whether it took effect."""

AlertClass = Literal["argument", "policy", "dependency", "limit", "bug", "none"]
"""Whom a rising rate of this code concerns: the prompt, the policy, a dependency, a limit, or our own code."""


class Code(StrEnum):
    """Why a call did not simply succeed. The value labels metrics and is `error.type` on spans."""

    UNKNOWN_TOOL = "UNKNOWN_TOOL"
    INVALID_ARGUMENTS = "INVALID_ARGUMENTS"
    TRUNCATED = "TRUNCATED"
    UNGROUNDED = "UNGROUNDED"
    NOT_AUTHORISED = "NOT_AUTHORISED"
    APPROVAL_REJECTED = "APPROVAL_REJECTED"
    APPROVAL_EXPIRED = "APPROVAL_EXPIRED"
    APPROVAL_PENDING = "APPROVAL_PENDING"
    WAITING = "WAITING"
    TOOL_ERROR = "TOOL_ERROR"
    MAX_RETRIES = "MAX_RETRIES"
    TIMEOUT = "TIMEOUT"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    EFFECT_CONFLICT = "EFFECT_CONFLICT"
    RATE_LIMITED = "RATE_LIMITED"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    LIMIT_REACHED = "LIMIT_REACHED"
    LOOP_DETECTED = "LOOP_DETECTED"
    CANCELLED = "CANCELLED"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    TOOL_CHANGED = "TOOL_CHANGED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


@frozen
class CodeInfo:
    """One row of the table."""

    status: Status
    """The status that a result with this code has."""
    model: str
    """What the model should do next, in a few words."""
    alert: AlertClass
    """Whom a rising rate concerns."""


CODES: dict[Code, CodeInfo] = {
    Code.UNKNOWN_TOOL: CodeInfo("error", "use another name", "argument"),
    Code.INVALID_ARGUMENTS: CodeInfo("error", "correct the arguments", "argument"),
    Code.TRUNCATED: CodeInfo("error", "make the call again, whole", "argument"),
    Code.UNGROUNDED: CodeInfo("error", "ask the user", "argument"),
    Code.NOT_AUTHORISED: CodeInfo("denied", "do not try again", "policy"),
    Code.APPROVAL_REJECTED: CodeInfo("denied", "do not try again", "policy"),
    Code.APPROVAL_EXPIRED: CodeInfo("denied", "do not try again", "policy"),
    Code.APPROVAL_PENDING: CodeInfo("pending", "wait", "policy"),
    Code.WAITING: CodeInfo("pending", "wait", "policy"),
    Code.TOOL_ERROR: CodeInfo("error", "as the text says", "dependency"),
    Code.MAX_RETRIES: CodeInfo("error", "later", "dependency"),
    Code.TIMEOUT: CodeInfo("error", "a read may be tried again", "dependency"),
    Code.OUTCOME_UNKNOWN: CodeInfo("unknown", "do not try again; tell the user", "dependency"),
    Code.STORE_UNAVAILABLE: CodeInfo("error", "later", "dependency"),
    Code.EFFECT_CONFLICT: CodeInfo("error", "correct the arguments", "argument"),
    Code.RATE_LIMITED: CodeInfo("error", "after the time given", "limit"),
    Code.CIRCUIT_OPEN: CodeInfo("error", "after the time given", "limit"),
    Code.LIMIT_REACHED: CodeInfo("denied", "answer with what you have", "limit"),
    Code.LOOP_DETECTED: CodeInfo("denied", "answer with what you have", "limit"),
    Code.CANCELLED: CodeInfo("cancelled", "-", "none"),
    Code.SHUTTING_DOWN: CodeInfo("cancelled", "-", "none"),
    Code.TOOL_CHANGED: CodeInfo("denied", "do not try again", "policy"),
    Code.INTERNAL_ERROR: CodeInfo("error", "do not try again", "bug"),
}
