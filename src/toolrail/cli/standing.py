"""Calls whose outcome is open: they may be running, wait for another system, or nobody knows what became of them."""

from __future__ import annotations

from typing import Literal

from toolrail.cli.lines import short_id
from toolrail.effects import TRANSACTION
from toolrail.store import CallRow

Standing = Literal["under_way", "waiting", "unknown", "not_committed", "died"]

LOUD: dict[Standing, tuple[str, str]] = {
    "under_way": ("UNDER WAY", "yellow"),
    "waiting": ("WAITING", "yellow"),
    "unknown": ("OUTCOME UNKNOWN", "red"),
    "not_committed": ("DID NOTHING", "yellow"),
    "died": ("ENDED WITH ITS PROCESS", "yellow"),
}
"""A word that is not overlooked, and its colour."""
HINTED = ("unknown", "waiting")
"""What a person can settle."""
_WORDS: dict[Standing, str] = {
    "under_way": "started, not settled yet",
    "waiting": "for another system",
    "unknown": "started, not settled: the outcome is unknown",
    "not_committed": "its process died before it committed",
    "died": "it may have taken effect; no later call waits for that, because its effect is not declared",
}
OPEN: tuple[Standing, ...] = ("unknown", "waiting", "under_way")
"""What is not settled and stands in the way of other calls."""
_NEXT = {
    "keyed": "the next same call repeats it under its old key",
    "idempotent": "the next same call repeats it under its old key",
    "verified": "the next same call asks the other side first",
}
ABANDONED = "abandoned"
"""Flag of a row whose call was answered while a thread of it was at work."""
AT_WORK = "a thread of it may still be at work in its process"


def standing(call: CallRow, now: float) -> Standing | None:
    """How a call stands at the wall time `now`; None when it is settled, or was never started."""
    if call.state == "waiting":
        return "waiting"
    if call.state not in ("started", "unknown"):
        return None
    lapsed = call.lease_until is not None and now > call.lease_until
    if call.state == "started" and not lapsed:
        return "under_way"
    if call.state == "started" and call.flags == TRANSACTION:
        return "not_committed"
    return "died" if call.state == "started" and call.effect == "undeclared" else "unknown"


def next_of(call: CallRow) -> str:
    """What becomes of an unknown outcome when the same call is made again."""
    return next_after(call.effect)


def next_after(effect: str | None) -> str:
    """The same, by the class of the effect."""
    return _NEXT.get(effect or "", "it will not be repeated")


def meaning_of(call: CallRow, found: Standing) -> str:
    """What an open outcome means, in a few words."""
    meaning = "it may have taken effect" if call.state == "unknown" else _WORDS[found]
    if found == "unknown":
        meaning = f"{meaning}; {next_of(call)}"
    return f"{meaning}; {AT_WORK}" if ABANDONED in call.flags else meaning


def short_key(row: CallRow) -> str:
    """Enough of a call's key to name it on the command line."""
    return short_of(row.key, row.run)


def short_of(key: str, run: str) -> str:
    """The same, of a key and its run."""
    rest = key.removeprefix(run)
    return short_id(run) + rest if rest != key else key


def settlement_of(call: CallRow) -> str:
    """Who settled it by hand, and why; empty where nobody did."""
    said = {name: text for flag in call.flags for name, colon, text in [flag.partition(":")] if colon}
    if "by_hand" not in call.flags:
        return ""
    note = f": {said['note']}" if "note" in said else ""
    return f"{said.get('by', 'a person')}{note}"
