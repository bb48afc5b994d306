"""The ledger once more, followed commit by commit: whose outcome was unknown when the next call was claimed."""

from __future__ import annotations

from tests.simulation.disk import Change
from tests.simulation.stage import Stage
from tests.simulation.world import Visit


def no_repeat_after_unknown(stage: Stage) -> None:
    """While a call's outcome is unknown, only one that goes on under its key may begin. For tools without a declared
    key; for the others two effects would show it."""
    shadow = Shadow(stage)
    for change in stage.disk.changes:
        if change.kind == "settled":
            shadow.settled(change.row.key, change.row.state)
        else:
            shadow.claimed(change)


class Shadow:
    """What is known of each call after some commits."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._visits = {
            visit.call_key: visit
            for visit in stage.world.visits
            if visit.scope is None and visit.kind not in ("read", "undeclared")
        }
        self._claims: dict[str, Change] = {}
        self._states: dict[str, str] = {}
        self._repeats: dict[str, str] = {}
        """The call that each one took over."""

    def claimed(self, change: Change) -> None:
        """A call begins."""
        key, over = change.row.key, change.over
        self._claims[key] = change
        self._states[key] = "started"
        if over is not None and over != key:
            self._states[over] = "repeated"
            self._repeats[key] = over
        mine = self._visits.get(key)
        if mine is not None and not self._goes_on(mine, over):
            for other in self._unknown_beside(mine, change.now):
                self._stage.history.breaks("no repeat after unknown", f"{key} ({mine.tool}) beside {other}")

    def _goes_on(self, mine: Visit, over: str | None) -> bool:
        """It took over another's unknown outcome, with its key where the world goes by that."""
        if over is None or mine.kind != "keyed":
            return over is not None
        return over in self._claims and self._claims[over].row.idempotency_key == mine.key

    def _unknown_beside(self, mine: Visit, now: float) -> list[str]:
        same = [key for key, one in self._visits.items() if one.same == mine.same and key != mine.call_key]
        return [key for key in same if self._unknown(key, now)]

    def _unknown(self, key: str, now: float) -> bool:
        state = self._states.get(key)
        lease = self._claims[key].row.lease_until if key in self._claims else None
        return state == "unknown" or (state == "started" and lease is not None and now > lease)

    def settled(self, key: str, state: str) -> None:
        """A call ends, and with it those that it repeats."""
        self._states[key] = state
        before = self._repeats.get(key)
        if state == "failed":
            self._repeats.pop(key, None)
            if before is not None and self._states.get(before) == "repeated":
                self._states[before] = "unknown"
        while state == "done" and before is not None:
            if self._states.get(before) == "repeated":
                self._states[before] = "done"
            before = self._repeats.get(before)
