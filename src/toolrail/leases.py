"""Leases: the right to work on a run or a session, renewed while its holder lives."""

from __future__ import annotations

import asyncio
from typing import Any

from toolrail.frozen import frozen
from toolrail.ports import STORE_SECONDS, Ports, log
from toolrail.store import DropLease, Op, TakeLease

LEASE_SECONDS = 60.0
"""A holder that died gives back what it held after this."""
BUSY = "is held by another. Try again when it is done; if its process has died, within 60 s."


@frozen
class Lease:
    """One right of one holder."""

    ports: Ports
    tenant: str
    name: str
    holder: str

    def take(self) -> TakeLease:
        """Takes it, or makes it last longer."""
        now = self.ports.clock.wall()
        return TakeLease(self.tenant, self.name, self.holder, now, now + LEASE_SECONDS)

    def drop(self) -> DropLease:
        """Gives it back."""
        return DropLease(self.tenant, self.name, self.holder)

    def kept(self) -> asyncio.Task[None]:
        """Renews it until the task is cancelled: a run may take longer than a lease."""
        return asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 4)
            try:
                await self.ports.store.apply(self.take())
            except Exception:
                log.warning("The lease of %s could not be renewed.", self.name, exc_info=True)


async def to_the_end(ports: Ports, *ops: Op) -> list[Any]:
    """One transaction that a cancellation does not stop: it is waited for, and the cancellation goes on after it.

    Raises:
        TimeoutError: the store does not answer. The transaction may be done all the same.
    """
    work = ports.own(ports.store.apply(*ops))
    try:
        async with asyncio.timeout(STORE_SECONDS):
            return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work], timeout=STORE_SECONDS)
        raise
