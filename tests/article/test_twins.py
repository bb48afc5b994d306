"""The article's steps beside their toolrail twins, under the same faults: where one breaks, the other holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from openai import AsyncOpenAI

from examples.article import loop, loop_toolrail, parallel_toolrail, retries, retries_toolrail
from examples.article.loop import OUT_OF_TURNS, Handlers
from tests.fakes.model_server import Call, Endless, Fault, ModelServer, Say, Script, Turn
from tests.promises import promise
from toolrail import ToolError
from toolrail.providers.openai_chat import OpenAIChat

SEARCH = Call("search_products", '{"query": "trail", "max_results": 1}', "call_1")
ORDER = Call("get_order_status", '{"order_id": "ORD-000002"}', "call_2")
Twin = Callable[..., Awaitable[str]]
STEPS: dict[str, Twin] = {
    "loop": loop_toolrail.run_agent,
    "parallel": parallel_toolrail.run_agent,
    "retries": retries_toolrail.run_agent,
}
EVERY_STEP = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


def ask(server: ModelServer, step: Twin, **options: object) -> str:
    """The twin's answer; its history is one that the provider takes."""

    async def main() -> str:
        async with AsyncOpenAI(base_url=server.openai_url, api_key="test", max_retries=0) as client:
            return await step("Where is my order?", model=OpenAIChat("gpt-4o", client), **options)

    answer = asyncio.run(main())
    assert server.rejections == []
    return answer


PATTERNS: list[tuple[str, Script, int]] = [
    ("no tool", [Say("done")], 1),
    ("single", [SEARCH, Say("done")], 2),
    ("parallel", [(SEARCH, ORDER), Say("done")], 2),
    ("chain of two", [SEARCH, ORDER, Say("done")], 3),
]


@promise("prove:article/twins", "loop:trips", "tool:registry")
@EVERY_STEP
@pytest.mark.parametrize(("name", "script", "trips"), PATTERNS, ids=[row[0] for row in PATTERNS])
def test_each_pattern_takes_the_round_trips_of_the_loop_by_hand(
    step: Twin, name: str, script: Script, trips: int
) -> None:
    with ModelServer(script) as server:
        assert ask(server, step) == "done", name
    assert len(server.requests) == trips


@promise("prove:article/twins")
@EVERY_STEP
def test_results_go_back_in_the_models_order_as_by_hand(step: Twin) -> None:
    with ModelServer([(SEARCH, ORDER), Say("done")]) as server:
        ask(server, step)
    assert [(key, json.loads(text)) for key, text in server.requests[1].results] == [
        ("call_1", [{"id": "P-100", "name": "Trail shoe", "category": "shoes", "price": "89.00"}]),
        ("call_2", {"order_id": "ORD-000002", "status": "being packed"}),
    ]


@promise("prove:article/twins")
@EVERY_STEP
def test_an_endless_model_is_stopped_after_ten_turns_with_its_closing_words(step: Twin) -> None:
    with ModelServer([Endless(SEARCH)]) as server:
        assert ask(server, step) == "That is all I found."
    assert len(server.requests) == 10
    with ModelServer([Endless(SEARCH, heeds=False)]) as server:
        assert ask(server, step) == OUT_OF_TURNS
    assert len(server.requests) == 10


WITH_HANDLERS = pytest.mark.parametrize("step", [parallel_toolrail.run_agent, retries_toolrail.run_agent])


@promise("prove:article/twins", "call:parallel")
@WITH_HANDLERS
def test_calls_of_one_response_run_at_the_same_time(step: Twin) -> None:
    meeting = asyncio.Barrier(2)

    async def meet(order_id: str) -> str:
        await asyncio.wait_for(meeting.wait(), 10)
        return order_id

    handlers = {**loop.TOOL_HANDLERS, "get_order_status": meet}
    with ModelServer([(ORDER, Call("get_order_status", ORDER.arguments)), Say("done")]) as server:
        assert ask(server, step, handlers=handlers) == "done"
    assert [text for _, text in server.requests[1].results] == ["ORD-000002", "ORD-000002"]


def fail_with(error: Exception, times: int = 1000) -> tuple[Handlers, list[str]]:
    tries: list[str] = []

    def get_order_status(order_id: str) -> str:
        tries.append(order_id)
        if len(tries) <= times:
            raise error
        return "shipped"

    return {**loop.TOOL_HANDLERS, "get_order_status": get_order_status}, tries


FAILURES: list[tuple[Exception, str, int]] = [
    (ToolError("The order book is locked.", retryable=True), "MAX_RETRIES", 3),
    (ToolError("No such order."), "TOOL_ERROR", 1),
    (RuntimeError("password=hunter2"), "INTERNAL_ERROR", 1),
    (retries.ToolError("It is of the loop by hand."), "INTERNAL_ERROR", 1),
]


