"""A store and its record as real runs with planted causes wrote them: the command line is to tell each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from toolrail import Access, Allow, Deny, PolicyRequest, Principal, Rail, RunLimits, ToolCall, ToolError, tool
from toolrail.agent import Agent
from toolrail.records.prices import Price
from toolrail.records.recorder import Recorder
from toolrail.testing import Calls, Say, ScriptedModel

ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202egnp"
USER = Principal("ada", permissions=frozenset({"read"}))
PRICES = {"priced": Price(Decimal(1_000), Decimal(5_000))}


@tool(effect="read")
async def find_invoice(customer: str) -> str:
    """Finds."""
    return f"INV-1 of {customer}, which only --content shows"


@tool(effect="read", dependency="bank")
async def charge(amount: int) -> str:
    """Fails on its way."""
    raise ConnectionError("10.0.0.7 refused: a text that nobody may see")


@tool(effect="once")
async def pay(amount: int) -> str:
    """May have paid."""
    raise ConnectionError("lost in mid-air")


@tool(effect="read")
async def statement() -> str:
    """Says no."""
    raise ToolError("no such account")


@tool(effect="once", access=Access(approve=True))
async def refund(amount: int) -> str:
    """Waits for a person."""
    return "refunded"


TOOLS = (find_invoice, charge, pay, statement, refund)


def limits_policy(request: PolicyRequest) -> Allow | Deny:
    """No invoice of a customer that is called so."""
    forbidden = request.tool == "find_invoice" and request.arguments.get("customer") == "forbidden"
    return Deny("not this customer\x1b[2J", rule="limits") if forbidden else Allow()


@dataclass(frozen=True, slots=True)
class Seen:
    """Where they wrote, and the runs by what was planted in them."""

    store: Path
    records: Path
    runs: dict[str, str]

    @property
    def options(self) -> tuple[str, str]:
        """For the command line."""
        return ("--store", str(self.store))


SCRIPTS: dict[str, Sequence[Any]] = {
    "good": [Calls(("find_invoice", {"customer": "ACME"}), text="Let me look."), "Done."],
    "arguments": [Calls(("find_invoice", {"client": "ACME"})), "I could not."],
    "dependency": [Calls(("charge", {"amount": 5}), ("find_invoice", {"customer": "ACME"})), "The bank is away."],
    "denied": [Calls(("find_invoice", {"customer": "forbidden"})), "I may not."],
    "unknown": [Calls(("pay", {"amount": 5})), "I do not know."],
    "pending": [Calls(("refund", {"amount": 5})), "It waits."],
    "loop": [Calls(("statement", {})) for _ in range(8)],
    "hostile": [Calls((f"x{ESCAPE}", {}), ("find_invoice", {"customer": "A"})), "Odd."],
    "unpriced": [Say("Hello.")],
    "silent": [Say("Hello.")],
}


def written(directory: Path, *, content: Literal["off", "redacted", "full"] = "off") -> Seen:
    """Runs all scripts, one run each. The record has a place of its own until both have their names."""
    store, records = directory / "seen.db", directory / "seen.records.db"
    recorder = Recorder(f"sqlite:///{records}", content=content, prices=PRICES)
    runs = asyncio.run(_run_all(directory / "rail.db", recorder))
    recorder.close()
    (directory / "rail.db").rename(store)
    return Seen(store, records, runs)


async def _run_all(path: Path, recorder: Recorder) -> dict[str, str]:
    runs: dict[str, str] = {}
    async with Rail(TOOLS, store=f"sqlite:///{path}", sinks=[recorder], policies=[limits_policy]) as rail:
        for name, script in SCRIPTS.items():
            model = ScriptedModel(script, name="unpriced" if name == "unpriced" else "priced")
            agent = Agent(model, rail, limits=RunLimits(turns=7))
            session = f"session {ESCAPE}" if name == "hostile" else f"s-{name}"
            result = await agent.run("Go.", principal=USER, session=None if name == "silent" else session)
            runs[name] = result.run_id
        await rail.batch([ToolCall("1", "find_invoice", '{"customer": "B"}')])
    return runs
