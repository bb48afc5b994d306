"""Digests: BLAKE2b over text, as hex."""

from __future__ import annotations


def blake2b(text: str, size: int) -> str:
    """`size` bytes over a text, as twice as many hex digits. Half characters count as they are."""
    import hashlib  # brings OpenSSL along: not before somebody needs it

    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
