"""Faults of the model: each is retried or ends the run with a reason; its text is never the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.model_server import Call, Fault, FaultKind, Say
from tests.loop.helpers import PROVIDERS, TOOLS, Provider, agent_of, run, served_run, went
from tests.promises import promise
from toolrail import Agent, Rail, RunLimits
from toolrail.asking import BACKOFF, RETRY_AFTER_MAX
from toolrail.events import ModelAttemptEnded, ModelSettled, ModelStarted
from toolrail.model import RETRYABLE, FailureLabel, ModelFailure, ModelSettings
from toolrail.testing import Calls, FixedClock, Recorder, ScriptedModel, run_virtual
from toolrail.testing import Say as Said

FIND = Calls(("find", {"query": "lamp"}))
LABELS: tuple[FailureLabel, ...] = (
    "rate_limited",
    "server_error",
    "connection",
    "timeout",
    "garbage",
    "context_length",
    "authentication",
    "rejected",
)


@promise("loop:model-errors")
@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_failure_that_may_pass_is_tried_again_and_another_is_a_reason(label: FailureLabel, times: int) -> None:
    script = [FIND, *[ModelFailure(label, "s3cr3t")] * times, "Done."]
    agent, model, recorder = agent_of(script)
    result = run(agent)
    passes = label in RETRYABLE and times < 3
    attempts = min(times, 3) if label in RETRYABLE else 1
    reason = "answer" if passes else "context_length" if label == "context_length" else "model_unavailable"
    assert (result.stop_reason, result.output) == (reason, "Done." if passes else None)
    failed = recorder.of(ModelAttemptEnded)
    assert [(event.error, event.attempt) for event in failed] == [(label, n + 1) for n in range(attempts)]
    assert [event.wait < 0 for event in failed] == [False] * (attempts - 1) + [not passes]
    assert result.notes == (() if passes else (f"model:{label}",))
    assert len(model.requests) == 1 + attempts + passes
    assert "s3cr3t" not in repr((result, recorder.events))


@promise("loop:model-errors")
@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_so_many_requests_are_made_for_one_turn(attempts: int) -> None:
    agent, model, recorder = agent_of([ModelFailure("server_error", "")] * 9, settings=ModelSettings(attempts=attempts))
    assert run(agent).stop_reason == "model_unavailable"
    assert (len(model.requests), len(recorder.of(ModelStarted)), recorder.of(ModelSettled)) == (attempts, 1, [])


def seconds_of(script: list[Any], **options: Any) -> tuple[Any, float]:
    agent, _, _ = agent_of(script, **options)

    async def main() -> tuple[Any, float]:
        began = asyncio.get_running_loop().time()
        result = await agent.run("Go.")
        return result, asyncio.get_running_loop().time() - began

    return run_virtual(main())


@promise("loop:model-errors", "call:retry")
def test_the_seconds_that_a_provider_asks_for_are_waited() -> None:
    result, took = seconds_of([ModelFailure("rate_limited", "", retry_after=17.0), "Done."])
    assert (result.stop_reason, took) == ("answer", 17.0)


@promise("loop:model-errors")
def test_a_provider_that_asks_for_too_much_patience_is_unavailable() -> None:
    result, took = seconds_of([ModelFailure("rate_limited", "", retry_after=RETRY_AFTER_MAX + 1), "Done."])
    assert (result.stop_reason, took) == ("model_unavailable", 0.0)


@promise("loop:model-errors", "loop:limits/time")
def test_nobody_waits_for_an_attempt_that_the_runs_time_does_not_allow() -> None:
    script = [ModelFailure("rate_limited", "", retry_after=17.0), "Done."]
    result, took = seconds_of(script, limits=RunLimits(seconds=10.0))
    assert (result.ok, took) == (False, 0.0)


@promise("loop:model-errors", "call:retry")
def test_the_back_off_doubles_with_full_jitter() -> None:
    for seed in range(20):
        recorder = Recorder()
        rail = Rail(TOOLS, sinks=[recorder], clock=FixedClock(seed=seed))
        model = ScriptedModel([*[ModelFailure("server_error", "")] * 4, "Done."])
        assert run_virtual(Agent(model, rail, settings=ModelSettings(attempts=5)).run("Go.")).ok
        waits = [event.wait for event in recorder.of(ModelAttemptEnded)]
        assert all(0 <= wait <= BACKOFF * 2**n for n, wait in enumerate(waits))
        assert waits != sorted(waits, reverse=True) or seed != 0


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (Said("I can't.", stop="refusal"), "refusal"),
        (Said("Half", stop="content_filter"), "content_filter"),
        (Said("Half an ans", stop="length"), "truncated"),
        ("", "empty"),
    ],
)
def test_each_way_to_end_without_an_answer_has_its_reason(turn: Any, reason: str) -> None:
    agent, _, _ = agent_of([FIND, turn])
    result = run(agent)
    assert (result.stop_reason, result.ok) == (reason, False)
    assert result.text == (turn.text if isinstance(turn, Said) else "")


@promise("loop:model-errors", "call:json")
def test_calls_of_a_response_that_was_cut_off_do_not_run_and_the_model_may_call_again() -> None:
    cut = Calls(("find", {"query": "lamp"}), ("find", '{"query": "de'), stop="length")
    agent, _, _ = agent_of([cut, FIND, "Done."])
    result = run(agent)
    assert (went(result), result.stop_reason) == (["TRUNCATED", "TRUNCATED", "ok"], "answer")


PASSING: list[tuple[FaultKind, str]] = [
    ("429", "rate_limited"),
    ("500", "server_error"),
    ("503", "server_error"),
    ("529", "server_error"),
    ("408", "timeout"),
    ("reset", "connection"),
    ("garbage", "garbage"),
    ("html", "garbage"),
    ("drop", "connection"),
]


@promise("loop:model-errors", "call:retry")
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("kind", "label"), PASSING)
def test_a_fault_on_the_wire_is_tried_again_and_recorded(provider: Provider, kind: FaultKind, label: str) -> None:
    recorder = Recorder()
    script = [Call("find", '{"query": "lamp"}'), Fault(kind), Say("Done.")]
    result, requests = served_run(provider, script, sinks=[recorder])
    assert (result.stop_reason, result.text, len(requests)) == ("answer", "Done.", 3)
    assert [(event.error, event.attempt, event.wait) for event in recorder.of(ModelAttemptEnded)] == [(label, 1, 0.0)]
    assert requests[1].raw == requests[2].raw


@promise("loop:model-errors")
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("kind", "reason", "count"),
    [
        ("dead", "model_unavailable", 3),
        ("401", "model_unavailable", 1),
        ("404", "model_unavailable", 1),
        ("context_length", "context_length", 1),
    ],
)
def test_a_fault_on_the_wire_that_does_not_pass_is_a_reason(
    provider: Provider, kind: FaultKind, reason: str, count: int
) -> None:
    script = [Call("find", '{"query": "lamp"}'), Fault(kind)]
    result, requests = served_run(provider, script)
    assert (result.stop_reason, result.output, result.text, len(requests)) == (reason, None, "", 1 + count)
    assert went(result) == ["ok"]


@promise("loop:model-errors", "call:retry")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_retry_after_on_the_wire_is_heard(provider: Provider) -> None:
    recorder = Recorder()
    result, requests = served_run(provider, [Fault("429", retry_after=0.05), Say("Done.")], sinks=[recorder])
    assert (result.stop_reason, len(requests)) == ("answer", 2)
    assert [event.wait for event in recorder.of(ModelAttemptEnded)] == [0.05]


@promise("loop:model-errors", "call:json")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_cut_off_response_on_the_wire_runs_nothing(provider: Provider) -> None:
    parts = (Call("find", '{"query": "lamp"}'), Call("find", ""))
    result, _ = served_run(provider, [Fault("truncated", parts=parts), Say("Done.")])
    assert (went(result), result.stop_reason) == (["TRUNCATED", "TRUNCATED"], "answer")


@promise("loop:model-errors")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_server_that_never_answers_is_unavailable_after_its_time(provider: Provider) -> None:
    quick = ModelSettings(timeout=0.1, attempts=2)
    result, requests = served_run(provider, [Fault("hang"), Fault("hang")], settings=quick)
    assert (result.stop_reason, result.notes, len(requests)) == ("model_unavailable", ("model:timeout",), 2)
