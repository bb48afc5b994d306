"""What a first day in production brings: two names for one thing, a reload, a fork, a half-written picture."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from toolrail import (
    Agent,
    Allow,
    DefinitionError,
    Media,
    Principal,
    Rail,
    RailLimits,
    ToolCall,
    ToolResult,
    once,
    tool,
    tool_from_schema,
)
from toolrail.store import CallsOf, ListRuns, LoadSession, ask
from toolrail.stores.memory import MemoryStore
from toolrail.stores.sqlite import SQLiteStore
from toolrail.testing import Calls, FixedClock, ScriptedModel, run_virtual

ALICE, BOB = Principal("alice"), Principal("bob")


def paying(seconds: float, timeout: float) -> tuple[Any, list[str]]:
    paid: list[str] = []

    @tool(effect=once(by="invoice"), timeout=timeout)
    async def pay(invoice: str) -> str:
        """Pays."""
        await asyncio.sleep(seconds)
        paid.append(invoice)
        return f"paid {invoice}"

    return pay, paid


@promise("call:total")
def test_an_identical_effect_waits_for_the_first_one_as_long_as_its_own_deadline() -> None:
    pay, paid = paying(0.9, timeout=1.0)
    rail = Rail([pay], clock=FixedClock())
    calls = [ToolCall("1", "pay", '{"invoice": "A"}'), ToolCall("2", "pay", '{"invoice": "A"}')]
    first, second = run_virtual(rail.batch(calls))
    assert (first.content, second.content) == ("paid A", "paid A")
    assert second.replayed
    assert paid == ["A"]


@promise("call:total")
def test_whoever_cannot_wait_longer_is_told_that_another_call_is_under_way() -> None:
    slow, _ = paying(5.0, timeout=9.0)
    quick, _ = paying(0.0, timeout=1.0)
    store = MemoryStore()

    async def main() -> ToolResult:
        first = asyncio.create_task(batch_of(slow, store))
        await asyncio.sleep(0.1)
        (second,) = await batch_of(quick, store)
        await first
        return second

    second = run_virtual(main())
    assert second.code == "TIMEOUT"
    assert not second.started
    assert "still under way" in second.content


async def batch_of(pay: Any, store: MemoryStore) -> list[ToolResult]:
    """One payment by a rail of its own, as another process would make it."""
    scoped = replace(pay, effect=once(by="invoice", scope="tenant"))
    return await Rail([scoped], store=store, clock=FixedClock()).batch([ToolCall("1", "pay", '{"invoice": "A"}')])


@promise("auth:principal")
def test_nobody_in_particular_never_gets_the_result_of_somebody_else(tmp_path: Path) -> None:
    pay, paid = paying(0.0, timeout=1.0)

    async def main() -> None:
        async with Rail([pay], store=f"sqlite:///{tmp_path}/rail.db") as rail:
            for _ in range(2):  # two runs without a principal are two people, for all that is known
                async with rail.run([]) as run:
                    await rail.batch([ToolCall("1", "pay", '{"invoice": "A"}')], run)
            for _ in range(2):  # two runs of one principal are one person
                async with rail.run([], principal=ALICE) as run:
                    await rail.batch([ToolCall("1", "pay", '{"invoice": "B"}')], run)

    asyncio.run(main())
    assert paid == ["A", "A", "B"]


@promise("steady:drain")
def test_a_rail_that_was_left_can_be_entered_again() -> None:
    pay, paid = paying(0.0, timeout=1.0)
    rail = Rail([pay])

    async def main() -> list[str]:
        said: list[str] = []
        for invoice in ("A", "B"):
            async with rail:
                (result,) = await rail.batch([ToolCall("1", "pay", f'{{"invoice": "{invoice}"}}')])
                said.append(result.content)
        (refused,) = await rail.batch([ToolCall("1", "pay", '{"invoice": "C"}')])
        return [*said, str(refused.code)]

    assert asyncio.run(main()) == ["paid A", "paid B", "SHUTTING_DOWN"]
    assert paid == ["A", "B"]


@promise("steady:drain")
def test_a_run_between_two_turns_ends_with_the_rail() -> None:
    async def main() -> str:
        @tool(effect="read")
        async def look() -> str:
            """Looks, and the rail is drained meanwhile."""
            asyncio.get_running_loop().call_soon(lambda: setattr(rail.ports.work, "closing", True))
            await asyncio.sleep(0.1)
            return "seen"

        rail = Rail([look])
        result = await Agent(ScriptedModel([Calls(("look", {})), "never asked"]), rail).run("Look.")
        assert [call.content for call in result.calls] == ["seen"]
        return result.stop_reason

    assert run_virtual(main()) == "shutting_down"


@promise("call:images")
def test_media_say_at_once_what_is_wrong_with_them() -> None:
    with pytest.raises(TypeError, match="bytes, not base64 text"):
        Media(base64.b64encode(b"png").decode(), "image/png")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="and a type"):
        Media(b"image/png", "png")


def test_a_run_can_be_found_from_its_first_claim_on(tmp_path: Path) -> None:
    seen: list[int] = []

    async def main() -> None:
        store = SQLiteStore(tmp_path / "rail.db")

        @tool(effect=once(by="invoice"))
        async def pay(invoice: str) -> str:
            """Looks into the store while it pays."""
            (run,) = await ask(store, ListRuns())
            seen.append(len(await ask(store, CallsOf(run.tenant, run.run))))
            return "paid"

        async with Rail([pay], store=store) as rail:
            await rail.batch([ToolCall("1", "pay", '{"invoice": "A"}')])

    asyncio.run(main())
    assert seen == [1]


def test_a_durable_store_has_the_reads_of_a_batch_without_a_run_too(tmp_path: Path) -> None:
    @tool(effect="read")
    async def look() -> str:
        """Looks."""
        return "seen"

    async def main() -> list[str]:
        store = SQLiteStore(tmp_path / "rail.db")
        async with Rail([look], store=store) as rail:
            await rail.batch([ToolCall("1", "look", "{}")])
            (run,) = await ask(store, ListRuns())
            return [row.tool for row in await ask(store, CallsOf(run.tenant, run.run))]

    assert asyncio.run(main()) == ["look"]


@promise("loop:session")
def test_a_session_keeps_each_turn_as_soon_as_it_is_settled(tmp_path: Path) -> None:
    kept: list[str] = []

    async def main() -> None:
        store = SQLiteStore(tmp_path / "rail.db")

        @tool(effect="read")
        async def look() -> str:
            """Looks into its own session."""
            row = await ask(store, LoadSession("default", "s1"))
            kept.append(row.messages if row else "")
            return "seen"

        async with Rail([look], store=store) as rail:
            model = ScriptedModel([Calls(("look", {})), Calls(("look", {})), "Done."])
            await Agent(model, rail).run("Look twice.", session="s1", principal=BOB)

    asyncio.run(main())
    assert ["Look twice." in text for text in kept] == [True, True]
    assert ["seen" in text for text in kept] == [False, True]


@promise("tool:registry")
def test_what_a_handler_cannot_do_without_is_required_of_the_model_too() -> None:
    ran: list[str] = []

    def show(id: str) -> str:
        ran.append(id)
        return id

    made = tool_from_schema({"type": "object", "properties": {"id": {"type": "string"}}}, show, effect="read")
    assert made.schema["required"] == ["id"]
    (result,) = run_virtual(Rail([made]).batch([ToolCall("1", "show", "{}")]))
    assert result.code == "INVALID_ARGUMENTS"
    assert ran == []


@promise("call:sync")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_sync_tools_run_in_a_forked_child_too() -> None:
    program = """
import asyncio, os
from toolrail import Rail, RailLimits, ToolCall, tool

@tool(effect="read", timeout=5.0)
def add(a: int) -> int:
    return a + 1

rail = Rail([add], sinks=(), limits=RailLimits(threads=1))
def once() -> str:
    return asyncio.run(rail.batch([ToolCall("1", "add", '{"a": 1}')]))[0].content
assert once() == "2"
child = os.fork()
if child == 0:
    os._exit(0 if once() == "2" else 1)
assert os.waitpid(child, 0)[1] == 0
print(once())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(Exception, match="TR301"):
        RailLimits(threads=0)


def test_one_in_place_of_several_says_so() -> None:
    pay, _ = paying(0.0, timeout=1.0)
    with pytest.raises(DefinitionError, match="Put it in a list"):
        Rail(pay)
    with pytest.raises(TypeError, match=r"policies=\[\.\.\.\]"):
        Rail([pay], policies=Allow)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r'Write Principal\("u1"'):
        run_virtual(Rail([pay]).run([], principal="u1").__aenter__())  # pyright: ignore
