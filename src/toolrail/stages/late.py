"""late: what an abandoned handler's end means, when it comes after its call was answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toolrail.encoding import encode_value
from toolrail.events import OutcomeSettled
from toolrail.run import Job
from toolrail.store import Settle


def settle_late(job: Job, value: Any, error: BaseException | None) -> None:
    """The record hears it; the ledger too, where the effect is known now. An error leaves the outcome unknown: it says
    only that the handler failed somewhere on its way."""
    job.run.emit(lambda head: OutcomeSettled(head, job.ref(), "ok" if error is None else "error", "late"))
    if job.claimed is None or error is not None:
        return
    text = encode_value(value).text
    row = replace(job.claimed, state="done", status="ok", code=None, content=text, lease_until=None)
    job.ports.own(job.ports.store.apply(Settle(row)))
