"""One request per turn: `run_id=` gets or creates a run, in any process; a turn is answered once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from toolrail import Principal, Rail, Run, RunBusy, RunLimits, RunNotFound, tool
from toolrail.errors import TurnConflict
from toolrail.history.check import check
from toolrail.messages import Message, ToolResult
from toolrail.providers import openai_chat
from toolrail.testing import run_virtual

ADA, BOB = Principal("ada", frozenset({"pay"})), Principal("bob", frozenset({"pay"}))
ran: list[str] = []


@tool(effect="read")
async def find(query: str) -> str:
    """Finds."""
    ran.append(query)
    return f"found {query} {len(ran)}"


@tool(effect="once", requires="pay")
async def pay(invoice: str) -> str:
    """Pays."""
    ran.append(invoice)
    return f"paid {invoice}"


@tool(effect="read")
async def wait() -> str:
    """Waits."""
    await asyncio.sleep(100)
    return "never"


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rail.db'}"


def called(*calls: tuple[str, dict[str, Any]], text: str | None = None) -> dict[str, Any]:
    """A response of Chat Completions."""
    wire = [
        {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for at, (name, arguments) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": text, **({"tool_calls": wire} if wire else {})}
    reason = "tool_calls" if wire else "stop"
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage,
    }


BOTH = called(("find", {"query": "lamp"}), ("pay", {"invoice": "I1"}))
DONE = called(text="Done.")


@asynccontextmanager
async def handle(
    store: str, messages: list[Message], *, who: Principal = ADA, id: str = "r1", **options: Any
) -> AsyncGenerator[Run[Any]]:
    """A web request: a rail of its own over the same file, as another process would have."""
    rail = Rail([find, pay, wait], store=store, sinks=[])
    async with rail, rail.run(messages, principal=who, run_id=id, **options) as run:
        yield run


async def request(store: str, messages: list[Message], response: Any, **options: Any) -> tuple[list[ToolResult], Any]:
    """One turn: its results, and the state in which the run is left."""
    async with handle(store, messages, **options) as run:
        results = await openai_chat.answer(run, response)
        _ = run.open
    return results, run.state


@promise("loop:session", "reach:drop-in")
def test_each_turn_may_come_from_another_process(store: str) -> None:
    messages: list[Message] = [{"role": "user", "content": "Go."}]

    async def main() -> None:
        _, first = await request(store, messages, BOTH)
        assert (first.turn, first.calls, first.usage.total_tokens, first.stop_reason) == (1, 2, 120, None)
        _, second = await request(store, messages, called(("find", {"query": "desk"})))
        assert (second.turn, second.calls, second.calls_per_tool) == (2, 3, {"find": 2, "pay": 1})
        _, third = await request(store, messages, DONE)
        assert (third.stop_reason, third.usage.total_tokens) == ("answer", 360)

    run_virtual(main())
    assert check(messages, "openai_chat") == []
    assert ran == ["lamp", "I1", "desk"]


@promise("loop:session", "reach:drop-in")
def test_the_same_turn_answered_twice_gives_the_stored_results_and_runs_nothing(store: str) -> None:
    async def main() -> tuple[list[ToolResult], list[ToolResult], Any, Any]:
        first: list[Message] = [{"role": "user", "content": "Go."}]
        second: list[Message] = [{"role": "user", "content": "Go."}]
        results, state = await request(store, first, BOTH)
        again, state_again = await request(store, second, BOTH)
        assert first == second
        return results, again, state, state_again

    results, again, state, state_again = run_virtual(main())
    assert [(one.content, one.status, one.replayed) for one in again] == [
        (one.content, one.status, True) for one in results
    ]
    assert ran == ["lamp", "I1"]
    assert (state_again.turn, state_again.calls, state_again.usage) == (state.turn, state.calls, state.usage)


@promise("loop:session", "reach:drop-in")
@pytest.mark.parametrize("other", [called(("find", {"query": "desk"})), DONE])
def test_another_message_at_an_answered_position_is_refused_and_nothing_is_written(store: str, other: Any) -> None:
    async def main() -> None:
        await request(store, [{"role": "user", "content": "Go."}], BOTH)
        messages: list[Message] = [{"role": "user", "content": "Go."}]
        with pytest.raises(TurnConflict):
            await request(store, messages, other)
        assert len(messages) == 1

    run_virtual(main())
    assert ran == ["lamp", "I1"]


@promise("loop:session", "auth:principal")
@pytest.mark.parametrize("who", [BOB, Principal("ada", frozenset({"pay"}), tenant="other")])
def test_another_principals_run_is_not_found_and_another_tenants_is_a_new_one(store: str, who: Principal) -> None:
    async def main() -> None:
        await request(store, [{"role": "user", "content": "Go."}], BOTH)
        if who.tenant == "default":
            for _ in range(2):
                with pytest.raises(RunNotFound):
                    await request(store, [], DONE, who=who)
        else:
            _, state = await request(store, [], DONE, who=who)
            assert state.turn == 1
        _, mine = await request(store, [{"role": "user", "content": "Go."}], BOTH)
        assert mine.turn == 1

    run_virtual(main())


@promise("loop:session")
def test_a_second_holder_is_told_that_the_run_is_busy(store: str) -> None:
    async def main() -> None:
        messages: list[Message] = [{"role": "user", "content": "Go."}]
        async with handle(store, messages) as run:
            with pytest.raises(RunBusy):
                await request(store, [], DONE)
            await openai_chat.answer(run, BOTH)
            with pytest.raises(RunBusy):
                await request(store, [], DONE)
        await request(store, messages, DONE)

    run_virtual(main())


@promise("loop:session", "tool:offered")
def test_permissions_come_anew_with_each_request_and_the_offer_never_grows(store: str) -> None:
    plain = Principal("ada")

    async def main() -> list[list[str | None]]:
        messages: list[Message] = [{"role": "user", "content": "Go."}]
        seen: list[list[str | None]] = []
        for who, id in ((ADA, "a"), (plain, "a"), (plain, "b"), (ADA, "b")):
            async with handle(store, messages, who=who, id=id) as run:
                offered = [each["function"]["name"] for each in openai_chat.options(run).get("tools", [])]
                results = await openai_chat.answer(run, called(("pay", {"invoice": f"{id}{len(seen)}"})))
            seen.append([*offered, results[0].code])
        return seen

    every, less = ["find", "pay", "wait", None], ["find", "wait", "UNKNOWN_TOOL"]
    assert run_virtual(main()) == [every, less, less, less]


@promise("loop:session", "loop:limits")
def test_limits_count_over_all_requests_of_a_run(store: str) -> None:
    limits = RunLimits(turns=3, calls_per_tool=1)

    async def main() -> list[Any]:
        messages: list[Message] = [{"role": "user", "content": "Go."}]
        found: list[Any] = []
        for turn in range(3):
            async with handle(store, messages, limits=limits) as run:
                choice = openai_chat.options(run).get("tool_choice")
                (result,) = await openai_chat.answer(run, called(("find", {"query": str(turn)})))
                found.append((choice, result.code, run.open, run.stop_reason))
        return found

    assert run_virtual(main()) == [
        ("auto", None, True, None),
        ("auto", "LIMIT_REACHED", True, None),
        ("none", "LIMIT_REACHED", False, "limit:turns"),
    ]


@promise("loop:session", "loop:clarify")
def test_a_question_leaves_the_run_open_for_the_next_request(store: str) -> None:
    async def main() -> tuple[bool, bool]:
        messages: list[Message] = [{"role": "user", "content": "Pay."}]
        _, asked = await request(store, messages, called(text="Which invoice?"))
        assert asked.stop_reason == "question"
        messages.append({"role": "user", "content": "I1."})
        async with handle(store, messages) as run:
            before = run.open
            await openai_chat.answer(run, BOTH)
            await openai_chat.answer(run, DONE)
            after = run.open
        return before, after

    assert run_virtual(main()) == (True, False)


@promise("loop:session", "call:cancel")
def test_a_cancelled_turn_is_kept_and_answered_the_same_again(store: str) -> None:
    both = called(("find", {"query": "lamp"}), ("wait", {}))

    async def main() -> tuple[list[Message], list[ToolResult]]:
        messages: list[Message] = [{"role": "user", "content": "Go."}]
        task = asyncio.ensure_future(request(store, messages, both))
        asyncio.get_running_loop().call_later(1, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()
        results, _ = await request(store, [{"role": "user", "content": "Go."}], both)
        return messages, results

    messages, results = run_virtual(main())
    assert [message["content"] for message in messages[2:]] == [one.content for one in results]
    assert (results[0].content, results[1].code, ran) == ("found lamp 1", "CANCELLED", ["lamp"])


PROGRAM = """
import asyncio, json, sys
from toolrail import Principal, Rail, RunBusy, tool
from toolrail.providers import openai_chat

@tool(effect="once")
async def pay(invoice: str) -> str:
    "Pays."
    print("paid", flush=True)
    return "paid " + invoice

async def main():
    messages = [{"role": "user", "content": "Go."}]
    async with Rail([pay], store=sys.argv[1], sinks=[]) as rail:
        while True:
            try:
                async with rail.run(messages, principal=Principal("ada"), run_id="r1") as run:
                    results = await openai_chat.answer(run, json.loads(sys.argv[2]))
                break
            except RunBusy:
                await asyncio.sleep(0.01)
    print(results[0].content, flush=True)

asyncio.run(main())
"""


@promise("loop:session", "reach:drop-in")
def test_four_processes_with_the_same_turn_do_it_once_and_all_have_its_result(store: str) -> None:
    program = [sys.executable, "-c", PROGRAM, store, json.dumps(called(("pay", {"invoice": "I1"})))]
    running = [subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    lines: list[str] = []
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        lines += out.splitlines()
    assert sorted(lines) == ["paid"] + ["paid I1"] * 4
