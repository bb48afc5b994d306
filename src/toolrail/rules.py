"""The rules that a definition must keep: why each stands, code that breaks it and the same code mended.

Every `DefinitionError` carries one of these ids, and `toolrail rule ID` prints what stands here. The first digit says
what a rule is about: 1 tools and toolsets, 2 arguments and schemas, 3 settings and stores, 4 models and agents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Both examples are whole programs: the first raises the `DefinitionError`, the second does not."""

    id: str
    title: str
    reason: str
    wrong: str
    mended: str


_RULES = (
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
        "TR201",
        "Each argument has an annotation that can be resolved.",
        "The schema that the model reads, and the check of what it sends, are made from the annotations.",
        """
from toolrail import tool

@tool
def find(order):
    return order
""",
        """
from toolrail import tool

@tool
def find(order: str) -> str:
    return order
""",
    ),
    Rule(
        "TR202",
        "Each argument has a type that JSON can say.",
        "A model writes JSON. A connection, a callable or a file is no argument: it belongs into the run's `deps`.",
        """
from collections.abc import Callable

from toolrail import tool

@tool
def find(order: str, notify: Callable[[str], None]) -> str:
    return order
""",
        """
from collections.abc import Callable

from toolrail import RunContext, tool

@tool
def find(ctx: RunContext[Callable[[str], None]], order: str) -> str:
    ctx.deps(order)
    return order
""",
    ),
    Rule(
        "TR203",
        "Each argument is a parameter with a name of its own.",
        "A model names its arguments, so positional-only parameters cannot be filled; behind `*args` and `**kwargs` a "
        "model could send anything, unchecked.",
        """
from toolrail import tool

@tool
def find(**filters: str) -> str:
    return str(filters)
""",
        """
from toolrail import tool

@tool
def find(filters: dict[str, str]) -> str:
    return str(filters)
""",
    ),
    Rule(
        "TR204",
        "A raw schema is a valid JSON Schema of an object, whole in itself.",
        "Arguments are an object with names. A reference to another document is never fetched, so it is unchecked.",
        """
from toolrail import tool_from_schema

tool_from_schema({"type": "array"}, lambda: "found", name="find")
""",
        """
from toolrail import tool_from_schema

tool_from_schema({"type": "object", "properties": {}}, lambda: "found", name="find")
""",
    ),
    Rule(
        "TR205",
        "The handler of a model takes its fields, or the model itself.",
        "Otherwise each call would fail after its arguments were found valid.",
        """
from pydantic import BaseModel

from toolrail import tool_from_model

class Find(BaseModel):
    order: str

def find(number: str) -> str:
    return number

tool_from_model(Find, find)
""",
        """
from pydantic import BaseModel

from toolrail import tool_from_model

class Find(BaseModel):
    order: str

def find(order: str) -> str:
    return order

tool_from_model(Find, find)
""",
    ),
    Rule(
        "TR206",
        "No argument is a secret.",
        "The model wrote it, so its provider has read it already. Secrets come from the run's `deps`.",
        """
from pydantic import SecretStr

from toolrail import tool

@tool
def log_in(password: SecretStr) -> str:
    return "done"
""",
        """
from pydantic import SecretStr

from toolrail import RunContext, tool

@tool
def log_in(ctx: RunContext[SecretStr]) -> str:
    return "done" if ctx.deps.get_secret_value() else "no password"
""",
    ),
    Rule(
        "TR301",
        "A limit is over zero, or None.",
        "Zero would refuse everything. None says that there is no limit.",
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
        "TR401",
        "The provider can combine what is asked for.",
        "A combination that the API refuses would fail at the first request, in production.",
        """
from toolrail import Agent, Rail
from toolrail.model import ModelSettings

thinking = {"type": "enabled", "budget_tokens": 2000}
Agent("anthropic:claude", Rail([]), settings=ModelSettings(temperature=0.2, extra={"thinking": thinking}))
""",
        """
from toolrail import Agent, Rail
from toolrail.model import ModelSettings

thinking = {"type": "enabled", "budget_tokens": 2000}
Agent("anthropic:claude", Rail([]), settings=ModelSettings(extra={"thinking": thinking}))
""",
    ),
    Rule(
        "TR402",
        "A forced choice names a tool of the rail.",
        "A model that must call a tool that is not there can give no answer.",
        """
from toolrail import Agent, Rail

Agent("openai:gpt-4o", Rail([]), tool_choice="required")
""",
        """
from toolrail import Agent, Rail, tool

@tool
def find(order: str) -> str:
    return order

Agent("openai:gpt-4o", Rail([find]), tool_choice="required")
""",
    ),
    Rule(
        "TR403",
        "The provider's SDK is installed.",
        "SDKs are extras: toolrail loads none that you do not use.",
        """
# without the package anthropic
from toolrail import Agent, Rail

Agent("anthropic:claude", Rail([]))
""",
        """
# after: pip install "toolrail[anthropic]"
from toolrail import Agent, Rail

Agent("anthropic:claude", Rail([]))
""",
    ),
    Rule(
        "TR404",
        "There is a key for the provider's API.",
        "A missing key is found at start-up, not by the first user.",
        """
# without ANTHROPIC_API_KEY in the environment
from toolrail import Agent, Rail

Agent("anthropic:claude", Rail([]))
""",
        """
# with ANTHROPIC_API_KEY in the environment
from toolrail import Agent, Rail

Agent("anthropic:claude", Rail([]))
""",
    ),
    Rule(
        "TR405",
        "A compatible server has an address.",
        "Only servers that are known by name have a usual one.",
        """
from toolrail.providers.compatible import Compatible

Compatible("qwen3:8b")
""",
        """
from toolrail.providers.compatible import Compatible

Compatible("qwen3:8b", server="ollama")
""",
    ),
    Rule(
        "TR406",
        "A model's text names its provider.",
        "Several providers have models of the same name, and a guess would send your data to one of them.",
        """
from toolrail import Agent, Rail

Agent("gpt-4o", Rail([]))
""",
        """
from toolrail import Agent, Rail

Agent("openai:gpt-4o", Rail([]))
""",
    ),
    Rule(
        "TR407",
        "An agent takes a model, not an SDK's client.",
        "A client speaks to many models in several forms; which of them is meant, only you can say.",
        """
from openai import AsyncOpenAI

from toolrail import Agent, Rail

Agent(AsyncOpenAI(), Rail([]))
""",
        """
from openai import AsyncOpenAI

from toolrail import Agent, Rail
from toolrail.providers.openai_chat import OpenAIChat

Agent(OpenAIChat("gpt-4o", client=AsyncOpenAI()), Rail([]))
""",
    ),
)

RULES: Mapping[str, Rule] = {rule.id: rule for rule in _RULES}
"""By id."""
