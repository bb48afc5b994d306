"""A session: one conversation over many runs, stored, held by one run at a time, trimmed without breaking pairs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from toolrail.decisions import Principal
from toolrail.errors import RunBusy, RunError, RunNotFound
from toolrail.leases import BUSY, Lease, to_the_end
from toolrail.messages import Message
from toolrail.ports import Ports
from toolrail.store import LoadSession, SaveSession, SessionRow

PREFIX = "session:"
PARKED = "@run:"
"""Before a run's id: the name under which its messages are kept while it is suspended, if it has no session."""
BYTES_PER_TOKEN = 3
"""A cautious guess for any language and tokenizer."""
LEAST_RESULT = 1024


class Conversed:
    """A session's messages while one run holds it."""

    def __init__(self, lease: Lease, row: SessionRow | None, *, principal: Principal, provider: str) -> None:
        self._lease = lease
        self._principal = principal
        self._provider = provider
        self.over = False
        """Nothing of it is needed any more."""
        self._created = row.created if row else lease.ports.clock.wall()
        self.messages: list[Message] = json.loads(row.messages) if row else []

    def save(self) -> SaveSession:
        """Keeps the messages as they are now."""
        lease, who = self._lease, self._principal.id
        # In ASCII: a lone surrogate stays readable and breaks no store.
        text = "[]" if self.over else json.dumps(self.messages)
        name, wall = lease.name.removeprefix(PREFIX), lease.ports.clock.wall()
        return SaveSession(SessionRow(lease.tenant, name, who, self._provider, text, self._created, wall))


def parking(
    ports: Ports, messages: list[Message], *, run_id: str, principal: Principal, provider: str
) -> Callable[[], SaveSession]:
    """What keeps the conversation of a run without a session, once it is suspended."""

    def keep() -> SaveSession:
        lease = Lease(ports, principal.tenant, f"{PREFIX}{PARKED}{run_id}", run_id)
        conversed = Conversed(lease, None, principal=principal, provider=provider)
        conversed.messages = messages
        return conversed.save()

    return keep


@asynccontextmanager
async def held_session(ports: Ports, name: str, *, principal: Principal, provider: str) -> AsyncGenerator[Conversed]:
    """Takes the session for one run, gives its messages, and stores them at the end, however the run ended.

    Raises:
        RunBusy: another run holds it.
        RunNotFound: it belongs to another principal.
        RunError: it was held with another provider, whose messages this one does not speak.
    """
    lease = Lease(ports, principal.tenant, PREFIX + name, ports.clock.new_id("hold"))
    try:
        taken, row = await to_the_end(ports, lease.take(), LoadSession(principal.tenant, name))
        _check(row, name, taken=taken, principal=principal, provider=provider)
        conversed = Conversed(lease, row, principal=principal, provider=provider)
    except BaseException:
        # Also when it was cancelled: the lease may have been taken all the same.
        await to_the_end(ports, lease.drop())
        raise
    renewal = lease.kept()
    try:
        yield conversed
    finally:
        renewal.cancel()
        await to_the_end(ports, conversed.save(), lease.drop())


def _check(row: SessionRow | None, name: str, *, taken: bool, principal: Principal, provider: str) -> None:
    if row is not None and row.principal != principal.id:
        raise RunNotFound(f"There is no {_called(name)}.")
    if not taken:
        said = _called(name)
        raise RunBusy(f"{said[0].upper()}{said[1:]} {BUSY}")
    if row is not None and row.provider != provider:
        said, mend = _called(name), "Begin a new one" if name.startswith(PARKED) else "Begin a new session"
        raise RunError(
            f"{said[0].upper()}{said[1:]} was held with {row.provider}; this model speaks {provider}. {mend}."
        )


def _called(name: str) -> str:
    """What its user calls it: the session of a run without one bears that run's name."""
    return f"run {name.removeprefix(PARKED)!r}" if name.startswith(PARKED) else f"session {name!r}"


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


def result_cap(context_tokens: int | None, share: float | None) -> int | None:
    """Bytes of one result, as its share of the model's context; never so few that a preview makes no sense."""
    if context_tokens is None or share is None:
        return None
    return max(LEAST_RESULT, int(context_tokens * share * BYTES_PER_TOKEN))


def begins(message: Message) -> bool:
    """Whether this is a user speaking, and not results of calls in a user's message."""
    if message.get("role") != "user":
        return False
    content: Any = message.get("content")
    parts = cast("list[Any]", content) if isinstance(content, list) else []
    return not any(isinstance(part, dict) and cast("Message", part).get("type") == "tool_result" for part in parts)
