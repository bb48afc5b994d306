"""The loop for synchronous code: one background loop, a pooled client used twice, nested calls, Ctrl-C."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from tests.fakes.model_server import Call, ModelServer, Say
from tests.loop.helpers import TOOLS, Provider, agent_of, model_on
from tests.pools import places
from tests.promises import promise
from toolrail import Agent, Principal, Rail, RailLimits, RunLimits, RunStopped, SyncRail, ToolCall, tool
from toolrail.approvers import deferred
from toolrail.background import BACKGROUND
from toolrail.effects import Later, once
from toolrail.history.check import check
from toolrail.messages import Message
from toolrail.model import Named
from toolrail.providers import anthropic as anthropic_dropin
from toolrail.providers import openai_chat, openai_responses
from toolrail.testing import Calls, ScriptedModel

FIND = Calls(("find", {"query": "lamp"}))


@promise("loop:sync")
@pytest.mark.parametrize("provider", ["chat", "responses", "anthropic", "compatible"])
def test_run_sync_twice_uses_one_connection_of_a_pooled_client(provider: Provider) -> None:
    script = [Call("find", '{"query": "lamp"}'), Say("A."), Call("find", '{"query": "lamp"}'), Say("B.")]
    with ModelServer(script) as server:
        kind, url = (
            (AsyncAnthropic, server.anthropic_url) if provider == "anthropic" else (AsyncOpenAI, server.openai_url)
        )
        client = kind(base_url=url, api_key="test", max_retries=0)
        agent = Agent(model_on(provider, client), Rail(TOOLS, sinks=[]))
        assert [agent.run_sync("Go.").text, agent.run_sync("Go.").text] == ["A.", "B."]
        BACKGROUND.run(client.close())
    assert (server.connections, server.rejections, len(server.requests)) == (1, [], 4)


@promise("loop:sync")
def test_run_sync_ends_as_run_does() -> None:
    plain = asyncio.run(agent_of([FIND, "A lamp."])[0].run("Go."))
    blocking = agent_of([FIND, "A lamp."])[0].run_sync("Go.")
    assert (blocking.text, blocking.calls, blocking.messages) == (plain.text, plain.calls, plain.messages)


@promise("loop:sync")
def test_run_sync_takes_what_run_takes() -> None:
    agent, model, _ = agent_of([FIND, "A.", "B.", Calls(("find", {"query": "x"}))], max_turns=2)
    first = agent.run_sync("Go.", tool_choice=Named("find"), session="s", principal=Principal("ada"))
    second = agent.run_sync("Again.", session="s", principal=Principal("ada"))
    assert len(second.messages) == len(first.messages) + 2
    assert model.requests[0][1].tool_choice == Named("find")
    model.script = [*model.script, Calls(("find", {"query": "x"}))]
    with pytest.raises(RunStopped, match="limit:turns"):
        agent.run_sync("More.", messages=first.messages, raise_on_stop=True)


@promise("loop:sync")
def test_run_sync_works_in_a_thread_whose_own_loop_is_running() -> None:
    agent, _, _ = agent_of([FIND, "A lamp."])

    async def main() -> str:
        return agent.run_sync("Go.").text

    assert asyncio.run(main()) == "A lamp."


@promise("loop:sync")
def test_run_sync_from_many_threads_at_once() -> None:
    agent, _, _ = agent_of(ScriptedModel(["Done."], endless=True))
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(agent.run_sync("Go.").text)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert texts == ["Done."] * 20


@promise("loop:sync")
def test_a_sync_rail_decides_settles_reconciles_and_says_how_it_is() -> None:
    begun: list[str] = []

    @tool(effect=once(by="invoice"), approve=True)
    async def pay(invoice: str) -> Later:
        """Orders a payment."""
        begun.append(invoice)
        return Later(f"bank-{invoice}")

    rail = SyncRail(Rail([pay], approver=deferred, sinks=[]))
    user, carol = Principal("ada"), Principal("carol")
    with rail.run([], principal=user, run_id="r") as run:
        calls = [ToolCall(str(at), "pay", f'{{"invoice": "A{at}"}}') for at in (1, 2)]
        assert [one.code for one in rail.batch(calls, run)] == ["APPROVAL_PENDING"] * 2
    first, second = rail.approvals.list(run=run.id)
    assert rail.approvals.list(tenant="other") == ()
    assert rail.approvals.decide(first.approval, approved=True, by=carol, note="seen").state == "approved"
    rejected = rail.approvals.decide(second.approval, approved=False, by=carol, message="Not now.")
    assert (rejected.state, rail.approvals.list(), begun) == ("rejected", (), [])
    assert (rail.reconcile().asked, rail.health().ok) == (0, True)
    rail.close()


@promise("loop:sync")
def test_a_sync_rail_takes_a_webhooks_word() -> None:
    @tool(effect=once(by="invoice"))
    async def pay(invoice: str) -> Later:
        """Orders a payment."""
        return Later(f"bank-{invoice}")

    rail = SyncRail(Rail([pay], sinks=[]))
    with rail.run([], principal=Principal("ada"), run_id="r") as run:
        assert [one.code for one in rail.batch([ToolCall("1", "pay", '{"invoice": "A1"}')], run)] == ["WAITING"]
    assert [rail.settle("bank-A1", {"paid": True}), rail.settle("bank-A1", {"paid": True})] == [True, False]
    rail.close()


@promise("loop:sync")
def test_on_toolrails_own_loop_a_sync_call_is_an_error_and_no_deadlock() -> None:
    inner, _, _ = agent_of(["Never."])

    @tool(effect="read")
    async def asks() -> str:
        """Asks in the wrong way."""
        return inner.run_sync("Go.").text

    agent, _, _ = agent_of([Calls(("asks", {})), "Done."], tools=[asks])
    result = agent.run_sync("Go.")
    assert [one.code for one in result.calls] == ["INTERNAL_ERROR"]
    assert result.ok


@promise("loop:sync", "call:sync")
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("threads", [1, 2])
def test_nested_sync_calls_do_not_deadlock_in_a_small_pool(depth: int, threads: int) -> None:
    agents: list[Agent[Any]] = []

    @tool(effect="read")
    def ask_below(level: int) -> str:
        """Asks the next one."""
        return agents[0].run_sync(str(level)).text if level else "the bottom"

    def script(messages: Any) -> Any:
        said = messages[-1]
        level = int(messages[0]["content"])
        return said["content"] if said["role"] == "tool" else Calls(("ask_below", {"level": level - 1}))

    rail = Rail([ask_below], limits=RailLimits(threads=threads), sinks=[])
    agents.append(Agent(ScriptedModel([script], endless=True), rail))
    assert agents[0].run_sync(str(depth)).text == "the bottom"
    assert places(rail.ports.pool) == {"busy": 0, "free": threads, "abandoned": 0}  # pyright: ignore


@promise("loop:sync", "call:sync")
def test_nested_sync_calls_side_by_side_do_not_deadlock_either() -> None:
    rails: list[SyncRail[Any]] = []

    @tool(effect="read")
    def outer(number: int) -> str:
        """Calls another tool."""
        (result,) = rails[0].batch([ToolCall("1", "inner", f'{{"number": {number}}}')])
        return result.content

    @tool(effect="read")
    def inner(number: int) -> str:
        """Is called."""
        return f"inner {number}"

    rails.append(SyncRail(Rail([outer, inner], limits=RailLimits(threads=2), sinks=[])))
    results = rails[0].batch([ToolCall(str(n), "outer", f'{{"number": {n}}}') for n in range(20)])
    assert [result.content for result in results] == [f"inner {n}" for n in range(20)]


@promise("loop:sync")
def test_context_variables_of_the_caller_reach_the_tools() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    @tool(effect="read")
    async def asks() -> str:
        """Looks."""
        return who.get()

    @tool(effect="read")
    def asks_in_a_thread() -> str:
        """Looks, too."""
        return who.get()

    agent, _, _ = agent_of([Calls(("asks", {}), ("asks_in_a_thread", {})), "Done."], tools=[asks, asks_in_a_thread])
    who.set("ada")
    assert [one.content for one in agent.run_sync("Go.").calls] == ["ada", "ada"]


# -- the synchronous rail beside a synchronous client

DROP_INS: dict[str, Any] = {"chat": openai_chat, "responses": openai_responses, "anthropic": anthropic_dropin}


def create(client: Any, api: str, messages: list[Message], **options: Any) -> Any:
    match api:
        case "chat":
            return client.chat.completions.create(model="gpt-4o", messages=messages, **options)
        case "responses":
            return client.responses.create(model="gpt-5", input=messages, **options)
        case _:
            return client.messages.create(model="claude-test", max_tokens=100, messages=messages, **options)


@promise("loop:sync", "reach:drop-in")
@pytest.mark.parametrize("api", DROP_INS)
def test_a_synchronous_rail_takes_a_loop_of_ones_own(api: str) -> None:
    drop_in = DROP_INS[api]
    rail = SyncRail(Rail(TOOLS, sinks=[]))
    messages: list[Message] = [{"role": "user", "content": "Go."}]
    calls = [Call("find", '{"query": "a"}'), Call("blocking", '{"query": "b"}'), Call("nobody")]
    with ModelServer([calls, Say("Done.")]) as server:
        client: Any = (
            Anthropic(base_url=server.anthropic_url, api_key="test", max_retries=0)
            if api == "anthropic"
            else OpenAI(base_url=server.openai_url, api_key="test", max_retries=0)
        )
        with client, rail.run(messages, limits=RunLimits(turns=3)) as run:
            while run.open:
                response = create(client, api, messages, **drop_in.options(run))
                rail.wait(drop_in.answer(run, response))
    assert (run.stop_reason, server.rejections) == ("answer", [])
    assert [text for _, text in server.requests[1].results][:2] == ["found a", "found b"]
    provider: Any = {"chat": "openai_chat", "responses": "openai_responses"}.get(api, "anthropic")
    assert check(messages, provider) == []
    rail.close()


@promise("loop:sync")
def test_what_is_raised_within_a_synchronous_run_goes_on_and_ends_it() -> None:
    rail = SyncRail(Rail(TOOLS, sinks=[]))
    with pytest.raises(ValueError, match="mine"), rail.run([]) as run:
        raise ValueError("mine")
    assert run.stop_reason == "error"
    with pytest.raises(KeyboardInterrupt), rail.run([]) as run:
        raise KeyboardInterrupt
    assert run.stop_reason == "cancelled"
    assert rail.batch([ToolCall("1", "find", '{"query": "a"}')])[0].content == "found a"


PROGRAM = """
import asyncio, os, signal, sys, threading
from toolrail import Agent, Rail, tool
from toolrail.testing import Calls, ScriptedModel, assert_history_valid

