"""What each code means for somebody who reads the record: one short sentence a code."""

from __future__ import annotations

from toolrail.codes import Code

MEANINGS: dict[Code, str] = {
    Code.UNKNOWN_TOOL: "no tool on offer has this name",
    Code.INVALID_ARGUMENTS: "the arguments do not fit; nothing ran",
    Code.TRUNCATED: "the response was cut off; nothing ran",
    Code.UNGROUNDED: "an argument that nobody had said; nothing ran",
    Code.NOT_AUTHORISED: "this principal may not",
    Code.APPROVAL_REJECTED: "nobody approved it; nothing ran",
    Code.APPROVAL_EXPIRED: "nobody approved it in time; nothing ran",
    Code.APPROVAL_PENDING: "waits for a person's approval",
    Code.WAITING: "waits for another system",
    Code.TOOL_ERROR: "the tool said no",
    Code.MAX_RETRIES: "still failing after the last attempt",
    Code.TIMEOUT: "no answer before the deadline",
    Code.OUTCOME_UNKNOWN: "it may have taken effect: ask the other side",
    Code.STORE_UNAVAILABLE: "it could not be recorded; nothing ran",
    Code.EFFECT_CONFLICT: "the same key with other arguments; nothing ran",
    Code.RATE_LIMITED: "called too often; nothing ran",
    Code.CIRCUIT_OPEN: "its dependency is failing; nothing ran",
    Code.LIMIT_REACHED: "a limit of the run is reached; nothing ran",
    Code.LOOP_DETECTED: "the same call again and again; nothing ran",
    Code.CANCELLED: "the run was cancelled",
    Code.SHUTTING_DOWN: "the rail was closing; nothing ran",
    Code.TOOL_CHANGED: "the tool is not the accepted one; nothing ran",
    Code.INTERNAL_ERROR: "a bug in the tool; the log has it",
}
