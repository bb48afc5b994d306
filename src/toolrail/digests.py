"""Texts as numbers: BLAKE2b digests as hex, lengths in UTF-8."""

from __future__ import annotations


def blake2b(text: str, size: int) -> str:
    """`size` bytes over a text, as twice as many hex digits. Half characters count as they are."""
    import hashlib  # brings OpenSSL along: not before somebody needs it

    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def bytes_of(text: str) -> int:
    """How long a text is in UTF-8. Nearly all of them are ASCII, which costs no copy."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
