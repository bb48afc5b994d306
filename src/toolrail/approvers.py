"""Approvers: who is asked where a policy says so, and how. Without one the answer is no.

Rail(tools, policies=[small_amounts], approver=deferred)          # the question is stored; see `rail.approvals`
Rail(tools, approver=Console(Principal("carol")))                 # asks at the terminal
Rail(tools, approver=Callback(ask_in_chat, seconds=60))           # asks through your own function, and waits
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from toolrail.decisions import Approval, ApprovalRequest, Pending, Principal


async def deferred(request: ApprovalRequest) -> Pending:
    """Waits for nobody: the question and the call are stored, the run is suspended, and `resume` goes on days later."""
    return Pending(request.digest)


@dataclass(frozen=True, slots=True)
class Callback:
    """Asks through a function of yours and waits for its answer, so long and no longer: then APPROVAL_EXPIRED.

    A plain function runs in a thread of the rail's pool, because it may block; an `async` one runs on the loop. A
    thread that still waits when its time is over is abandoned, as that of a tool would be.

    Example: `Rail(tools, approver=Callback(ask_in_chat, seconds=60))`
    """

    fn: Callable[[ApprovalRequest], Approval | Pending | Awaitable[Approval | Pending]]
    seconds: float | None = None
    """None: as long as the question stands open (`Ask(expires=)`)."""

    def __call__(self, request: ApprovalRequest, /) -> Approval | Pending | Awaitable[Approval | Pending]:
        return self.fn(request)


@dataclass(frozen=True, slots=True)
class Console:
    """Asks the person at this process's terminal, in a thread. No terminal means no.

    Args:
        by: who sits there. Where a policy needs a permission of the approver, a `Principal`.
        seconds: how long to wait. A question that was given up still takes the next line that is typed.
        question: asks for a line; by default `input`.
        present: whether there is a person; by default, whether the standard input is a terminal.
    """

    by: Principal | str = "console"
    seconds: float | None = None
    question: Callable[[str], str] = input
    present: bool | None = None

    def __call__(self, request: ApprovalRequest, /) -> Approval:
        asked = request.request
        # In ASCII: what a model wrote must not steer the terminal or look like other letters.
        arguments = json.dumps(dict(asked.arguments), default=str)
        text = f"{asked.principal.id} asks for {asked.tool} {arguments}: {request.reason!a}. Approve? [y/N] "
        return Approval(self._yes(text), self.by, request.digest)

    def _yes(self, text: str) -> bool:
        if not (sys.stdin.isatty() if self.present is None else self.present):
            return False
        try:
            return self.question(text).strip().lower() in ("y", "yes")
        except EOFError:
            return False
