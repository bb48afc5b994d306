"""Bugs to plant: each breaks one rule of the protocol, by patching. The simulation must find every one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from toolrail import batch, identity, rail
from toolrail.codes import Code
from toolrail.effects import FAILURES, REPEATABLE, Happened, Meaning, Verdict, WillNotHappen
from toolrail.messages import ToolResult
from toolrail.run import Job, Run
from toolrail.stages import claim, execute, recall, settle
from toolrail.store import CallRow, Claim, FindEffect, Held, NotApproved, Op, Settle
from toolrail.stores import memory, protocol
from toolrail.stores.memory import MemoryStore
from toolrail.stores.protocol import Met, Stored

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug, and how to plant it."""

    name: str
    plant: Plant


def _no_holder(patch: pytest.MonkeyPatch) -> None:
    """The claim does not look who holds the key."""

    def claimed(op: Claim, met: Met) -> Held | NotApproved | tuple[Stored, ...]:
        return protocol.claimed(op, replace(met, holder=None))

    patch.setattr(memory, "claimed", claimed)


def _no_claim(patch: pytest.MonkeyPatch) -> None:
    """Nothing is written before the handler."""
    patch.setattr(claim, "needs_claim", _never)


def _never(*_: Any) -> bool:
    return False


def _nobody(*_: Any) -> str:
    return ""


def _nothing(*_: Any, besides: str | None = None) -> None:
    return None


def _timeout_is_failure(patch: pytest.MonkeyPatch) -> None:
    """A `once` tool that ran into its deadline counts as not done."""
    patch.setitem(FAILURES["deadline"], "once", Meaning("error", Code.TIMEOUT))


def _lapsed_is_free(patch: pytest.MonkeyPatch) -> None:
    """Somebody sweeps lapsed leases away, as if their calls had done nothing."""
    apply = MemoryStore.apply

    async def sweeping(self: MemoryStore, *ops: Op) -> list[Any]:
        for op in ops:
            if isinstance(op, Claim | FindEffect):
                for row in _rows(self):
                    if row.state == "started" and row.lease_until is not None and row.lease_until < op.now:
                        await apply(self, Settle(replace(row, state="failed", lease_until=None)))
        return await apply(self, *ops)

    patch.setattr(MemoryStore, "apply", sweeping)


def _rows(store: MemoryStore) -> list[CallRow]:
    calls: dict[Any, CallRow] = getattr(store, "_calls")  # noqa: B009
    return list(calls.values())


def _done_is_overwritten(patch: pytest.MonkeyPatch) -> None:
    """A late word changes a row that is done."""

    def settled(op: Settle, known: Stored | None, **more: Any) -> tuple[Stored, ...] | None:
        if known is not None and known.row.state == "done":
            return (Stored(op.row, known.holds and op.row.state != "failed"),)
        return protocol.settled(op, known, **more)

    patch.setattr(memory, "settled", settled)


