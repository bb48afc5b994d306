"""What a page raises for a thing that is not there."""

from __future__ import annotations


class Missing(Exception):
    """There is no such thing; the text says so, for people. Answered with status 404."""
