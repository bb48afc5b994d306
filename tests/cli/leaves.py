"""A script without a guard, named on the command line in place of a rail."""

from __future__ import annotations

import sys

sys.exit(3)
