"""A rail to name on the command line."""

from __future__ import annotations

from tests.cli.conftest import find, refuse
from toolrail import Rail

rail = Rail([find, refuse])
