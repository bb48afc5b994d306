"""What the model is made to choose from: auto, required, none, one tool, some tools; the first turn only."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.model_server import Call, Say
from tests.loop.helpers import PROVIDERS, TOOLS, Provider, agent_of, cancel_order, run, served_run, went
from tests.promises import promise
from toolrail import DefinitionError, Principal
from toolrail.model import Among, Named
from toolrail.testing import Calls

FIND = Calls(("find", {"query": "lamp"}))
WRITER = Principal("ada", frozenset({"orders:write"}))
CHOICES: list[Any] = [
    "auto",
    "required",
    "none",
    Named("find"),
    Among(("find", "slow")),
    Among(("find",), required=True),
]


@promise("loop:choice")
@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("where", ["agent", "run"])
def test_a_choice_holds_for_the_first_turn_and_then_it_is_auto(choice: Any, where: str) -> None:
    script = ["Hello."] if choice == "none" else [FIND, FIND, "Done."]
    first: dict[str, Any] = {"tool_choice": choice}
    agent, model, _ = agent_of(script, **first) if where == "agent" else agent_of(script)
    result = run(agent) if where == "agent" else run(agent, **first)
    assert [request.tool_choice for _, request in model.requests] == [choice, "auto", "auto"][: len(script)]
    assert (result.stop_reason, result.notes) == ("answer", ())


@promise("loop:choice")
@pytest.mark.parametrize(
    ("choice", "script"),
    [
        ("required", ["Hello."]),
        ("none", [FIND, "Done."]),
        (Named("find"), ["Hello."]),
        (Named("find"), [Calls(("slow", {"seconds": 1})), "Done."]),
        (Among(("slow",)), [FIND, "Done."]),
        (Among(("slow",), required=True), ["Hello."]),
    ],
)
def test_a_server_that_ignores_the_choice_is_noticed_and_the_run_goes_on(choice: Any, script: list[Any]) -> None:
    agent, _, _ = agent_of(script, tool_choice=choice)
    result = run(agent)
    assert (result.stop_reason, result.notes) == ("answer", ("tool_choice_ignored",))


@promise("loop:choice")
@pytest.mark.parametrize("choice", [Named("fnid"), Among(("find", "fnid"))])
def test_a_choice_of_an_unknown_tool_is_an_error_before_any_request(choice: Any) -> None:
    with pytest.raises(DefinitionError, match=r"TR402 .*fnid"):
        agent_of([], tool_choice=choice)
    agent, model, _ = agent_of([])
    with pytest.raises(DefinitionError, match=r"TR402 .*fnid"):
        run(agent, tool_choice=choice)
    with pytest.raises(DefinitionError, match=r"TR402 .*fnid"):
        agent.run_sync("Go.", tool_choice=choice)
    with pytest.raises(DefinitionError, match=r"TR402 .*fnid"):
        agent.stream("Go.", tool_choice=choice)
    assert model.requests == []


@promise("loop:choice")
def test_a_forced_call_without_tools_is_an_error_at_start_up() -> None:
    with pytest.raises(DefinitionError, match="TR402"):
        agent_of([], tools=[], tool_choice="required")


@promise("loop:choice")
@pytest.mark.parametrize("parallel", [None, False, True])
def test_parallel_calls_are_asked_for_in_every_turn_alike(parallel: bool | None) -> None:
    agent, model, _ = agent_of([FIND, "Done."], parallel=parallel)
    run(agent)
    assert [request.parallel for _, request in model.requests] == [parallel, parallel]


@promise("loop:choice", "tool:offered")
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (Named("cancel_order"), "auto"),
        (Among(("cancel_order", "find")), Among(("find",))),
        (Among(("cancel_order",)), Among(())),
        (Among(("cancel_order",), required=True), "auto"),
    ],
)
def test_a_choice_never_names_a_tool_that_is_hidden_from_this_principal(choice: Any, sent: Any) -> None:
    agent, model, _ = agent_of(["Hello."], tools=[*TOOLS, cancel_order], tool_choice=choice)
    run(agent)
    assert model.requests[0][1].tool_choice == sent


@promise("tool:offered", "auth:principal")
def test_the_offer_follows_the_principals_permissions_and_what_is_hidden_is_refused_too() -> None:
    call = Calls(("cancel_order", {"order": "ORD-1"}))
    agent, model, _ = agent_of([call, "Done.", call, "Done."], tools=[*TOOLS, cancel_order])
    refused = run(agent)
    assert went(refused) == ["UNKNOWN_TOOL"]
    assert [tool.name for tool in model.setups[-1].tools] == [tool.name for tool in TOOLS]
    allowed = run(agent, principal=WRITER)
    assert went(allowed) == ["ok"]


@promise("tool:offered")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_offer_is_narrowed_on_the_wire_and_the_same_in_every_turn(provider: Provider) -> None:
    call = Call("find", '{"query": "lamp"}')
    script = [call, call, Say("Done.")]
    tools = [*TOOLS, cancel_order]
    _, narrow = served_run(provider, script, tools=tools)
    _, wide = served_run(provider, script, tools=tools, principal=WRITER)
    for requests, count in ((narrow, len(TOOLS)), (wide, len(tools))):
        assert [len(request.body["tools"]) for request in requests] == [count] * 3
        assert b"cancel_order" in requests[0].raw or count == len(TOOLS)
