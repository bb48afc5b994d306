"""Shutting down: no new calls, those under way end or expire, everything is written, within a bound."""

from __future__ import annotations

import asyncio
from typing import Any

from toolrail.ports import Ports, log

LOOK = 0.01
"""Seconds between two looks at whether all calls have ended."""
FLUSH_SECONDS = 5.0


async def drain(ports: Ports, timeout: float) -> None:
    """New calls are answered SHUTTING_DOWN. After `timeout` seconds the handlers under way expire, as at a deadline:
    what is not safe to repeat becomes unknown. Returns after `timeout`, two graces and at most 5 s of writing."""
    work = ports.work
    work.closing = True
    if not await _quiet(ports, timeout):
        for driven in list(work.driven):
            driven.expire()
        if not await _quiet(ports, 2 * ports.limits.grace + 1.0):
            log.error("%d calls did not end while shutting down.", work.calls)
    if work.tasks:
        await asyncio.wait(set(work.tasks), timeout=FLUSH_SECONDS)
    await _flush(ports)
    ports.watchdog.close()


async def _flush(ports: Ports) -> None:
    """Sinks that keep something back write it now. Each bounds its own time, and what one cannot write is its loss."""
    for sink in ports.sinks:
        flush: Any = getattr(sink, "flush", None)
        if callable(flush):
            try:
                await asyncio.to_thread(flush)
            except Exception:
                log.warning("A sink failed to flush.", exc_info=True)


async def _quiet(ports: Ports, timeout: float) -> bool:
    end = ports.now() + timeout
    # An event would cost every call; this costs a shutdown 10 ms.
    while ports.work.calls and ports.now() < end:  # noqa: ASYNC110
        await asyncio.sleep(LOOK)
    return not ports.work.calls
