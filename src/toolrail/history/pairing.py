"""Which result belongs to which call of a broken history, and under which id: the same for every provider."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MAX_ID = 40


@dataclass(frozen=True, slots=True)
class Result:
    """A result where it stood in the history."""

    at: int
    turn: int | None
    """The turn whose calls it answers by its place."""
    id: str
    wire: Mapping[str, Any]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A call where it stood in the history."""

    at: int
    turn: int
    """Results of the same turn, behind the call, are in place."""
    id: str
    kind: str = ""

    def answered_in_place_by(self, result: Result) -> bool:
        """Whether a result of the call may stay where it is."""
        return self.turn == result.turn and self.at < result.at


class Pairing:
    """Each call with the id that it has from now on and its result, if there is one, and notes of what was done.

    Ids alone do not tell: some servers send empty ones, or the same one twice. So place comes first: a result answers
    the first call of its id in its own turn. One that is out of place goes to the only call of its id, or to the
    nearest one before it.
    """

    __slots__ = ("_at", "_result_of", "_same", "_turn", "calls", "ids", "notes", "results")

    def __init__(self, calls: Sequence[Call], results: Sequence[Result], *, allowed: str = ".+") -> None:
        self.calls, self.results = calls, results
        self.notes: list[tuple[int, str]] = []
        self.ids: list[str] = []
        self._same: dict[tuple[str, str], list[int]] = {}
        self._turn: dict[int, list[int]] = {}
        self._at: dict[int, list[int]] = {}
        for index, call in enumerate(calls):
            self._same.setdefault((call.kind, call.id), []).append(index)
            self._turn.setdefault(call.turn, []).append(index)
            self._at.setdefault(call.at, []).append(index)
        self._result_of: dict[int, int] = {}
        self._rename(allowed)
        self._pair()

    def ids_at(self, position: int) -> list[str]:
        """The ids of the calls of one message, in their order."""
        return [self.ids[index] for index in self._at.get(position, ())]

    def answered(self) -> list[tuple[int, Result]]:
        """The calls that have a result, with it."""
        return [(call, self.results[result]) for call, result in self._result_of.items()]

    def settle(self, turn: int) -> list[tuple[int, Result | None]]:
        """The turn's calls with their results: those in place in their own order, then the moved and the missing."""
        in_place: list[tuple[int, int]] = []
        others: list[tuple[int, Result | None]] = []
        for index in self._turn.get(turn, ()):
            call, found = self.calls[index], self._result_of.get(index)
            if found is None:
                others.append((index, None))
                self.note(call.at, "a call without a result got a placeholder")
            elif call.answered_in_place_by(self.results[found]):
                in_place.append((found, index))
            else:
                others.append((index, self.results[found]))
                self.note(self.results[found].at, "a result was moved to its call")
        return [(index, self.results[found]) for found, index in sorted(in_place)] + others

    def note(self, at: int, text: str) -> None:
        """Say what was done, and at which position of the input."""
        self.notes.append((at, text))

    def _rename(self, allowed: str) -> None:
        """The first call of an id keeps it, if the provider allows it; the others get new ones."""
        taken = {call.id for call in self.calls}
        used: set[str] = set()
        for call in self.calls:
            name = call.id
            if name in used or not re.fullmatch(allowed, name, re.DOTALL):
                name = _fresh(name, taken)
                self.note(call.at, "a call's id was empty, not allowed or not unique, and was renamed")
            used.add(name)
            taken.add(name)
            self.ids.append(name)

    def _pair(self) -> None:
        left = [index for index, result in enumerate(self.results) if not self._take(index, self._here(result))]
        for index in left:
            result = self.results[index]
            if not self._take(index, self._elsewhere(result)):
                known = (result.kind, result.id) in self._same
                what = "a second result for one call" if known else "a result that no call asked for"
                self.note(result.at, f"{what} was dropped")

    def _take(self, result: int, candidates: list[int]) -> bool:
        free = next((call for call in candidates if call not in self._result_of), None)
        if free is not None:
            self._result_of[free] = result
        return free is not None

    def _here(self, result: Result) -> list[int]:
        same = self._same.get((result.kind, result.id), [])
        return [index for index in same if self.calls[index].answered_in_place_by(result)]

    def _elsewhere(self, result: Result) -> list[int]:
        same = self._same.get((result.kind, result.id), [])
        return same if len(same) == 1 else [index for index in reversed(same) if self.calls[index].at < result.at]


def _fresh(name: str, taken: set[str]) -> str:
    base = re.sub(r"[^a-zA-Z0-9_-]", "_", name) or "call"
    count = 2
    while (fresh := f"{base[: _MAX_ID - len(str(count)) - 1]}_{count}") in taken:
        count += 1
    return fresh
