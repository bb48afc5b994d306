"""Anthropic Messages dropped into a loop of one's own: the official SDK asks, toolrail answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from anthropic import APIStatusError, AsyncAnthropic

from tests.fakes.model_server import Call, Endless, Fault, ModelServer, Recorded, Say, Think, Turn
from tests.promises import promise
from toolrail import Principal, Rail, Tool, tool
from toolrail.codes import Code
from toolrail.errors import TurnConflict
from toolrail.history.check import check
from toolrail.limits import RunLimits
from toolrail.messages import Message, ToolResult
from toolrail.model import ModelFailure, Named
from toolrail.providers import anthropic
from toolrail.providers.dropin import Watched
from toolrail.run import Run

Json = dict[str, Any]
Ask = Callable[[AsyncAnthropic, Run[Any]], Awaitable[Any]]
RAN: list[str] = []


@tool(effect="read")
async def find(customer: str) -> str:
    """Finds the customer's invoice."""
    RAN.append(customer)
    return f"invoice of {customer}"


@tool(effect="read", name="billing.total", requires="billing")
async def total() -> int:
    """Adds all up."""
    return 9


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


async def whole(client: AsyncAnthropic, run: Run[Any]) -> Any:
    return await client.messages.create(model="m", max_tokens=99, messages=_of(run), **anthropic.options(run))


async def raw(client: AsyncAnthropic, run: Run[Any]) -> Any:
    return (await whole(client, run)).model_dump()


async def watched(client: AsyncAnthropic, run: Run[Any]) -> Any:
    stream = await client.messages.create(
        model="m", max_tokens=99, messages=_of(run), stream=True, **anthropic.options(run)
    )
    seen = anthropic.watch(run, stream)
    async for _ in seen:
        pass
    return seen


async def helper(client: AsyncAnthropic, run: Run[Any]) -> Any:
    async with client.messages.stream(model="m", max_tokens=99, messages=_of(run), **anthropic.options(run)) as stream:
        seen = anthropic.watch(run, stream)
        async for _ in seen:
            pass
    return seen


def _of(run: Run[Any]) -> Any:
    return run.messages


def loop(server: ModelServer, ask: Ask = whole, **options: Any) -> tuple[Run[Any], list[list[ToolResult]]]:
    """A loop of one's own, to its end. Gives the run and the results of each turn."""
    messages: list[Message] = [{"role": "user", "content": "Find ACME's invoice."}]
    rail = Rail([find, total], store="memory://")
    choice = options.pop("choice", "auto")

    async def main() -> tuple[Run[Any], list[list[ToolResult]]]:
        turns: list[list[ToolResult]] = []
        async with (
            rail,
            AsyncAnthropic(base_url=server.anthropic_url, api_key="k", max_retries=0) as client,
            rail.run(messages, **options) as run,
        ):
            run.tool_choice = choice
            while run.open:
                turns.append(await anthropic.answer(run, await ask(client, run)))
            return run, turns

    return asyncio.run(main())


ACME = Call("find", '{"customer": "ACME"}', "t1")
BOTH: Turn = (Think("Two.", proof="c2ln"), Say("Let me look."), ACME, Call("lost", "{}", "t2"))


@promise("reach:drop-in", "loop:providers/anthropic", "loop:answer")
@pytest.mark.parametrize("ask", [whole, raw, watched, helper])
def test_a_loop_of_ones_own_answers_every_call(ask: Ask) -> None:
    with ModelServer([BOTH, Say("Here it is.")]) as server:
        run, turns = loop(server, ask)
    assert server.rejections == []
    assert RAN == ["ACME"]
    assert [[result.status for result in results] for results in turns] == [["ok", "error"], []]
    assert (run.stop_reason, run.state.turn, run.usage.input_tokens) == ("answer", 2, 240)
    assert check(run.messages, "anthropic") == []
    asked, answered = run.messages[1]["content"], run.messages[2]["content"]
    assert {"type": "thinking", "thinking": "Two.", "signature": "c2ln"}.items() <= asked[0].items()
    assert [(block["type"], block["tool_use_id"]) for block in answered] == [
        ("tool_result", "t1"),
        ("tool_result", "t2"),
    ]
    assert answered[0]["content"] == "invoice of ACME"


