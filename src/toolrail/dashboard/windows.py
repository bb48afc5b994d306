"""Which span of time a page shows: `?w=15m|1h|24h|7d`, the last hour unless told."""

from __future__ import annotations

import time

from starlette.requests import Request

from toolrail.records.views import Window

CHOICES = {"15m": (900, "15 minutes"), "1h": (3_600, "hour"), "24h": (86_400, "24 hours"), "7d": (604_800, "7 days")}
"""By what the address says: seconds, and words after "the last"."""
DEFAULT = "1h"


def chosen(request: Request) -> str:
    """The choice, or the default for one that is none."""
    given = request.query_params.get("w", DEFAULT)
    return given if given in CHOICES else DEFAULT


def window_of(request: Request) -> Window:
    """The span that ends now."""
    now = time.time()
    return Window(now - CHOICES[chosen(request)][0], now)


def words(request: Request) -> str:
    """For people: `hour`, `24 hours`."""
    return CHOICES[chosen(request)][1]
