"""Places for calls that run at once: over all, of a tenant, a tool, a resource. Who waits is served by tenant, in turn.

A call takes all its places together or none, so whoever waits holds nothing that another one needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence

Need = tuple[Hashable, int]
"""A kind of place, and how many there are of it."""
OVER_ALL = "over all"


class Waiter:
    """One call in the queue."""

    __slots__ = ("granted", "kind", "needs", "number", "tenant")

    def __init__(self, number: int, tenant: str, kind: Hashable, needs: Sequence[Need]) -> None:
        self.number = number
        self.tenant = tenant
        self.kind = kind
        self.needs = needs
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Places:
    """Who has which places, and who waits. Within a tenant the first comes first among those whose places are free."""

    __slots__ = ("_number", "_over_all", "_queues", "taken")

    def __init__(self, over_all: int | None = None) -> None:
        self._over_all = over_all
        self.taken: dict[Hashable, int] = {}
        """Only what is taken at all: memory is bounded by the calls under way."""
        self._number = 0
        # Tenants in the order of their turn; their queues by kind of call, as those of one kind need the same places.
        self._queues: dict[str, dict[Hashable, dict[Waiter, None]]] = {}

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(len(queue) for kinds in self._queues.values() for queue in kinds.values())

    def take(self, needs: Sequence[Need]) -> bool:
        """Takes all of them now, if all are free."""
        if not self._free(needs):
            return False
        for key, _ in needs:
            self.taken[key] = self.taken.get(key, 0) + 1
        return True

    def queue(self, tenant: str, kind: Hashable, needs: Sequence[Need]) -> Waiter:
        """Joins the queue: its `granted` is set when it has its places. `kind` says which calls need the same ones."""
        self._number += 1
        waiter = Waiter(self._number, tenant, kind, needs)
        self._queues.setdefault(tenant, {}).setdefault(kind, {})[waiter] = None
        return waiter

    def withdraw(self, waiter: Waiter) -> None:
        """Leaves the queue; gives back what it was just given."""
        if waiter.granted.done() and not waiter.granted.cancelled():
            self.give_back(waiter.needs)
        elif self._leave(waiter):
            waiter.granted.cancel()

    def give_back(self, needs: Sequence[Need]) -> None:
        """Frees places, and lets in whoever they are for."""
        for key, _ in needs:
            left = self.taken[key] - 1
            if left:
                self.taken[key] = left
            else:
                del self.taken[key]
        while self._queues and not self._full() and self._serve():
            pass

    def _full(self) -> bool:
        """Spares the look at every tenant that waits, each time that one call ends."""
        return self._over_all is not None and self.taken.get(OVER_ALL, 0) >= self._over_all

    def _free(self, needs: Sequence[Need]) -> bool:
        taken = self.taken
        return all(taken.get(key, 0) < size for key, size in needs)

    def _serve(self) -> bool:
        """Lets one in: of the first tenant in turn that has somebody whose places are free."""
        for tenant, kinds in self._queues.items():
            first = [next(iter(queue)) for queue in kinds.values()]
            ready = [waiter for waiter in first if self._free(waiter.needs)]
            if ready:
                self._grant(min(ready, key=_number))
                if tenant in self._queues:  # its turn is over
                    self._queues[tenant] = self._queues.pop(tenant)
                return True
        return False

    def _grant(self, waiter: Waiter) -> None:
        self._leave(waiter)
        # Else it was cancelled and is about to withdraw, or its loop is gone and nobody waits.
        if not (waiter.granted.done() or waiter.granted.get_loop().is_closed()):
            self.take(waiter.needs)
            waiter.granted.set_result(None)

    def _leave(self, waiter: Waiter) -> bool:
        kinds = self._queues.get(waiter.tenant, {})
        queue = kinds.get(waiter.kind, {})
        if waiter not in queue:
            return False
        del queue[waiter]
        if not queue:
            del kinds[waiter.kind]
        if not kinds:
            del self._queues[waiter.tenant]
        return True


def _number(waiter: Waiter) -> int:
    return waiter.number
