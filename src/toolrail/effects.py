"""What a tool does to the world, as a closed class, and what each failure after the start therefore means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from toolrail.codes import Code, Status
from toolrail.errors import DefinitionError
from toolrail.frozen import frozen
from toolrail.settings import flags, near, not_negative, several

EffectKind = Literal["read", "idempotent", "keyed", "verified", "once", "undeclared"]
Scope = Literal["run", "session", "principal", "tenant"]
SCOPES: tuple[Scope, ...] = ("run", "session", "principal", "tenant")


@frozen
class Happened:
    """The other side says: the effect took place, with this result."""

    value: Any


@frozen
class WillNotHappen:
    """The other side says: it did not take place and will not. Only this allows a repeat."""


@frozen
class Unclear:
    """The other side cannot say."""


Verdict = Happened | WillNotHappen | Unclear
Verifier = Callable[..., Awaitable[Verdict]]


@frozen
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
    transactional: bool = False
    """The whole effect is what the handler writes through `ctx.transaction()`."""

    def __post_init__(self) -> None:
        owner = "transactional" if self.transactional else self.kind
        several(owner, "by", self.by)
        if self.scope is not None and self.scope not in SCOPES:  # it would hold for everybody
            meant = near(self.scope, SCOPES)
            mend = f"Did you mean {meant!r}?" if meant else f"Use one of {', '.join(SCOPES)}."
            raise DefinitionError("TR106", f"{owner}(scope={self.scope!r})", f"there is no scope {self.scope!r}.", mend)
        if self.kind == "verified" and not callable(self.verify):
            mend = "Write verified(fn), where await fn(ctx, args) answers Happened, WillNotHappen or Unclear."
            raise DefinitionError("TR106", f"verified({self.verify!r})", "there is nobody to ask.", mend)
        not_negative(owner, must=True, settle_after=self.settle_after)
        flags(owner, marked=self.marked)

    @property
    def writes(self) -> bool:
        """Whether a `started` row is committed before the handler runs."""
        return self.kind != "read"

    @property
    def holds_key(self) -> bool:
        """Whether an open call stands in the way of another one. Undeclared tools never do."""
        return self.kind in ("keyed", "verified", "once", "idempotent")


@frozen
class Later:
    """What a handler returns when another system will say how its call ended: through `rail.settle`.

    Example:

        @tool(effect=once(by="invoice"))
        async def pay(ctx: RunContext[Shop], invoice: str) -> Later:
            '''Pays an invoice by bank transfer.'''
            return Later(token=await ctx.deps.bank.order(invoice, key=ctx.idempotency_key))
    """

    token: str = ""
    """The other system's name for it, by which `rail.settle` finds the call. Empty: it is found by its call key."""


READ = Effect("read")
IDEMPOTENT = Effect("idempotent")
UNDECLARED = Effect("undeclared")


def once(*, by: str | tuple[str, ...] = (), scope: Scope | None = None, marked: bool = False) -> Effect:
    """Not safe to repeat. `by` names the arguments that make two calls the same effect; `marked` says that the handler
    calls `ctx.begin_effect()`, so that a failure before it is known to have done nothing.

    Example: `@tool(effect=once(by="invoice", scope="tenant"))`
    """
    return Effect("once", by=several("once", "by", by), scope=scope, marked=marked)


def keyed(*, by: str | tuple[str, ...] = (), scope: Scope | None = None) -> Effect:
    """The other side honours `ctx.idempotency_key`, so a repeat under that key changes nothing more."""
    return Effect("keyed", by=several("keyed", "by", by), scope=scope)


def verified(
    fn: Verifier, *, by: str | tuple[str, ...] = (), scope: Scope | None = None, settle_after: float = 0.0
) -> Effect:
    """`fn(ctx, args)` can ask the other side whether the effect took place."""
    keys = several("verified", "by", by)
    return Effect("verified", by=keys, scope=scope, verify=fn, settle_after=settle_after)


TRANSACTION = ("transaction",)
"""The flags of a `started` row whose effect is only in its transaction: once it has lapsed, nothing happened."""


def transactional(*, by: str | tuple[str, ...] = (), scope: Scope | None = None) -> Effect:
    """The whole effect is what the handler writes to the store's own database through `ctx.transaction()`: it happens
    exactly once. What is not committed with the end of its call did not happen, so it is never unknown after a crash.

    It is `verified` by the ledger itself: once a lease has lapsed, a row that is not done says `WillNotHappen`.

    Example: `@tool(effect=transactional(by="invoice", scope="tenant"))`
    """
    keys = several("transactional", "by", by)
    return Effect("verified", by=keys, scope=scope, verify=_not_committed, marked=True, transactional=True)


async def _not_committed(*_: Any) -> Verdict:
    return WillNotHappen()


BY_NAME: dict[str, Effect] = {
    "read": READ,
    "idempotent": IDEMPOTENT,
    "keyed": Effect("keyed"),
    "once": Effect("once"),
    "undeclared": UNDECLARED,
}

DOUBTED: frozenset[EffectKind] = frozenset(("once", "keyed", "verified"))
"""Classes whose `ToolError` says nothing where a passing failure stands behind it: who writes `except Timeout: raise
ToolError(...)` knows no more than the time-out did. An idempotent effect may be made again, whatever became of it."""

FailureKind = Literal["statement", "transient", "unexpected", "deadline", "cancelled"]
"""How a handler failed: by its own word (`ToolError`), by a passing fault of a dependency with all attempts spent,
by any other exception, by its deadline, or because the run was cancelled."""


@frozen
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