@promise("loop:trips")
@pytest.mark.parametrize(
    ("script", "requests"),
    [
        ([ACME, Say("Done.")], 2),
        ([(ACME, ACME, ACME), Say("Done.")], 2),
        ([ACME, ACME, ACME, Say("Done.")], 4),
        ([Say("Which customer?")], 1),
    ],
    ids=["single", "parallel", "chain of three", "question"],
)
def test_the_round_trips_are_those_of_a_loop_by_hand(script: list[Turn], requests: int) -> None:
    with ModelServer(script) as server:
        loop(server)
    assert len(server.requests) == requests
    assert server.rejections == []


@promise("loop:limits", "loop:choice")
def test_the_last_turn_is_sent_with_the_same_tools_and_no_choice() -> None:
    with ModelServer([Endless(ACME)]) as server:
        run, _ = loop(server, limits=RunLimits(turns=3))
    bodies = [request.body for request in server.requests]
    assert [each.get("tool_choice") for each in bodies] == [None, None, {"type": "none"}]
    assert bodies[0]["tools"] == bodies[1]["tools"] == bodies[2]["tools"]
    assert run.stop_reason == "answer"


@promise("loop:choice")
def test_a_forced_choice_holds_for_the_first_turn_only() -> None:
    with ModelServer([ACME, Say("Done.")]) as server:
        loop(server, choice=Named("find"))
    assert [request.body.get("tool_choice") for request in server.requests] == [{"type": "tool", "name": "find"}, None]


@promise("loop:choice")
def test_calls_one_at_a_time() -> None:
    async def one(client: AsyncAnthropic, run: Run[Any]) -> Any:
        fields = anthropic.options(run, parallel=False)
        return await client.messages.create(model="m", max_tokens=99, messages=_of(run), **fields)

    with ModelServer([Say("Done.")]) as server:
        loop(server, one)
    assert server.requests[0].body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@promise("tool:offered", "tool:names")
@pytest.mark.parametrize(
    ("permissions", "offered", "status"),
    [(frozenset[str](), ["find"], "error"), (frozenset({"billing"}), ["find", "billing_total"], "ok")],
)
def test_the_offer_and_what_runs_depend_on_the_principal(
    permissions: frozenset[str], offered: list[str], status: str
) -> None:
    with ModelServer([Call("billing_total"), Say("Done.")]) as server:
        _, turns = loop(server, principal=Principal("u1", permissions))
    assert [each["name"] for each in server.requests[0].body["tools"]] == offered
    assert turns[0][0].status == status


@promise("call:json", "loop:model-errors")
@pytest.mark.parametrize("ask", [whole, watched])
def test_nothing_runs_from_a_response_that_was_cut_off(ask: Ask) -> None:
    with ModelServer([Fault("truncated", parts=(ACME, Call("find", '{"cust'))), Say("Done.")]) as server:
        run, turns = loop(server, ask)
    assert RAN == []
    assert [result.code for result in turns[0]] == [Code.TRUNCATED, Code.TRUNCATED]
    assert check(run.messages, "anthropic") == []
    assert server.rejections == []


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (Fault("empty"), "empty"),
        (Fault("refusal"), "refusal"),
        (Fault("truncated"), "truncated"),
        (Say("Which one?"), "question"),
    ],
)
@pytest.mark.parametrize("ask", [whole, watched])
def test_a_response_without_calls_ends_the_run_with_a_reason(turn: Turn, reason: str, ask: Ask) -> None:
    with ModelServer([turn]) as server:
        run, _ = loop(server, ask)
    assert run.stop_reason == reason
    assert check(run.messages, "anthropic") == []


