"""What a tool does to the world, as a closed class, and what each failure after the start therefore means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from toolrail.codes import Code, Status

EffectKind = Literal["read", "idempotent", "keyed", "verified", "once", "undeclared"]
Scope = Literal["run", "session", "principal", "tenant"]


@dataclass(frozen=True, slots=True)
class Happened:
    """The other side says: the effect took place, with this result."""

    value: Any


@dataclass(frozen=True, slots=True)
class WillNotHappen:
    """The other side says: it did not take place and will not. Only this allows a repeat."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """The other side cannot say."""


Verdict = Happened | WillNotHappen | Unclear
Verifier = Callable[..., Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect class with its options. Made by the functions below, or by its name: `effect="read"`."""

    kind: EffectKind
    by: tuple[str, ...] = ()
    """The arguments that make two effects the same one. Empty: no key."""
    scope: Scope | None = None
    """Where the key holds. None: principal with a durable store, else run."""
    verify: Verifier | None = None
    settle_after: float = 0.0
    """Seconds after a failure before the other side is asked."""
    marked: bool = False
    """The handler calls `ctx.begin_effect()`; what fails before that did nothing."""

    @property
    def writes(self) -> bool:
        """Whether a `started` row is committed before the handler runs."""
        return self.kind != "read"

    @property
    def holds_key(self) -> bool:
        """Whether an open call stands in the way of another one. Undeclared tools never do."""
        return self.kind in ("keyed", "verified", "once", "idempotent")


READ = Effect("read")
IDEMPOTENT = Effect("idempotent")
UNDECLARED = Effect("undeclared")


def once(*, by: str | tuple[str, ...] = (), scope: Scope | None = None, marked: bool = False) -> Effect:
    """Not safe to repeat. `by` names the arguments that make two calls the same effect; `marked` says that the handler
    calls `ctx.begin_effect()`, so that a failure before it is known to have done nothing.

    Example: `@tool(effect=once(by="invoice", scope="tenant"))`
    """
    return Effect("once", by=(by,) if isinstance(by, str) else by, scope=scope, marked=marked)


def keyed(*, by: str | tuple[str, ...] = (), scope: Scope | None = None) -> Effect:
    """The other side honours `ctx.idempotency_key`, so a repeat under that key changes nothing more."""
    return Effect("keyed", by=(by,) if isinstance(by, str) else by, scope=scope)


def verified(
    fn: Verifier, *, by: str | tuple[str, ...] = (), scope: Scope | None = None, settle_after: float = 0.0
) -> Effect:
    """`fn(ctx, args)` can ask the other side whether the effect took place."""
    return Effect(
        "verified", by=(by,) if isinstance(by, str) else by, scope=scope, verify=fn, settle_after=settle_after
    )


BY_NAME: dict[str, Effect] = {
    "read": READ,
    "idempotent": IDEMPOTENT,
    "keyed": Effect("keyed"),
    "once": Effect("once"),
    "undeclared": UNDECLARED,
}

FailureKind = Literal["statement", "transient", "unexpected", "deadline", "cancelled"]
"""How a handler failed: by its own word (`ToolError`), by a passing fault of a dependency with all attempts spent,
by any other exception, by its deadline, or because the run was cancelled."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One cell of the failure table."""

    status: Status
    code: Code
    may_have_happened: bool = False
    frees_key: bool = True


_UNKNOWN = Meaning("unknown", Code.OUTCOME_UNKNOWN, may_have_happened=True, frees_key=False)
_STATED = Meaning("error", Code.TOOL_ERROR)


def _row(code: Code, status: Status = "error") -> dict[EffectKind, Meaning]:
    """Reads fail plainly, undeclared ones add a warning, all that hold a key become unknown."""
    plain = Meaning(status, code)
    warned = Meaning(status, code, may_have_happened=True)
    unknown: dict[EffectKind, Meaning] = dict.fromkeys(("idempotent", "keyed", "verified", "once"), _UNKNOWN)
    return {"read": plain, **unknown, "undeclared": warned}


FAILURES: dict[FailureKind, dict[EffectKind, Meaning]] = {
    "statement": dict.fromkeys(("read", "idempotent", "keyed", "verified", "once", "undeclared"), _STATED),
    "transient": _row(Code.MAX_RETRIES),
    "unexpected": _row(Code.INTERNAL_ERROR),
    "deadline": _row(Code.TIMEOUT),
    "cancelled": _row(Code.CANCELLED, "cancelled"),
}
"""What a failure after `claim` means, by how it failed and by the tool's effect class."""

REPEATABLE: dict[FailureKind, frozenset[EffectKind]] = {
    "statement": frozenset({"read", "idempotent", "keyed", "verified", "undeclared", "once"}),
    "transient": frozenset({"read", "idempotent", "keyed"}),
    "unexpected": frozenset(),
    "deadline": frozenset({"read", "idempotent", "keyed"}),
    "cancelled": frozenset(),
}
"""Which classes may be tried again by themselves after such a failure. `deadline` is that of one attempt. A `verified`
tool is repeated only when the other side says `WillNotHappen`. A `once` tool's `ToolError` counts as a statement only
where no passing failure stands behind it, or it says `nothing_happened`."""
