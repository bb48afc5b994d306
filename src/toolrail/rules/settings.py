"""TR3xx: rules about settings and stores."""

from __future__ import annotations

from toolrail.rules.rule import Rule

SETTINGS = (
    Rule(
        "TR301",
        "A setting is of its kind, and a limit is over zero, or None.",
        "Zero would refuse everything, and text or a share of 20 would fail later, or never hold. None says that there "
        "is no limit.",
        """
from toolrail import RunLimits

RunLimits(turns=0)
""",
        """
from toolrail import RunLimits

RunLimits(turns=1)
""",
    ),
    Rule(
        "TR302",
        "A setting is given once.",
        "Of a short form and its group, one would win silently.",
        """
from toolrail import CallLimits, tool

@tool(timeout=2.0, limits=CallLimits(timeout=5.0))
def find(order: str) -> str:
    return order
""",
        """
from toolrail import CallLimits, tool

@tool(limits=CallLimits(timeout=5.0))
def find(order: str) -> str:
    return order
""",
    ),
    Rule(
        "TR303",
        "A store's URL names a store.",
        "A misspelt URL must not end in a store that forgets, or in a file of an odd name.",
        """
from toolrail import Rail

Rail([], store="sqlite://rail.db")
""",
        """
from toolrail import Rail

Rail([], store="memory://")
""",
    ),
    Rule(
        "TR304",
        "A key that must hold beyond the run has a store that somebody chose.",
        "The default store forgets with the process: after a restart the same invoice would be paid again.",
        """
from toolrail import Rail, once, tool

@tool(effect=once(by="invoice", scope="tenant"))
def pay(invoice: str) -> str:
    return invoice

Rail([pay])
""",
        """
from toolrail import Rail, once, tool

@tool(effect=once(by="invoice", scope="tenant"))
def pay(invoice: str) -> str:
    return invoice

Rail([pay], store="memory://")
""",
    ),
    Rule(
        "TR305",
        "Only a read is hedged.",
        "A hedge asks a second time while the first attempt is still under way; anything but a read would be done "
        "twice.",
        """
from toolrail import CallLimits, tool

@tool(effect="keyed", limits=CallLimits(hedge=0.2))
def book(room: str) -> str:
    return room
""",
        """
from toolrail import CallLimits, tool

@tool(effect="read", limits=CallLimits(hedge=0.2))
def find(room: str) -> str:
    return room
""",
    ),
    Rule(
        "TR306",
        "Who limits the calls of one resource names it.",
        "Without a resource there is nothing that two calls could share, and the limit would hold nobody back.",
        """
from toolrail import CallLimits, tool

@tool(limits=CallLimits(resource_concurrency=1))
def pay(iban: str) -> str:
    return iban
""",
        """
from toolrail import CallLimits, Order, tool

@tool(limits=CallLimits(resource_concurrency=1), order=Order(resource="account:{iban}"))
def pay(iban: str) -> str:
    return iban
""",
    ),
    Rule(
        "TR307",
        "A tool with ctx.transaction() writes, and its store has a database.",
        "Its effect and the end of its call are committed together, in the database that keeps the calls.",
        """
from toolrail import Rail, RunContext, tool
from toolrail.effects import transactional

@tool(effect=transactional())
async def order(ctx: RunContext[object], item: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO orders VALUES (?)", (item,))
    return "ordered"

Rail([order])
""",
        """
from toolrail import Rail, RunContext, tool
from toolrail.effects import transactional

@tool(effect=transactional())
async def order(ctx: RunContext[object], item: str) -> str:
    async with ctx.transaction() as tx:
        await tx.execute("INSERT INTO orders VALUES (?)", (item,))
    return "ordered"

Rail([order], store="sqlite:///rail.db")
""",
    ),
    Rule(
        "TR308",
        "A budget names tools of its rail.",
        "A budget of a tool that is not there holds nobody back: the tool that was meant would have none.",
        """
from toolrail import Rail, tool
from toolrail.limits import Budget, Budgets

@tool
def pay(iban: str) -> str:
    return iban

Rail([pay], budgets=Budgets(principal_day=Budget(calls_per_tool={"pya": 1})))
""",
        """
from toolrail import Rail, tool
from toolrail.limits import Budget, Budgets

@tool
def pay(iban: str) -> str:
    return iban

Rail([pay], budgets=Budgets(principal_day=Budget(calls_per_tool={"pay": 1})))
""",
    ),
    Rule(
        "TR309",
        "A price is an amount, from zero on, of a model.",
        "A cost that is computed from a wrong price is worse than one that is unknown.",
        """
from decimal import Decimal
from toolrail import Rail
from toolrail.records.prices import Price

Rail([], prices={"openai:gpt-4o": Price(Decimal("-2.50"), Decimal("10"))})
""",
        """
from decimal import Decimal
from toolrail import Rail
from toolrail.records.prices import Price

Rail([], prices={"openai:gpt-4o": Price(Decimal("2.50"), Decimal("10"))})
""",
    ),
    Rule(
        "TR310",
        "An alert rule can be kept, and whoever it tells can be told.",
        "A rule with a slip in it would never fire, and nobody would notice until it was needed.",
        """
from toolrail.records.alerts import Alerts, ErrorRate

Alerts(rules=[ErrorRate("payments", over=0.02), ErrorRate("payments", over=0.10)])
""",
        """
from toolrail.records.alerts import Alerts, ErrorRate

Alerts(rules=[ErrorRate("payments", over=0.02), ErrorRate("all-else", over=0.10, silence=("pay*",))])
""",
    ),
    Rule(
        "TR311",
        "A recorder has a place of its own for its rows, and a mode for content.",
        "What happened would be written nowhere, or twice, or into the file of the store, and nobody would notice "
        "until it was needed; or content would be kept that nobody wanted kept.",
        """
from toolrail.records.recorder import Recorder

Recorder("rail.records.db")
""",
        """
from toolrail.records.recorder import Recorder

Recorder("sqlite:///rail.records.db")
""",
    ),
)
