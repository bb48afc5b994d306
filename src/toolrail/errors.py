"""The exceptions. Tool code raises the first group; the others tell a programmer of a mistake.

Exception
+-- ToolError            a tool's own statement: this failed, and here is what the model may read
|   +-- ModelRetry       the model should call again with other arguments
|   +-- NotAuthorised    the logged-in user may not
|   +-- ProcessDied      an isolated tool's process went over a limit, or crashed
+-- DefinitionError      a tool is defined wrongly; raised at start-up
+-- RunError             a run is used wrongly
    +-- RunBusy          another holder works on this run or session now
    +-- RunNotFound      no such run for this principal
    +-- TurnConflict     another message was already answered at this position
    +-- RunStopped       a run ended before an answer, and the caller asked for an exception
    +-- ApprovalError    a decision about a call that waits cannot be taken
"""

from __future__ import annotations


class ToolError(Exception):
    """A tool's statement that it failed. Its text is shown to the model, so write it for the model.

    Args:
        message: what went wrong, in words that the model can act on.
        retryable: a second attempt may succeed (a lock, a busy service).
        nothing_happened: the tool knows that no effect took place, so even a `once` tool may be repeated.
        retry_after: seconds to wait before the next attempt, where the other side said so.

    Example: `raise ToolError("The bank is closed until 08:00.", retryable=False)`
    """

    # A subclass that does not call our __init__ still says something, if little.
    retryable = False
    nothing_happened = False
    retry_after: float | None = None

    def __init__(
        self, message: str, *, retryable: bool = False, nothing_happened: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.nothing_happened = nothing_happened
        self.retry_after = retry_after


class ModelRetry(ToolError):
    """The arguments are valid but of no use; the text tells the model how to call again."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class NotAuthorised(ToolError):
    """The logged-in user may not do this.

    Args:
        message: what the model may read.
        like: answer exactly as `ToolError(like)` would, so that another user's object looks like a missing one.
            The record still says NOT_AUTHORISED.

    Example: `raise NotAuthorised(like=f"No order {order_id}.")`
    """

    like: str | None = None

    def __init__(self, message: str = "The user may not do this.", *, like: str | None = None) -> None:
        super().__init__(message if like is None else like)
        self.like = like


class ProcessDied(ToolError):
    """The process of an isolated tool went over a limit or crashed. Raised by us, not by tool code: the model reads the
    text where the tool only reads; for any other effect it says nothing of what happened before."""


class DefinitionError(Exception):
    """A tool, toolset or rail is defined wrongly. `toolrail rule ID` explains each rule.

    The text has the rule, the place, what is wrong and the mend: `TR203 app.py:14 pay(): ... Mend: ...`.
    """

    def __init__(self, rule: str, where: str, message: str, mend: str) -> None:
        super().__init__(f"{rule} {where}: {message} Mend: {mend}")
        self.rule = rule
        self.where = where
        self.message = message
        self.mend = mend


class RunError(Exception):
    """A run is used wrongly; the text says how."""


class RunBusy(RunError):
    """Another holder works on this run or session now. Try again when it is done."""


class RunNotFound(RunError):
    """There is no such run for this principal (or it belongs to another: the answer is the same)."""


class TurnConflict(RunError):
    """Another assistant message was already answered at this position of the run."""


class RunStopped(RunError):
    """A run ended before an answer and the caller asked for an exception. `reason` is its stop reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The run stopped before an answer: {reason}.")
        self.reason = reason


class ApprovalError(RunError):
    """A decision cannot be taken: there is no such question, it is decided or expired, or this person may not."""
