"""OpenTelemetry: the span of a call is the current one wherever its work is done, and nowhere else afterwards."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.request import Request, urlopen

import httpx2
import pytest
from opentelemetry.context import get_current
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import get_current_span

from tests.promises import promise
from tests.records import traced_handlers
from tests.records.tracing import Traced, id_of, said, trace_of
from tests.spine.helpers import call
from toolrail import Agent, Rail, SyncRail, tool
from toolrail.testing import Calls, FixedClock, ScriptedModel, run_virtual


@contextmanager
def other_side() -> Generator[tuple[str, dict[str, str]]]:
    """A service that notes, by path, the trace that its callers say they belong to."""
    heard: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard[self.path] = self.headers.get("traceparent", "")
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def place_of(span: ReadableSpan) -> str:
    """A traceparent without its flags: versions of the SDK have different ones."""
    return f"00-{trace_of(span)}-{id_of(span):016x}"


@promise("see:otel")
def test_requests_that_tools_send_carry_the_span_of_their_own_call() -> None:
    traced = Traced()

    @tool(effect="read")
    async def fetch(url: str) -> str:
        """Fetches."""
        headers: dict[str, str] = {}
        inject(headers)
        async with httpx2.AsyncClient(trust_env=False) as client:
            return (await client.get(url, headers=headers)).text

    @tool(effect="read")
    def fetch_in_thread(url: str) -> str:
        """Fetches, in a thread."""
        headers: dict[str, str] = {}
        inject(headers)
        with urlopen(Request(url, headers=headers)) as response:
            return response.read().decode()

    async def work(url: str) -> None:
        rail = Rail([fetch, fetch_in_thread], sinks=[traced.sink()])
        async with rail.run([]) as run:
            names = [("fetch", "a"), ("fetch", "b"), ("fetch_in_thread", "c"), ("fetch_in_thread", "d")]
            results = await rail.batch([call(name, {"url": f"{url}/{at}"}, id=at) for name, at in names], run)
            assert [result.status for result in results] == ["ok"] * 4
        rail.ports.pool.close()

    with other_side() as (url, heard):
        asyncio.run(work(url))
    spans = {said(span).get("gen_ai.tool.call.id"): span for span in traced.spans}
    assert {path: told[:-3] for path, told in heard.items()} == {f"/{at}": place_of(spans[at]) for at in "abcd"}
    assert len(set(heard.values())) == 4


@promise("see:otel")
def test_an_isolated_process_goes_on_in_the_span_of_its_call() -> None:
    traced = Traced()
    isolated = tool(effect="read", isolate="process", timeout=30.0)(traced_handlers.where)

    async def work() -> Any:
        rail = Rail([isolated], sinks=[traced.sink()])
        result = (await rail.batch([call("where")]))[0]
        rail.ports.pool.close()
        return json.loads(result.content)

    found = asyncio.run(work())
    span = traced.one("execute_tool where")
    assert (found["span"], found["told"][:-3]) == (f"{id_of(span):016x}", place_of(span))


@promise("see:otel")
def test_blocking_code_stands_in_its_run_and_leaves_it() -> None:
    traced = Traced()

    @tool(effect="read")
    async def find(q: str) -> str:
        """Finds."""
        return q

    rail = SyncRail(Rail([find], sinks=[traced.sink()]))
    before = get_current()
    with traced.tracer.start_as_current_span("request"):
        with rail.run([]) as run:
            with traced.tracer.start_as_current_span("chat theirs"):
                pass
            rail.batch([call("find", {"q": "x"})], run)
        with traced.tracer.start_as_current_span("after"):
            pass
    rail.close()
    assert get_current() is before
    assert traced.tree() == [
        ("after", "request"),
        ("chat theirs", "invoke_agent"),
        ("execute_tool find", "invoke_agent"),
        ("invoke_agent", "request"),
        ("request", None),
    ]


@promise("see:otel")
def test_a_loop_of_ones_own_has_its_model_calls_in_the_run_and_no_second_span_for_them() -> None:
    traced = Traced()

    async def work() -> None:
        rail: Rail[Any] = Rail([], sinks=[traced.sink()])
        async with rail.run([]):
            with traced.tracer.start_as_current_span("chat theirs"):
                await asyncio.sleep(0)
        assert not get_current_span().get_span_context().is_valid

    run_virtual(work())
    assert traced.tree() == [("chat theirs", "invoke_agent"), ("invoke_agent", None)]


@promise("see:otel")
@pytest.mark.parametrize("first", ["outer", "inner"])
def test_runs_that_end_in_any_order_leave_the_context_as_it_was(first: str, caplog: pytest.LogCaptureFixture) -> None:
    traced = Traced()

    async def work() -> None:
        rail: Rail[Any] = Rail([], sinks=[traced.sink()])
        held = {"outer": rail.run([]), "inner": rail.run([])}
        for one in held.values():
            await one.__aenter__()
        await held.pop(first).__aexit__(None, None, None)
        await next(iter(held.values())).__aexit__(None, None, None)
        assert not get_current_span().get_span_context().is_valid

    run_virtual(work())
    assert len(traced.named("invoke_agent")) == 2
    assert caplog.records == []


@promise("see:otel")
def test_a_run_that_ends_in_another_task_is_ended_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    traced = Traced()

    async def work() -> None:
        rail: Rail[Any] = Rail([], sinks=[traced.sink()])
        held = rail.run([])
        await asyncio.create_task(held.__aenter__())  # pyright: ignore[reportArgumentType]
        await held.__aexit__(None, None, None)
        assert not get_current_span().get_span_context().is_valid

    run_virtual(work())
    assert traced.tree() == [("invoke_agent", None)]
    assert caplog.records == []


@promise("see:otel")
def test_a_stream_that_is_left_early_ends_its_spans() -> None:
    traced = Traced()

    @tool(effect="read")
    async def hang() -> str:
        """Hangs."""
        await asyncio.sleep(3600)
        return ""

    async def work() -> None:
        rail = Rail([hang], sinks=[traced.sink()], clock=FixedClock())
        agent = Agent(ScriptedModel([Calls(("hang", {})), "never"]), rail)
        async with agent.stream("go") as stream:
            async for event in stream:
                if type(event).__name__ == "ToolStarted":
                    break
        assert not get_current_span().get_span_context().is_valid

    run_virtual(work())
    assert traced.tree() == [
        ("chat scripted", "invoke_agent"),
        ("execute_tool hang", "invoke_agent"),
        ("invoke_agent", None),
    ]