@promise("loop:stream", "call:json")
def test_what_a_broken_stream_called_is_answered_and_not_run() -> None:
    async def broken(client: AsyncAnthropic, run: Run[Any]) -> Any:
        stream = await client.messages.create(
            model="m", max_tokens=99, messages=_of(run), stream=True, **anthropic.options(run)
        )
        seen = anthropic.watch(run, stream)
        try:
            async for _ in seen:
                pass
        except APIStatusError:
            assert run.state.turn == 0
        return seen

    with ModelServer([Fault("midstream", parts=(ACME, Say("And now a long text."))), Say("Done.")], piece=2) as server:
        run, turns = loop(server, broken)
    assert RAN == []
    assert [result.code for result in turns[0]] == [Code.TRUNCATED]
    assert check(run.messages, "anthropic") == []
    assert server.rejections == []


@promise("loop:providers/anthropic")
@pytest.mark.parametrize("ask", [whole, watched])
def test_a_turn_that_the_provider_paused_leaves_the_run_open(ask: Ask) -> None:
    async def paused(client: AsyncAnthropic, run: Run[Any]) -> Any:
        response = await ask(client, run)
        if run.state.turn > 0:
            return response
        if isinstance(response, Watched):
            cast("Watched[Any]", response).assembler.feed(
                {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}}
            )
            return cast("Watched[Any]", response)
        return {**response.model_dump(), "stop_reason": "pause_turn"}

    with ModelServer([Say("Let me search."), Say("Found.")]) as server:
        run, turns = loop(server, paused)
    assert turns == [[], []]
    assert (run.stop_reason, run.state.turn) == ("answer", 2)
    assert [message["role"] for message in run.messages] == ["user", "assistant", "assistant"]


@promise("call:total")
def test_ids_are_unique_over_the_whole_history() -> None:
    def same(request: Recorded) -> Turn:
        return Say("Done.") if request.results_seen == 3 else Call("find", '{"customer": "A"}', "t")

    with ModelServer(same) as server:
        run, _ = loop(server)
    assert server.rejections == []
    assert check(run.messages, "anthropic") == []


def body(*calls: str) -> Json:
    content = [{"type": "tool_use", "id": id_, "name": "find", "input": {"customer": id_}} for id_ in calls]
    return {"role": "assistant", "content": content, "stop_reason": "tool_use", "usage": {}}


def answered(*responses: Json, store: str = "memory://") -> list[list[ToolResult]]:
    """Each response as a web request of its own, on the messages as they were before."""

    async def main() -> list[list[ToolResult]]:
        found: list[list[ToolResult]] = []
        async with Rail([find], store=store) as rail:
            for response in responses:
                async with rail.run([{"role": "user", "content": "Find."}], run_id="r1") as run:
                    found.append(await anthropic.answer(run, response))
        return found

    return asyncio.run(main())


@promise("reach:drop-in")
def test_a_turn_that_is_answered_twice_gives_the_same_results_and_runs_once(tmp_path: Path) -> None:
    first, second = answered(body("a", "b"), body("a", "b"), store=f"sqlite:///{tmp_path / 'rail.db'}")
    assert [result.content for result in first] == [result.content for result in second]
    assert RAN == ["a", "b"]


@promise("reach:drop-in")
def test_another_turn_at_the_same_position_is_refused() -> None:
    with pytest.raises(TurnConflict):
        answered(body("a"), body("b"))


@promise("loop:model-errors")
@pytest.mark.parametrize("response", [{}, "text", None, {"choices": []}])
def test_what_is_no_response_is_garbage(response: Any) -> None:
    with pytest.raises(ModelFailure, match="garbage"):
        answered(response)


@promise("tool:offered")
def test_a_run_without_tools_sends_no_fields() -> None:
    async def main() -> Any:
        none: list[Tool[object]] = []
        async with Rail(none, store="memory://") as rail, rail.run([]) as run:
            return anthropic.options(run)

    assert asyncio.run(main()) == {}
