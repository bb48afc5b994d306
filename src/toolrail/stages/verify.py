"""verify: asks the other side, through the tool's own function, whether an effect under an old key took place."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from typing import Any

from toolrail.arguments.values import Accepted
from toolrail.context import RunContext
from toolrail.decisions import Principal
from toolrail.definition import Tool
from toolrail.drive import Interrupted, Raised, Returned, drive
from toolrail.effects import Happened, Unclear, Verdict, WillNotHappen
from toolrail.errors import ToolError
from toolrail.frozen import frozen
from toolrail.identity import idempotency_key
from toolrail.ports import STORE_SECONDS, Ports, log
from toolrail.run import Job
from toolrail.store import Settle, ask


class AskingControl:
    """The context of a question: it changes nothing, so it begins no effect and has no transaction."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.cancelled = False

    def begin(self) -> None:
        """Asking is no effect.

        Raises:
            ToolError: always.
        """
        raise ToolError("A verifier asks; it must not begin an effect.", nothing_happened=True)

    def now(self) -> float:
        """Seconds on the loop's clock."""
        return self._loop.time()

    def progress(self, text: str) -> None:
        """Nobody listens."""

    async def read_result(self, handle: str) -> None:
        """None: a question keeps nothing."""

    def transaction(self) -> None:
        """None: asking writes nothing."""


async def verdict_of(
    job: Job, tool: Tool[Any], arguments: Accepted, *, key: str, seconds: float | None = None
) -> Verdict:
    """What the other side says of the effect under `key`. Whatever goes wrong is `Unclear`.

    Raises:
        asyncio.CancelledError: the call was cancelled meanwhile.
    """
    run = job.run
    given = arguments.model if tool.takes_model else arguments.values
    seconds = tool.limits.timeout if seconds is None else seconds
    question = Question(key, job.key, run.principal, run.deps, max(1, job.attempts), seconds)
    return await asked(job.ports, tool, given, question)


@frozen
class Question:
    """What a verifier is given beside the arguments."""

    key: str
    """Idempotency key of the effect that is asked about."""
    call_key: str
    principal: Principal
    deps: Any
    attempt: int
    seconds: float
    """The time for the answer."""


async def asked(ports: Ports, tool: Tool[Any], given: Any, question: Question) -> Verdict:
    """`verdict_of` without a call under way: for a reconciler."""
    if tool.effect.verify is None:
        return Unclear()
    loop = asyncio.get_running_loop()
    seconds = min(question.seconds, tool.limits.attempt_timeout or tool.limits.timeout)
    ctx = RunContext[Any](
        question.deps,
        question.principal,
        call_key=question.call_key,
        idempotency_key=question.key,
        deadline=loop.time() + seconds,
        attempt=question.attempt,
        control=AskingControl(loop),
    )
    ended = await drive(_ask(tool, ctx, given), seconds=seconds, grace=ports.limits.grace, active=ports.work.driven)
    match ended:
        case Returned(Happened() | WillNotHappen() | Unclear() as verdict):
            return verdict
        case Returned(value):
            log.error("The verifier of %s returned a %s; the outcome stays unknown.", tool.name, type(value).__name__)
        case Raised(error):
            log.warning("The verifier of %s failed; the outcome stays unknown.", tool.name, exc_info=error)
        case Interrupted():
            raise asyncio.CancelledError
        case _:
            log.warning("The verifier of %s did not answer in %s s.", tool.name, seconds)
    return Unclear()


async def _ask(tool: Tool[Any], ctx: RunContext[Any], given: Any) -> Any:
    if tool.effect.verify is None:
        return Unclear()
    answer: Any = tool.effect.verify(ctx, given)
    return await answer if inspect.isawaitable(answer) else answer


async def rekey(job: Job) -> bool:
    """The other side has given up this call's key, so the next attempt goes under another, which the ledger must know
    before it begins. False when that could not be written: then there is no next attempt."""
    job.rekeyed += 1
    if job.claimed is None:
        return True
    row = replace(job.claimed, idempotency_key=idempotency_key(job), updated=job.ports.clock.wall())
    try:
        async with asyncio.timeout(STORE_SECONDS):
            written = await ask(job.ports.store, Settle(row, ("started",), row.lease_until))
    except Exception:
        log.warning("The store could not record the next attempt of %s.", job.call.name, exc_info=True)
        return False
    job.claimed = row
    return written
