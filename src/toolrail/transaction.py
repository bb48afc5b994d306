"""The port of stores whose own database a tool may write to, in one transaction with the end of its call."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from toolrail.store import Op, Settle


class CommitLost(Exception):
    """The connection was lost, or the disk failed, in the middle of a commit: it may have been done, or not."""


class EndedByTool(Exception):
    """The handler has committed or rolled back by itself, though it must not. What it wrote may be there."""


class StoreTransaction(Protocol):
    """One transaction on a connection of its own. The spine ends it; a handler only writes in it."""

    @property
    def connection(self) -> Any:
        """What an async handler works with."""
        ...

    @property
    def blocking(self) -> Any | None:
        """What a sync handler works with, in its thread; None where the store has nothing for it."""
        ...

    async def commit(self, op: Settle, *beside: Op) -> bool:
        """Does the operations in the transaction and commits all. False: the first was refused, because the call was
        settled otherwise meanwhile; nothing of the transaction was kept.

        Raises:
            CommitLost: nobody knows whether it was committed.
            EndedByTool: there is nothing to commit any more.
            Exception: any other; nothing of the transaction was kept.
        """
        ...

    async def rollback(self) -> None:
        """Drops everything that was written in it, and gives the connection back. May be called at any time, also
        while the handler waits for a statement, and more than once."""
        ...


@runtime_checkable
class Transactional(Protocol):
    """A store with `ctx.transaction()`."""

    async def begin(self) -> StoreTransaction:
        """Begins a transaction. When it is cancelled meanwhile, it leaves none behind.

        Raises:
            Exception: none could be begun; nothing happened.
        """
        ...
