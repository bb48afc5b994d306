"""The raw drop-ins: a loop of the user's own, with the user's own client, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from types import ModuleType
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.fakes.model_server import Call, Endless, Fault, ModelServer, Recorded, Say, Script, Think
from tests.promises import promise
from toolrail import Principal, Rail, RunLimits, tool
from toolrail.errors import TurnConflict
from toolrail.history.check import check
from toolrail.messages import Message
from toolrail.model import Among, ModelFailure, Named
from toolrail.providers import openai_chat, openai_responses

API = {"chat": openai_chat, "responses": openai_responses}
APIS = pytest.mark.parametrize("api", API.values(), ids=API)
ran: list[str] = []


@tool(effect="read")
async def search(query: str, limit: int = 5) -> str:
    """Searches."""
    ran.append(query)
    return f"{limit} for {query}"


@tool(effect="idempotent", name="billing.pay", requires="pay")
async def pay(invoice: str) -> str:
    """Pays."""
    ran.append(invoice)
    return f"paid {invoice}"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


PAYER = Principal("ada", permissions=frozenset({"pay"}))


def create(client: AsyncOpenAI, api: ModuleType, messages: list[Message], **options: Any) -> Awaitable[Any]:
    if api is openai_chat:
        return client.chat.completions.create(model="gpt-4o", messages=messages, **options)  # pyright: ignore
    return client.responses.create(model="gpt-5", input=messages, **options)  # pyright: ignore


def served(script: Script, use: Callable[[AsyncOpenAI], Awaitable[Any]]) -> tuple[Any, list[Recorded]]:
    with ModelServer(script) as server:

        async def main() -> Any:
            async with AsyncOpenAI(base_url=server.openai_url, api_key="test", max_retries=0) as client:
                return await use(client)

        result = asyncio.run(main())
    assert server.rejections == []
    return result, server.requests


def looped(api: Any, script: Script, **run_options: Any) -> tuple[Any, list[Message], list[Recorded]]:
    """The loop of the README; gives how it ended, its messages and its requests."""
    messages: list[Message] = [{"role": "user", "content": "Go."}]
    choice = run_options.pop("tool_choice", "auto")
    options = run_options.pop("options", {})

    async def use(client: AsyncOpenAI) -> Any:
        async with Rail([search, pay]).run(messages, principal=PAYER, **run_options) as run:
            run.tool_choice = choice
            while run.open:
                response = await create(client, api, messages, **api.options(run, **options))
                await api.answer(run, response)
            return run.stop_reason

    stopped, requests = served(script, use)
    return stopped, messages, requests


TURNS: Script = [
    [Think("Hm."), Call("search", '{"query": "a"}', "c1"), Call("billing_pay", '{"invoice": "I1"}', "c1")],
    [Say("One more."), Call("nobody", "{}"), Call("search", '{"limit": 3}')],
    Say("Done."),
]


@promise("loop:providers", "call:total")
@APIS
def test_a_loop_of_the_users_own_answers_every_call_and_keeps_its_history_valid(api: ModuleType) -> None:
    stopped, messages, requests = looped(api, TURNS)
    assert (stopped, ran) == ("answer", ["a", "I1"])
    texts = [text for _, text in requests[-1].results]
    assert texts[:2] == ["5 for a", "paid I1"]
    assert ["UNKNOWN_TOOL" in texts[2], "INVALID_ARGUMENTS" in texts[3]] == [True, True]
    provider: Any = "openai_chat" if api is openai_chat else "openai_responses"
    assert check(messages, provider) == []
    assert all(type(message) is dict for message in messages)


@promise("tool:offered")
@APIS
def test_the_offer_is_the_same_in_each_turn_and_follows_the_principal(api: ModuleType) -> None:
    _, _, requests = looped(api, TURNS)
    tools = [request.body["tools"] for request in requests]
    assert tools[0] == tools[1] == tools[2]
    names = [each.get("name") or each["function"]["name"] for each in tools[0]]
    assert names == ["search", "billing_pay"]
    _, _, (request,) = looped(api, [Say("Hi.")], options={"parallel": False})
    assert request.body["parallel_tool_calls"] is False


@promise("tool:offered")
@APIS
def test_a_tool_that_the_principal_may_not_see_is_neither_offered_nor_run(api: Any) -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}]

    async def use(client: AsyncOpenAI) -> Any:
        async with Rail([search, pay]).run(messages) as run:
            while run.open:
                await api.answer(run, await create(client, api, messages, **api.options(run)))

    _, requests = served([Call("billing_pay", '{"invoice": "I1"}'), Say("Done.")], use)
    assert (len(requests[0].body["tools"]), ran) == (1, [])
    assert "UNKNOWN_TOOL" in requests[1].results[0][1]


@promise("loop:choice")
@pytest.mark.parametrize("choice", ["required", Named("search"), Among(("search",), required=True)])
@APIS
def test_a_forced_choice_holds_for_the_first_turn_only(api: ModuleType, choice: Any) -> None:
    _, _, requests = looped(api, TURNS, tool_choice=choice)
    sent = [request.body["tool_choice"] for request in requests]
    assert sent[0] == "required" or sent[0]["type"] in ("function", "allowed_tools")
    assert sent[1:] == ["auto", "auto"]


@promise("loop:limits")
@pytest.mark.parametrize(("heeds", "stopped"), [(True, "answer"), (False, "limit:turns")])
@APIS
def test_the_last_turn_allows_no_call_and_one_that_comes_all_the_same_does_not_run(
    api: ModuleType, heeds: bool, stopped: str
) -> None:
    call = Call("search", '{"query": "a"}')
    reason, messages, requests = looped(api, [Endless(call, heeds=heeds)], limits=RunLimits(turns=3))
    assert (reason, ran) == (stopped, ["a", "a"])
    assert [request.calls_closed for request in requests] == [False, False, True]
    assert requests[0].body["tools"] == requests[2].body["tools"]
    assert heeds or "LIMIT_REACHED" in str(messages[-1])


@promise("loop:choice")
@APIS
def test_without_tools_the_options_are_empty(api: Any) -> None:
    async def main() -> object:
        rail: Rail[object] = Rail([])
        async with rail.run([]) as run:
            return api.options(run, parallel=False)

    assert asyncio.run(main()) == {}


@promise("loop:model-errors")
@pytest.mark.parametrize(
    ("fault", "stopped"),
    [("truncated", "truncated"), ("refusal", "refusal"), ("content_filter", "content_filter"), ("empty", "empty")],
)
@APIS
def test_a_bad_answer_ends_the_run_with_its_reason(api: ModuleType, fault: Any, stopped: str) -> None:
    assert looped(api, [Fault(fault)])[0] == stopped


@promise("call:json")
@APIS
def test_calls_of_a_response_that_was_cut_off_do_not_run(api: ModuleType) -> None:
    cut = Fault("truncated", parts=(Call("search", '{"query": "a"}'), Call("search", "")))
    stopped, _, requests = looped(api, [cut, Say("Done.")])
    assert (stopped, ran) == ("answer", [])
    assert ["TRUNCATED" in text for _, text in requests[1].results] == [True, True]


@promise("loop:model-errors")
@APIS
@pytest.mark.parametrize("response", [None, "hello", {}, {"choices": []}])
def test_what_is_no_response_is_a_failure_and_writes_nothing(api: Any, response: object) -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}]

    async def main() -> None:
        async with Rail([search]).run(messages) as run:
            await api.answer(run, response)

    with pytest.raises(ModelFailure, match="garbage"):
        asyncio.run(main())
    assert len(messages) == 1


# -- streamed


async def streamed_turn(client: AsyncOpenAI, api: Any, run: Any, *, leave_after: int | None = None) -> list[Any]:
    stream = api.watch(run, await create(client, api, run.messages, stream=True, **api.options(run)))
    chunks: list[Any] = []
    async with aclosing(aiter(stream)) as reading:
        async for chunk in reading:
            chunks.append(chunk)
            if len(chunks) == leave_after:
                break
    await stream.close()
    await api.answer(run, stream)
    return chunks


@promise("loop:stream")
@APIS
def test_a_watched_stream_passes_its_chunks_on_and_is_answered_like_a_whole_response(api: ModuleType) -> None:
    async def use(client: AsyncOpenAI) -> Any:
        messages: list[Message] = [{"role": "user", "content": "Go."}]
        async with Rail([search, pay]).run(messages, principal=PAYER) as run:
            while run.open:
                chunks = await streamed_turn(client, api, run)
                assert len(chunks) >= 3
        return messages

    streamed, _ = served(TURNS, use)
    assert streamed == looped(api, TURNS)[1]
    assert ran == ["a", "I1"] * 2


@promise("call:json", "loop:stream")
@pytest.mark.parametrize("leave_after", [None, 1, 4])
@APIS
def test_a_stream_that_was_not_read_to_its_end_runs_nothing(api: ModuleType, leave_after: int | None) -> None:
    unfinished = Fault("unfinished", parts=(Call("search", '{"query": "a"}'),))

    async def use(client: AsyncOpenAI) -> Any:
        messages: list[Message] = [{"role": "user", "content": "Go."}]
        async with Rail([search]).run(messages) as run:
            await streamed_turn(client, api, run, leave_after=leave_after)
            return messages, run.stop_reason

    (messages, stopped), _ = served([unfinished], use)
    assert ran == []
    assert check(messages, "openai_chat" if api is openai_chat else "openai_responses") == []
    assert stopped == "truncated" or "TRUNCATED" in messages[-1].get("content", messages[-1].get("output"))


@promise("loop:stream")
@APIS
def test_a_stream_that_breaks_raises_to_the_user_and_can_still_be_answered(api: Any) -> None:
    drop = Fault("drop", parts=(Call("search", '{"query": "a long enough question"}'),))

    async def use(client: AsyncOpenAI) -> Any:
        messages: list[Message] = [{"role": "user", "content": "Go."}]
        async with Rail([search]).run(messages) as run:
            stream = api.watch(run, await create(client, api, messages, stream=True, **api.options(run)))
            with pytest.raises(Exception, match=r"."):
                async for _ in stream:
                    pass
            (result,) = await api.answer(run, stream)
            return messages, result.code

    (messages, code), _ = served([drop], use)
    assert (ran, code) == ([], "TRUNCATED")
    assert check(messages, "openai_chat" if api is openai_chat else "openai_responses") == []


# -- cancelled, and one request for each turn


@promise("call:cancel")
@APIS
def test_a_cancelled_turn_is_written_whole_before_it_goes_on(api: Any) -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}]
    calls = [Call("search", '{"query": "a"}'), Call("wait", "{}")]

    async def use(client: AsyncOpenAI) -> None:
        waiting = asyncio.get_running_loop().create_future()

        @tool(effect="read")
        async def wait() -> None:
            """Waits for ever."""
            waiting.set_result(None)
            await asyncio.get_running_loop().create_future()

        async with Rail([search, wait]).run(messages) as run:
            response = await create(client, api, messages, **api.options(run))
            task = asyncio.create_task(api.answer(run, response))
            waiting.add_done_callback(lambda _: task.cancel())
            with pytest.raises(asyncio.CancelledError):
                await task

    served([calls], use)
    assert check(messages, "openai_chat" if api is openai_chat else "openai_responses") == []
    results = [str(message) for message in messages[-2:]]
    assert ("5 for a" in results[0], "CANCELLED" in results[1]) == (True, True)


@promise("loop:providers")
@APIS
def test_each_turn_may_be_a_request_of_its_own_and_is_done_once(api: Any, tmp_path: Any) -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}]

    async def one_request(client: AsyncOpenAI) -> str | None:
        """What a web request does: the application kept the messages, the store the rest."""
        async with (
            Rail([search, pay], store=f"sqlite:///{tmp_path}/rail.db") as rail,
            rail.run(messages, principal=PAYER, run_id="r1") as run,
        ):
            response = await create(client, api, messages, **api.options(run))
            await api.answer(run, response)
            return run.stop_reason

    async def use(client: AsyncOpenAI) -> list[str | None]:
        return [await one_request(client) for _ in range(3)]

    reasons, requests = served(TURNS, use)
    assert (reasons, ran) == ([None, None, "answer"], ["a", "I1"])
    assert requests[0].body["tools"] == requests[2].body["tools"]


@promise("loop:providers")
@APIS
def test_the_same_turn_answered_twice_gives_the_stored_results_and_another_one_is_refused(
    api: Any, tmp_path: Any
) -> None:
    async def use(client: AsyncOpenAI) -> list[list[Message]]:
        first = await create(client, api, [{"role": "user", "content": "Go."}])
        other = await create(client, api, [{"role": "user", "content": "Go."}])
        written: list[list[Message]] = []
        async with Rail([pay], store=f"sqlite:///{tmp_path}/rail.db") as rail:
            for response in (first, first, other):
                messages: list[Message] = [{"role": "user", "content": "Go."}]
                async with rail.run(messages, principal=PAYER, run_id="r1") as run:
                    if response is other:
                        with pytest.raises(TurnConflict):
                            await api.answer(run, response)
                    else:
                        await api.answer(run, response)
                        written.append(messages)
        return written

    calls = [Call("billing_pay", '{"invoice": "I1"}', "c1"), Call("billing_pay", '{"invoice": "I2"}', "c1")]
    (once, again), _ = served([calls, Call("billing_pay", '{"invoice": "I3"}')], use)
    assert once == again
    assert ran == ["I1", "I2"]
