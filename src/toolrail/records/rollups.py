"""Sums of calls, model requests and runs by the minute, the hour and since the beginning: how they add up and pack."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from toolrail.codes import CODES
from toolrail.events import CallSettled, ModelSettled, RunEnded
from toolrail.messages import Usage
from toolrail.records.metrics import UNKNOWN, bin_of
from toolrail.records.schema import GRAINS, TOTAL

CLASSES: Final = ("argument", "dependency", "policy", "limit", "bug")
"""In the order of the columns `argument_errors` and so on."""
_CLASS_OF = {code: CODES[code].alert for code in CODES}
_WIDTHS = "BHIQ"
"""How wide the counts of a pack are: 1, 2, 4 or 8 bytes."""
_LONGEST = 64
"""Characters of a tool's or a model's name: a model or a server may have written it."""


def pack_bins(bins: Mapping[int, int]) -> bytes:
    """A sketch's bins in 3 to 10 bytes each: the width of the counts, all indexes, all counts.

    Example: `unpack_bins(pack_bins({-120: 3})) == {-120: 3}`
    """
    if not bins:
        return b""
    most = max(bins.values())
    width = 0 if most < 1 << 8 else 1 if most < 1 << 16 else 2 if most < 1 << 32 else 3
    return struct.pack(f"<B{len(bins)}h{len(bins)}{_WIDTHS[width]}", width, *bins, *bins.values())


def unpack_bins(packed: bytes) -> dict[int, int]:
    """The bins that were packed.

    Raises:
        ValueError: these are no packed bins.
    """
    if not packed:
        return {}
    try:
        width = packed[0]
        count = (len(packed) - 1) // (2 + (1 << width))
        found = struct.unpack(f"<{count}h{count}{_WIDTHS[width]}", packed[1:])
    except (IndexError, struct.error) as error:
        raise ValueError("These are no packed bins.") from error
    return dict(zip(found[:count], found[count:], strict=True))


def merge_bins(packs: Iterable[bytes]) -> dict[int, int]:
    """The sum of packed bins."""
    total: dict[int, int] = {}
    for packed in packs:
        add_counts(total, unpack_bins(packed))
    return total


def add_counts(to: dict[Any, int], counts: Mapping[Any, int]) -> None:
    """Adds counts by name or number."""
    for name, count in counts.items():
        to[name] = to.get(name, 0) + count


def starts_of(wall: float) -> tuple[tuple[int, int], ...]:
    """The grains and beginnings of the rows that count a moment."""
    whole = int(wall)
    return (*((grain, whole - whole % grain) for grain in GRAINS), (TOTAL, 0))


def rounded(size: int) -> int:
    """A number of calls as it is counted: over 1,000 rounded down to two digits, so that totals stay small."""
    step: int = 1 if size <= 1_000 else 10 ** (len(str(size)) - 2)
    return size - size % step


def named(name: str) -> str:
    """A name that may be the model's own, short enough for a row."""
    return name if len(name) <= _LONGEST else name[:_LONGEST]


@dataclass(slots=True)
class ToolSums:
    """Calls of one version of one tool that ended within a span."""

    dependency: str = ""
    calls: int = 0
    attempts: int = 0
    argument_bytes: int = 0
    result_bytes: int = 0
    replayed: int = 0
    seconds: float = 0.0
    classes: list[int] = field(default_factory=lambda: [0, 0, 0, 0, 0])
    codes: dict[str, int] = field(default_factory=dict[str, int])
    bins: dict[int, int] = field(default_factory=dict[int, int])

    def count(self, event: CallSettled) -> None:
        """Counts one call."""
        self.calls += 1
        self.attempts += event.attempts
        self.argument_bytes += event.argument_bytes
        self.result_bytes += event.result_bytes
        self.replayed += event.replayed
        self.seconds += event.seconds
        self.dependency = event.dependency
        at = bin_of(event.seconds)
        self.bins[at] = self.bins.get(at, 0) + 1
        if event.code is not None:
            self.codes[event.code.value] = self.codes.get(event.code.value, 0) + 1
            group = _CLASS_OF[event.code]
            if group != "none":
                self.classes[CLASSES.index(group)] += 1

    def add(self, other: ToolSums) -> None:
        """Adds those of another span, or of another process."""
        self.dependency = other.dependency or self.dependency
        self.calls += other.calls
        self.attempts += other.attempts
        self.argument_bytes += other.argument_bytes
        self.result_bytes += other.result_bytes
        self.replayed += other.replayed
        self.seconds += other.seconds
        self.classes = [mine + theirs for mine, theirs in zip(self.classes, other.classes, strict=True)]
        add_counts(self.codes, other.codes)
        add_counts(self.bins, other.bins)

    def row(self) -> tuple[Any, ...]:
        """The columns from `dependency` on."""
        codes = json.dumps(self.codes, separators=(",", ":"))
        sizes = (self.argument_bytes, self.result_bytes)
        counts = (self.calls, self.attempts, *sizes, self.replayed, self.seconds, *self.classes)
        return (self.dependency, *counts, codes, pack_bins(self.bins))

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> ToolSums:
        """Back from the columns."""
        made: Any = cls
        return made(*row[:7], list(row[7:12]), json.loads(row[12]), unpack_bins(row[13]))


