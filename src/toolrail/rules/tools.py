"""TR1xx: rules about tools and toolsets."""

from __future__ import annotations

from toolrail.rules.rule import Rule

TOOLS = (
    Rule(
        "TR101",
        "A tool has a name.",
        "The model calls tools by name, and a lambda or a blank text is none.",
        """
from toolrail import tool

ping = tool(lambda: "pong")
""",
        """
from toolrail import tool

ping = tool(lambda: "pong", name="ping")
""",
    ),
    Rule(
        "TR102",
        "Two tools of one rail never share a name.",
        "One of them would be lost without a word, and nobody could say which.",
        """
from toolrail import Rail, tool

@tool
def find(order: str) -> str:
    return order

@tool(name="find")
def find_customer(name: str) -> str:
    return name

Rail([find, find_customer])
""",
        """
from toolrail import Rail, tool

@tool
def find(order: str) -> str:
    return order

@tool
def find_customer(name: str) -> str:
    return name

Rail([find, find_customer])
""",
    ),
    Rule(
        "TR104",
        "The context is the first parameter.",
        "What the application gives and what the model gives are told apart by place, at a glance.",
        """
from toolrail import RunContext, tool

@tool
def find(order: str, ctx: RunContext[None]) -> str:
    return order
""",
        """
from toolrail import RunContext, tool

@tool
def find(ctx: RunContext[None], order: str) -> str:
    return order
""",
    ),
    Rule(
        "TR105",
        "Definitions and handlers match, one to one.",
        "A definition without a handler fails when a model calls it, in production; a handler without a definition is "
        "never called. Effects and options that name no tool are spelling mistakes.",
        """
from toolrail import Rail

Rail.from_definitions([{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}], {})
""",
        """
from toolrail import Rail

Rail.from_definitions(
    [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}], {"find": lambda: "found"}
)
""",
    ),
    Rule(
        "TR106",
        "An effect can be kept: it exists, and its key names arguments.",
        "A key that names no argument, or a scope without a key, would let the same effect happen twice. Only a read "
        "may ignore arguments that it does not know: anything else would do less than the model asked for.",
        """
from toolrail import once, tool

@tool(effect=once(by="invoice"))
def pay(bill: str) -> str:
    return bill
""",
        """
from toolrail import once, tool

@tool(effect=once(by="bill"))
def pay(bill: str) -> str:
    return bill
""",
    ),
    Rule(
        "TR107",
        "A tool that is a method comes from an instance.",
        "Without its instance there is nothing to pass as `self`.",
        """
from toolrail import Rail, tool

class Shop:
    @tool
    def find(self, order: str) -> str:
        return order

Rail([Shop.find])
""",
        """
from toolrail import Rail, tool

class Shop:
    @tool
    def find(self, order: str) -> str:
        return order

Rail([Shop().find])
""",
    ),
    Rule(
        "TR108",
        "A resource names arguments of its tool.",
        "Calls on one resource run one after the other; a name that is no argument would order nothing.",
        """
from toolrail import Order, tool

@tool(order=Order(resource="account:{account}"))
def pay(iban: str) -> str:
    return iban
""",
        """
from toolrail import Order, tool

@tool(order=Order(resource="account:{iban}"))
def pay(iban: str) -> str:
    return iban
""",
    ),
    Rule(
        "TR109",
        "A rail takes tools, and `@tool` takes functions.",
        "A plain function has no schema, no effect and no deadline; a static method is wrapped before `@tool` sees it.",
        """
from toolrail import Rail

def find(order: str) -> str:
    return order

Rail([find])
""",
        """
from toolrail import Rail, tool

@tool
def find(order: str) -> str:
    return order

Rail([find])
""",
    ),
    Rule(
        "TR110",
        "A tool returns; it does not yield.",
        "A call has one result. What a generator yields after its first value would be lost, or come too late.",
        """
from collections.abc import Iterator

from toolrail import tool

@tool
def orders(customer: str) -> Iterator[str]:
    yield customer
""",
        """
from toolrail import tool

@tool
def orders(customer: str) -> list[str]:
    return [customer]
""",
    ),
    Rule(
        "TR111",
        "Only a tool of the toolset can be renamed.",
        "A new name for a tool that is not there is a spelling mistake.",
        """
from toolrail import renamed, tool

@tool
def find(order: str) -> str:
    return order

renamed({"fnid": "find_order"}, [find])
""",
        """
from toolrail import renamed, tool

@tool
def find(order: str) -> str:
    return order

renamed({"find": "find_order"}, [find])
""",
    ),
    Rule(
        "TR112",
        "Every option of a tool must exist.",
        "A misspelt `requires` would leave the tool open to everybody, and nobody would notice.",
        """
from toolrail import tool

@tool(requries="orders:read")
def find(order: str) -> str:
    return order
""",
        """
from toolrail import tool

@tool(requires="orders:read")
def find(order: str) -> str:
    return order
""",
    ),
    Rule(
        "TR113",
        "An isolation is `process` or an `Isolation`, on a system that can kill what it starts.",
        "A handler that was meant to be isolated must not run in this process because of a typing error.",
        """
from toolrail import tool

@tool(isolate="proces")
def run_code(code: str) -> str:
    return str(eval(code))
""",
        """
from toolrail import tool

@tool(isolate="process")
def run_code(code: str) -> str:
    return str(eval(code))
""",
    ),
    Rule(
        "TR114",
        "An isolated handler is a function at the top of a module.",
        "Another process loads the module and looks it up by name; what exists only in this one it cannot find.",
        """
from toolrail import tool_from_schema

CODE = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}
run_code = tool_from_schema(CODE, lambda code: eval(code), name="run_code", isolate="process")
""",
        """
from toolrail import tool

@tool(isolate="process")
def run_code(code: str) -> str:
    return str(eval(code))
""",
    ),
    Rule(
        "TR115",
        "An isolated handler takes no context.",
        "Who asks and what the application gave (clients, connections) live in this process and cannot go along.",
        """
from toolrail import Rail, RunContext, tool

@tool(isolate="process")
def run_code(ctx: RunContext[object], code: str) -> str:
    return str(eval(code))

Rail([run_code])
""",
        """
from toolrail import tool

@tool(isolate="process")
def run_code(code: str) -> str:
    return str(eval(code))
""",
    ),
)
