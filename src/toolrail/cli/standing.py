"""Calls that were started and never settled: they may still be running, or nobody knows their outcome."""

from __future__ import annotations

from typing import Literal

from toolrail.cli.lines import Paint
from toolrail.store import CallRow

Standing = Literal["under_way", "unknown"]

_WORDS: dict[Standing, tuple[str, str]] = {
    "under_way": ("UNDER WAY", "started, not settled yet"),
    "unknown": ("OUTCOME UNKNOWN", "started, not settled: the outcome is unknown; it will not be repeated"),
}
_COLOURS: dict[Standing, str] = {"under_way": "yellow", "unknown": "red"}


def standing(call: CallRow, now: float) -> Standing | None:
    """What a row without a result stands for at the wall time `now`; None when it is settled, or was never started."""
    if call.status is not None or call.state not in ("started", "unknown"):
        return None
    lapsed = call.lease_until is not None and now > call.lease_until
    return "unknown" if lapsed or call.state == "unknown" else "under_way"


def words(found: Standing, paint: Paint) -> str:
    """The same as the last cell of a call's line, in words that are not overlooked."""
    loud, meaning = _WORDS[found]
    return paint(f"{loud}: {meaning}", _COLOURS[found])
