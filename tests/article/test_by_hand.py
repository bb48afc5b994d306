"""The article's steps as loops by hand, under the faults that their twins meet: what holds, and what does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from examples.article import loop, parallel, retries
from examples.article.loop import OUT_OF_TURNS, Handlers
from examples.article.retries import ToolError
from tests.fakes.model_server import (
    Call,
    Endless,
    Fault,
    ModelServer,
    Say,
    Script,
    Turn,
)
from tests.promises import promise

SEARCH = Call("search_products", '{"query": "trail", "max_results": 1}', "call_1")
ORDER = Call("get_order_status", '{"order_id": "ORD-000002"}', "call_2")
AsyncAgent = Callable[..., Awaitable[str]]
ASYNC_STEPS: list[AsyncAgent] = [parallel.run_agent, retries.run_agent]


def ask_sync(server: ModelServer, handlers: Handlers = loop.TOOL_HANDLERS) -> str:
    with OpenAI(base_url=server.openai_url, api_key="test", max_retries=0) as client:
        return loop.run_agent(client, "Where is my order?", handlers=handlers)


def ask(server: ModelServer, step: AsyncAgent, handlers: Handlers = loop.TOOL_HANDLERS, **options: object) -> str:
    async def main() -> str:
        async with AsyncOpenAI(base_url=server.openai_url, api_key="test", max_retries=0) as client:
            return await step(client, "Where is my order?", handlers=handlers, **options)

    return asyncio.run(main())


def ask_loop(server: ModelServer, handlers: Handlers = loop.TOOL_HANDLERS) -> str:
    return ask_sync(server, handlers)


def ask_parallel(server: ModelServer, handlers: Handlers = loop.TOOL_HANDLERS) -> str:
    return ask(server, parallel.run_agent, handlers)


def ask_retries(server: ModelServer, handlers: Handlers = loop.TOOL_HANDLERS) -> str:
    return ask(server, retries.run_agent, handlers, sleep=no_sleep)


async def no_sleep(_seconds: float) -> None:
    """Retries without waiting."""


Ask = Callable[..., str]
EVERY_STEP = pytest.mark.parametrize("ask_step", [ask_loop, ask_parallel, ask_retries])
PLAIN_STEPS = pytest.mark.parametrize("ask_step", [ask_loop, ask_parallel])

PATTERNS: list[tuple[str, Script, int]] = [
    ("no tool", [Say("done")], 1),
    ("single", [SEARCH, Say("done")], 2),
    ("parallel", [(SEARCH, ORDER), Say("done")], 2),
    ("chain of two", [SEARCH, ORDER, Say("done")], 3),
]


@promise("prove:article/by-hand")
@EVERY_STEP
@pytest.mark.parametrize(("name", "script", "trips"), PATTERNS)
def test_each_pattern_takes_its_round_trips(ask_step: Ask, name: str, script: Script, trips: int) -> None:
    with ModelServer(script) as server:
        assert ask_step(server) == "done", name
    assert len(server.requests) == trips
    assert server.rejections == []


@promise("prove:article/by-hand")
@EVERY_STEP
def test_results_go_back_in_the_models_order(ask_step: Ask) -> None:
    with ModelServer([(SEARCH, ORDER), Say("done")]) as server:
        ask_step(server)
    results = [(key, json.loads(text)) for key, text in server.requests[1].results]
    assert results == [
        ("call_1", [{"id": "P-100", "name": "Trail shoe", "category": "shoes", "price": "89.00"}]),
        ("call_2", {"order_id": "ORD-000002", "status": "being packed"}),
    ]


@promise("prove:article/by-hand")
@EVERY_STEP
def test_an_endless_model_is_stopped_after_ten_turns(ask_step: Ask) -> None:
    with ModelServer([Endless(SEARCH)]) as server:
        assert ask_step(server) == OUT_OF_TURNS
    assert len(server.requests) == 10


@promise("prove:article/by-hand")
@pytest.mark.parametrize("ask_step", [ask_parallel, ask_retries])
def test_calls_of_one_response_run_at_the_same_time(ask_step: Ask) -> None:
    meeting = asyncio.Barrier(2)

    async def meet(order_id: str) -> str:
        await asyncio.wait_for(meeting.wait(), 10)
        return order_id

    with ModelServer([(ORDER, Call("get_order_status", ORDER.arguments)), Say("done")]) as server:
        assert ask_step(server, {"get_order_status": meet}) == "done"
    assert [text for _, text in server.requests[1].results] == ['"ORD-000002"', '"ORD-000002"']


def fail_with(error: Exception, times: int = 1000) -> tuple[Handlers, list[str]]:
    tries: list[str] = []

    def get_order_status(order_id: str) -> str:
        tries.append(order_id)
        if len(tries) <= times:
            raise error
        return "shipped"

    return {"get_order_status": get_order_status}, tries


FAILURES: list[tuple[Exception, str, int]] = [
    (ToolError("The order book is locked.", retryable=True), "MAX_RETRIES", 3),
    (ToolError("No such order."), "TOOL_ERROR", 1),
    (RuntimeError("password=hunter2"), "INTERNAL_ERROR", 1),
]


@promise("prove:article/by-hand")
@pytest.mark.parametrize(("error", "code", "tries"), FAILURES)
def test_a_failing_tool_is_answered_with_its_code(error: Exception, code: str, tries: int) -> None:
    handlers, tried = fail_with(error)
    with ModelServer([ORDER, Say("sorry")]) as server:
        assert ask_retries(server, handlers) == "sorry"
    answer = json.loads(server.requests[1].results[0][1])
    assert answer["code"] == code
    assert len(tried) == tries
    assert "hunter2" not in answer["error"]


@promise("prove:article/by-hand")
def test_a_failure_that_passes_is_tried_again_until_it_works() -> None:
    handlers, tried = fail_with(ToolError("locked", retryable=True), times=2)
    with ModelServer([ORDER, Say("done")]) as server:
        assert ask_retries(server, handlers) == "done"
    assert server.requests[1].results == [("call_2", '"shipped"')]
    assert len(tried) == 3


BAD_CALLS: list[tuple[Turn, str]] = [
    (Call("cancel_order", "{}"), "UNKNOWN_TOOL"),
    (Call("get_order_status", '{"order_id": "ORD-0'), "INVALID_ARGUMENTS"),
    (Call("get_order_status", '{"order": "ORD-000001"}'), "INTERNAL_ERROR"),
]


@promise("prove:article/by-hand")
@pytest.mark.parametrize(("turn", "code"), BAD_CALLS)
def test_the_third_step_answers_a_bad_call_and_keeps_its_sibling(turn: Call, code: str) -> None:
    with ModelServer([(turn, ORDER), Say("done")]) as server:
        assert ask_retries(server) == "done"
    bad, good = (json.loads(text) for _, text in server.requests[1].results)
    assert bad["code"] == code
    assert good["status"] == "being packed"


@promise("prove:article/by-hand")
@PLAIN_STEPS
@pytest.mark.parametrize(("turn", "code"), BAD_CALLS)
def test_the_first_two_steps_end_with_an_exception_on_a_bad_call(ask_step: Ask, turn: Call, code: str) -> None:
    with ModelServer([(turn, ORDER), Say("done")]) as server, pytest.raises((KeyError, ValueError, TypeError)):
        ask_step(server)
    assert len(server.requests) == 1, code


@promise("prove:article/by-hand")
@EVERY_STEP
def test_by_hand_a_value_that_the_schema_forbids_reaches_the_handler(ask_step: Ask) -> None:
    seen: list[int] = []

    def search_products(query: str, max_results: int) -> str:
        seen.append(max_results)
        return query

    with ModelServer([Call("search_products", '{"query": "x", "max_results": -5}'), Say("done")]) as server:
        ask_step(server, {"search_products": search_products})
    assert seen == [-5]


@promise("prove:article/by-hand")
@EVERY_STEP
def test_by_hand_calls_of_a_cut_off_response_run(ask_step: Ask) -> None:
    cut_off = Fault("truncated", parts=(ORDER,))
    with ModelServer([cut_off, Say("done")]) as server:
        ask_step(server)
    assert server.requests[1].results == [("call_2", '{"order_id": "ORD-000002", "status": "being packed"}')]


@promise("prove:article/by-hand")
@EVERY_STEP
def test_by_hand_the_same_payment_five_times_is_paid_five_times(ask_step: Ask) -> None:
    paid: list[str] = []

    def pay(invoice: str) -> str:
        paid.append(invoice)
        return "paid"

    with ModelServer([*[Call("pay", '{"invoice": "A1"}')] * 5, Say("done")]) as server:
        ask_step(server, {"pay": pay})
    assert paid == ["A1"] * 5


@promise("prove:article/by-hand")
@EVERY_STEP
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("429", retry_after=1), openai.RateLimitError),
        (Fault("500"), openai.InternalServerError),
        (Fault("reset"), openai.APIConnectionError),
        (Fault("dead"), openai.APIConnectionError),
        (Fault("garbage"), json.JSONDecodeError),
        (Fault("context_length"), openai.BadRequestError),
    ],
)
def test_by_hand_a_failed_model_request_loses_the_run(ask_step: Ask, fault: Fault, error: type[Exception]) -> None:
    with ModelServer([ORDER, fault]) as server, pytest.raises(error):
        ask_step(server)
    assert len(server.requests) == 2
