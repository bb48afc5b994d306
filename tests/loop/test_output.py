"""A declared output: validated, corrected by the model within the limits, or a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from tests.fakes.model_server import Call, Say
from tests.loop.helpers import Provider, agent_of, run, served_run
from tests.promises import promise
from toolrail.testing import Calls
from toolrail.testing import Say as Said


class Verdict(BaseModel):
    """What the shop decides."""

    order: str
    refund: int = Field(ge=0)

    @field_validator("order")
    @classmethod
    def known(cls, value: str) -> str:
        if value == "boom":
            raise RuntimeError("s3cr3t")
        return value


GOOD = '{"order": "ORD-1", "refund": 5}'


@promise("loop:output")
@pytest.mark.parametrize("text", [GOOD, f"```json\n{GOOD}\n```", f"  {GOOD}\n"])
def test_a_final_answer_becomes_a_validated_value(text: str) -> None:
    agent, _, _ = agent_of([Calls(("find", {"query": "a"})), text], output=Verdict)
    result = run(agent)
    assert (result.stop_reason, result.output, result.text) == ("answer", Verdict(order="ORD-1", refund=5), text)


@promise("loop:output")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Five.", "JSON"),
        ('{"order": "ORD-1", "refund": -5}', "refund"),
        ('{"order": "ORD-1"}', "refund"),
        ("[]", "answer"),
        ("Which order?", "JSON"),
        ('{"order": "boom", "refund": 1}', "RuntimeError"),
    ],
)
def test_an_answer_that_does_not_fit_is_corrected_by_the_model(text: str, told: str) -> None:
    agent, model, _ = agent_of([text, GOOD], output=Verdict)
    result = run(agent)
    assert (result.stop_reason, result.output) == ("answer", Verdict(order="ORD-1", refund=5))
    correction = model.requests[1][0][-1]
    assert correction["role"] == "user"
    assert told in correction["content"]
    assert "s3cr3t" not in correction["content"]


@promise("loop:output", "loop:limits")
@pytest.mark.parametrize("turns", [1, 2, 5])
def test_at_the_limit_an_answer_that_does_not_fit_is_a_reason(turns: int) -> None:
    agent, model, _ = agent_of(["Five."] * turns, output=Verdict, max_turns=turns)
    result = run(agent)
    assert (result.stop_reason, result.output, result.text) == ("output_invalid", None, "Five.")
    assert len(model.requests) == turns
    assert result.messages[-1]["role"] == "assistant"


@promise("loop:output", "loop:model-errors")
@pytest.mark.parametrize("stop", ["refusal", "content_filter", "length"])
def test_what_is_no_answer_is_not_corrected(stop: Any) -> None:
    agent, model, _ = agent_of([Said("No.", stop=stop)], output=Verdict)
    result = run(agent)
    assert (result.stop_reason, result.output) == ({"length": "truncated"}.get(stop, stop), None)
    assert len(model.requests) == 1


@promise("loop:output")
@pytest.mark.parametrize(
    ("kind", "text", "value"), [(int, "5", 5), (list[int], "[1, 2]", [1, 2]), (bool, "true", True)]
)
def test_an_output_may_be_any_type(kind: Any, text: str, value: Any) -> None:
    agent, _, _ = agent_of([text], output=kind)
    assert run(agent).output == value


@promise("loop:output")
@pytest.mark.parametrize("provider", ["chat", "responses", "anthropic"])
def test_each_provider_is_told_the_schema_and_its_answer_is_checked_here(provider: Provider) -> None:
    script = [Call("find", '{"query": "a"}'), Say('{"order": "ORD-1"}'), Say(GOOD)]
    result, requests = served_run(provider, script, output=Verdict)
    assert (result.stop_reason, result.output) == ("answer", Verdict(order="ORD-1", refund=5))
    assert len(requests) == 3
    assert all('"refund"' in json.dumps(request.body) for request in requests)


@promise("loop:output", "loop:choice")
def test_a_tool_choice_is_not_repeated_by_a_correction() -> None:
    agent, model, _ = agent_of([Calls(("find", {"query": "a"})), "Five.", GOOD], output=Verdict, tool_choice="required")
    assert run(agent).ok
    assert [request.tool_choice for _, request in model.requests] == ["required", "auto", "auto"]


@promise("loop:output")
def test_the_answer_after_a_question_mark_is_still_an_answer() -> None:
    agent, _, _ = agent_of(['"Really?"'], output=str)
    result = run(agent)
    assert (result.stop_reason, result.output) == ("answer", "Really?")
