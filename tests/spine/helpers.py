"""Small makers for the spine's tests: calls, recorded rails, batches on simulated or real time, stores that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from toolrail.decisions import ANONYMOUS, Principal
from toolrail.definition import Tool
from toolrail.events import CallSettled
from toolrail.limits import RunLimits
from toolrail.messages import ToolCall, ToolResult
from toolrail.rail import Rail
from toolrail.store import Claim, FindEffect, Op, Settle
from toolrail.stores.memory import MemoryStore
from toolrail.testing import FixedClock, Recorder, run_virtual

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

ALICE = Principal("alice", frozenset({"orders:read", "orders:write"}))


def call(name: str, arguments: Mapping[str, Any] | str | None = None, *, id: str = "") -> ToolCall:
    """One call; its id is made of the name unless given."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return ToolCall(id or f"call-{name}", name, text)


def said(result: ToolResult) -> dict[str, Any]:
    """What the model was told in place of a result."""
    return json.loads(result.content)


def rail_of(*tools: Tool[Any], **ports: Any) -> tuple[Rail[Any], Recorder]:
    """A rail with a recorder as its only sink, and a clock that is the same each time."""
    recorder = Recorder()
    options: dict[str, Any] = {"sinks": [recorder], "clock": FixedClock(), **ports}
    return Rail(tools, **options), recorder


def virtually(rail: Rail[Any], calls: Sequence[ToolCall], **options: Any) -> list[ToolResult]:
    """One batch of one run, in simulated time."""
    return run_virtual(in_run(rail, calls, **options))


def really(rail: Rail[Any], calls: Sequence[ToolCall], **options: Any) -> list[ToolResult]:
    """One batch of one run, in real time: for sync handlers that hang."""
    return asyncio.run(in_run(rail, calls, **options))


async def in_run(
    rail: Rail[Any],
    calls: Sequence[ToolCall],
    *,
    principal: Principal = ANONYMOUS,
    deps: Any = None,
    limits: RunLimits | None = None,
    truncated: bool = False,
) -> list[ToolResult]:
    async with rail.run([], principal=principal, deps=deps, limits=limits) as run:
        return await rail.batch(calls, run, truncated=truncated)


def settled(recorder: Recorder) -> list[CallSettled]:
    return recorder.of(CallSettled)


def codes(results: Iterable[ToolResult]) -> list[str]:
    """The code of each, `ok` where there is none."""
    return [result.code.value if result.code else result.status for result in results]


async def leftover_tasks() -> set[str]:
    """The tasks that still live beside the caller's own, once everything that is about to end has ended."""
    for _ in range(10):
        await asyncio.sleep(0)
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


Trouble = Literal["raises", "hangs"]


class BrokenStore(MemoryStore):
    """Fails at one kind of operation, by an exception or by never answering."""

    def __init__(self, at: type[Op], trouble: Trouble, *, durable: bool = False) -> None:
        super().__init__()
        self.at = at
        self.trouble = trouble
        self.durable = durable

    async def apply(self, *ops: Op) -> list[Any]:
        if any(isinstance(op, self.at) for op in ops):
            if self.trouble == "hangs":
                await asyncio.Event().wait()
            raise ConnectionError("disk s3cr3t-value")
        return await super().apply(*ops)


class CountingStore(MemoryStore):
    """Remembers which operations it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def apply(self, *ops: Op) -> list[Any]:
        self.asked += [type(op).__name__ for op in ops if isinstance(op, (Claim, FindEffect, Settle))]
        return await super().apply(*ops)
