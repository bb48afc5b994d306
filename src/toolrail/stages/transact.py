"""transact: `ctx.transaction()`. What a tool writes to the store's own database is committed with its call's `done`.

Until that commit nothing has happened. So whatever goes wrong before it (an exception, a deadline, a cancellation, a
result that cannot be encoded) rolls back, and the call is an error that frees its key: never an unknown.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, NoReturn

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.errors import DefinitionError, ToolError
from toolrail.messages import ToolResult
from toolrail.ports import STORE_SECONDS, log
from toolrail.run import Job
from toolrail.stages.encode import encode
from toolrail.stages.outcome import Failure, Success
from toolrail.store import CallRow, FindCall, Op, Settle, ask
from toolrail.transaction import CommitLost, EndedByTool, StoreTransaction, Transactional
from toolrail.wording import NOT_COMMITTED


class CallTransaction:
    """One attempt's transaction, for `async with` in an async handler and `with` in a sync one."""

    __slots__ = ("_job", "_loop", "_rollback", "_tool", "attempt", "complete", "entered", "opened", "over")

    def __init__(self, job: Job, tool: Tool[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._tool = tool
        self._loop = loop
        self.attempt = job.attempts
        self.entered = False
        self.complete = False
        """The handler has left the block as it should; only the commit is missing."""
        self.over = False
        """It was given up, and can never be committed."""
        self.opened: StoreTransaction | None = None
        self._rollback: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{name}: a transaction is used inside its block. Mend: `async with ctx.transaction() as tx:` (in a sync "
            f"handler `with`), and then tx.{name}."
        )

    async def __aenter__(self) -> Any:
        return (await self._begin()).connection

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        self._left(kind)

    def __enter__(self) -> Any:
        if self._tool.is_async:
            raise TypeError("An async handler writes `async with ctx.transaction()`; `with` would block the loop.")
        opened = asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()
        if opened.blocking is None:
            raise TypeError("This store has transactions for async handlers only. Make the handler async.")
        return opened.blocking

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._loop.call_soon_threadsafe(self._left, kind)

    async def _begin(self) -> StoreTransaction:
        if self.entered or self.over:
            raise ToolError("A call has one transaction, and it is entered once.", nothing_happened=True)
        self.entered = True
        self.opened = opened = await writable(self._tool, self._job.ports.store).begin()
        if self.over:  # given up while it was waited for
            self.drop()
            raise ToolError("The time for this call is over.", nothing_happened=True)
        return opened

    def _left(self, kind: Any) -> None:
        if kind is None:
            self.complete = not self.over
        else:
            self.drop()

    def drop(self) -> None:
        """Gives it up: from now on it is certain that nothing of it happens."""
        self.over = True
        self.complete = False
        if self.opened is not None and self._rollback is None:
            self._rollback = self._job.ports.own(_rolled_back(self.opened))

    async def dropped(self) -> None:
        """Gives it up, and waits until it holds nothing up any more."""
        self.drop()
        if self._rollback is not None:
            await _waited(self._job, self._rollback)

    async def concluded(self, outcome: Success | Failure) -> Success | Failure:
        """The end of the attempt that asked for it. One that failed did nothing, and that is known."""
        if isinstance(outcome, Success):
            if self.complete or self.over or not self.entered:
                return outcome
            outcome = Failure("unexpected", RuntimeError("The handler returned inside its transaction's block."))
        await self.dropped()
        return replace(outcome, began=False)

    async def committed(self, result: ToolResult, row: CallRow, *, beside: tuple[Op, ...] = ()) -> ToolResult | None:
        """Commits what the tool wrote together with `row`, its end. None: done. Else the result to give in place of it:
        an error, where nothing happened; unknown, where the connection was lost meanwhile. Then the row is left as it
        is, and tells later: done, or else its lease lapses."""
        job = self._job
        assert self.opened is not None
        if "unencodable" in result.flags:
            await self.dropped()
            error = TypeError("its result could not be encoded, so its transaction was rolled back")
            return encode(job, self._tool, Failure("unexpected", error, began=False))
        self.over = True  # the handler's thread, if it still runs, writes nothing more
        task = job.ports.own(_commit(job, self.opened, (Settle(row, ("started",)), *beside)))
        try:
            if await _waited(job, task):
                return None
        except Exception:
            log.exception("Nobody knows whether the transaction of %s was committed (%s).", job.call.name, job.key)
            return job.ports.refuse(job, Code.OUTCOME_UNKNOWN, started=True)
        job.frees_key = True
        text = NOT_COMMITTED.format(tool=job.call.name)
        return job.ports.refuse(job, Code.MAX_RETRIES, text=text, started=True)


def writable(tool: Tool[Any], store: Any) -> Transactional:
    """The store, which has a database that the tool may write to, and a ledger that follows the tool.

    Raises:
        DefinitionError: TR307.
    """
    if not isinstance(store, Transactional):
        raise DefinitionError(
            "TR307",
            tool.where,
            "it writes through ctx.transaction(), but the store has no database for that.",
            'Give Rail(store="sqlite:///rail.db"), or a PostgreSQL URL.',
        )
    if not tool.effect.writes:
        raise DefinitionError(
            "TR307",
            tool.where,
            "it is declared as a read, but writes through ctx.transaction().",
            "Declare effect=transactional(...) from toolrail.effects.",
        )
    return store


async def _commit(job: Job, opened: StoreTransaction, ops: tuple[Op, ...]) -> bool:
    settle, *beside = ops
    assert isinstance(settle, Settle)
    try:
        done = await opened.commit(settle, *beside)
    except EndedByTool:
        log.error("%s ended its transaction by itself, which it must not; its call counts as done.", job.call.name)
        return await ask(job.ports.store, settle)
    except CommitLost:
        log.warning("The commit of %s was cut off; its row is asked (%s).", job.call.name, job.key, exc_info=True)
        return await _resolved(job, settle.row)
    except Exception:
        log.exception("The transaction of %s could not be committed; nothing happened.", job.call.name)
        return False
    if not done:
        log.warning("%s was settled otherwise meanwhile; its transaction was rolled back.", job.key)
    return done


async def _resolved(job: Job, row: CallRow) -> bool:
    """Whether a commit that was cut off took place. Its row is settled as failed, unless it is done: whichever of the
    two writes comes first, the other one finds that out."""
    failed = replace(row, state="failed", status="error", code=Code.MAX_RETRIES, content=None)
    if await ask(job.ports.store, Settle(failed, ("started",))):
        return False
    found = await ask(job.ports.store, FindCall(row.tenant, row.key))
    return found is not None and found.state == "done"


async def _rolled_back(opened: StoreTransaction) -> None:
    try:
        await opened.rollback()
    except Exception:  # whatever is wrong with it, nobody will commit it
        log.warning("A transaction could not be rolled back.", exc_info=True)


async def _waited(job: Job, task: asyncio.Task[Any]) -> Any:
    """What a task of the rail's answers, for so long as a store may take. A cancellation waits."""
    while True:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await asyncio.shield(task)
        except asyncio.CancelledError as interrupt:
            job.interrupt = interrupt
            if task.cancelled():
                raise RuntimeError("The loop is closing.") from interrupt
