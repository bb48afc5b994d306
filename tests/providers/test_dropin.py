"""What the drop-ins of all three APIs share: usage that is missing, a turn appended twice, blocking streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from tests.fakes.model_server import Call, Fault, ModelServer, Say, Script, Think
from tests.promises import promise
from toolrail import Rail, RunLimits, SyncRail, tool
from toolrail.errors import RunError
from toolrail.history.check import check
from toolrail.messages import Message
from toolrail.providers import anthropic, openai_chat, openai_responses
from toolrail.run import Run

DROP_INS: dict[str, Any] = {"chat": openai_chat, "responses": openai_responses, "anthropic": anthropic}
WIRES: dict[str, Any] = {"chat": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic"}
APIS = pytest.mark.parametrize("api", DROP_INS)
WITH_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
ran: list[str] = []


@tool(effect="read")
async def search(query: str) -> str:
    """Searches."""
    ran.append(query)
    return f"found {query}"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def asked(client: Any, api: str, run: Run[Any], **options: Any) -> Any:
    """One request, as a user writes it; awaitable with an asynchronous client."""
    options |= DROP_INS[api].options(run)
    match api:
        case "chat":
            return client.chat.completions.create(model="gpt-4o", messages=run.messages, **options)
        case "responses":
            return client.responses.create(model="gpt-5", input=run.messages, **options)
        case _:
            return client.messages.create(model="claude-test", max_tokens=99, messages=run.messages, **options)


def client_of(server: ModelServer, api: str, *, blocking: bool = False) -> Any:
    if api == "anthropic":
        kind = Anthropic if blocking else AsyncAnthropic
        return kind(base_url=server.anthropic_url, api_key="test", max_retries=0)
    kind = OpenAI if blocking else AsyncOpenAI
    return kind(base_url=server.openai_url, api_key="test", max_retries=0)


# -- usage


def streamed(api: str, script: Script, *, limits: RunLimits, leave_at: str | None = None, **options: Any) -> Run[Any]:
    """A loop of streams to its end; `leave_at` is the finish reason behind which the user reads no further."""
    messages: list[Message] = [{"role": "user", "content": "Go."}]

    async def main(server: ModelServer) -> Run[Any]:
        async with client_of(server, api) as client, Rail([search]).run(messages, limits=limits) as run:
            while run.open:
                stream = DROP_INS[api].watch(run, await asked(client, api, run, stream=True, **options))
                async for chunk in stream:
                    if leave_at and chunk.choices and chunk.choices[0].finish_reason == leave_at:
                        break
                await DROP_INS[api].answer(run, stream)
            return run

    with ModelServer(script) as server:
        return asyncio.run(main(server))


SEARCHES: list[Call | Say] = [Call("search", '{"query": "a"}'), Call("search", '{"query": "b"}'), Say("Done.")]
TOKENS = RunLimits(tokens=1)


@promise("loop:limits/tokens", "loop:stream")
@pytest.mark.parametrize(("api", "options"), [("chat", WITH_USAGE), ("responses", {}), ("anthropic", {})])
def test_a_limit_of_tokens_holds_in_a_streamed_loop_that_is_told_its_usage(
    api: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    run = streamed(api, SEARCHES, limits=TOKENS, **options)
    assert (run.stop_reason, run.state.turn, ran) == ("limit:tokens", 1, ["a"])
    assert [record for record in caplog.records if record.name == "toolrail"] == []


@promise("loop:limits/tokens")
@pytest.mark.parametrize(
    ("options", "leave_at", "last"),
    [({}, None, Say("Done.")), (WITH_USAGE, "tool_calls", Call("search", '{"query": "c"}'))],
    ids=["not asked for", "not read"],
)
def test_a_limit_of_tokens_without_usage_is_warned_of_once_in_a_run(
    options: dict[str, Any], leave_at: str | None, last: Say | Call, caplog: pytest.LogCaptureFixture
) -> None:
    run = streamed("chat", [*SEARCHES[:2], last], limits=RunLimits(tokens=1, turns=3), leave_at=leave_at, **options)
    (warning,) = [record for record in caplog.records if record.name == "toolrail"]
    assert warning.levelno == logging.WARNING
    assert warning.getMessage() == (
        f"Run {run.id}: a response came without usage, so RunLimits(tokens=1) does not count it. "
        'Mend: Stream with stream_options={"include_usage": True} and read to the end; without a stream, the server '
        "must send it."
    )
    assert run.state.turn == 3


def test_without_a_limit_of_tokens_nobody_is_bothered_about_usage(caplog: pytest.LogCaptureFixture) -> None:
    assert streamed("chat", SEARCHES, limits=RunLimits()).stop_reason == "answer"
    assert caplog.records == []


WHOLE: dict[str, Any] = {
    "chat": {"choices": [{"message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]},
    "responses": {"output": [{"type": "message", "role": "assistant", "content": [{"text": "Hi."}]}]},
    "anthropic": {"role": "assistant", "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn"},
}


@promise("loop:limits/tokens")
@APIS
@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {}}])
def test_a_whole_response_without_usage_is_warned_of_and_answered(
    api: str, usage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> str | None:
        async with Rail([search]).run([], limits=RunLimits(tokens=9)) as run:
            await DROP_INS[api].answer(run, WHOLE[api] | usage)
            return run.stop_reason

    assert asyncio.run(main()) == "answer"
    (warning,) = caplog.records
    assert "RunLimits(tokens=9) does not count it. Mend: " in warning.getMessage()


# -- appended twice


def dumped(items: list[Any]) -> list[Any]:
    return [item.model_dump() for item in items]


APPENDED: dict[str, tuple[str, Callable[[Any], list[Any]]]] = {
    "chat, the SDK's message": ("chat", lambda response: [response.choices[0].message]),
    "chat, dumped": ("chat", lambda response: dumped([response.choices[0].message])),
    "chat, a dict of the SDK's calls": (
        "chat",
        lambda response: [
            {
                "role": "assistant",
                "content": response.choices[0].message.content,
                "refusal": response.choices[0].message.refusal,
                "tool_calls": response.choices[0].message.tool_calls,
            }
        ],
    ),
    "responses, the SDK's items": ("responses", lambda response: response.output),
    "responses, dumped": ("responses", lambda response: dumped(response.output)),
    "anthropic, the SDK's blocks": (
        "anthropic",
        lambda response: [{"role": "assistant", "content": response.content}],
    ),
    "anthropic, dumped": ("anthropic", lambda response: [{"role": "assistant", "content": dumped(response.content)}]),
    "anthropic, the whole message": ("anthropic", lambda response: [response]),
}
TURNS: dict[str, Any] = {
    "a call": [Call("search", '{"query": "a"}', "c1")],
    "calls of one id": [Call("search", '{"query": "a"}', "c1"), Call("search", '{"query": "b"}', "c1")],
    "text and a call": [Think("Hm."), Say("Let me look."), Call("search", '{"query": "a"}', "c1")],
    "an answer": [Say("Done.")],
    "a refusal": [Fault("refusal")],
}


@promise("reach:drop-in", "loop:history")
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize(("api", "appended"), APPENDED.values(), ids=APPENDED)
def test_a_loop_that_appends_the_assistants_message_itself_is_told_before_anything_runs(
    api: str, appended: Callable[[Any], list[Any]], turn: Any
) -> None:
    messages: list[Any] = [{"role": "user", "content": "Go."}]

    async def main(server: ModelServer) -> tuple[Any, list[Any]]:
        async with client_of(server, api) as client, Rail([search]).run(messages) as run:
            response = await asked(client, api, run)
            messages.extend(appended(response))
            before = [*messages]
            with pytest.raises(RunError, match=r"remove your own messages\.append\(\.\.\.\)"):
                await DROP_INS[api].answer(run, response)
            return run.state.turn, before

    with ModelServer([turn if len(turn) > 1 else turn[0]]) as server:
        turns, before = asyncio.run(main(server))
    assert (turns, messages, ran) == (0, before, [])


@promise("reach:drop-in", "loop:stream")
def test_a_watched_turn_that_the_user_appended_is_told_too() -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}]

    async def main(server: ModelServer) -> None:
        async with client_of(server, "chat") as client, Rail([search]).run(messages) as run:
            stream = openai_chat.watch(run, await asked(client, "chat", run, stream=True))
            call: dict[str, Any] = {"id": "", "type": "function", "function": {"name": "search", "arguments": ""}}
            async for chunk in stream:
                for piece in (piece for choice in chunk.choices for piece in choice.delta.tool_calls or ()):
                    call["id"] = call["id"] or piece.id
                    call["function"]["arguments"] += piece.function.arguments
            messages.append({"role": "assistant", "tool_calls": [call]})
            with pytest.raises(RunError, match="ends with this response already"):
                await openai_chat.answer(run, stream)

    with ModelServer([SEARCHES[0]]) as server:
        asyncio.run(main(server))
    assert (len(messages), ran) == (2, [])


NOT_THIS: dict[str, tuple[str, Message]] = {
    "chat, other words": ("chat", {"role": "assistant", "content": "Welcome."}),
    "chat, the user's": ("chat", {"role": "user", "content": "Hi."}),
    "chat, nothing": ("chat", {"role": "assistant", "content": None}),
    "responses, other words": ("responses", {"role": "assistant", "content": "Welcome."}),
    "responses, the user's": ("responses", {"role": "user", "content": "Hi."}),
    "anthropic, the beginning of it": ("anthropic", {"role": "assistant", "content": "H"}),
    "anthropic, the user's": ("anthropic", {"role": "user", "content": [{"type": "text", "text": "Hi."}]}),
}


@pytest.mark.parametrize(("api", "last"), NOT_THIS.values(), ids=NOT_THIS)
def test_a_history_that_ends_with_something_else_is_answered(api: str, last: Message) -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}, last]

    async def main() -> str | None:
        async with Rail([search]).run(messages) as run:
            await DROP_INS[api].answer(run, WHOLE[api])
            return run.stop_reason

    assert asyncio.run(main()) == "answer"
    assert len(messages) == 3


@promise("call:total")
def test_ids_of_an_sdks_calls_in_a_users_own_dict_are_not_given_again() -> None:
    """A server that counts its calls from one in each response."""

    async def main(server: ModelServer) -> list[Message]:
        messages: list[Any] = [{"role": "user", "content": "Go."}]
        async with client_of(server, "chat") as client, Rail([search]).run(messages) as run:
            first = await asked(client, "chat", run)
            calls = first.choices[0].message.tool_calls
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            messages.append({"role": "tool", "tool_call_id": "c1", "content": "by hand"})
            await openai_chat.answer(run, await asked(client, "chat", run))
            return messages

    call = Call("search", '{"query": "a"}', "c1")
    with ModelServer([call, call]) as server:
        messages = asyncio.run(main(server))
    assert [message["tool_call_id"] for message in messages if message.get("role") == "tool"] == ["c1", "c1_2"]


# -- blocking streams


def blocking_loop(
    server: ModelServer, api: str, messages: list[Message], *, leave_after: int | None = None
) -> Run[Any]:
    rail = SyncRail(Rail([search], sinks=[]))
    with client_of(server, api, blocking=True) as client, rail.run(messages) as run:
        while run.open:
            stream = DROP_INS[api].watch(run, asked(client, api, run, stream=True))
            chunks = 0
            for _ in stream:
                chunks += 1
                if chunks == leave_after:
                    break
            assert chunks == leave_after or chunks > 2
            rail.wait(stream.close())
            rail.wait(DROP_INS[api].answer(run, stream))
    return run


@promise("loop:sync", "loop:stream", "reach:drop-in")
@APIS
def test_a_blocking_stream_is_watched_and_answered_like_an_asynchronous_one(api: str) -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}]
    with ModelServer(SEARCHES) as server:
        run = blocking_loop(server, api, messages)
    assert (run.stop_reason, ran, server.rejections) == ("answer", ["a", "b"], [])
    assert check(messages, WIRES[api]) == []
    assert streamed(api, SEARCHES, limits=RunLimits()).messages == messages


@promise("loop:sync", "call:json")
@APIS
def test_a_blocking_stream_that_was_left_early_runs_nothing(api: str) -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}]
    long = [Say("Let me look for a long time."), Call("search", '{"query": "a"}')]
    with ModelServer([long, Say("Done.")]) as server:
        run = blocking_loop(server, api, messages, leave_after=2)
    assert (run.stop_reason, ran) == ("truncated", [])
    assert check(messages, WIRES[api]) == []


@promise("loop:sync")
@APIS
@pytest.mark.parametrize("blocking", [True, False])
def test_a_stream_that_is_read_the_wrong_way_says_how_to_read_it(api: str, *, blocking: bool) -> None:
    async def none() -> Any:
        yield {}

    async def main() -> None:
        async with Rail([search]).run([]) as run:
            if blocking:
                async for _ in DROP_INS[api].watch(run, [{}]):
                    pass
            for _ in DROP_INS[api].watch(run, none()):
                pass

    with pytest.raises(TypeError, match="read it with `for`" if blocking else "read it with `async for`"):
        asyncio.run(main())
