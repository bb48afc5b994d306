"""Every default limit, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolrail.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits of one call of one tool. Times in seconds."""

    timeout: float = 30.0
    """The deadline over all attempts and the waiting between them."""
    attempt_timeout: float | None = None
    """The deadline of one attempt. None: the call's own."""
    attempts: int = 3
    concurrency: int | None = None
    """How many calls of this tool may run at once in one rail."""

    def __post_init__(self) -> None:
        _positive(
            "CallLimits",
            timeout=self.timeout,
            attempt_timeout=self.attempt_timeout,
            attempts=self.attempts,
            concurrency=self.concurrency,
        )


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The hard limits of one run. None means no limit."""

    turns: int | None = 10
    calls: int | None = None
    calls_per_tool: int | None = None
    tokens: int | None = None
    """Input and output together; exact to one response. Counts only the usage that responses carry."""
    seconds: float | None = None
    """Wall time of the run."""
    parallel: int = 32
    """Calls of one run that run at the same time."""

    def __post_init__(self) -> None:
        _positive(
            "RunLimits",
            turns=self.turns,
            calls=self.calls,
            calls_per_tool=self.calls_per_tool,
            tokens=self.tokens,
            seconds=self.seconds,
            parallel=self.parallel,
        )


@dataclass(frozen=True, slots=True)
class RailLimits:
    """The limits of one rail, over all its runs."""

    threads: int = 32
    abandoned: int = 64
    """Threads past their deadline that are replaced; beyond it the pool shrinks until some return."""
    backoff: float = 0.1
    """Seconds before the second attempt, doubled for each further one, with full jitter."""
    backoff_max: float = 5.0
    grace: float = 0.05
    """Seconds between cancelling a tool and closing it."""
    result_bytes: int = 32 * 1024
    """Results over this are shown as a preview."""

    def __post_init__(self) -> None:
        _positive(
            "RailLimits", threads=self.threads, backoff_max=self.backoff_max, grace=self.grace, result=self.result_bytes
        )


def _positive(owner: str, **values: Any) -> None:
    for name, value in values.items():
        if value is not None and not value > 0:
            raise DefinitionError(
                "TR301", f"{owner}({name}={value!r})", f"{name} must be over zero.", "Give a positive number, or None."
            )


DEFAULT_LIMITS = CallLimits()
