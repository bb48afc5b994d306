"""What stands out of a tool beside its errors: an open circuit, slower than before, made again, large results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolrail.cli.lines import size
from toolrail.dashboard.formats import seconds
from toolrail.records.views import ToolStats, Window

BEFORE = 6 * 3_600.0
"""Seconds before the window that it is compared with."""
LEAST = 5
"""Of fewer calls nothing is said, and of fewer than `COMPARED` nothing that is a comparison."""
COMPARED = 20
FACTOR, FLOOR = 2.0, 0.1
"""A p95 stands out that is so many times the one before, and so many seconds more; as in the alert `slower`."""
CIRCUIT = "open circuit"
SLOW = 10.0
"""Seconds at which a p95 stands out by itself."""
TRIES = 1.5
"""Attempts a call, on average."""
FAILING = 0.5
"""A share of errors from which on that its calls are tried again is not what stands out."""
LARGE = 16 * 1024
"""Bytes of a result, on average."""
A_TOKEN = 4
"""Bytes, roughly."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that stands out."""

    tool: str
    kind: str
    said: str
    means: str
    mend: str


def earlier(window: Window) -> Window:
    """What a window is compared with."""
    return Window(window.since - BEFORE, window.since)


def signs(now: Iterable[ToolStats], before: Iterable[ToolStats]) -> list[Sign]:
    """Of all tools.

    Example: `signs(records.tools(window), records.tools(earlier(window)))`
    """
    known = {tool.tool: tool for tool in before}
    return [sign for tool in now if tool.calls >= LEAST for sign in _of(tool, known.get(tool.tool))]


def _of(tool: ToolStats, before: ToolStats | None) -> Iterator[Sign]:
    if tool.circuit == "open":
        yield Sign(
            tool.tool,
            CIRCUIT,
            f"{tool.dependency!r} is not called any more",
            "Too many of its calls failed. Further ones are refused at once, and nothing runs, until one that is let "
            "through now and then succeeds.",
            "Look at the other side: the faults below name its exceptions. Then the circuit closes by itself.",
        )
    slow = _slow(tool, before)
    if slow:
        yield Sign(
            tool.tool,
            "slow",
            slow,
            "Calls succeed, but users wait for them.",
            "Open one of the calls, and from there its run: it shows whether the time went into the tool's code, "
            f"into further attempts or into waiting for a place. Then look at its dependency, {tool.dependency!r}.",
        )
    tries = tool.attempts / tool.calls
    if tries >= TRIES and tool.error_rate < FAILING:
        yield Sign(
            tool.tool,
            "retried",
            f"{tries:.1f} tries a call",
            f"Attempts fail, and are made again: its dependency, {tool.dependency!r}, is in trouble, and each call "
            "puts several times the load on it.",
            "Open one of the calls: each attempt names its exception. If the other side is overloaded, fewer "
            "attempts= or a rate= of the tool give it room.",
        )
    each = tool.result_bytes // tool.calls
    if each >= LARGE:
        yield Sign(
            tool.tool,
            "large results",
            f"{size(each)} a result, about {each // A_TOKEN:,} tokens",
            "The model reads all of it again in each later turn, and that is paid for. Results over "
            "RailLimits(result_bytes=...) reach it as a preview only.",
            "Let the tool return less: a page, a filter, only the fields that matter.",
        )


def _slow(tool: ToolStats, before: ToolStats | None) -> str:
    p95 = tool.latency.p95
    if p95 is None:
        return ""
    was = before.latency.p95 if before is not None and min(before.calls, tool.calls) >= COMPARED else None
    if was is not None and p95 >= max(was * FACTOR, was + FLOOR):
        return f"p95 {seconds(p95)}; it was {seconds(was)} in the 6 hours before"
    return f"p95 {seconds(p95)}" if p95 >= SLOW else ""
