"""Loop memory: which calls of a run had the same result again, and which tools fail in the same way turn after turn.

Counted is each call by itself, so that ping-pong between two calls is found like one call that comes again and again.
The calls of one turn count once: they were made before any of their results was read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.digests import blake2b
from toolrail.messages import ToolResult
from toolrail.wording import NOT_AGAIN, NOT_MADE, REPEATED, SAME_ERROR, TRY_ANOTHER, TRY_OTHERWISE, told

if TYPE_CHECKING:
    from toolrail.run import Job, Run

KEPT = 256
"""Calls that are remembered; beyond it the older half is forgotten."""
SHORT = 256
"""Longer texts are remembered by their digest."""
NO_RESULT = frozenset(
    {
        Code.LIMIT_REACHED,
        Code.LOOP_DETECTED,
        Code.RATE_LIMITED,
        Code.CIRCUIT_OPEN,
        Code.CANCELLED,
        Code.SHUTTING_DOWN,
        Code.APPROVAL_PENDING,
        Code.WAITING,
    }
)
"""Answers that say nothing about what the call would have done."""
_CALL, _ERROR = "same:", "error:"
_DIGEST = 17
"""The length of a digest."""
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(slots=True)
class Seen:
    """What came of a call, or of a tool that fails, and how often in a row."""

    result: str
    count: int
    turn: str
    """The turn (or the batch beside the turns) that was counted last."""
    started: bool = True
    """Of a tool that fails: its handler had run. Only then it is refused, or mended arguments would be too."""

    def again(self, result: str, turn: str) -> None:
        """Counts once more, once in a turn; another result begins afresh."""
        if result != self.result:
            self.result, self.count, self.turn = result, 1, turn
        elif turn != self.turn:
            self.count, self.turn = self.count + 1, turn


class LoopMemory:
    """The memory of one run. Pure: it is told of results, and answers how often they have come.

    `stable` makes it remember digests alone, so that it can be written into a `RunState`. Else a result that is new is
    remembered as it is, and arguments are compared in canonical form only when their result was seen before.
    """

    __slots__ = ("_calls", "_errors", "_last", "_repeating", "_stable", "calm", "first", "found", "off")

    def __init__(self, kept: Mapping[str, int], *, stable: bool = False, off: bool = False) -> None:
        self.off = off
        self.found = False
        """A call was refused as a loop, or would have been had it not been answered before."""
        self.first: dict[tuple[str, str], tuple[str, str]] = {}
        """By tool and result: the first call's arguments, and its key."""
        self._stable = stable
        self._calls: dict[str, Seen] = {}
        """By tool and arguments."""
        self._errors: dict[str, Seen] = {}
        """By tool."""
        self._repeating: set[str] = set()
        """Tools that some call in `_calls` is of: a result of theirs is compared with what the same call had before."""
        self._last = ("", "", "")
        self._read(kept)
        self.calm = not (stable or off)
        """Nothing came again yet, so a success whose result is new says all by itself."""

    def note(self, tool: str, arguments: str, *, result: str, key: str) -> int:
        """Counts a call's result; answers how often in a row the call has had it. Its `key` names the turn."""
        result = self._text(result)
        if not self._stable and tool not in self._repeating and (tool, result) not in self.first:
            if len(self.first) >= KEPT:
                _forget_half(self.first)
            self.first[tool, result] = (arguments, key)
            return 1
        self.calm = False
        return self._again(tool, arguments, result, turn_of(key))

    def _again(self, tool: str, arguments: str, result: str, turn: str) -> int:
        name = self._name(tool, arguments)
        seen = self._calls.pop(name, None)
        if seen is None:
            self._recall_first(tool, result)
            seen = self._calls.pop(name, None) or Seen(result, 1, turn)
        seen.again(result, turn)
        self._put(name, seen)
        return seen.count

    def _recall_first(self, tool: str, result: str) -> None:
        """What was only taken in at a glance is now remembered by its arguments."""
        if len(self._repeating) >= KEPT:
            self._repeating.clear()
        self._repeating.add(tool)
        first = self.first.pop((tool, result), None)
        if first is not None:
            self._put(self._name(tool, first[0]), Seen(result, 1, turn_of(first[1])))

    def _put(self, name: str, seen: Seen) -> None:
        """The latest stands last: what comes again is not forgotten for what came once."""
        if len(self._calls) >= KEPT:
            _forget_half(self._calls)
        self._calls[name] = seen

    def failed(self, tool: str, error: str, *, key: str, started: bool) -> int:
        """Counts a tool's error; answers in how many turns it came, without a success of the tool in between."""
        self.calm = False
        error = self._text(error)
        seen = self._errors.pop(tool, None) or Seen(error, 0, "")
        seen.again(error, turn_of(key))
        seen.started = started
        if len(self._errors) >= KEPT:
            _forget_half(self._errors)
        self._errors[tool] = seen
        return seen.count

    def succeeded(self, tool: str) -> None:
        """The tool works: what it failed with before is past."""
        self._errors.pop(tool, None)

    def count_of(self, tool: str, arguments: str) -> int:
        """How often in a row this call has had the same result, if it came again at all."""
        if not self._stable and tool not in self._repeating:
            return 0
        seen = self._calls.get(self._name(tool, arguments)) if self._calls else None
        return 0 if seen is None else seen.count

    def errors_of(self, tool: str) -> int:
        """In how many turns in a row this tool's handler has failed in the same way."""
        seen = self._errors.get(tool)
        return seen.count if seen is not None and seen.started else 0

    def write(self, kept: dict[str, int]) -> None:
        """Puts the memory, as digests and counts, among the run's counters. What came once only a stable one has."""
        for name in [name for name in kept if name.startswith((_CALL, _ERROR))]:
            del kept[name]
        for name, seen in self._calls.items():
            kept[f"{_CALL}{_fixed(name)}:{_fixed(seen.result)}"] = seen.count
        for tool, seen in self._errors.items():
            kept[f"{_ERROR}{int(seen.started)}:{_fixed(seen.result)}:{tool}"] = seen.count

    def _read(self, kept: Mapping[str, int]) -> None:
        for name, count in kept.items():
            if name.startswith(_CALL):
                call, _, result = name.removeprefix(_CALL).partition(":")
                self._calls[call] = Seen(result, count, "")
            elif name.startswith(_ERROR):
                started, result, tool = name.removeprefix(_ERROR).split(":", 2)
                self._errors[tool] = Seen(result, count, "", started == "1")

    def _name(self, tool: str, arguments: str) -> str:
        """What a call is remembered by. `refusal` and `note` ask for the same one in turn."""
        if self._last[0] != tool or self._last[1] != arguments:
            self._last = (tool, arguments, self._text(f"{tool}\0{canonical(arguments)}"))
        return self._last[2]

    def _text(self, text: str) -> str:
        return _fixed(text) if self._stable or len(text) > SHORT else text


