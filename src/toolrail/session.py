"""A session: one conversation over many runs, stored, held by one run at a time, trimmed without breaking pairs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from toolrail.decisions import Principal
from toolrail.errors import RunBusy, RunError, RunNotFound
from toolrail.messages import Message
from toolrail.opening import LEASE_SECONDS
from toolrail.ports import Ports
from toolrail.store import DropLease, LoadSession, SaveSession, SessionRow, TakeLease, ask

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
    holder, now = ports.clock.new_id("hold"), ports.clock.wall()
    lease = f"session:{name}"
    if not await ask(ports.store, TakeLease(principal.tenant, lease, holder, now, now + LEASE_SECONDS)):
        raise RunBusy(f"Session {name!r} is held by another run. Try again when it is done.")
    drop = DropLease(principal.tenant, lease, holder)
    try:
        row = await ask(ports.store, LoadSession(principal.tenant, name))
        _check(row, name, principal=principal, provider=provider)
        conversed = Conversed(json.loads(row.messages) if row else [], row.created if row else now)
    except BaseException:
        await ports.own(ports.store.apply(drop))
        raise
    try:
        yield conversed
    finally:
        save = SaveSession(
            SessionRow(
                principal.tenant,
                name,
                principal.id,
                provider,
                json.dumps(conversed.messages, ensure_ascii=False),
                conversed.created,
                ports.clock.wall(),
            )
        )
        await ports.own(ports.store.apply(save, drop))


def _check(row: SessionRow | None, name: str, *, principal: Principal, provider: str) -> None:
    if row is None:
        return
    if row.principal != principal.id:
        raise RunNotFound(f"There is no session {name!r}.")
    if row.provider != provider:
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
