"""OpenTelemetry: which spans runs make, what they say, and whose children they are."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.promises import promise
from tests.records.tracing import Traced, id_of, said, status, trace_of
from tests.spine.helpers import call
from toolrail import Agent, Approval, CallLimits, Principal, Rail, RunLimits, Tool, ToolError, tool
from toolrail.approvers import deferred
from toolrail.model import ModelFailure
from toolrail.money import Price
from toolrail.testing import Calls, FixedClock, Recorder, Say, ScriptedModel, run_virtual

ALICE = Principal("alice")


@tool(effect="read")
async def find(q: str) -> str:
    """Finds a thing."""
    await asyncio.sleep(0.01)
    return f"found {q}"


def agent_of(traced: Traced, *turns: Any, tools: tuple[Tool[Any], ...] = (find,), **options: Any) -> Agent[Any]:
    rail = Rail(tools, sinks=[traced.sink(agent="shop")], clock=FixedClock(), approver=deferred)
    return Agent(ScriptedModel(list(turns)), rail, **options)


@promise("see:otel")
def test_a_run_is_an_agent_span_with_its_model_and_tool_calls_below_it() -> None:
    traced = Traced()
    agent = agent_of(traced, Calls(("find", {"q": "lamp"}), ("find", {"q": "desk"})), "Here they are.")
    run_virtual(agent.run("find both", session="s-1", principal=ALICE))
    assert traced.tree() == [
        ("chat scripted", "invoke_agent shop"),
        ("chat scripted", "invoke_agent shop"),
        ("execute_tool find", "invoke_agent shop"),
        ("execute_tool find", "invoke_agent shop"),
        ("invoke_agent shop", None),
    ]
    assert [span.kind.name for span in traced.spans].count("CLIENT") == 2
    run = said(traced.one("invoke_agent shop"))
    expected = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "shop",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.request.model": "scripted",
        "gen_ai.usage.input_tokens": 200,
        "gen_ai.usage.output_tokens": 40,
        "toolrail.run.stop_reason": "answer",
        "toolrail.turns": 2,
        "toolrail.calls": 2,
    }
    assert {name: run[name] for name in expected} == expected
    assert {status(span) for span in traced.spans} == {"UNSET"}
    calls = [said(span) for span in traced.named("execute_tool find")]
    assert {one["toolrail.call.index"] for one in calls} == {0, 1}
    assert {one["gen_ai.tool.call.id"] for one in calls} == {"call_1_0", "call_1_1"}
    assert {one["toolrail.call.result.size"] for one in calls} == {len("found lamp")}
    chats = [said(span)["gen_ai.response.finish_reasons"] for span in traced.named("chat scripted")]
    assert chats == [("tool_call",), ("stop",)]


@promise("see:otel")
def test_parallel_calls_have_spans_of_their_own_and_leave_nothing_behind() -> None:
    traced = Traced()
    order: list[str] = []

    @tool(effect="read")
    async def step(name: str) -> str:
        """Takes a while."""
        with traced.tracer.start_as_current_span(f"first of {name}"):
            await asyncio.sleep(0.02 if name == "a" else 0.01)
        with traced.tracer.start_as_current_span(f"second of {name}"):
            order.append(name)
        return name

    async def work() -> None:
        rail = Rail([step], sinks=[traced.sink()])
        with traced.tracer.start_as_current_span("request"):
            async with rail.run([]) as run:
                await rail.batch([call("step", {"name": name}, id=name) for name in "abc"], run)
                await rail.batch([call("step", {"name": "d"}, id="d")], run)
            with traced.tracer.start_as_current_span("after"):
                pass

    run_virtual(work())
    assert order[-1] == "d"
    spans = {id_of(span): span for span in traced.spans}
    for span in traced.spans:
        if " of " in span.name:
            assert span.parent is not None
            above = spans[span.parent.span_id]
            assert (above.name, said(above)["gen_ai.tool.call.id"]) == ("execute_tool step", span.name[-1])
    tree = traced.tree()
    assert [pair for pair in tree if pair[0] in ("after", "invoke_agent")] == [
        ("after", "request"),
        ("invoke_agent", "request"),
    ]
    assert {parent for name, parent in tree if name == "execute_tool step"} == {"invoke_agent"}


@promise("see:otel")
def test_an_agent_that_is_a_tool_stands_below_its_call() -> None:
    traced = Traced()
    inner = agent_of(traced, Calls(("find", {"q": "lamp"})), "There.")

    @tool(effect="read")
    async def delegate(task: str) -> str:
        """Asks another agent."""
        return (await inner.run(task)).text

    outer = agent_of(traced, Calls(("delegate", {"task": "find"})), "Done.", tools=(delegate,))
    run_virtual(outer.run("go"))
    tree = traced.tree()
    assert [parent for name, parent in tree if name == "invoke_agent shop"] == [None, "execute_tool delegate"]
    assert len({trace_of(span) for span in traced.spans}) == 1


@promise("see:otel")
def test_each_attempt_is_an_event_and_each_end_a_status_without_a_text() -> None:
    traced, failures = Traced(), [ConnectionError("s3cr3t-1"), ConnectionError("s3cr3t-2")]

    @tool(effect="read", limits=CallLimits(attempts=3))
    async def flaky() -> str:
        """Fails twice."""
        if failures:
            raise failures.pop()
        return "fine"

    @tool(effect="read")
    async def stated() -> str:
        """Says what is wrong."""
        raise ToolError("there is none: s3cr3t-3")

    @tool(effect="once", timeout=0.1)
    async def slow() -> str:
        """Never ends."""
        await asyncio.sleep(3600)
        return ""

    @tool(effect="read", requires="admin")
    async def hidden() -> str:
        """Is for others."""
        return ""

    rail = Rail([flaky, stated, slow, hidden], sinks=[traced.sink()], clock=FixedClock())

    async def work() -> None:
        async with rail.run([], principal=ALICE) as run:
            await rail.batch([call(name) for name in ("flaky", "stated", "slow", "hidden")], run)

    run_virtual(work())
    ended = {
        name: (status(span), said(span).get("error.type"), said(span).get("toolrail.error.class"))
        for name in ("flaky", "stated", "slow", "hidden")
        for span in traced.spans
        if said(span).get("gen_ai.tool.name") == name
    }
    assert ended == {
        "flaky": ("UNSET", None, None),
        "stated": ("ERROR", "TOOL_ERROR", "dependency"),
        "slow": ("ERROR", "OUTCOME_UNKNOWN", "dependency"),
        "hidden": ("ERROR", "NOT_AUTHORISED", "policy"),
    }
    attempts = [dict(event.attributes or {}) for event in traced.one("execute_tool flaky").events]
    assert [one.get("error.type") for one in attempts] == ["ConnectionError", "ConnectionError", None]
    assert [one["toolrail.attempt.number"] for one in attempts] == [1, 2, 3]
    assert {span.status.description for span in traced.spans} == {None}
    assert "s3cr3t" not in traced.everything()


@promise("see:otel")
def test_a_cancelled_run_leaves_no_span_open() -> None:
    traced, begun = Traced(), asyncio.Event()

    @tool(effect="read")
    async def hang() -> str:
        """Hangs."""
        begun.set()
        await asyncio.sleep(3600)
        return ""

    async def work() -> int:
        agent = agent_of(traced, Calls(("hang", {}), ("find", {"q": "x"})), "never", tools=(hang, find))
        task = asyncio.ensure_future(agent.run("go"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(traced.spans)

    assert run_virtual(work()) == 4
    assert said(traced.one("execute_tool hang"))["error.type"] == "CANCELLED"
    assert said(traced.one("invoke_agent shop"))["error.type"] == "cancelled"
    assert traced.one("execute_tool hang").end_time is not None


@promise("see:otel")
def test_a_request_that_is_cancelled_or_fails_ends_its_span() -> None:
    traced = Traced()
    failing = ModelFailure("server_error", "s3cr3t body")
    agent = agent_of(traced, *[failing] * 9)
    assert run_virtual(agent.run("go")).stop_reason == "model_unavailable"
    chat = traced.one("chat scripted")
    assert (status(chat), said(chat)["error.type"]) == ("ERROR", "server_error")
    assert {event.name for event in chat.events} == {"toolrail.attempt"}
    assert said(traced.one("invoke_agent shop"))["error.type"] == "model_unavailable"
    (point,) = traced.points("gen_ai.client.inference.duration")
    assert point.attributes["error.type"] == "server_error"
    assert "s3cr3t" not in traced.everything()


@promise("see:otel")
def test_a_resumed_run_is_linked_to_the_trace_in_which_it_was_suspended() -> None:
    traced = Traced()

    @tool(effect="once", approve=True)
    async def pay(amount: int) -> str:
        """Pays."""
        return f"paid {amount}"

    async def work() -> None:
        agent = agent_of(traced, Calls(("pay", {"amount": 5})), "Paid.", tools=(pay,))
        first = await agent.run("pay 5", principal=ALICE)
        assert first.stop_reason == "pending"
        carol = Approval(True, Principal("carol"))
        again = await agent.resume(first.run_id, approvals={first.pending[0].approval: carol}, principal=ALICE)
        assert again.stop_reason == "answer"

    run_virtual(work())
    before, after = traced.named("invoke_agent shop")
    assert trace_of(before) != trace_of(after)
    assert [link.context.span_id for link in after.links] == [id_of(before)]
    assert (said(before)["toolrail.run.suspended"], said(after)["toolrail.run.resumed"]) == (True, True)
    waited, done = traced.named("execute_tool pay")
    assert (status(waited), said(waited)["toolrail.call.waits"]) == ("UNSET", "APPROVAL_PENDING")
    assert done.parent is not None
    assert done.parent.span_id == id_of(after)
    assert {"toolrail.claim", "toolrail.approval"} <= {event.name for event in (*waited.events, *done.events)}
    assert [said(span)["gen_ai.usage.input_tokens"] for span in (before, after)] == [100, 100]


@promise("see:otel")
def test_events_carry_the_id_of_the_trace_so_that_the_record_leads_to_it() -> None:
    traced, recorder = Traced(), Recorder()
    rail = Rail([find], sinks=[recorder, traced.sink()], clock=FixedClock())
    agent = Agent(ScriptedModel([Calls(("find", {"q": "x"})), Say("There.")]), rail)
    run_virtual(agent.run("go"))
    assert {event.head.trace for event in recorder.events} == {trace_of(traced.one("invoke_agent"))}


@promise("see:otel")
def test_cost_and_tokens_are_known_where_a_price_is() -> None:
    traced = Traced()
    prices = {"scripted": Price(Decimal("1"), Decimal("10"))}
    agent = agent_of(traced, Calls(("find", {"q": "x"})), "There.", prices=prices, limits=RunLimits(turns=4))
    run_virtual(agent.run("go"))
    run = said(traced.one("invoke_agent shop"))
    assert (run["toolrail.cost"], run["toolrail.cost.currency"]) == (pytest.approx(0.0006), "USD")
    (spent,) = traced.points("toolrail.cost")
    assert spent.value == pytest.approx(0.0006)
    assert sum(point.value for point in traced.points("gen_ai.client.inference.usage.input_tokens")) == 200


@promise("see:otel")
def test_metrics_have_the_names_of_the_conventions_and_labels_that_cannot_grow() -> None:
    traced = Traced()
    calls: list[tuple[str, dict[str, Any]]] = [(f"made_up_{at}", {}) for at in range(5)]
    agent = agent_of(traced, Calls(("find", {"q": "x"}), *calls), "There.")
    run_virtual(agent.run("go"))
    labels = [dict(point.attributes) for point in traced.points("gen_ai.execute_tool.duration")]
    assert {one["gen_ai.tool.name"] for one in labels} == {"find", "_OTHER"}
    assert [one["error.type"] for one in labels if one["gen_ai.tool.name"] == "_OTHER"] == ["UNKNOWN_TOOL"]
    assert [point.sum for point in traced.points("gen_ai.invoke_agent.tool_calls")] == [6]
    assert [point.sum for point in traced.points("gen_ai.invoke_agent.inference_calls")] == [2]
    assert [point.count for point in traced.points("gen_ai.invoke_agent.duration")] == [1]
    assert [point.count for point in traced.points("gen_ai.client.inference.duration")] == [2]
    assert sum(point.value for point in traced.points("toolrail.tool.attempts")) == 1
    assert sum(point.count for point in traced.points("toolrail.tool.result.size")) == 6


@promise("see:otel")
def test_an_older_profile_has_the_older_names() -> None:
    traced = Traced()
    rail = Rail([find], sinks=[traced.sink(profile="1.41")], clock=FixedClock())
    run_virtual(Agent(ScriptedModel(["Hello."]), rail).run("go"))
    assert [point.count for point in traced.points("gen_ai.client.operation.duration")] == [1]
    kinds = {point.attributes["gen_ai.token.type"]: point.sum for point in traced.points("gen_ai.client.token.usage")}
    assert kinds == {"input": 100, "output": 20}
    assert traced.points("gen_ai.client.inference.duration") == []