@dataclass(slots=True)
class ModelSums:
    """Responses of one model, paid in one currency."""

    requests: int = 0
    attempts: int = 0
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0
    unpriced: int = 0
    bins: dict[int, int] = field(default_factory=dict[int, int])

    def count(self, event: ModelSettled, cost: float | None) -> None:
        """Counts one response; None: its price is unknown."""
        self.requests += 1
        self.attempts += event.attempts
        self.usage = self.usage + event.usage
        self.cost += cost or 0.0
        self.unpriced += cost is None
        if event.seconds is not None:
            self.seconds += event.seconds
            at = bin_of(event.seconds)
            self.bins[at] = self.bins.get(at, 0) + 1

    def add(self, other: ModelSums) -> None:
        """Adds those of another span, or of another process."""
        self.requests += other.requests
        self.attempts += other.attempts
        self.seconds += other.seconds
        self.usage = self.usage + other.usage
        self.cost += other.cost
        self.unpriced += other.unpriced
        add_counts(self.bins, other.bins)

    def row(self) -> tuple[Any, ...]:
        """The columns from `requests` on."""
        counts = (self.requests, self.attempts, self.seconds, *tokens(self.usage))
        return (*counts, self.cost, self.unpriced, pack_bins(self.bins))

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> ModelSums:
        """Back from the columns."""
        made: Any = cls
        return made(*row[:3], Usage(*row[3:8]), row[8], row[9], unpack_bins(row[10]))


@dataclass(slots=True)
class RunSums:
    """Runs that ended within a span. `sizes` counts runs by their calls, as `rounded`."""

    runs: int = 0
    calls: int = 0
    turns: int = 0
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict[str, int])
    sizes: dict[int, int] = field(default_factory=dict[int, int])

    def count(self, reason: str, *, calls: int, turns: int, seconds: float) -> None:
        """Counts one run."""
        self.runs += 1
        self.calls += calls
        self.turns += turns
        self.seconds += seconds
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        size = rounded(calls)
        self.sizes[size] = self.sizes.get(size, 0) + 1

    def add(self, other: RunSums) -> None:
        """Adds those of another span, or of another process."""
        self.runs += other.runs
        self.calls += other.calls
        self.turns += other.turns
        self.seconds += other.seconds
        add_counts(self.reasons, other.reasons)
        add_counts(self.sizes, other.sizes)

    def row(self) -> tuple[Any, ...]:
        """The columns from `runs` on."""
        return (self.runs, self.calls, self.turns, self.seconds, json.dumps(self.reasons), json.dumps(self.sizes))

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> RunSums:
        """Back from the columns."""
        sizes = {int(size): count for size, count in json.loads(row[5]).items()}
        made: Any = cls
        return made(*row[:4], json.loads(row[4]), sizes)


@dataclass(slots=True)
class Sums:
    """What one flush adds, by the minute; hours and totals are made of it."""

    tools: dict[tuple[int, str, str], ToolSums] = field(default_factory=dict[tuple[int, str, str], ToolSums])
    """By minute, tool and digest."""
    models: dict[tuple[int, str, str], ModelSums] = field(default_factory=dict[tuple[int, str, str], ModelSums])
    """By minute, model and currency."""
    runs: dict[int, RunSums] = field(default_factory=dict[int, RunSums])

    def call(self, event: CallSettled) -> None:
        """Counts a call that has ended."""
        tool = event.call.tool if event.call.digest else UNKNOWN
        key = (minute(event.head.wall), tool, event.call.digest)
        sums = self.tools.get(key)
        if sums is None:
            sums = self.tools[key] = ToolSums()
        sums.count(event)

    def model(self, event: ModelSettled, cost: float | None, currency: str) -> None:
        """Counts a response."""
        key = (minute(event.head.wall), named(event.model), currency)
        self.models.setdefault(key, ModelSums()).count(event, cost)

    def run(self, event: RunEnded, *, calls: int, turns: int, seconds: float) -> None:
        """Counts a run that has ended, with what of it was not counted before."""
        sums = self.runs.setdefault(minute(event.head.wall), RunSums())
        sums.count(event.reason, calls=calls, turns=turns, seconds=seconds)


def minute(wall: float) -> int:
    """The beginning of its minute."""
    whole = int(wall)
    return whole - whole % GRAINS[0]


def tokens(usage: Usage) -> tuple[int, int, int, int, int]:
    """In the order of the columns."""
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
