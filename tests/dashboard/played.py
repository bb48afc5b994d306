"""Runs that were really made, on simulated time, and their record: what the pages of runs are tested with.

A run of forty seconds takes milliseconds here, and a night between two processes nothing: the second one has a loop
whose clock begins anew, as in another process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from toolrail import Agent, Principal, Rail, tool
from toolrail.approvers import deferred
from toolrail.decisions import Allow, Approval, Ask, Decision, Deny, PolicyRequest
from toolrail.definition import Tool
from toolrail.effects import once
from toolrail.records.prices import Price
from toolrail.records.recorder import ContentMode, Recorder
from toolrail.testing import Calls, FixedClock, Say, ScriptedModel, run_virtual

ALICE = Principal("alice", frozenset({"invoices:pay"}))
BOB = Principal("bob")
HOSTILE = "<img src=x onerror=alert(1)>\"'\u202e</text></svg><script>alert(2)</script>"
SECRET = "</pre><script>alert(3)</script> & \u202e\x07 reversed"
NIGHT = 13 * 3600.0


PRICES = {"scripted": Price(Decimal(10), Decimal(30))}


@dataclass(slots=True)
class Played:
    """A record, and which run in it is which."""

    url: str
    store: str
    wall: float
    runs: dict[str, str] = field(default_factory=dict[str, str])
    _seed: int = 0

    def play(
        self,
        name: str,
        script: Sequence[Any],
        *tools: Tool[Any],
        content: ContentMode = "off",
        principal: Principal = ALICE,
        session: str | None = None,
        model: str = "scripted",
        after: float = 0.0,
        **ports: Any,
    ) -> str:
        """One run of a scripted model that takes 0.8 s for each answer; `after` seconds after the first of all."""
        self._seed += 1
        recorder = Recorder(self.url, content=content, prices=PRICES, alerts=False)
        clock = FixedClock(seed=self._seed, wall=self.wall + after - 1_000.0)

        async def main() -> str:
            rail = Rail(tools, sinks=[recorder], clock=clock, **ports)
            agent = Agent(ScriptedModel(script, name=model, seconds=0.8, endless=True), rail)
            result = await agent.run("Pay ACME's invoice.", principal=principal, session=session)
            return result.run_id

        run = run_virtual(main())
        recorder.close()
        self.runs[name] = run
        return run

    def resume(self, name: str, script: Sequence[Any], *tools: Tool[Any], after: float, **ports: Any) -> None:
        """Goes on with a run in another process; a person has said yes meanwhile."""
        self._seed += 1
        recorder = Recorder(self.url, prices=PRICES, alerts=False)
        clock = FixedClock(seed=self._seed, wall=self.wall + after - 1_000.0)

        async def main() -> None:
            rail = Rail(tools, sinks=[recorder], clock=clock, **ports)
            (question,) = await rail.approvals.list(run=self.runs[name])
            agent = Agent(ScriptedModel(script, seconds=0.8), rail)
            answer = {question.approval: Approval(True, Principal("carol"))}
            await agent.resume(self.runs[name], principal=ALICE, approvals=answer)
            await rail.ports.store.close()

        run_virtual(main())
        recorder.close()


def takes(name: str, *seconds: float, result: str = "ok", fails: int = 0, **options: Any) -> Tool[Any]:
    """A tool whose calls take so long, one after the other; the first so many attempts lose their connection."""
    left = list(seconds)
    failing = [fails]

    async def handler(what: str = "", amount: int = 0) -> str:
        """Does something."""
        await asyncio.sleep(left.pop(0) if len(left) > 1 else left[0])
        if failing[0]:
            failing[0] -= 1
            raise ConnectionResetError("s3cr3t in an exception")
        return result

    return tool(name=name, **options)(handler)


def limits(request: PolicyRequest) -> Decision:
    """The policy of these runs."""
    if request.tool == "refund":
        return Deny("more than 500 EUR", rule="refund-limit")
    return Ask("more than 1,000 EUR", rule="large-amounts") if request.arguments.get("amount", 0) > 1_000 else Allow()


def played(folder: Path, *, ago: float = 1_800.0) -> Played:
    """All runs that the pages are tested with; the first began so many seconds ago, the others one minute apart."""
    made = Played(f"sqlite:///{folder / 'rail.records.db'}", f"sqlite:///{folder / 'rail.db'}", time.time() - ago)
    _slow(made)
    _denied(made)
    _unknown(made)
    _replayed(made)
    _looping(made)
    _hostile(made)
    _many(made)
    made.play("plain", [Say("Hello.")], after=420.0)
    made.play("other", [Say("Hi.")], principal=Principal("eve", tenant="acme"), session="chat-2", after=430.0)
    made.play("unpriced", [Say("Hi.")], model="unpriced", after=440.0)
    _suspended(made)
    return made


def _slow(made: Played) -> None:
    """Forty seconds: a search on three lanes, and a bank that fails twice before it answers."""
    script = [
        Calls(("find", {"what": "ACME"}), ("find", {"what": "ACME Ltd"}), ("rates", {"what": "EUR"})),
        Calls(("pay", {"what": "INV-1", "amount": 100})),
        Say("It is paid."),
    ]
    tools = (
        takes("find", 1.2, 2.5, effect="read"),
        takes("rates", 0.4, effect="read"),
        takes("pay", 11.0, 11.0, 9.5, fails=2, effect="idempotent", timeout=60.0),
    )
    made.play("slow", script, *tools, content="redacted", session="chat-1")


def _denied(made: Played) -> None:
    script = [
        Calls(("refund", {"what": "INV-1", "amount": 900}), ("find", {"what": "INV-1"})),
        Calls(("find", '{"what": '), ("wire", {"amount": 5})),
        Say("I may not."),
    ]
    tools = (takes("refund", 1.0, effect="once"), takes("find", 0.3, effect="read"))
    made.play("denied", script, *tools, policies=[limits], session="chat-1", after=60.0, principal=BOB)


def _unknown(made: Played) -> None:
    script = [Calls(("charge", {"what": "INV-2"})), Calls(("charge", {"what": "INV-2"})), Say("I do not know.")]
    charge = takes("charge", 3.0, fails=9, effect="once", dependency="bank")
    made.play("unknown", script, charge, after=120.0)


def _replayed(made: Played) -> None:
    script = [Calls(("pay", {"what": "INV-3"})), Calls(("pay", {"what": "INV-3"})), Say("Paid once.")]
    made.play(
        "replayed", script, takes("pay", 2.0, effect=once(by="what", scope="run")), content="redacted", after=180.0
    )


def _looping(made: Played) -> None:
    made.play("looping", [Calls(("find", {"what": "nothing"}))], takes("find", 0.2, effect="read"), after=240.0)


def _hostile(made: Played) -> None:
    script = [Calls((HOSTILE, {"what": SECRET}), ("find", {"what": SECRET})), Say(SECRET)]
    hostile = Principal(f"mallory {HOSTILE}")
    find = takes("find", 0.2, result=SECRET, effect="read")
    made.play("hostile", script, find, content="full", principal=hostile, session=HOSTILE, after=300.0)


def _many(made: Played) -> None:
    script = [Calls(*(("find", {"what": str(at)}) for at in range(500))), Say("All found.")]
    made.play("many", script, takes("find", *(0.1 + at % 7 / 10 for at in range(500)), effect="read"), after=360.0)


def _suspended(made: Played) -> None:
    """Waits for a person; another process goes on with it after a night."""
    asks = [Calls(("pay", {"what": "INV-4", "amount": 5_000}), ("find", {"what": "INV-4"}))]
    options: dict[str, Any] = {"policies": [limits], "approver": deferred, "store": made.store}
    find = takes("find", 0.5, effect="read")
    made.play("waiting", asks, takes("pay", 2.0, effect="keyed"), find, after=500.0, **options)
    earlier = -NIGHT - 60.0
    made.play("resumed", asks, takes("pay", 2.0, effect="keyed"), find, after=earlier, **options)
    done = [Say("It is paid.")]
    made.resume("resumed", done, takes("pay", 2.0, effect="keyed"), find, after=earlier + NIGHT, **options)
