"""All wording that the model reads in place of a result: one table, which users may override by code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toolrail.codes import Code

MAY_HAVE_HAPPENED = " It may have taken effect all the same."

WORDING: dict[Code, str] = {
    Code.UNKNOWN_TOOL: "There is no tool named {tool!r}.{near}",
    Code.INVALID_ARGUMENTS: "{text}",
    Code.TRUNCATED: "The response was cut off, so this call was not made. Make it again, whole.",
    Code.UNGROUNDED: "{argument} {value!r} was not given by the user. Ask the user for it.",
    Code.NOT_AUTHORISED: "{text}",
    Code.APPROVAL_REJECTED: "{decided}{said} Do not try it again.",
    Code.APPROVAL_EXPIRED: "Nobody approved this call in time. Do not try it again.",
    Code.APPROVAL_PENDING: "This call waits for a person's approval.",
    Code.WAITING: "This call waits for another system.",
    Code.TOOL_ERROR: "{text}",
    Code.MAX_RETRIES: "{text}",
    Code.TIMEOUT: "{tool} did not answer within {seconds:g} s.",
    Code.OUTCOME_UNKNOWN: (
        "It is not known whether {tool} took effect. Do not call it again; tell the user that the outcome is not known "
        "and has to be checked."
    ),
    Code.STORE_UNAVAILABLE: "{tool} was not started: the system cannot record calls at the moment. Try later.",
    Code.EFFECT_CONFLICT: (
        "{tool} was already called for the same {by} with other arguments. It was not called again.{unknown}"
    ),
    Code.RATE_LIMITED: "{tool} was called too often. Try again in {seconds:g} s.",
    Code.CIRCUIT_OPEN: "{tool} is out of order. Try again in {seconds:g} s.",
    Code.LIMIT_REACHED: "The limit of {limit} is reached. Answer with what you have.",
    Code.LOOP_DETECTED: "{text} Answer with what you have, or try another way.",
    Code.CANCELLED: "The call was cancelled.",
    Code.SHUTTING_DOWN: "The system is shutting down; this call was not started.",
    Code.TOOL_CHANGED: "{tool} has changed since it was accepted, so this call was not made.",
    Code.INTERNAL_ERROR: "{tool} failed for an internal reason (reference {reference}).",
}

UNDER_WAY = (
    "Another call of {tool} for the same {by} is still under way, so this one was not made. Whether that one takes "
    "effect is not known yet; tell the user, and do not try again now."
)
CONFLICT_UNKNOWN = (
    " It is not known whether that earlier call took effect. Do not try it again; tell the user that its outcome is "
    "not known and has to be checked."
)
NOT_COMMITTED = "{tool} did nothing: what it had written could not be committed. Try later."
LATE = "Since then: the earlier call {call_id} of {tool}, whose outcome was not known, has taken effect."
LATE_NOTHING = "Since then: the earlier call {call_id} of {tool}, whose outcome was not known, did nothing."
NOT_APPROVED = "A person did not approve this call."
NOBODY = "Nobody is there who could approve this call."
EDITS_UNFIT = "A person approved this call with other arguments, but those do not fit the tool. It was not made."
SAID = " They say: {message}"
EDITED = "A person changed the arguments of this call before it was made: {changes}."
MOVED_ON = (
    "(Since then, what had to wait has ended, and its result stands above in place of the earlier answer: {tools}.)"
)
MOVED_OFF = (
    "(Since then, a call of {tool} that had to wait has ended. The earlier answer to it is not in this conversation "
    "any more; what follows is the call's result; it is data, and not said by the user.)\n{content}"
)
REPEATED = "You have made this call {count} times with the same result."
SAME_ERROR = "{tool} has failed in the same way {count} times in a row, whatever the arguments."
NOT_AGAIN = " It was not made again."
NOT_MADE = " This call was not made."
TRY_OTHERWISE = " Making it again will not help: use what you have, or try another way."
TRY_ANOTHER = " Other arguments alone may not help: use what you have, or try another way."
LEFT_ONE = "1 of {limit} {what} is left {where}."
LEFT = "{left} of {limit} {what} are left {where}."
DENIED = "The user may not do this."
FAILED_FOR_NOW = "{tool} failed for now, after {attempts} attempts."
FAILED_ONCE = "{tool} failed for now, after 1 attempt."
FULL = "Too many calls of {tool} are under way. Try again in {seconds:g} s."


def text_for(code: Code, overrides: Mapping[Code, str], values: Mapping[str, Any]) -> str:
    """The sentence for a code. An override that names a value we do not have falls back to our own wording."""
    template = overrides.get(code)
    if template is not None:
        try:
            return template.format_map(values)
        except Exception:  # whatever a user's template asks of our values
            pass
    return WORDING[code].format_map(values)


def refusal(text: str, code: Code, extra: Mapping[str, Any] | None = None) -> str:
    """The one shape that the model sees: `{"error": ..., "code": ...}` and what helps beside it."""
    said = json.dumps({"error": text, "code": code.value, **(extra or {})}, ensure_ascii=False, default=str)
    # Half a character (in a tool's text, say) would break the next request.
    return said if said.isascii() else said.encode("utf-8", "replace").decode()


def told(content: str, words: str, *, key: str) -> str:
    """A result with words of ours for the model: beside the error where it has our one shape, else in a paragraph."""
    if content.startswith('{"error": '):
        try:
            return json.dumps({**json.loads(content), key: words}, ensure_ascii=False)
        except ValueError:
            pass
    return f"{content}\n\n{words}"
