"""What a command could not do, in one line: the thing or place, what is wrong, and the mend."""

from __future__ import annotations

USAGE = 2
"""The exit code for a command line that is wrong."""


class Problem(Exception):
    """Ends a command with exit code 1, or 2 when the command line itself is wrong.

    Example: `Problem("run 0192f0", "no run has this id.", "List the newest with toolrail tail --once.")`
    """

    def __init__(self, where: str, message: str, mend: str, *, usage: bool = False) -> None:
        super().__init__(f"{where}: {message} Mend: {mend}")
        self.where = where
        self.message = message
        self.mend = mend
        self.usage = usage
