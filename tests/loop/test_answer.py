"""From a user's message to an answer: the patterns with their round trips, and a question that goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.model_server import Call, Say
from tests.loop.helpers import NO_TOOLS, PROVIDERS, WIRES, Provider, agent_of, run, served_run, went
from tests.promises import promise
from toolrail import Agent, Rail
from toolrail.events import CallSettled, ModelSettled, ModelStarted, RunEnded, RunStarted
from toolrail.messages import Message
from toolrail.model import Named
from toolrail.testing import Calls, ScriptedModel, assert_history_valid, run_virtual

FIND = Calls(("find", {"query": "lamp"}))
BOTH = Calls(("find", {"query": "lamp"}), ("find", {"query": "desk"}))

PATTERNS: list[tuple[str, list[Any], dict[str, Any], int, int]] = [
    ("no tool", ["Hello."], {}, 1, 0),
    ("single", [FIND, "A lamp."], {}, 2, 1),
    ("parallel", [BOTH, "Both."], {}, 2, 2),
    ("chain of 1", [FIND, "Done."], {}, 2, 1),
    ("chain of 4", [FIND, FIND, FIND, FIND, "Done."], {}, 5, 4),
    ("chain of 9", [*(Calls(("find", {"query": f"lamp {n}"})) for n in range(9)), "Done."], {}, 10, 9),
    ("forced", [FIND, "A lamp."], {"tool_choice": Named("find")}, 2, 1),
]


@promise("loop:answer", "loop:trips")
@pytest.mark.parametrize(("name", "script", "options", "trips", "calls"), PATTERNS, ids=[row[0] for row in PATTERNS])
def test_a_pattern_takes_its_round_trips(
    name: str, script: list[Any], options: dict[str, Any], trips: int, calls: int
) -> None:
    agent, model, recorder = agent_of(script)
    result = run(agent, **options)
    assert (result.stop_reason, result.text, result.turns) == ("answer", script[-1], trips), name
    assert len(model.requests) == trips
    assert [len(recorder.of(kind)) for kind in (ModelStarted, ModelSettled, CallSettled)] == [trips, trips, calls]
    assert went(result) == ["ok"] * calls


@promise("loop:trips")
def test_the_record_of_a_run_begins_and_ends_with_it_and_counts_without_gaps() -> None:
    agent, _, recorder = agent_of([BOTH, "Both."])
    run(agent)
    heads = [event.head for event in recorder.events]
    assert [head.seq for head in heads] == list(range(1, len(heads) + 1))
    assert isinstance(recorder.events[0], RunStarted)
    (ended,) = recorder.of(RunEnded)
    assert recorder.events[-1] == ended
    assert (ended.reason, ended.turns, ended.calls) == ("answer", 2, 2)


WIRE_PATTERNS: list[tuple[str, list[Any], Any, int]] = [
    ("no tool", [Say("Hello.")], "auto", 1),
    ("single", [Call("find", '{"query": "lamp"}'), Say("Done.")], "auto", 2),
    ("parallel", [[Call("find", '{"query": "lamp"}'), Call("blocking", '{"query": "desk"}')], Say("Done.")], "auto", 2),
    ("chain of 3", [*[Call("find", '{"query": "lamp"}')] * 3, Say("Done.")], "auto", 4),
    ("forced", [Call("find", '{"query": "lamp"}'), Say("Done.")], Named("find"), 2),
]


@promise(
    "loop:answer",
    "loop:trips",
    "loop:providers/chat",
    "loop:providers/responses",
    "loop:providers/anthropic",
    "loop:providers/compatible",
)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("name", "script", "choice", "trips"), WIRE_PATTERNS, ids=[row[0] for row in WIRE_PATTERNS])
def test_each_provider_takes_the_same_round_trips(
    provider: Provider, name: str, script: list[Any], choice: Any, trips: int
) -> None:
    result, requests = served_run(provider, script, tool_choice=choice)
    assert (result.stop_reason, result.text, len(requests), result.turns) == ("answer", script[-1].text, trips, trips)
    assert went(result) == ["ok"] * (trips if name == "parallel" else trips - 1)
    assert [text for _, text in requests[-1].results] == [one.content for one in result.calls]


@promise("loop:clarify", "loop:session")
def test_a_question_ends_the_run_and_the_next_message_of_the_session_goes_on() -> None:
    agent, model, _ = agent_of(["Which lamp do you mean?", FIND, "The red one."])
    first = run(agent, "Find me a lamp.", session="s")
    assert (first.stop_reason, first.ok, first.output) == ("question", True, "Which lamp do you mean?")
    second = run(agent, "The red one.", session="s")
    assert second.stop_reason == "answer"
    said = [(message["role"], message.get("content")) for message in model.requests[1][0]]
    assert said == [
        ("user", "Find me a lamp."),
        ("assistant", "Which lamp do you mean?"),
        ("user", "The red one."),
    ]
    assert [request.tool_choice for _, request in model.requests] == ["auto", "auto", "auto"]


@promise("loop:clarify")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_question_after_a_tools_complaint_goes_on_with_every_provider(provider: Provider) -> None:
    asked, _ = served_run(provider, [Call("find", "{}"), Say("What shall I look for?")])
    assert (asked.stop_reason, went(asked)) == ("question", ["INVALID_ARGUMENTS"])
    script = [Call("find", '{"query": "lamp"}'), Say("Here.")]
    answered, requests = served_run(provider, script, messages=asked.messages, prompt="A lamp.")
    assert (answered.stop_reason, len(requests)) == ("answer", 2)
    assert answered.notes == ()


@promise("loop:answer", "loop:history")
def test_a_conversation_given_as_messages_is_the_callers_own_and_stays_as_it_was() -> None:
    agent, model, _ = agent_of([FIND, "A lamp.", "You are welcome."])
    before = run(agent).messages
    kept: list[Message] = [dict(message) for message in before]
    result = run(agent, "Thanks.", messages=before)
    assert before == kept
    assert result.messages[: len(before)] == before
    assert len(model.requests[-1][0]) == len(before) + 1


@promise("loop:answer")
def test_instructions_are_sent_in_front_and_kept_out_of_the_messages() -> None:
    agent, model, _ = agent_of(["Hello."], instructions="Be brief.")
    result = run(agent)
    assert [message["role"] for message in result.messages] == ["user", "assistant"]
    assert model.setups[0].instructions == "Be brief."


@promise("loop:answer")
def test_many_runs_of_one_agent_at_once_keep_their_conversations_apart() -> None:
    def answer(messages: Any) -> Any:
        spoken = messages[0]["content"]
        return f"To {spoken}." if len(messages) > 1 else Calls(("slow", {"seconds": 1 + len(spoken) % 3}))

    model = ScriptedModel([answer], endless=True)
    agent, _, _ = agent_of(model)

    async def main() -> list[Any]:
        return await asyncio.gather(*(agent.run("x" * n) for n in range(1, 21)))

    results = run_virtual(main())
    assert [result.text for result in results] == [f"To {'x' * n}." for n in range(1, 21)]
    for result in results:
        assert_history_valid(result.messages, WIRES["chat"])


@promise("loop:answer")
def test_an_agent_without_tools_only_talks() -> None:
    result = run_virtual(Agent(ScriptedModel(["Hello."]), Rail(NO_TOOLS)).run("Hi."))
    assert (result.text, result.calls) == ("Hello.", ())
