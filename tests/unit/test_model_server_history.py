"""The loopback model server refuses what the providers refuse, in their words, and such a request takes no turn."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import anthropic
import httpx2
import openai
import pytest

from tests.fakes.asking import (
    APIS,
    Json,
    anthropic_body,
    anthropic_client,
    chat_body,
    openai_client,
    responses_body,
)
from tests.fakes.model_server import Api, ModelServer, Say


def call_item(key: str) -> Json:
    return {"type": "function_call", "call_id": key, "name": "add", "arguments": "{}"}


def output_item(key: str) -> Json:
    return {"type": "function_call_output", "call_id": key, "output": f"{key}!"}


def chat_calls(*keys: str, name: str = "add") -> Json:
    calls = [{"id": k, "type": "function", "function": {"name": name, "arguments": "{}"}} for k in keys]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def chat_result(key: str) -> Json:
    return {"role": "tool", "tool_call_id": key, "content": f"{key}!"}


def uses(*keys: str, name: str = "add") -> Json:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": k, "name": name, "input": {}} for k in keys]}


def results(*keys: str, text: str | None = None) -> Json:
    blocks: list[Json] = [{"type": "tool_result", "tool_use_id": k, "content": f"{k}!"} for k in keys]
    return {"role": "user", "content": [{"type": "text", "text": text}, *blocks] if text else blocks}


USER: Json = {"role": "user", "content": "hi"}
VALID: list[tuple[Api, list[Json]]] = [
    ("chat", [USER, chat_calls("a", "b"), chat_result("b"), chat_result("a"), USER]),
    ("responses", [USER, {"type": "reasoning", "id": "rs_1", "summary": []}, call_item("a"), output_item("a")]),
    ("anthropic", [USER, uses("a", "b"), results("b", "a"), {"role": "assistant", "content": "ok"}, USER]),
]
BROKEN: list[tuple[Api, list[Json], str]] = [
    ("chat", [USER, chat_calls("a", "b"), chat_result("a")], "did not have response messages: b"),
    ("chat", [USER, chat_calls("a"), USER, chat_result("a")], "must be followed by tool messages"),
    ("chat", [USER, chat_result("a")], "must be a response to a preceeding message"),
    ("chat", [USER, chat_calls("a"), chat_result("a"), chat_result("a")], "must be a response to a preceeding"),
    ("chat", [USER, chat_calls("a", "a"), chat_result("a"), chat_result("a")], "Duplicate value for 'tool_call_id'"),
    ("chat", [USER, chat_calls(""), chat_result("")], "empty string"),
    ("chat", [USER, chat_calls("a" * 41), chat_result("a" * 41)], "string too long"),
    ("chat", [USER, chat_calls("a", name="a.b"), chat_result("a")], "does not match pattern"),
    ("chat", [USER, {"role": "assistant", "content": None}], "expected a string, got null"),
    ("chat", [USER, {"role": "assistant", "content": "x", "tool_calls": []}], "empty array"),
    ("chat", [USER, chat_calls("a"), chat_result("a") | {"content": None}], "expected a string, got null"),
    ("chat", [], "empty array"),
    ("responses", [USER, call_item("a")], "No tool output found for function call a"),
    ("responses", [USER, output_item("a")], "No tool call found for function call output with call_id a"),
    ("responses", [USER, output_item("a"), call_item("a")], "No tool call found for function call output"),
    ("responses", [USER, call_item("a"), output_item("a"), output_item("a")], "Duplicate call_id a"),
    ("responses", [USER, call_item(""), output_item("")], "empty string"),
    ("responses", [USER, call_item("a") | {"name": "a.b"}, output_item("a")], "does not match pattern"),
    ("responses", [USER, {"type": "reasoning", "id": "rs_1", "summary": []}], "without its required following item"),
    ("responses", [], "empty array"),
    ("anthropic", [USER, uses("a", "b"), results("a")], "without `tool_result` blocks immediately after: b"),
    ("anthropic", [USER, uses("a")], "without `tool_result` blocks immediately after: a"),
    ("anthropic", [USER, uses("a"), results("a", text="so")], "without `tool_result` blocks immediately after"),
    ("anthropic", [USER, results("a")], "unexpected `tool_use_id` found in `tool_result` blocks: a"),
    ("anthropic", [USER, uses("a"), results("a", "a")], "each tool_use must have a single result"),
    ("anthropic", [USER, uses("a"), results("a"), uses("a"), results("a")], "ids must be unique"),
    ("anthropic", [USER, uses(""), results("")], "tool_use.id: String should match pattern"),
    ("anthropic", [USER, uses("a", name="a.b"), results("a")], "tool_use.name: String should match pattern"),
    ("anthropic", [USER, {"role": "assistant", "content": []}, USER], "must have non-empty content"),
    ("anthropic", [USER, {"role": "user", "content": [{"type": "text", "text": ""}]}], "must be non-empty"),
    ("anthropic", [{"role": "assistant", "content": "x"}], 'must use the "user" role'),
    ("anthropic", [], "at least one message is required"),
]


def send(server: ModelServer, api: Api, history: list[Json]) -> None:
    match api:
        case "chat":
            with openai_client(server) as client:
                client.chat.completions.create(**chat_body() | {"messages": history})
        case "responses":
            with openai_client(server) as client:
                client.responses.create(**responses_body() | {"input": history})
        case "anthropic":
            with anthropic_client(server) as client:
                client.messages.create(**anthropic_body() | {"messages": history})


@pytest.mark.parametrize(("api", "history"), VALID)
def test_a_history_that_pairs_is_accepted(api: Api, history: list[Json]) -> None:
    with ModelServer([Say("ok")]) as server:
        send(server, api, history)
    assert server.rejections == []
    assert sorted(server.requests[0].results) in ([("a", "a!")], [("a", "a!"), ("b", "b!")])
    assert server.requests[0].results_seen == len(server.requests[0].results)


@pytest.mark.parametrize(("api", "history", "message"), BROKEN)
def test_a_history_that_the_provider_would_refuse_is_refused_and_takes_no_turn(
    api: Api, history: list[Json], message: str
) -> None:
    with ModelServer([Say("ok")]) as server:
        with pytest.raises((openai.BadRequestError, anthropic.BadRequestError)) as caught:
            send(server, api, history)
        assert message in str(caught.value)
        assert message in server.rejections[0]
        send(server, api, [USER])


@pytest.mark.parametrize("api", APIS)
def test_an_empty_list_of_tools_is_refused(api: Api) -> None:
    body: dict[Api, Json] = {"chat": chat_body(), "responses": responses_body(), "anthropic": anthropic_body()}
    with ModelServer([Say("ok")]) as server, post_json(server) as post:
        path = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}[api]
        assert post(path, body[api] | {"tools": []}) == 400
        assert (
            post(path, body[api] | {"tools": [{"name": "a.b", "type": "function", "function": {"name": "a.b"}}]}) == 400
        )
        assert post(path, body[api]) == 200


def test_anthropic_tool_blocks_need_tools() -> None:
    history = [USER, uses("a"), results("a")]
    body = {key: value for key, value in anthropic_body().items() if key != "tools"} | {"messages": history}
    refused = pytest.raises(anthropic.BadRequestError, match="must define tools")
    with ModelServer([Say("ok")]) as server, anthropic_client(server) as client, refused:
        client.messages.create(**body)


@contextmanager
def post_json(server: ModelServer) -> Generator[Callable[[str, Json], int]]:
    with httpx2.Client(base_url=server.url) as client:
        yield lambda path, body: client.post(path, json=body).status_code
