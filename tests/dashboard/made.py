"""Rows of the record, made by hand for the pure parts: only what a test is about has to be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolrail.messages import Usage
from toolrail.records.views import (
    AttemptLine,
    CallLine,
    ContentLine,
    ModelLine,
    Moment,
    Money,
    RunDetail,
    RunLine,
)

ZERO = 1_000_000.0
"""Wall time at which runs of these tests begin; their monotonic clock says `MONO` then."""
MONO = 500.0


def call(key: str = "k", at: float = 0.0, seconds: float | None = 1.0, **more: Any) -> CallLine:
    """A call that was requested `at` seconds after the run began, and took so long; None: it is under way."""
    ended = seconds is None
    values: dict[str, Any] = {
        "tenant": "default",
        "key": key,
        "run": "r",
        "session": None,
        "principal": "alice",
        "turn": 1,
        "index": 0,
        "call_id": key,
        "tool": "find",
        "digest": "d1",
        "dependency": "shop",
        "wall": ZERO + at,
        "mono": MONO + at,
        "seq": 1,
        "settled": None if seconds is None else ZERO + at + seconds,
        "settled_seq": None if ended else 2,
        "status": None if ended else "ok",
        "code": None,
        "attempts": 0 if ended else 1,
        "argument_bytes": 10,
        "result_bytes": 20,
        "seconds": seconds,
        "handler_seconds": seconds,
        "flags": (),
        "replayed": False,
        "began": not ended,
        "reference": None,
        "decision": None,
        "rule": None,
        "reason": None,
        "effect": None,
        "effect_key": None,
        "later": None,
        "later_how": None,
    }
    return CallLine(**values | more)


def model(at: float = 0.0, seconds: float | None = 1.0, **more: Any) -> ModelLine:
    """A model request that was settled `at` seconds after the run began."""
    values: dict[str, Any] = {
        "seq": 1,
        "turn": 0,
        "wall": ZERO + at,
        "mono": MONO + at,
        "model": "scripted",
        "stop": "calls",
        "seconds": seconds,
        "attempts": 1,
        "calls": 1,
        "usage": Usage(100, 20),
        "cost": 0.01,
        "currency": "USD",
    }
    return ModelLine(**values | more)


def moment(kind: str, at: float = 0.0, *, key: str | None = None, **more: Any) -> Moment:
    """Any other event, `at` seconds after the run began."""
    values: dict[str, Any] = {"seq": 1, "turn": 1, "wall": ZERO + at, "mono": MONO + at, "data": {}}
    return Moment(kind=kind, key=key, **values | more)


def attempt(number: int, ended: float, seconds: float, **more: Any) -> AttemptLine:
    """An attempt that ended so many seconds after the run began."""
    values: dict[str, Any] = {"seq": number + 1, "failure": "transient", "error_type": "ConnectError", "wait": None}
    return AttemptLine(attempt=number, ended_mono=MONO + ended, seconds=seconds, **values | more)


def detail(
    *calls: CallLine,
    models: Sequence[ModelLine] = (),
    moments: Sequence[Moment] = (),
    attempts: Mapping[str, tuple[AttemptLine, ...]] | None = None,
    contents: Sequence[ContentLine] = (),
    limits: Mapping[str, Any] | None = None,
    **more: Any,
) -> RunDetail:
    """A run of these."""
    values: dict[str, Any] = {
        "tenant": "default",
        "run": "r",
        "session": None,
        "principal": "alice",
        "model": "scripted",
        "started": ZERO,
        "ended": ZERO + 1,
        "reason": "answer",
        "state": "ended",
        "turns": 1,
        "calls": len(calls),
        "failed": 0,
        "repeats": 0,
        "pending": 0,
        "unknown": 0,
        "seconds": 1.0,
        "usage": Usage(),
        "cost": Money(),
    }
    return RunDetail(
        RunLine(**values | more),
        ("find",),
        limits or {},
        calls,
        attempts or {},
        tuple(models),
        tuple(moments),
        tuple(contents),
    )
