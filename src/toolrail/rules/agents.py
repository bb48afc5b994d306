"""TR4xx: rules about models and agents."""

from __future__ import annotations

from toolrail.rules.rule import Rule

AGENTS = (
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
