"""A session: one conversation over many runs, stored, held by one run at a time, trimmed without breaking pairs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.model_server import Call, Say
from tests.loop.helpers import (
    NO_TOOLS,
    PROVIDERS,
    TOOLS,
    WIRES,
    Provider,
    agent_of,
    cancelled_at,
    leftover,
    run,
    served,
)
from tests.promises import promise
from toolrail import Agent, Principal, Rail, RunBusy, RunNotFound
from toolrail.errors import RunError
from toolrail.history.check import check
from toolrail.leases import LEASE_SECONDS
from toolrail.messages import Message
from toolrail.model import Model, ModelFailure
from toolrail.session import begins, trimmed
from toolrail.store import LoadSession, Op, SaveSession, TakeLease, ask
from toolrail.stores.memory import MemoryStore
from toolrail.testing import Calls, FixedClock, ScriptedModel, assert_history_valid, run_virtual

ADA, BOB = Principal("ada"), Principal("bob")
FIND = Calls(("find", {"query": "lamp"}))
STORES = ["memory", "sqlite"]


def place(kind: str, tmp_path: Path) -> Any:
    return MemoryStore() if kind == "memory" else f"sqlite:///{tmp_path / 'rail.db'}"


def messages_of(agent: Agent[Any], name: str, *, tenant: str = "default") -> list[Message] | None:
    """The session as the store has it, once all was written; the store is closed."""

    async def read() -> list[Message] | None:
        row = await ask(agent.rail.ports.store, LoadSession(tenant, name))
        await agent.rail.ports.store.close()
        return None if row is None else json.loads(row.messages)

    return run_virtual(read())


@promise("loop:session")
@pytest.mark.parametrize("kind", STORES)
def test_a_session_holds_one_conversation_over_many_runs(kind: str, tmp_path: Path) -> None:
    agent, model, _ = agent_of([FIND, "A lamp.", "Red.", "Bye."], store=place(kind, tmp_path))
    for prompt in ("A lamp?", "Which colour", "Thanks"):
        result = run(agent, prompt, session="s", principal=ADA)
    assert [message["content"] for message in model.requests[-1][0] if message["role"] == "user"] == [
        "A lamp?",
        "Which colour",
        "Thanks",
    ]
    assert messages_of(agent, "s") == result.messages


@promise("loop:session")
def test_another_process_goes_on_with_a_session_from_the_same_file(tmp_path: Path) -> None:
    for turn in range(3):
        agent, model, _ = agent_of([FIND, f"Answer {turn}."], store=place("sqlite", tmp_path))
        run(agent, "Again", session="s")
        stored = messages_of(agent, "s")
        assert stored is not None
        assert len(stored) == 4 * (turn + 1)
        assert len(model.requests[0][0]) == 4 * turn + 1


@promise("loop:session")
@pytest.mark.parametrize("kind", STORES)
def test_two_runs_at_once_of_one_session_are_refused_and_the_first_goes_on(kind: str, tmp_path: Path) -> None:
    agent, model, _ = agent_of([Calls(("slow", {"seconds": 5})), "Done.", "Now."], store=place(kind, tmp_path))

    async def main() -> tuple[str, str, str]:
        first = asyncio.create_task(agent.run("One.", session="s"))
        await asyncio.sleep(1)
        with pytest.raises(RunBusy):
            await agent.run("Two.", session="s")
        elsewhere = asyncio.create_task(agent.run("Elsewhere.", session="t"))
        done = (await first).text
        again = (await agent.run("Three.", session="s")).text
        other = (await elsewhere).text
        await agent.rail.ports.store.close()
        return done, again, other

    model.script = [Calls(("slow", {"seconds": 5})), "Elsewhere.", "Done.", "Now."]
    assert run_virtual(main()) == ("Done.", "Now.", "Elsewhere.")


@promise("loop:session", "auth:principal")
@pytest.mark.parametrize("running", [False, True])
def test_another_principals_session_is_not_found_even_while_it_runs(*, running: bool) -> None:
    agent, _, _ = agent_of(["Hello.", Calls(("slow", {"seconds": 5})), "Done."])

    async def main() -> None:
        await agent.run("Hi.", session="s", principal=ADA)
        task = asyncio.create_task(agent.run("More.", session="s", principal=ADA)) if running else None
        await asyncio.sleep(1)
        with pytest.raises(RunNotFound, match="no session 's'"):
            await agent.run("Let me see.", session="s", principal=BOB)
        if task:
            assert (await task).ok

    run_virtual(main())


@promise("loop:session")
def test_sessions_of_two_tenants_have_nothing_in_common() -> None:
    agent, model, _ = agent_of(["One.", "Two."])
    run(agent, session="s", principal=Principal("ada", tenant="a"))
    run(agent, session="s", principal=Principal("bob", tenant="b"))
    assert len(model.requests[1][0]) == 1


@promise("loop:session")
@pytest.mark.parametrize("second", ["responses", "anthropic"])
def test_another_provider_is_told_to_begin_a_new_session(second: Provider) -> None:
    store = MemoryStore()
    agent, _, _ = agent_of(["Hello."], store=store)
    run(agent, session="s")
    before = messages_of(agent, "s")

    async def use(model: Model) -> None:
        with pytest.raises(RunError, match="held with openai_chat"):
            await Agent(model, Rail(NO_TOOLS, store=store)).run("And now?", session="s")

    _, requests = served(second, [Say("Never.")], use)
    assert requests == []
    assert messages_of(agent, "s") == before
    assert run(agent_of(["Hi."], store=store)[0], session="s").ok


@promise("loop:session", "loop:history")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_session_of_each_provider_goes_on_as_it_was_stored(provider: Provider, tmp_path: Path) -> None:
    store = place("sqlite", tmp_path)

    async def use(model: Model) -> list[Any]:
        results: list[Any] = []
        for prompt in ("One.", "Two."):
            async with Rail(TOOLS, store=store) as rail:
                results.append(await Agent(model, rail).run(prompt, session="s"))
        return results

    script = [[Call("find", '{"query": "\\ud83d\\ude00 é"}'), Call("nobody")], Say("A."), Call("broken"), Say("B.")]
    (first, second), requests = served(provider, script, use)
    assert second.messages[: len(first.messages)] == first.messages
    assert check(second.messages, WIRES[provider]) == []  # pyright: ignore[reportArgumentType]
    assert (first.notes, second.notes, len(requests)) == ((), (), 4)


ENDS: list[tuple[str, Any, str]] = [
    ("dead", ModelFailure("rejected", "no"), "model_unavailable"),
    ("context length", ModelFailure("context_length", "too long"), "context_length"),
    ("empty", "", "empty"),
]


@promise("loop:session", "loop:history")
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize(("name", "last", "reason"), ENDS, ids=[row[0] for row in ENDS])
def test_a_run_that_failed_leaves_a_session_that_goes_on(
    kind: str, name: str, last: Any, reason: str, tmp_path: Path
) -> None:
    agent, model, _ = agent_of([FIND, last, "Here."], store=place(kind, tmp_path))
    assert run(agent, session="s").stop_reason == reason, name
    assert run(agent, "Again.", session="s").text == "Here."
    assert_history_valid(model.requests[-1][0])
    assert messages_of(agent, "s") is not None


@promise("loop:session", "call:cancel")
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 3.5])
def test_a_cancelled_run_leaves_a_session_that_goes_on_with_what_was_finished(
    kind: str, moment: float, tmp_path: Path
) -> None:
    both = Calls(("find", {"query": "lamp"}), ("slow", {"seconds": 1.5}))
    model = ScriptedModel([both, "Done.", "Here.", "Here."], seconds=1.0)
    agent, _, _ = agent_of(model, store=place(kind, tmp_path))

    async def main() -> tuple[Any, set[str]]:
        await cancelled_at(moment, agent.run("Go.", session="s"))
        left = await leftover()
        return await agent.run("Again.", session="s"), left

    result, left = run_virtual(main())
    assert left == set()
    assert result.ok
    assert_history_valid(result.messages)
    if 1.0 < moment < 2.5:
        contents = [message["content"] for message in result.messages if message["role"] == "tool"]
        assert contents[0] == "found lamp"
        assert "CANCELLED" in contents[1]
    assert messages_of(agent, "s") == result.messages


class SlowStore(MemoryStore):
    """Takes a second for each transaction, and goes through with what it has begun."""

    durable = True

    async def apply(self, *ops: Op) -> list[Any]:
        return await asyncio.shield(asyncio.ensure_future(self._slowly(ops)))

    async def _slowly(self, ops: tuple[Op, ...]) -> list[Any]:
        await asyncio.sleep(1)
        return await super().apply(*ops)


@promise("loop:session", "call:cancel")
@pytest.mark.parametrize("moment", [n / 2 for n in range(16)])
@pytest.mark.parametrize("again", [None, 0.0, 0.1])
def test_a_session_is_given_back_whenever_its_run_is_cancelled_once_or_twice(
    moment: float, again: float | None
) -> None:
    store = SlowStore()
    agent, _, _ = agent_of(ScriptedModel([FIND, "Done."]), store=store)

    async def main() -> bool:
        task = asyncio.ensure_future(agent.run("Go.", session="s"))
        loop = asyncio.get_running_loop()
        loop.call_later(moment, task.cancel)
        if again is not None:
            loop.call_later(moment + again, task.cancel)
        await asyncio.wait([task])
        await asyncio.sleep(20)
        now = agent.rail.ports.clock.wall()
        return (await store.apply(TakeLease("default", "session:s", "me", now, now + 1)))[0]

    assert run_virtual(main())
    stored = messages_of(agent, "s")
    assert stored is None or check(stored, "openai_chat") == []


@promise("loop:session")
def test_a_run_that_is_longer_than_a_lease_still_holds_its_session() -> None:
    agent, _, _ = agent_of(ScriptedModel(["Done."], seconds=3 * LEASE_SECONDS))

    async def main() -> str:
        task = asyncio.ensure_future(agent.run("Go.", session="s"))
        await asyncio.sleep(2.5 * LEASE_SECONDS)
        with pytest.raises(RunBusy):
            await agent.run("Me too.", session="s")
        return (await task).text

    assert run_virtual(main()) == "Done."


@promise("loop:session")
def test_a_session_of_a_process_that_died_is_free_after_its_lease() -> None:
    agent, _, _ = agent_of(["Done."])
    store, now = agent.rail.ports.store, FixedClock().wall() + 1_000

    async def main() -> str:
        await store.apply(TakeLease("default", "session:s", "the dead", now, now + LEASE_SECONDS))
        with pytest.raises(RunBusy):
            await agent.run("Go.", session="s")
        await asyncio.sleep(LEASE_SECONDS + 1)
        return (await agent.run("Go.", session="s")).text

    assert run_virtual(main()) == "Done."


@promise("loop:session")
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("text", ["\ud800 alone", "null \0 byte", "\U0001f600", "x" * 100_000])
def test_any_text_that_a_user_or_a_model_writes_can_be_stored(kind: str, text: str, tmp_path: Path) -> None:
    agent, _, _ = agent_of([Calls(("find", json.dumps({"query": text}))), text, "Bye."], store=place(kind, tmp_path))
    run(agent, text, session="s")
    assert run(agent, text, session="s").text == "Bye."
    stored = messages_of(agent, "s")
    assert stored is not None
    assert stored[0]["content"] == text


@promise("loop:session")
def test_a_store_that_fails_at_the_end_says_so_and_gives_nothing_away() -> None:
    class Failing(MemoryStore):
        async def apply(self, *ops: Op) -> list[Any]:
            if any(isinstance(op, SaveSession) for op in ops):
                raise ConnectionError("disk")
            return await super().apply(*ops)

    agent, _, _ = agent_of(["Hello.", "Hello."], store=Failing())
    with pytest.raises(ConnectionError):
        run(agent, session="s")


# -- trimming


def turns_of(sizes: list[tuple[int, int]]) -> list[Message]:
    """Parts of a conversation: a user speaks so many bytes, so many calls are answered, the model answers."""
    messages: list[Message] = []
    for at, (size, calls) in enumerate(sizes):
        messages.append({"role": "user", "content": "x" * size})
        ids = [f"c{at}_{n}" for n in range(calls)]
        if ids:
            wire = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
            messages.append({"role": "assistant", "content": None, "tool_calls": wire})
            messages += [{"role": "tool", "tool_call_id": one, "content": "y" * size} for one in ids]
        messages.append({"role": "assistant", "content": "Done."})
    return messages


PARTS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), min_size=1, max_size=12)


@promise("loop:session", "loop:history")
@settings(max_examples=200, deadline=None)
@given(sizes=PARTS, room=st.integers(1, 2_000))
def test_trimming_keeps_the_newest_parts_whole_and_no_more_than_fits(sizes: list[tuple[int, int]], room: int) -> None:
    messages = turns_of(sizes)
    kept = trimmed(messages, room)
    assert kept == messages[len(messages) - len(kept) :]
    assert begins(kept[0])
    assert check(kept, "openai_chat") == []
    size = sum(len(json.dumps(message).encode()) for message in kept)
    parts = sum(begins(message) for message in kept)
    assert size <= room * 3 or parts == 1
    if len(kept) < len(messages):
        before = trimmed(messages, 10**9)
        start = max(at for at in range(len(messages) - len(kept)) if begins(before[at]))
        assert sum(len(json.dumps(message).encode()) for message in messages[start:]) > room * 3


@promise("loop:session")
@settings(max_examples=60, deadline=None)
@given(sizes=PARTS, room=st.integers(1, 1_000))
def test_a_long_session_sends_what_fits_and_its_history_is_valid(sizes: list[tuple[int, int]], room: int) -> None:
    script: list[Any] = []
    for size, calls in sizes:
        if calls:
            script.append(Calls(*[("find", {"query": "y" * size})] * calls))
        script.append("Done.")
    agent, model, _ = agent_of(script, context_tokens=room)
    for size, _ in sizes:
        assert run(agent, "x" * size, session="s").ok
    for messages, _ in model.requests:
        assert check(messages, "openai_chat") == []
    first_of_last = model.requests[-1][0]
    last = max(at for at, message in enumerate(first_of_last) if begins(message))
    before = sum(len(json.dumps(message).encode()) for message in first_of_last[: last + 1])
    assert before <= room * 3 or last == 0


@promise("loop:session")
def test_a_part_that_is_too_large_by_itself_does_not_stop_the_session_for_good() -> None:
    agent, model, _ = agent_of(["Done.", "Done."], context_tokens=100)
    run(agent, "x" * 10_000, session="s")
    run(agent, "Shorter.", session="s")
    assert [message["content"] for message in model.requests[1][0]] == ["Shorter."]


@promise("loop:session")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_history_of_each_provider_is_trimmed_where_a_user_begins(provider: Provider) -> None:
    turn = [Say("Let me look."), Call("find", '{"query": "lamp"}'), Call("find", '{"query": "desk"}')]

    async def use(model: Model) -> list[Message]:
        agent = Agent(model, Rail(TOOLS), context_tokens=300)
        result = None
        for _ in range(6):
            result = await agent.run("Go on.", session="s")
        assert result is not None
        return result.messages

    messages, requests = served(provider, [turn, Say("Done.")] * 6, use)
    assert begins(messages[0])
    assert check(messages, WIRES[provider]) == []  # pyright: ignore[reportArgumentType]
    lengths = [len(request.messages) for request in requests[::2]]
    assert max(lengths) > lengths[0]
    assert lengths[-1] == lengths[-2]
