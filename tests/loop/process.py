"""One process of a resumed run: `python -m tests.loop.process DIRECTORY EFFECT PHASE [RUN APPROVAL]`; prints JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from toolrail import Agent, Principal, Rail, RunContext, tool
from toolrail.approvers import deferred
from toolrail.decisions import Approval
from toolrail.effects import keyed, once
from toolrail.history.check import check
from toolrail.store import OpenCalls, ask
from toolrail.testing import Calls, FixedClock, ScriptedModel, run_virtual

DAY = 86_400.0
DAYS = {"suspend": 0, "decide": 3, "die": 4, "resume": 5, "again": 6}
SCRIPTS: dict[str, list[Any]] = {"suspend": [Calls(("pay", {"invoice": "A1"}))], "resume": ["Done."]}
ALICE = Principal("alice")


def rail_in(directory: Path, effect: str, phase: str) -> Rail[Any]:
    """The same rail in each process, with its own day on the clock."""

    @tool(effect={"once": once, "keyed": keyed}[effect](by="invoice", scope="tenant"), approve=True)
    async def pay(ctx: RunContext[object], invoice: str) -> str:
        """Pays an invoice."""
        with (directory / "paid").open("a") as paid:
            paid.write(f"{ctx.idempotency_key}\n")
        if phase == "die":
            os._exit(9)
        return f"paid {invoice}"

    clock = FixedClock(seed=DAYS[phase], wall=1_800_000_000.0 + DAYS[phase] * DAY)
    return Rail([pay], store=f"sqlite:///{directory / 'rail.db'}", approver=deferred, sinks=(), clock=clock)


async def main(directory: Path, effect: str, phase: str, *ids: str) -> dict[str, Any]:
    """What became of this phase."""
    async with rail_in(directory, effect, phase) as rail:
        agent = Agent(ScriptedModel(SCRIPTS.get(phase, [])), rail)
        if phase == "suspend":
            result = await agent.run("Pay A1.", principal=ALICE)
            return {"run": result.run_id, "approval": result.pending[0].approval, "stop": result.stop_reason}
        run_id, approval = ids
        if phase == "decide":
            row = await rail.approvals.decide(approval, approved=True, by=Principal("carol"))
            return {"state": row.state}
        answers = {approval: Approval(True, Principal("carol"))} if phase == "again" else None
        result = await agent.resume(run_id, principal=ALICE, approvals=answers)
        said = [message["content"] for message in result.messages if message["role"] == "tool"]
        return {
            "stop": result.stop_reason,
            "said": said,
            "faults": check(result.messages, "openai_chat"),
            "open": [row.state for row in await ask(rail.ports.store, OpenCalls())],
            "tasks": len(asyncio.all_tasks()),
        }


if __name__ == "__main__":
    print(json.dumps(run_virtual(main(Path(sys.argv[1]), *sys.argv[2:]))))
