"""late: what an abandoned handler's end means, when it comes after its call was answered."""

from __future__ import annotations

from typing import Any

from toolrail.events import OutcomeSettled
from toolrail.run import Job
from toolrail.stages.encode import encode
from toolrail.stages.outcome import Success
from toolrail.stages.settle import settled_row
from toolrail.store import Settle


def settle_late(job: Job, value: Any, error: BaseException | None) -> None:
    """The record hears it; the ledger too, where the effect is known now. An error leaves the outcome unknown: it says
    only that the handler failed somewhere on its way."""
    job.run.emit(lambda head: OutcomeSettled(head, job.ref(), "ok" if error is None else "error", "late"))
    if job.claimed is None or job.tool is None or error is not None:
        return
    result = encode(job, job.tool, Success(value))
    job.ports.own(job.ports.store.apply(Settle(settled_row(job, job.claimed, result))))
