"""OpenTelemetry: our spans and metrics are those of its own `opentelemetry-util-genai`, for the same work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan

from tests.promises import promise
from tests.records.tracing import Traced, said
from toolrail import Agent, Rail, ToolError, tool
from toolrail.testing import Calls, FixedClock, ScriptedModel, run_virtual

handlers = pytest.importorskip("opentelemetry.util.genai.handler")  # not among the lowest versions
types = pytest.importorskip("opentelemetry.util.genai.types")

OURS = ("toolrail.",)


@tool(effect="read")
async def find(q: str) -> str:
    """Finds."""
    await asyncio.sleep(0)
    return f"found {q}"


@tool(effect="read")
async def broken(q: str) -> str:
    """Fails."""
    raise ToolError("there is none")


def by_toolrail() -> Traced:
    traced = Traced()
    rail = Rail([find, broken], sinks=[traced.sink(agent="shop", content="full", profile="1.41")], clock=FixedClock())
    model = ScriptedModel([Calls(("find", {"q": "x"}), ("broken", {"q": "y"})), "There."], name="openai:gpt-4o")
    run_virtual(Agent(model, rail).run("go", session="s-1"))
    return traced


def by_the_oracle(monkeypatch: pytest.MonkeyPatch) -> Traced:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    traced = Traced()
    handler: Any = handlers.TelemetryHandler(tracer_provider=traced.spans_of, meter_provider=traced.meters_of)
    with handler.invoke_local_agent(request_model="gpt-4o", agent_name="shop", conversation_id="s-1") as agent:
        for finish in ("tool_call", "stop"):
            with handler.inference("openai", request_model="gpt-4o") as chat:
                chat.input_tokens, chat.output_tokens, chat.finish_reasons = 100, 20, [finish]
            if finish == "stop":
                continue
            with handler.tool("find", tool_type="function", agent_name="shop") as call:
                call.tool_call_id, call.arguments, call.tool_result = "call_1_0", '{"q": "x"}', "found x"
            call = handler.tool("broken", tool_type="function", agent_name="shop")
            call.tool_call_id, call.arguments = "call_1_1", '{"q": "y"}'
            call.tool_result = '{"error": "there is none", "code": "TOOL_ERROR"}'
            call.fail(types.Error(message="there is none", type="TOOL_ERROR"))
        agent.input_tokens, agent.output_tokens = 200, 40
    return traced


def shape(span: ReadableSpan) -> tuple[str, str, str, Mapping[str, Any]]:
    standard = {name: value for name, value in said(span).items() if not name.startswith(OURS)}
    return span.name, span.kind.name, span.status.status_code.name, standard


def shapes(traced: Traced) -> list[tuple[str, str, str, Mapping[str, Any]]]:
    return sorted(map(shape, traced.spans), key=lambda one: (one[0], sorted(map(repr, one[3].items()))))


def metrics_of(reader: InMemoryMetricReader) -> Mapping[str, Any]:
    """By name: unit, buckets, and the labels of each point."""
    data: Any = reader.get_metrics_data()
    found = [one for resource in data.resource_metrics for scope in resource.scope_metrics for one in scope.metrics]
    return {
        one.name: (
            one.unit,
            tuple(one.data.data_points[0].explicit_bounds),
            sorted(
                sorted((k, v) for k, v in point.attributes.items() if not k.startswith(OURS))
                for point in one.data.data_points
            ),
        )
        for one in found
        if one.name.startswith("gen_ai.")
    }


@promise("see:otel")
def test_spans_are_those_of_the_projects_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = by_toolrail(), by_the_oracle(monkeypatch)
    assert ours.tree() == theirs.tree()
    assert shapes(ours) == shapes(theirs)


@promise("see:otel")
def test_metrics_are_those_of_the_projects_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = metrics_of(by_toolrail().reader), metrics_of(by_the_oracle(monkeypatch).reader)
    assert set(theirs) <= set(ours)
    assert {name: ours[name] for name in theirs} == dict(theirs)


@promise("see:otel")
def test_the_text_of_an_error_is_in_their_status_and_not_in_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why their library is an oracle, and does not run in production."""
    assert by_the_oracle(monkeypatch).one("execute_tool broken").status.description == "there is none"
    assert by_toolrail().one("execute_tool broken").status.description is None
