"""Spans of time on the command line: `--since 2h`, `--since 2026-11-22`, `--since 09:30`."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime, timedelta

from toolrail.records.views import Window

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d{1,7})([smhdw])")
_CLOCK = re.compile(r"\d{1,2}:\d{2}")
_FORMS = "30m, 2h, 3d, 1w, 09:30, 2026-11-22 or 2026-11-22T09:30"
LEEWAY = 60.0
"""Seconds beyond now that a window reaches, for writers whose clocks are ahead."""


def since(text: str) -> float:
    """A moment in the past, in seconds since the epoch: `90s 30m 2h 3d 1w` ago, a time of today, a date, or both.

    Raises:
        argparse.ArgumentTypeError: it is none, or lies in the future.
    """
    now = time.time()
    moment = _moment(text.strip(), now)
    if moment is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 30m, 2h, 3d, 09:30, 2026-11-22 or 2026-11-22T09:30"
        )
    if moment > now:
        raise argparse.ArgumentTypeError(f"{text!r} lies in the future")
    return max(moment, 0.0)


def _moment(text: str, now: float) -> float | None:
    if ago := _AGO.fullmatch(text):
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        if _CLOCK.fullmatch(text):
            hours, minutes = text.split(":")
            return (
                datetime.fromtimestamp(now)
                .replace(hour=int(hours), minute=int(minutes), second=0, microsecond=0)
                .timestamp()
            )
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def since_argument(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Declares `--since`."""
    said = f" (default: {default})" if default else ""
    parser.add_argument(
        "--since",
        type=since,
        metavar="TIME",
        default=None if default is None else since(default),
        help=f"{_FORMS}{said}",
    )


def window(start: float) -> Window:
    """From a moment until now."""
    return Window(start, time.time() + LEEWAY)


def days(start: float, now: float) -> list[tuple[str, Window]]:
    """The local days from one moment to another, the newest first, each by its date."""
    day = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    found: list[tuple[str, Window]] = []
    while True:
        span = Window(max(start, day.timestamp()), (day + timedelta(days=1)).timestamp())
        found.append((day.strftime("%Y-%m-%d"), span))
        if day.timestamp() <= start:
            return found
        day -= timedelta(days=1)