@promise("prove:article/twins", "call:errors", "call:retry")
@WITH_HANDLERS
@pytest.mark.parametrize(("error", "code", "tries"), FAILURES)
def test_a_failing_tool_is_answered_with_the_code_of_the_loop_by_hand(
    step: Twin, error: Exception, code: str, tries: int
) -> None:
    handlers, tried = fail_with(error)
    with ModelServer([ORDER, Say("sorry")]) as server:
        assert ask(server, step, handlers=handlers) == "sorry"
    text = server.requests[1].results[0][1]
    assert (json.loads(text)["code"], len(tried)) == (code, tries)
    assert "hunter2" not in text


@promise("prove:article/twins", "call:retry")
@WITH_HANDLERS
def test_a_failure_that_passes_is_tried_again_until_it_works(step: Twin) -> None:
    handlers, tried = fail_with(ToolError("locked", retryable=True), times=2)
    with ModelServer([ORDER, Say("done")]) as server:
        assert ask(server, step, handlers=handlers) == "done"
    assert (server.requests[1].results, len(tried)) == ([("call_2", "shipped")], 3)


@promise("prove:article/twins", "call:errors")
def test_an_order_that_is_missing_is_said_in_the_handlers_words() -> None:
    with ModelServer([Call("get_order_status", '{"order_id": "ORD-999999"}'), Say("sorry")]) as server:
        ask(server, retries_toolrail.run_agent)
    answer = json.loads(server.requests[1].results[0][1])
    assert (answer["code"], answer["error"]) == ("TOOL_ERROR", "There is no order ORD-999999.")


BAD_CALLS: list[tuple[Turn, str]] = [
    (Call("cancel_order", "{}"), "UNKNOWN_TOOL"),
    (Call("get_order_status", '{"order_id": "ORD-0'), "INVALID_ARGUMENTS"),
    (Call("get_order_status", '{"order": "ORD-000001"}'), "INVALID_ARGUMENTS"),
    (Call("get_order_status", '{"order_id": "12"}'), "INVALID_ARGUMENTS"),
    (Call("search_products", '{"query": "x", "max_results": -5}'), "INVALID_ARGUMENTS"),
]


@promise("prove:article/twins", "call:unknown-tool", "call:json", "call:validate")
@EVERY_STEP
@pytest.mark.parametrize(("turn", "code"), BAD_CALLS)
def test_every_step_answers_a_bad_call_and_keeps_its_sibling(step: Twin, turn: Call, code: str) -> None:
    with ModelServer([(turn, ORDER), Say("done")]) as server:
        assert ask(server, step) == "done"
    bad, good = (json.loads(text) for _, text in server.requests[1].results)
    assert (bad["code"], good["status"]) == (code, "being packed")


@promise("prove:article/twins", "call:json")
@EVERY_STEP
def test_calls_of_a_cut_off_response_do_not_run(step: Twin) -> None:
    with ModelServer([Fault("truncated", parts=(ORDER,)), Say("done")]) as server:
        assert ask(server, step) == "done"
    ((_, text),) = server.requests[1].results
    assert json.loads(text)["code"] == "TRUNCATED"


@promise("prove:article/twins", "loop:model-errors")
@EVERY_STEP
@pytest.mark.parametrize("fault", [Fault("429", retry_after=0.01), Fault("500"), Fault("reset"), Fault("garbage")])
def test_a_failed_model_request_is_made_again(step: Twin, fault: Fault) -> None:
    with ModelServer([ORDER, fault, Say("done")]) as server:
        assert ask(server, step) == "done"
    assert len(server.requests) == 3
    assert server.requests[1].raw == server.requests[2].raw


@promise("prove:article/twins", "loop:model-errors")
@EVERY_STEP
@pytest.mark.parametrize("fault", [Fault("dead"), Fault("401"), Fault("context_length")])
def test_a_model_that_fails_for_good_is_never_its_own_answer(step: Twin, fault: Fault) -> None:
    with ModelServer([ORDER, fault]) as server:
        assert ask(server, step) == OUT_OF_TURNS


@promise("prove:article/twins", "call:total")
@EVERY_STEP
def test_empty_and_duplicate_ids_are_made_whole(step: Twin) -> None:
    with ModelServer(
        [(Call(*TAKEN), Call(*TAKEN), Call("get_order_status", ORDER.arguments, "")), Say("done")]
    ) as server:
        assert ask(server, step) == "done"
    ids = [key for key, _ in server.requests[1].results]
    assert len(ids) == len(set(ids)) == 3
    assert all(ids)


TAKEN = ("get_order_status", '{"order_id": "ORD-000001"}', "same")
