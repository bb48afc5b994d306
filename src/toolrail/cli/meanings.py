"""What the record's labels mean for somebody who reads them: codes (see `records.meanings`), stop reasons, classes."""

from __future__ import annotations

from toolrail.records.meanings import MEANINGS

__all__ = ["LATER", "MEANINGS", "REASONS", "WHOSE"]

LATER = {"late": "its handler returned too late", "verify": "the other side was asked", "hand": "a person said so"}
"""How an open outcome became known."""

WHOSE = {
    "argument": "the model's arguments",
    "dependency": "a dependency",
    "policy": "what this principal may do",
    "limit": "a limit",
    "bug": "our own code",
    "none": "",
}
"""Whom a code concerns, by its class."""

REASONS: dict[str, str] = {
    "model_unavailable": "the model could not be asked",
    "limit:turns": "the limit of turns is reached",
    "limit:tokens": "the limit of tokens is reached",
    "limit:seconds": "the time for one run is over",
    "context_length": "the conversation is too long for the model: begin a new session",
    "refusal": "the model refused",
    "content_filter": "the provider's filter stopped the answer",
    "truncated": "the answer was cut off at the model's limit",
    "empty": "the model said nothing",
    "output_invalid": "the answer never had the declared form",
    "cancelled": "cancelled",
    "pending": "a call waits for a person, or for another system",
}
"""Stop reasons that are no answer, in words."""
