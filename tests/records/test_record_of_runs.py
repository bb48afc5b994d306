"""The record of real runs: who called what, what decided, how it ended, what it cost; content only where asked for."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.promises import promise
from tests.records.recording import batches, calls_of, fail, find, rows, url_of
from toolrail import Agent, Principal, Rail, RunLimits, ToolCall, ToolError, tool
from toolrail.approvers import deferred
from toolrail.decisions import Allow, Decision, Deny, PolicyRequest
from toolrail.effects import once
from toolrail.messages import Usage
from toolrail.providers.openai_chat import answer
from toolrail.records.prices import Price
from toolrail.records.recorder import Recorder
from toolrail.stores.memory import MemoryStore
from toolrail.testing import Calls, ScriptedModel

ANN = Principal("ann", tenant="acme")
PRICES = {"scripted": Price(Decimal("2"), Decimal("10"), cached=Decimal("1"))}


def hers(request: PolicyRequest) -> Decision:
    return Deny("O9 is not hers.", rule="own-orders") if request.arguments["order"] == "O9" else Allow("own-orders")


@promise("see:record", "auth:audit/record")
def test_every_call_leaves_who_what_which_rule_decided_and_how_it_ended(records_place: str) -> None:
    async def run() -> str:
        async with Rail([find, fail], records=records_place, policies=[hers]) as rail:
            async with rail.run([], principal=ANN, session="desk") as run:
                calls = [ToolCall(f"c{at}", "find", f'{{"order": "O{at}"}}') for at in (1, 9)]
                await rail.batch([*calls, ToolCall("c3", "fail", '{"order": "O1"}'), ToolCall("c4", "nope", "{}")], run)
                run.stop("answer")
            return run.id

    run_id = asyncio.run(run())
    columns = "tool, status, code, decision, rule, reason, attempts, argument_bytes, result_bytes > 0, began"
    assert rows(records_place, f"SELECT {columns} FROM calls ORDER BY idx") == [
        ("find", "ok", None, "allow", "own-orders", "", 1, 15, True, 1),
        ("find", "denied", "NOT_AUTHORISED", "deny", "own-orders", "O9 is not hers.", 0, 15, True, 0),
        ("fail", "error", "TOOL_ERROR", "allow", "own-orders", "", 1, 15, True, 1),
        ("nope", "error", "UNKNOWN_TOOL", None, None, None, 0, 2, True, 0),
    ]
    who = rows(records_place, "SELECT DISTINCT tenant, principal, session, run, turn FROM calls")
    assert who == [("acme", "ann", "desk", run_id, 0)]
    attempts = "SELECT attempt, failure, error_type, wait FROM attempts WHERE failure IS NOT NULL"
    assert rows(records_place, attempts) == [(1, "statement", "ToolError", None)]
    ended = "SELECT reason, ended IS NOT NULL, calls, failed, pending, unknown FROM runs"
    assert rows(records_place, ended) == [("answer", True, 4, 2, 0, 0)]
    faults = "SELECT tool, code, class, calls, error_type FROM faults ORDER BY tool"
    assert rows(records_place, faults) == [
        ("(unknown)", "UNKNOWN_TOOL", "argument", 1, None),
        ("fail", "TOOL_ERROR", "dependency", 1, "ToolError"),
        ("find", "NOT_AUTHORISED", "policy", 1, None),
    ]
    assert rows(records_place, "SELECT runs, calls, failed FROM sessions") == [(1, 4, 2)]
    assert rows(records_place, "SELECT count(*) FROM contents") == [(0,)]


@promise("see:record", "see:cost")
def test_requests_of_the_model_their_tokens_and_their_cost_are_recorded(records_place: str) -> None:
    usage = Usage(1_000, 100, cached_tokens=500)
    model = ScriptedModel([Calls(("find", {"order": "O1"}), usage=usage), Calls(("find", {"order": "O2"})), "Done."])

    async def run() -> None:
        async with Rail([find], records=Recorder(records_place, prices=PRICES)) as rail:
            await Agent(model, rail, max_turns=5).run("Where is it?", session="desk")

    asyncio.run(run())
    found = rows(records_place, "SELECT model, stop, calls, input_tokens, cached_tokens, cost FROM models ORDER BY seq")
    assert found[0] == ("scripted", "calls", 1, 1_000, 500, pytest.approx(0.0025))
    assert len(found) == 3
    total = sum(cost for *_, cost in found)
    assert rows(records_place, "SELECT model, cost, unpriced, turns, calls, reason FROM runs") == [
        ("scripted", pytest.approx(total), 0, 3, 2, "answer")
    ]
    assert rows(records_place, "SELECT cost, unpriced FROM sessions") == [(pytest.approx(total), 0)]
    spent = rows(records_place, "SELECT grain, requests, cost FROM model_rollups ORDER BY grain")
    assert spent == [(grain, 3, pytest.approx(total)) for grain in (0, 60, 3600)]
    ended = rows(records_place, "SELECT grain, runs, calls, sizes FROM run_rollups ORDER BY grain")
    assert ended == [(grain, 1, 2, '{"2": 1}') for grain in (0, 60, 3600)]


@promise("see:cost")
def test_a_price_that_nobody_stated_is_unknown_and_counted_and_the_tokens_are_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with Rail([find], records=url_of(tmp_path)) as rail:
            await Agent(ScriptedModel(["Hello."]), rail).run("Hi.")

    asyncio.run(run())
    assert rows(url_of(tmp_path), "SELECT cost, input_tokens > 0 FROM models") == [(None, 1)]
    assert rows(url_of(tmp_path), "SELECT cost, unpriced FROM runs") == [(0.0, 1)]


@promise("see:record")
def test_a_response_of_a_loop_of_ones_own_is_recorded_once(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"order": "O1"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    body = {"model": "gpt-4o", "choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage}

    async def run() -> None:
        async with Rail([find], records=url_of(tmp_path), store=MemoryStore()) as rail:
            for _ in range(2):
                messages: list[Any] = [{"role": "user", "content": "Where?"}]
                async with rail.run(messages, run_id="r1") as run:
                    await answer(run, body)

    asyncio.run(run())
    columns = "run, model, stop, seconds, input_tokens, output_tokens, calls"
    assert rows(url_of(tmp_path), f"SELECT {columns} FROM models") == [("r1", "gpt-4o", "calls", None, 10, 2, 1)]


@promise("see:record")
def test_a_run_that_waits_and_goes_on_is_one_run_and_its_call_is_counted_once(records_place: str) -> None:
    @tool(effect="read", approve=True)
    async def pay(order: str) -> str:
        """Pays."""
        return "paid"

    store = MemoryStore()
    model = ScriptedModel([Calls(("pay", {"order": "O1"})), "Paid."])

    def rail() -> Rail[Any]:
        return Rail([pay], store=store, records=records_place, approver=deferred)

    async def suspend() -> str:
        async with rail() as first:
            return (await Agent(model, first).run("Pay.")).run_id

    async def resume(run_id: str) -> None:
        async with rail() as second:
            (question,) = await second.approvals.list()
            await second.approvals.decide(question.approval, approved=True, by=ANN_OF_DEFAULT)
            await Agent(model, second).resume(run_id)

    run_id = asyncio.run(suspend())
    state = "SELECT run, pending, reason, ended IS NULL, calls FROM runs"
    assert rows(records_place, state) == [(run_id, 1, None, True, 1)]
    assert rows(records_place, "SELECT count(*) FROM tool_rollups") == [(0,)]
    asyncio.run(resume(run_id))
    assert rows(records_place, state) == [(run_id, 0, "answer", False, 1)]
    assert rows(records_place, "SELECT status, code, attempts FROM calls") == [("ok", None, 1)]
    assert rows(records_place, "SELECT DISTINCT calls FROM tool_rollups") == [(1,)]
    assert rows(records_place, "SELECT DISTINCT runs, calls FROM run_rollups") == [(1, 1)]
    kinds = [kind for (kind,) in rows(records_place, "SELECT kind FROM moments ORDER BY seq")]
    assert kinds.index("RunSuspended") < kinds.index("RunEnded")
    assert kinds.count("RunStarted") == 2
    assert rows(records_place, "SELECT count(*) FROM models") == [(2,)]


ANN_OF_DEFAULT = Principal("ann")


@promise("see:record")
def test_an_outcome_that_becomes_known_later_is_entered_at_its_call(tmp_path: Path) -> None:
    store = MemoryStore()

    @tool(effect=once(by="order"), timeout=0.02)
    async def pay(order: str) -> str:
        """Pays, perhaps."""
        await asyncio.sleep(60)
        return "paid"

    async def run() -> None:
        async with Rail([pay], store=store, records=url_of(tmp_path)) as rail:
            async with rail.run([], run_id="r1") as run:
                await rail.batch([ToolCall("c1", "pay", '{"order": "O1"}')], run)
            recorder = next(sink for sink in rail.ports.sinks if isinstance(sink, Recorder))
            await asyncio.to_thread(recorder.flush, 20.0)
            before.extend(rows(url_of(tmp_path), "SELECT unknown FROM runs"))
            (key,) = rows(url_of(tmp_path), "SELECT key FROM calls")[0]
            await rail.settle(key, "paid")

    before: list[Any] = []
    asyncio.run(run())
    assert before == [(1,)]
    assert rows(url_of(tmp_path), "SELECT status, later, later_how FROM calls") == [("unknown", "ok", "hand")]
    assert rows(url_of(tmp_path), "SELECT unknown FROM runs") == [(0,)]


@promise("see:record")
def test_a_batch_without_a_run_is_over_with_its_calls_and_a_run_left_open_is_open(tmp_path: Path) -> None:
    async def run() -> None:
        async with Rail([find], records=url_of(tmp_path)) as rail:
            await rail.batch(calls_of("find", 2))
            async with rail.run([], limits=RunLimits(calls=7)) as run:
                await rail.batch(calls_of("find", 1), run)

    asyncio.run(run())
    found = rows(url_of(tmp_path), "SELECT reason, ended IS NOT NULL, calls, limits FROM runs ORDER BY started")
    assert [row[:3] for row in found] == [("batch", 1, 2), ("open", 1, 1)]
    assert json.loads(found[1][3])["calls"] == 7


@promise("see:record")
def test_a_call_under_way_is_seen_and_settled_in_its_row(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @tool(effect="read")
    async def slow(order: str) -> str:
        """Waits."""
        begun.set()
        await go_on.wait()
        return "done"

    async def run() -> None:
        recorder = Recorder(url_of(tmp_path))
        async with Rail([slow], records=recorder) as rail:
            task = asyncio.ensure_future(rail.batch(calls_of("slow", 1)))
            await begun.wait()
            await asyncio.to_thread(recorder.flush, 20.0)
            seen.extend(rows(recorder.url, "SELECT tool, status, settled FROM calls"))
            go_on.set()
            await task

    seen: list[Any] = []
    asyncio.run(run())
    assert seen == [("slow", None, None)]
    assert rows(url_of(tmp_path), "SELECT tool, status, settled > wall FROM calls") == [("slow", "ok", 1)]
    assert rows(url_of(tmp_path), "SELECT calls FROM runs") == [(1,)]


def without_order(text: str) -> str:
    return text.replace("O1", "[order]")


def bytes_in(directory: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in directory.iterdir()}


SECRET = "s3cr3t-plum-9471"
LEAKING = f"Bearer {SECRET} at https://ann:{SECRET}@bank.example/pay?token={SECRET}"


@promise("see:record")
@pytest.mark.parametrize("content", ["off", "redacted"])
def test_a_secret_of_arguments_results_errors_urls_and_prompts_is_in_no_byte_of_the_file(
    content: Any, tmp_path: Path
) -> None:
    @tool(effect="read")
    async def leak(password: str, how: str) -> Any:
        """Leaks."""
        if how == "raise":
            raise RuntimeError(LEAKING)
        if how == "say":
            raise ToolError(LEAKING)
        return {"api_key": SECRET, "note": LEAKING, "text": json.dumps({"client_secret": SECRET})}

    given = [("leak", {"password": SECRET, "how": how}) for how in ("raise", "say", "return")]
    model = ScriptedModel([Calls(*given), Calls(("leak", f'{{"password": "{SECRET}')), f"The password: {SECRET}"])
    recorder = Recorder(url_of(tmp_path), content=content)

    async def run() -> None:
        rail = Rail([leak], records=recorder)
        agent = Agent(model, rail, instructions=f"The api_key is api_key={SECRET}")
        await agent.run(f"Log in with password={SECRET}")
        if content == "off":  # no pattern could know a secret that is a tool's name
            await rail.batch([ToolCall("c1", f"{'x' * 64}{SECRET}", "{}")])
        await asyncio.to_thread(recorder.flush, 20.0)
        found.update(bytes_in(tmp_path))

    found: dict[str, bytes] = {}
    asyncio.run(run())
    recorder.close()
    assert "rail.records.db-wal" in found
    assert [name for name, data in found.items() if SECRET.encode() in data] == []
    if content == "redacted":
        kept = rows(recorder.url, "SELECT kind, count(*) FROM contents GROUP BY kind ORDER BY kind")
        assert [kind for kind, _ in kept] == ["arguments", "messages", "result"]
        assert SECRET not in repr(rows(recorder.url, "SELECT text FROM contents"))
    else:
        assert rows(recorder.url, "SELECT count(*) FROM contents") == [(0,)]


@promise("see:record")
def test_full_content_is_kept_as_it_was_long_texts_once_and_the_rails_own_redaction_comes_first(tmp_path: Path) -> None:
    @tool(effect="read")
    async def read(order: str) -> str:
        """Reads."""
        return "plum " * 2_000

    recorder = Recorder(url_of(tmp_path), content="full")

    async def run() -> None:
        async with Rail([read], records=recorder, redact=without_order) as rail:
            for _ in range(2):
                await rail.batch([ToolCall("c1", "read", '{"order": "O1"}')])

    asyncio.run(run())
    recorder.close()
    texts = rows(recorder.url, "SELECT text FROM contents WHERE kind = 'arguments'")
    assert texts == [('{"order": "[order]"}',)] * 2
    assert rows(recorder.url, "SELECT count(DISTINCT blob), count(blob), max(bytes) FROM contents") == [(1, 2, 10_000)]
    assert rows(recorder.url, "SELECT count(*) FROM blobs") == [(1,)]


def test_a_repeated_refusal_counts_as_one(tmp_path: Path) -> None:
    same = [ToolCall(f"c{at}", "find", '{"order": "O1"}') for at in range(1)]
    asyncio.run(batches(url_of(tmp_path), *([same] * 8)))
    assert rows(url_of(tmp_path), "SELECT calls, repeats FROM runs") == [(8, 3)]