def _fixed(text: str) -> str:
    """A text's digest; one that is a digest already stays."""
    return text if len(text) == _DIGEST and text[0] == "#" else f"#{blake2b(text, 8)}"


def turn_of(key: str) -> str:
    """What the keys of one turn's calls have in common."""
    return key.rpartition(":")[0]


def _forget_half(memory: dict[Any, Any]) -> None:
    for key in list(islice(memory, len(memory) // 2)):
        del memory[key]


def canonical(arguments: str) -> str:
    """Arguments with sorted keys and without spaces; text that is no JSON as it is."""
    try:
        return _encode(json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments


def begin(run: Run[Any]) -> LoopMemory:
    """The memory of a run, with what its state remembers. Only a state that may be read again needs digests."""
    off = run.limits.repeat_hint is None and run.limits.repeat_refuse is None
    run.loops = LoopMemory(run.state.loop, stable=run.named or run.ports.store.durable, off=off)
    return run.loops


def note(job: Job, result: ToolResult) -> ToolResult:
    """Counts a call's result, replayed ones too; the result, with a hint for the model when it comes again and again.

    The hint is not stored: another call may be answered with the same result.
    """
    memory = job.run.loops or begin(job.run)
    if memory.calm and result.code is None:
        call, first = job.call, memory.first
        what = (call.name, result.content)
        if what not in first and len(first) < KEPT and len(result.content) <= SHORT:
            first[what] = (call.arguments, job.key)
            return result
    return _noted(job, result, memory)


def _noted(job: Job, result: ToolResult, memory: LoopMemory) -> ToolResult:
    tool, name = job.tool, job.call.name
    if memory.off or result.code in NO_RESULT or (tool is not None and tool.polling):
        return result
    text = result.content if job.reference is None else result.content.replace(job.reference, "")  # new each time
    count, errors = memory.note(name, job.call.arguments, result=text, key=job.key), 0
    if result.code is None:
        memory.succeeded(name)
    else:
        errors = memory.failed(name, text, key=job.key, started=result.started)
    limits, most = job.run.limits, max(count, errors)
    if limits.repeat_refuse is not None and most > limits.repeat_refuse:
        memory.found = True
    if limits.repeat_hint is None or most < limits.repeat_hint:
        return result
    hint = _words(name, count, errors) + (TRY_OTHERWISE if count >= errors else TRY_ANOTHER)
    return replace(result, content=told(result.content, hint, key="hint"), flags=(*result.flags, "repeated"))


def refusal(job: Job, tool: Tool[Any]) -> ToolResult | None:
    """The refusal of a call that had the same result too often, or of a tool that fails in the same way each time."""
    memory, most = job.run.loops or begin(job.run), job.run.limits.repeat_refuse
    if most is None or tool.polling:
        return None
    count, errors = memory.count_of(tool.name, job.call.arguments), memory.errors_of(tool.name)
    if max(count, errors) < most:
        return None
    memory.found = True
    refused = NOT_AGAIN if count >= errors else NOT_MADE
    values = {"text": _words(tool.name, count, errors) + refused, "count": max(count, errors)}
    return job.ports.refuse(job, Code.LOOP_DETECTED, values=values)


def _words(tool: str, count: int, errors: int) -> str:
    return REPEATED.format(count=count) if count >= errors else SAME_ERROR.format(tool=tool, count=errors)
