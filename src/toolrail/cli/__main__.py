"""`python -m toolrail.cli`, where the script `toolrail` is not on the path."""

from __future__ import annotations

import sys

from toolrail.cli import main

sys.exit(main())
