"""python -m tests.injection: every fault at every point, and what came of it in one line."""

from __future__ import annotations

import logging
import sys

from tests.injection.lives import faults_in, live
from tests.injection.probe import FAULTS


def main() -> int:
    """1 when something does not hold."""
    logging.getLogger("toolrail").addHandler(logging.NullHandler())
    points = live().points
    broken = 0
    for fault in FAULTS:
        for at, place in enumerate(points):
            found = faults_in(live(fault, at), fault)
            broken += bool(found)
            for what in found:
                print(f"{fault} at point {at} ({place}): {what}")
    said = "all hold" if not broken else f"{broken} do not hold"
    print(f"{len(points)} points x {len(FAULTS)} faults: {said}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