def _claim_stays(patch: pytest.MonkeyPatch) -> None:
    """A claim that was given up is not taken back."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(claim, "_take_back", nothing)


def _scope_of_all(patch: pytest.MonkeyPatch) -> None:
    """A key of one principal, session or run is compared over the whole tenant."""
    patch.setattr(identity, "_owner", _nobody)


def _once_is_retried(patch: pytest.MonkeyPatch) -> None:
    """A `once` tool is tried again after a lost connection."""
    patch.setitem(REPEATABLE, "transient", REPEATABLE["transient"] | {"once"})


def _unclear_is_no(patch: pytest.MonkeyPatch) -> None:
    """When the other side cannot say, that is taken for: it did not happen."""

    def asking(module: Any) -> Callable[..., Any]:
        verdict_of = module.verdict_of

        async def asked(*given: Any, **more: Any) -> Verdict:
            verdict = await verdict_of(*given, **more)
            return verdict if isinstance(verdict, Happened) else WillNotHappen()

        return asked

    for module in (execute, recall):
        patch.setattr(module, "verdict_of", asking(module))


def _new_key(patch: pytest.MonkeyPatch) -> None:
    """A repeat is given an idempotency key of its own."""

    def own_key(job: Job) -> str:
        return job.key

    for module in (identity, execute):
        patch.setattr(module, "idempotency_key", own_key)


def _no_conflict(patch: pytest.MonkeyPatch) -> None:
    """The same key with other arguments is answered with the first result."""
    patch.setattr(recall, "_conflicts", _never)


def _counted_afterwards(patch: pytest.MonkeyPatch) -> None:
    """A batch is held against what was counted before it; its own calls count when it is over."""
    settle_jobs = batch.settle_jobs

    def look(self: Run[Any], tool: str) -> str | None:
        limits, state = self.limits, self.state
        if limits.calls is not None and state.calls >= limits.calls:
            return "calls"
        over = limits.calls_per_tool is not None and state.calls_per_tool.get(tool, 0) >= limits.calls_per_tool
        return "calls of it" if over else None

    async def counting(run: Run[Any], jobs: list[Job]) -> batch.Batch:
        found = await settle_jobs(run, jobs)
        for job in jobs:
            run.state.calls += 1
            run.state.calls_per_tool[job.call.name] = run.state.calls_per_tool.get(job.call.name, 0) + 1
        return found

    patch.setattr(Run, "count", look)
    patch.setattr(batch, "settle_jobs", counting)


def _cancelled_write(patch: pytest.MonkeyPatch) -> None:
    """A cancellation stops the write of how a call ended, and nobody tries again."""

    async def write(job: Job, result: ToolResult) -> ToolResult:
        row = settle.settled_row(job, job.claimed or identity.row_for(job, job.tool), result)
        with suppress(asyncio.CancelledError, Exception):
            await job.ports.store.apply(Settle(row))
        return result

    patch.setattr(settle, "_write", write)


def _unknown_is_free(patch: pytest.MonkeyPatch) -> None:
    """A call whose outcome is unknown gives its key back."""
    patch.setattr(protocol, "HOLDING", protocol.HOLDING - {"unknown"})


def _unknown_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody meets another call's unknown outcome."""
    patch.setattr(MemoryStore, "_unknown", _nothing)


def _recall_before_authorise(patch: pytest.MonkeyPatch) -> None:
    """Any refusal by a policy is forgotten once the effect is done."""
    authorise = rail.authorise

    async def asked(job: Job, tool: Any, values: Mapping[str, Any]) -> Any:
        decision = await authorise(job, tool, values)
        if not isinstance(decision, ToolResult):
            return decision
        read = rail.validate(tool.reader, job.call.arguments, tool=tool.name, null_means_default=frozenset())
        return await rail.recall(job, tool, read) or decision  # pyright: ignore[reportArgumentType]

    patch.setattr(rail, "authorise", asked)


BUGS: tuple[Bug, ...] = (
    Bug("the claim skips the holder", _no_holder),
    Bug("nothing is claimed before the handler", _no_claim),
    Bug("a deadline of a once tool counts as failure", _timeout_is_failure),
    Bug("a lapsed lease is free", _lapsed_is_free),
    Bug("a row that is done is overwritten", _done_is_overwritten),
    Bug("a claim is not taken back", _claim_stays),
    Bug("a result is replayed to another principal", _scope_of_all),
    Bug("a once tool is retried", _once_is_retried),
    Bug("a verified tool repeats on Unclear", _unclear_is_no),
    Bug("a repeat has a new key", _new_key),
    Bug("a conflict is not seen", _no_conflict),
    Bug("the budget is counted after the batch", _counted_afterwards),
    Bug("a cancellation loses the outcome", _cancelled_write),
    Bug("an unknown outcome frees the key", _unknown_is_free),
    Bug("an unknown outcome is met by nobody", _unknown_is_forgotten),
    Bug("recall stands before authorise", _recall_before_authorise),
)


@contextmanager
def planted(bug: Bug) -> Generator[None]:
    """While it lasts, our code has this bug."""
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        yield
