"""A loop of the user's own that waits for a person: suspended in one request, resumed in another, on every API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.model_server import Call, ModelServer, Say
from tests.promises import promise
from tests.providers.test_dropin import APIS, DROP_INS, WIRES, asked, client_of
from toolrail import Principal, Rail, SyncRail, tool
from toolrail.approvers import deferred
from toolrail.effects import once
from toolrail.errors import RunError
from toolrail.history.check import check

ALICE = Principal("alice")


def rail_at(path: Path, paid: list[str]) -> Rail[object]:
    """A rail as each web process makes it."""

    @tool(effect=once(by="invoice", scope="tenant"), approve=True)
    async def pay(invoice: str) -> str:
        """Pays an invoice."""
        paid.append(invoice)
        return f"paid {invoice}"

    @tool(effect="read")
    async def look(order: str) -> str:
        """Looks an order up."""
        return f"{order} is shipped"

    return Rail([pay, look], store=f"sqlite:///{path}", approver=deferred, sinks=())


def script() -> list[Any]:
    return [[Call("pay", '{"invoice": "A1"}'), Call("look", '{"order": "O1"}')], Say("It is paid.")]


def messages_of() -> list[dict[str, Any]]:
    return [{"role": "user", "content": "Pay A1."}]


@promise("effect:approval", "effect:resume/clean-restart", "loop:history")
@APIS
def test_a_loop_of_ones_own_is_suspended_and_resumed_with_the_callers_own_list(api: str, tmp_path: Path) -> None:
    paid: list[str] = []

    async def first_request(server: ModelServer) -> tuple[str, str]:
        messages = messages_of()
        async with (
            client_of(server, api) as client,
            rail_at(tmp_path / "rail.db", paid) as rail,
            rail.run(messages, principal=ALICE) as run,
        ):
            while run.open:
                await DROP_INS[api].answer(run, await asked(client, api, run))
            assert run.stop_reason == "pending"
            with pytest.raises(RunError, match="waits for nothing"):
                async with rail.run([], principal=ALICE) as other:
                    await DROP_INS[api].resume(other)
        return run.id, json.dumps(messages)

    async def later_request(server: ModelServer, run_id: str, kept: str) -> str:
        messages = json.loads(kept)
        assert check(messages, WIRES[api]) == []
        async with client_of(server, api) as client, rail_at(tmp_path / "rail.db", paid) as rail:
            (question,) = await rail.approvals.list(run=run_id)
            await rail.approvals.decide(question.approval, approved=True, by=Principal("carol"))
            async with rail.run(messages, run_id=run_id, principal=ALICE) as run:
                assert not run.open
                assert [one.content for one in await DROP_INS[api].resume(run)] == ["paid A1"]
                while run.open:
                    await DROP_INS[api].answer(run, await asked(client, api, run))
                assert run.stop_reason == "answer"
        assert check(messages, WIRES[api]) == []
        return json.dumps(messages)

    with ModelServer(script()) as server:
        run_id, kept = asyncio.run(first_request(server))
        assert "APPROVAL_PENDING" in kept
        last = asyncio.run(later_request(server, run_id, kept))
    assert server.rejections == []
    assert paid == ["A1"]
    assert "APPROVAL_PENDING" not in last
    assert all(word in last for word in ("paid A1", "O1 is shipped", "It is paid."))


@promise("effect:approval", "loop:history")
@APIS
def test_a_call_id_that_an_earlier_turn_had_too_does_not_mislead_a_resume(api: str, tmp_path: Path) -> None:
    paid: list[str] = []
    turns: list[Any] = [
        [Call("look", '{"order": "O1"}', id="call_1")],
        [Call("pay", '{"invoice": "A1"}', id="call_1")],
        Say("It is paid."),
    ]

    async def main(server: ModelServer) -> str:
        messages = messages_of()
        async with client_of(server, api) as client, rail_at(tmp_path / "rail.db", paid) as rail:
            for _ in range(2):
                async with rail.run(messages, run_id="mine", principal=ALICE) as run:
                    for question in await rail.approvals.list(run=run.id):
                        await rail.approvals.decide(question.approval, approved=True, by=Principal("carol"))
                        await DROP_INS[api].resume(run)
                    while run.open:
                        await DROP_INS[api].answer(run, await asked(client, api, run))
        assert check(messages, WIRES[api]) == []
        return json.dumps(messages)

    with ModelServer(turns) as server:
        last = asyncio.run(main(server))
    assert paid == ["A1"]
    assert "APPROVAL_PENDING" not in last
    assert (last.count("O1 is shipped"), last.count("paid A1")) == (1, 1)


@promise("effect:approval", "loop:sync")
def test_a_blocking_program_decides_and_resumes_too(tmp_path: Path) -> None:
    paid: list[str] = []
    messages = messages_of()
    with ModelServer(script()) as server, client_of(server, "chat", blocking=True) as client:
        rail = SyncRail(rail_at(tmp_path / "rail.db", paid))
        with rail.run(messages, principal=ALICE) as run:
            rail.wait(DROP_INS["chat"].answer(run, asked(client, "chat", run)))
        (question,) = rail.wait(rail.rail.approvals.list())
        rail.wait(rail.rail.approvals.decide(question.approval, approved=False, by=Principal("carol"), message="No."))
        with rail.run(messages, principal=ALICE, run_id=run.id) as run:
            (result,) = rail.wait(DROP_INS["chat"].resume(run))
            assert "They say: No." in result.content
            rail.wait(DROP_INS["chat"].answer(run, asked(client, "chat", run)))
        rail.close()
    assert server.rejections == []
    assert paid == []


@promise("effect:approval", "loop:history")
@APIS
@pytest.mark.parametrize("settled", [False, True])
def test_a_message_more_to_a_run_that_waits_is_not_passed_over_in_silence(
    api: str, settled: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(server: ModelServer) -> None:
        messages = messages_of()
        async with client_of(server, api) as client, rail_at(tmp_path / "rail.db", []) as rail:
            async with rail.run(messages, run_id="mine", principal=ALICE) as run:
                await DROP_INS[api].answer(run, await asked(client, api, run))
                assert not run.open
            async with rail.run(messages, run_id="mine", principal=ALICE) as run:
                assert not run.open
            assert "waits for" not in caplog.text
            messages.append({"role": "user", "content": "And my order?"})
            async with rail.run(messages, run_id="mine", principal=ALICE) as run:
                assert not run.open
                assert not run.open
                if settled:
                    (question,) = await rail.approvals.list(run="mine")
                    await DROP_INS[api].resume(run, approvals={question.approval: False})

    with ModelServer(script()) as server:
        asyncio.run(main(server))
    assert caplog.text.count("Run mine waits for 1 call(s), so it is not open") == (not settled)


@promise("effect:approval", "loop:history")
@APIS
def test_a_result_is_told_in_a_conversation_that_does_not_hold_its_call(api: str, tmp_path: Path) -> None:
    paid: list[str] = []

    async def main(server: ModelServer) -> str:
        async with client_of(server, api) as client, rail_at(tmp_path / "rail.db", paid) as rail:
            async with rail.run(messages_of(), run_id="mine", principal=ALICE) as run:
                await DROP_INS[api].answer(run, await asked(client, api, run))
            (question,) = await rail.approvals.list(run="mine")
            messages: list[dict[str, Any]] = [{"role": "user", "content": "A new conversation."}]
            async with rail.run(messages, run_id="mine", principal=ALICE) as run:
                await DROP_INS[api].resume(run, approvals={question.approval: True})
                while run.open:
                    await DROP_INS[api].answer(run, await asked(client, api, run))
        assert check(messages, WIRES[api]) == []
        return json.dumps(messages)

    with ModelServer(script()) as server:
        last = asyncio.run(main(server))
    assert server.rejections == []
    assert paid == ["A1"]
    assert "paid A1" in last
    assert "stands above" not in last
