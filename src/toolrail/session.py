"""A session: one conversation over many runs, stored, held by one run at a time, trimmed without breaking pairs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from toolrail.decisions import Principal
from toolrail.errors import RunBusy, RunError, RunNotFound
from toolrail.messages import Message
from toolrail.opening import LEASE_SECONDS
from toolrail.ports import Ports, log
from toolrail.stages.claim import STORE_SECONDS
from toolrail.store import DropLease, LoadSession, Op, SaveSession, SessionRow, TakeLease

BYTES_PER_TOKEN = 3
"""A cautious guess for any language and tokenizer."""


@dataclass(slots=True)
class Conversed:
    """A session's messages while one run holds it."""

    messages: list[Message]
    created: float


@asynccontextmanager
async def held_session(ports: Ports, name: str, *, principal: Principal, provider: str) -> AsyncGenerator[Conversed]:
    """Takes the session for one run, gives its messages, and stores them at the end, however the run ended.

    Raises:
        RunBusy: another run holds it.
        RunNotFound: it belongs to another principal.
        RunError: it was held with another provider, whose messages this one does not speak.
    """
    lease = _Lease(ports, principal.tenant, f"session:{name}", ports.clock.new_id("hold"))
    try:
        taken, row = await _to_the_end(ports, lease.take(), LoadSession(principal.tenant, name))
        _check(row, name, taken=taken, principal=principal, provider=provider)
        conversed = Conversed(json.loads(row.messages) if row else [], row.created if row else ports.clock.wall())
    except BaseException:
        # Also when it was cancelled: the lease may have been taken all the same.
        await _to_the_end(ports, lease.drop())
        raise
    renewal = asyncio.get_running_loop().create_task(lease.renew())
    try:
        yield conversed
    finally:
        renewal.cancel()
        tenant, created = principal.tenant, conversed.created
        text = json.dumps(conversed.messages)  # in ASCII: a lone surrogate stays readable and breaks no store
        row = SessionRow(tenant, name, principal.id, provider, text, created, ports.clock.wall())
        await _to_the_end(ports, SaveSession(row), lease.drop())


@dataclass(frozen=True, slots=True)
class _Lease:
    """The right to work on one session."""

    ports: Ports
    tenant: str
    name: str
    holder: str

    def take(self) -> TakeLease:
        now = self.ports.clock.wall()
        return TakeLease(self.tenant, self.name, self.holder, now, now + LEASE_SECONDS)

    def drop(self) -> DropLease:
        return DropLease(self.tenant, self.name, self.holder)

    async def renew(self) -> None:
        """Until it is cancelled: a run may take longer than a lease."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await self.ports.store.apply(self.take())
            except Exception:
                log.warning("The lease of %s could not be renewed.", self.name, exc_info=True)


async def _to_the_end(ports: Ports, *ops: Op[Any]) -> list[Any]:
    """One transaction that a cancellation does not stop: it is waited for, and the cancellation goes on after it."""
    work = ports.own(ports.store.apply(*ops))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work], timeout=STORE_SECONDS)
        raise


def _check(row: SessionRow | None, name: str, *, taken: bool, principal: Principal, provider: str) -> None:
    if row is not None and row.principal != principal.id:
        raise RunNotFound(f"There is no session {name!r}.")
    if not taken:
        raise RunBusy(f"Session {name!r} is held by another run. Try again when it is done.")
    if row is not None and row.provider != provider:
        raise RunError(
            f"Session {name!r} was held with {row.provider}; this model speaks {provider}. Begin a new session."
        )


def trimmed(messages: Sequence[Message], max_tokens: int) -> list[Message]:
    """The newest part of a conversation that fits, cut only where a user begins to speak, so that no call loses its
    result. The last such part always stays, even when it is too large by itself."""
    sizes = [len(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")) for message in messages]
    starts = [at for at, message in enumerate(messages) if begins(message)]
    room = max_tokens * BYTES_PER_TOKEN
    for start in starts:
        if sum(sizes[start:]) <= room:
            return list(messages[start:])
    return list(messages[starts[-1] :]) if starts else list(messages)


def begins(message: Message) -> bool:
    """Whether this is a user speaking, and not results of calls in a user's message."""
    if message.get("role") != "user":
        return False
    content: Any = message.get("content")
    parts = cast("list[Any]", content) if isinstance(content, list) else []
    return not any(isinstance(part, dict) and cast("Message", part).get("type") == "tool_result" for part in parts)
