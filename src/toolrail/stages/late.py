"""late: what an abandoned handler's end means, when it comes after its call was answered."""

from __future__ import annotations

from typing import Any

from toolrail.events import OutcomeSettled
from toolrail.identity import row_for
from toolrail.run import Job
from toolrail.stages.outcome import Success
from toolrail.stages.settle import settled_as
from toolrail.store import CallState, Settle
from toolrail.wording import LATE, LATE_NOTHING

_OPEN: tuple[CallState, ...] = ("started", "unknown", "repeated")


def settle_late(job: Job, value: Any, error: BaseException | None, *, nothing_happened: bool) -> None:
    """The record hears it; the ledger too, where the effect is known now, and the model if its run still lives. An
    error that is no statement leaves the outcome unknown: it says only that the handler failed somewhere on its way."""
    known = error is None or nothing_happened
    job.run.emit(lambda head: OutcomeSettled(head, job.ref(), "ok" if error is None else "error", "late"))
    if job.tool is None or not known:
        return
    if job.identity is not None:
        row = settled_as(
            job, job.tool, job.claimed or row_for(job, job.tool), Success(value) if error is None else None
        )
        job.ports.own(job.ports.insist(job.key, Settle(row, _OPEN if error is not None else ())))
    if not job.tool.effect.writes:
        return
    text = LATE if error is None else LATE_NOTHING
    job.run.notices.append(text.format(tool=job.call.name, call_id=job.call.id))