@tool(effect="once")
async def pay() -> str:
    "Pays."
    print("started", flush=True)
    await asyncio.sleep(60)
    return "paid"

@tool(effect="read")
def blocks() -> str:
    "Blocks."
    print("started", flush=True)
    threading.Event().wait()

rail = Rail([pay, blocks], store=sys.argv[2])
agent = Agent(ScriptedModel([Calls((sys.argv[1], {})), "Here."], endless=True), rail)
try:
    agent.run_sync("Go.", session="s")
except KeyboardInterrupt:
    result = agent.run_sync("Again.", session="s")
    assert_history_valid(result.messages)
    said = [m["content"] for m in result.messages if m["role"] == "tool"]
    print(result.text, "OUTCOME_UNKNOWN" in said[0], "CANCELLED" in said[0], flush=True)
"""


@promise("loop:sync", "call:cancel", "loop:session")
@pytest.mark.parametrize(("name", "told"), [("pay", "Here. True False"), ("blocks", "Here. False True")])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_ctrl_c_settles_the_run_and_goes_on_and_the_process_ends(
    name: str, told: str, kind: str, tmp_path: Path
) -> None:
    store = "memory://" if kind == "memory" else f"sqlite:///{tmp_path / 'rail.db'}"
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), name, store]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (out.strip(), process.returncode) == (told, 0), err
