"""Broken histories become valid, and nothing else of them changes: tables, and histories broken at random."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.promises import promise
from toolrail.history.check import Wire, check
from toolrail.history.repair import NO_RESULT, guess_provider, repair

Message = dict[str, Any]
WIRES: tuple[Wire, ...] = get_args(Wire)


# -- short forms


def user(content: Any = "hi") -> Message:
    return {"role": "user", "content": content}


def asks(*ids: str) -> Message:
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, "refusal": None}


def tool(name: str, content: str = "ok") -> Message:
    return {"role": "tool", "tool_call_id": name, "content": content}


def call(name: str, kind: str = "function_call") -> Message:
    return {"type": kind, "id": f"fc_{name}", "call_id": name, "name": "f", "arguments": "{}"}


def output(name: str, text: str = "ok", kind: str = "function_call_output") -> Message:
    return {"type": kind, "call_id": name, "output": text}


def reasoning(name: str) -> Message:
    return {"type": "reasoning", "id": name, "summary": [], "encrypted_content": "xyz"}


def uses(*ids: str) -> Message:
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    return {
        "role": "assistant",
        "content": [thought, *({"type": "tool_use", "id": i, "name": "f", "input": {}} for i in ids)],
    }


def gives(*ids: str, text: str = "ok") -> Message:
    return user([{"type": "tool_result", "tool_use_id": name, "content": text} for name in ids])


def said(text: str) -> Message:
    return {"type": "text", "text": text}


LOST = {"type": "tool_result", "tool_use_id": "a", "content": NO_RESULT, "is_error": True}
CUSTOM = {"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}


@promise("loop:history")
@pytest.mark.parametrize(
    ("wire", "messages"),
    [
        ("openai_chat", []),
        ("openai_chat", [user(), asks("a", "b"), tool("b"), tool("a"), {"role": "assistant", "content": "done"}]),
        ("openai_chat", [user(), {"role": "assistant", "content": None, "tool_calls": [CUSTOM]}, tool("a")]),
        ("openai_chat", [user(), {"role": "assistant", "content": "x", "tool_calls": None}]),
        ("openai_responses", [user(), reasoning("r"), call("a"), call("b"), output("b"), output("a")]),
        ("openai_responses", [user(), call("a"), {"role": "assistant", "content": "wait"}, output("a"), user()]),
        ("openai_responses", [call("a", "custom_tool_call"), output("a", kind="custom_tool_call_output")]),
        ("openai_responses", [{"type": "item_reference", "id": "fc_1"}, output("elsewhere")]),
        (
            "openai_responses",
            [{"type": "computer_call", "call_id": "c"}, {"type": "computer_call_output", "call_id": "c"}],
        ),
        ("anthropic", [user(), uses("a", "b"), gives("b", "a"), {"role": "assistant", "content": "done"}]),
        ("anthropic", [user(), uses("a"), user([*gives("a")["content"], said("and?")]), user(), user("more")]),
        (
            "anthropic",
            [user(), {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "web"}]}],
        ),
    ],
)
def test_a_valid_history_comes_back_as_it_is(wire: Wire, messages: list[Message]) -> None:
    assert check(messages, wire) == []
    repaired = repair(messages, provider=wire)
    assert repaired.messages == messages
    assert repaired.notes == ()


@promise("loop:history")
@pytest.mark.parametrize(
    ("broken", "mended", "notes"),
    [
        pytest.param(
            [user(), asks("a", "b"), tool("a"), user("go on")],
            [user(), asks("a", "b"), tool("a"), tool("b", NO_RESULT), user("go on")],
            ("messages[1]: a call without a result got a placeholder",),
            id="a missing result",
        ),
        pytest.param(
            [user(), asks("a")],
            [user(), asks("a"), tool("a", NO_RESULT)],
            ("messages[1]: a call without a result got a placeholder",),
            id="a call at the end",
        ),
        pytest.param(
            [tool("gone"), user(), asks("a"), tool("a"), tool("gone")],
            [user(), asks("a"), tool("a")],
            (
                "messages[0]: a result that no call asked for was dropped",
                "messages[4]: a result that no call asked for was dropped",
            ),
            id="orphaned results",
        ),
        pytest.param(
            [asks("a"), tool("a", "first"), tool("a", "second")],
            [asks("a"), tool("a", "first")],
            ("messages[2]: a second result for one call was dropped",),
            id="a duplicate result",
        ),
        pytest.param(
            [asks("a"), user("hello?"), tool("a")],
            [asks("a"), tool("a"), user("hello?")],
            ("messages[2]: a result was moved to its call",),
            id="a result behind another message",
        ),
        pytest.param(
            [tool("a"), asks("a"), user()],
            [asks("a"), tool("a"), user()],
            ("messages[0]: a result was moved to its call",),
            id="a result before its call",
        ),
        pytest.param(
            [asks("a", "a"), tool("a", "first"), tool("a", "second")],
            [asks("a", "a_2"), tool("a", "first"), tool("a_2", "second")],
            ("messages[0]: a call's id was empty, not allowed or not unique, and was renamed",),
            id="two calls with one id, told apart by position",
        ),
        pytest.param(
            [asks("", ""), tool("", "first"), tool("", "second")],
            [asks("call_2", "call_3"), tool("call_2", "first"), tool("call_3", "second")],
            ("messages[0]: a call's id was empty, not allowed or not unique, and was renamed (2 times)",),
            id="empty ids",
        ),
        pytest.param(
            [asks("a"), user(), asks("a"), tool("a", "of the second")],
            [asks("a"), tool("a", NO_RESULT), user(), asks("a_2"), tool("a_2", "of the second")],
            (
                "messages[0]: a call without a result got a placeholder",
                "messages[2]: a call's id was empty, not allowed or not unique, and was renamed",
            ),
            id="one id in two turns: the result belongs to the call that it follows",
        ),
        pytest.param(
            [asks("a"), tool("a", "1"), tool("a", "2"), asks("a")],
            [asks("a"), tool("a", "1"), asks("a_2"), tool("a_2", NO_RESULT)],
            (
                "messages[2]: a second result for one call was dropped",
                "messages[3]: a call without a result got a placeholder",
                "messages[3]: a call's id was empty, not allowed or not unique, and was renamed",
            ),
            id="a duplicate is never given to a later call of that id",
        ),
        pytest.param(
            [user(), asks()],
            [user(), {"role": "assistant", "content": "", "refusal": None}],
            ("messages[1]: an empty list of calls was removed",),
            id="an empty list of calls",
        ),
    ],
)
def test_a_broken_chat_history_is_mended(broken: list[Message], mended: list[Message], notes: tuple[str, ...]) -> None:
    repaired = repair(broken, provider="openai_chat")
    assert repaired.messages == mended
    assert repaired.notes == notes


@promise("loop:history")
@pytest.mark.parametrize(
    ("broken", "mended", "notes"),
    [
        pytest.param(
            [user(), reasoning("r"), call("a"), call("b"), output("b"), user()],
            [user(), reasoning("r"), call("a"), call("b"), output("b"), output("a", NO_RESULT), user()],
            ("messages[2]: a call without a result got a placeholder",),
            id="a missing output goes behind the others, never between reasoning and its call",
        ),
        pytest.param(
            [call("a", "custom_tool_call")],
            [call("a", "custom_tool_call"), output("a", NO_RESULT, "custom_tool_call_output")],
            ("messages[0]: a call without a result got a placeholder",),
            id="a custom call gets a custom output",
        ),
        pytest.param(
            [call("a"), user(), output("a"), output("b")],
            [call("a"), output("a"), user()],
            (
                "messages[2]: a result was moved to its call",
                "messages[3]: a result that no call asked for was dropped",
            ),
            id="a late output and an orphan",
        ),
        pytest.param(
            [user(), reasoning("r"), user(), reasoning("s"), output("a")],
            [user(), user()],
            (
                "messages[1]: reasoning without the item that follows it was dropped",
                "messages[3]: reasoning without the item that follows it was dropped",
                "messages[4]: a result that no call asked for was dropped",
            ),
            id="reasoning that lost what it led to",
        ),
        pytest.param(
            [call(""), output(""), call(""), output("")],
            [{**call(""), "call_id": "call_2"}, output("call_2"), {**call(""), "call_id": "call_3"}, output("call_3")],
            (
                "messages[0]: a call's id was empty, not allowed or not unique, and was renamed",
                "messages[2]: a call's id was empty, not allowed or not unique, and was renamed",
            ),
            id="empty ids",
        ),
    ],
)
def test_broken_responses_items_are_mended(
    broken: list[Message], mended: list[Message], notes: tuple[str, ...]
) -> None:
    repaired = repair(broken, provider="openai_responses")
    assert repaired.messages == mended
    assert repaired.notes == notes


@promise("loop:history")
@pytest.mark.parametrize(
    ("broken", "mended", "notes"),
    [
        pytest.param(
            [user(), uses("a")],
            [user(), uses("a"), user([LOST])],
            ("messages[1]: a call without a result got a placeholder",),
            id="a call at the end",
        ),
        pytest.param(
            [uses("a"), user("hello?")],
            [uses("a"), user([LOST, said("hello?")])],
            ("messages[0]: a call without a result got a placeholder",),
            id="a lost result goes first into the user message that is there",
        ),
        pytest.param(
            [uses("a"), user([said("hello?"), *gives("a")["content"]])],
            [uses("a"), user([*gives("a")["content"], said("hello?")])],
            ("messages[1]: results were put first",),
            id="a result behind text",
        ),
        pytest.param(
            [uses("a", "b"), gives("a"), gives("b"), user("x")],
            [uses("a", "b"), gives("a", "b"), user("x")],
            ("messages[2]: a result was moved to its call",),
            id="results over two user messages are merged",
        ),
        pytest.param(
            [uses("a"), {"role": "assistant", "content": "wait"}, gives("a")],
            [uses("a"), gives("a"), {"role": "assistant", "content": "wait"}],
            ("messages[2]: a result was moved to its call",),
            id="a result behind another assistant message",
        ),
        pytest.param(
            [user(), gives("gone"), {"role": "assistant", "content": "x"}],
            [user(), {"role": "assistant", "content": "x"}],
            ("messages[1]: a result that no call asked for was dropped",),
            id="a message of orphans goes with them",
        ),
        pytest.param(
            [uses("a:1", "a"), gives("a:1", "a"), uses("a"), gives("a")],
            [uses("a_1_2", "a"), gives("a_1_2", "a"), uses("a_2"), gives("a_2")],
            (
                "messages[0]: a call's id was empty, not allowed or not unique, and was renamed",
                "messages[2]: a call's id was empty, not allowed or not unique, and was renamed",
            ),
            id="an id from another provider and one that is used again",
        ),
        pytest.param(
            [user([]), user([{"type": "tool_use", "id": "a", "name": "f", "input": {}}, said("x")])],
            [user([said("x")])],
            (
                "messages[0]: an empty message was dropped",
                "messages[1]: a call outside the assistant's messages was dropped",
            ),
            id="empty messages and calls of the user's",
        ),
    ],
)
def test_a_broken_anthropic_history_is_mended(
    broken: list[Message], mended: list[Message], notes: tuple[str, ...]
) -> None:
    repaired = repair(broken, provider="anthropic")
    assert repaired.messages == mended
    assert repaired.notes == notes


@promise("loop:history")
@pytest.mark.parametrize(
    ("wire", "messages", "problem"),
    [
        ("openai_chat", [asks("a"), user()], "messages[0]: a call has no result"),
        ("openai_chat", [asks("a"), user(), tool("a")], "messages[2]: a result stands where no call asked for it"),
        ("openai_chat", [asks("a"), tool("a"), tool("a")], "messages[2]: a result stands where no call asked for it"),
        ("openai_chat", [asks("a"), tool("a"), asks("a"), tool("a")], "messages[2]: two calls have one id"),
        ("openai_chat", [asks(""), tool("")], "messages[0]: a call has no id"),
        ("openai_chat", [asks()], "messages[0]: the list of calls is empty"),
        ("openai_responses", [call("a"), user(), output("a")], "messages[0]: a call has no result"),
        (
            "openai_responses",
            [call("a"), output("a", kind="custom_tool_call_output")],
            "messages[0]: a call has no result",
        ),
        ("openai_responses", [output("a"), call("a")], "messages[0]: a result stands where no call asked for it"),
        ("openai_responses", [reasoning("r"), user()], "messages[0]: reasoning without the item that follows it"),
        ("anthropic", [uses("a"), user([said("x"), *gives("a")["content"]])], "messages[1]: results do not come first"),
        ("anthropic", [uses("a", "b"), gives("a"), gives("b")], "messages[0]: a call has no result"),
        ("anthropic", [uses("a"), gives("a", "a")], "messages[1]: a result stands where no call asked for it"),
        ("anthropic", [uses("a.b"), gives("a.b")], "messages[0]: a call's id has a character that is not allowed"),
        ("anthropic", [user([]), user()], "messages[0]: the message is empty"),
    ],
)
def test_the_validator_names_the_problem(wire: Wire, messages: list[Message], problem: str) -> None:
    assert problem in check(messages, wire)


@promise("loop:history")
@pytest.mark.parametrize(
    ("messages", "wire"),
    [
        ([user(), asks("a")], "openai_chat"),
        ([user(), tool("a")], "openai_chat"),
        ([user(), call("a")], "openai_responses"),
        ([{"type": "message", "role": "user", "content": "x"}], "openai_responses"),
        ([user(), uses("a")], "anthropic"),
        ([gives("a")], "anthropic"),
        ([user()], "openai_chat"),
    ],
)
def test_the_shape_tells_the_provider(messages: list[Message], wire: Wire) -> None:
    assert guess_provider(messages) == wire
    assert check(repair(messages).messages, wire) == []


@promise("loop:history")
def test_notes_name_positions_and_never_content() -> None:
    secret = [user("SECRET"), {**tool("SECRET", "SECRET")}, asks("SECRET", "SECRET")]
    assert "SECRET" not in " ".join(repair(secret).notes)


# -- histories broken at random


@st.composite
def histories(draw: st.DrawFn) -> tuple[Wire, list[Message]]:
    """A valid history of some turns, each with its own ids."""
    wire = draw(st.sampled_from(WIRES))
    messages = [user("start")]
    for turn in range(draw(st.integers(1, 4))):
        ids = [f"t{turn}_{n}" for n in range(draw(st.integers(0, 3)))]
        order = draw(st.permutations(ids))
        messages += TURNS[wire](ids, order)
        messages += [user(f"more {turn}")] if draw(st.booleans()) else []
    return wire, messages


def chat_turn(ids: list[str], order: list[str]) -> list[Message]:
    return [asks(*ids), *map(tool, order)] if ids else [{"role": "assistant", "content": "text"}]


def responses_turn(ids: list[str], order: list[str]) -> list[Message]:
    kinds = {name: "custom_tool_call" if name.endswith("2") else "function_call" for name in ids}
    calls = [call(name, kinds[name]) for name in ids]
    answers = [output(name, kind=f"{kinds[name]}_output") for name in order]
    return [reasoning("r"), *(calls or [{"role": "assistant", "content": "text"}]), *answers]


def anthropic_turn(ids: list[str], order: list[str]) -> list[Message]:
    if not ids:
        return [{"role": "assistant", "content": "text"}]
    return [
        uses(*ids),
        {"role": "user", "content": [*gives(*order)["content"], *([said("and")] if len(ids) > 2 else [])]},
    ]


TURNS: dict[Wire, Callable[[list[str], list[str]], list[Message]]] = {
    "openai_chat": chat_turn,
    "openai_responses": responses_turn,
    "anthropic": anthropic_turn,
}


def lists_in(messages: list[Message]) -> list[list[Any]]:
    """The history, and the lists of calls and blocks in it: all that can be cut, doubled or shuffled."""
    inner = [
        message[key] for message in messages for key in ("tool_calls", "content") if isinstance(message.get(key), list)
    ]
    return [messages, *inner]


@st.composite
def broken_histories(draw: st.DrawFn) -> tuple[Wire, list[Message]]:
    wire, messages = draw(histories())
    for _ in range(draw(st.integers(1, 5))):
        broken = draw(st.sampled_from(lists_in(messages)))
        if not broken:
            continue
        at, to = draw(st.integers(0, len(broken) - 1)), draw(st.integers(0, len(broken) - 1))
        match draw(st.sampled_from(["delete", "double", "move", "cut end", "cut start", "rename"])):
            case "delete":
                del broken[at]
            case "double":
                broken.insert(to, copy.deepcopy(broken[at]))
            case "move":
                broken.insert(to, broken.pop(at))
            case "cut end":
                del broken[at + 1 :]
            case "cut start":
                del broken[:at]
            case _:
                rename(broken[at], draw(st.sampled_from(["", "t0_0", "x:y", None])))
    return wire, messages


def rename(item: Message, name: str | None) -> None:
    for key in ("id", "call_id", "tool_call_id", "tool_use_id"):
        if key in item:
            item[key] = name


@promise("loop:history")
@settings(max_examples=200, deadline=None)
@given(histories())
def test_any_valid_history_stays_as_it_is(history: tuple[Wire, list[Message]]) -> None:
    wire, messages = history
    assert check(messages, wire) == []
    assert repair(messages, provider=wire).messages == messages
    assert repair(messages, provider=wire).notes == ()


@promise("loop:history")
@settings(max_examples=500, deadline=None)
@given(broken_histories())
def test_any_broken_history_becomes_valid_and_then_stays(history: tuple[Wire, list[Message]]) -> None:
    wire, messages = history
    before = copy.deepcopy(messages)
    repaired = repair(messages, provider=wire)
    assert messages == before
    assert check(repaired.messages, wire) == []
    assert repair(repaired.messages, provider=wire).messages == repaired.messages
    assert repair(repaired.messages, provider=wire).notes == ()
    assert bool(repaired.notes) == (repaired.messages != messages)


@promise("loop:history")
@settings(max_examples=200, deadline=None)
@given(broken_histories())
def test_what_is_neither_call_nor_result_survives_in_its_order(history: tuple[Wire, list[Message]]) -> None:
    wire, messages = history
    assert words(repair(messages, provider=wire).messages) == words(messages)


def words(messages: list[Message]) -> list[str]:
    """All text and thought that is not part of a call or a result."""
    found: list[str] = []
    for message in messages:
        content: Any = message.get("content")
        if isinstance(content, list):
            blocks = cast("list[Message]", content)
            found += [block[key] for block in blocks for key in ("text", "signature") if key in block]
        elif content and message.get("role") != "tool":
            found.append(content)
    return found
