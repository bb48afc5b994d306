"""Prompt caches stay warm: within a run, what was sent before is sent again byte for byte."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest

from tests.fakes.model_server import Call, Endless, Fault, Say, Script, Think
from tests.fakes.script import Recorded
from tests.loop.helpers import PROVIDERS, Provider, served_run
from tests.promises import promise

SCRIPT: Script = [
    [Think("Hm."), Say("Let me look."), Call("find", '{"query": "\\u00e9 lamp"}')],
    [Call("find", '{"limit": 1, "query": 2}'), Call("nobody", "{"), Call("blocking", '{"query": "desk"}')],
    Fault("500"),
    [Call("broken", ""), Call("find", '{"query": "lamp"}', "same"), Call("find", '{"query": "lamp"}', "same")],
    Say("Done."),
]
MARK = re.compile(rb',"cache_control":\{"type":"ephemeral"\}')


def field(request: Recorded, name: str) -> bytes:
    """A field's value as the bytes that were sent: found by its text, and nothing else fits it."""
    raw = request.raw
    begin = raw.index(b'"%b":' % name.encode()) + len(name) + 3
    _, length = json.JSONDecoder().raw_decode(raw[begin:].decode())
    return raw[begin : begin + len(raw[begin:].decode()[:length].encode())]


@promise("tool:offered", "loop:providers")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_tools_are_the_same_bytes_in_each_request_of_a_run(provider: Provider) -> None:
    _, requests = served_run(provider, SCRIPT, instructions="Be brief.", max_turns=5)
    assert len(requests) == 5
    assert len({field(request, "tools") for request in requests}) == 1
    if provider == "anthropic":
        assert len({field(request, "system") for request in requests}) == 1


@promise("tool:offered", "loop:history")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_messages_of_a_request_begin_with_the_bytes_of_those_before(provider: Provider) -> None:
    _, requests = served_run(provider, SCRIPT, instructions="Be brief.")
    name = "input" if provider == "responses" else "messages"
    sent = [MARK.sub(b"", field(request, name)) for request in requests]
    for before, after in pairwise(sent):
        assert after.startswith(before[:-1])


@promise("tool:offered")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_last_turn_changes_nothing_but_the_choice(provider: Provider) -> None:
    _, requests = served_run(provider, [Endless(Call("find", '{"query": "a"}'))], max_turns=3)
    bodies: list[dict[str, Any]] = [dict(request.body) for request in requests]
    for body in bodies:
        for name in ("messages", "input", "tool_choice"):
            body.pop(name, None)
    assert bodies[0] == bodies[1] == bodies[2]


@promise("tool:offered")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_next_run_of_a_conversation_begins_with_the_bytes_of_the_one_before(provider: Provider) -> None:
    first, before = served_run(provider, SCRIPT)
    _, after = served_run(provider, [Say("Bye.")], messages=first.messages, prompt="Thanks.")
    name = "input" if provider == "responses" else "messages"
    assert field(after[0], "tools") == field(before[0], "tools")
    assert MARK.sub(b"", field(after[0], name)).startswith(MARK.sub(b"", field(before[-1], name))[:-1])
