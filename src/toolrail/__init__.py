"""toolrail: the last hop between a model's tool call and your systems.

Names are loaded when they are asked for (PEP 562), so that the command line starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolrail.agent import Agent, AgentResult
    from toolrail.codes import Code
    from toolrail.context import RunContext
    from toolrail.decisions import Allow, Approval, Ask, Deny, Pending, PolicyRequest, Principal
    from toolrail.definition import Access, Order, ResultRules, Tool, tool, tool_from_model, tool_from_schema
    from toolrail.effects import keyed, once, verified
    from toolrail.errors import (
        DefinitionError,
        ModelRetry,
        NotAuthorised,
        RunBusy,
        RunNotFound,
        RunStopped,
        ToolError,
    )
    from toolrail.limits import CallLimits, RailLimits, RunLimits
    from toolrail.messages import Media, ToolCall, ToolResult, Usage
    from toolrail.model import Model, Named
    from toolrail.rail import Rail
    from toolrail.run import Run
    from toolrail.sync import SyncRail
    from toolrail.toolset import Toolset, combined, filtered, prefixed, renamed

__all__ = [
    "Access",
    "Agent",
    "AgentResult",
    "Allow",
    "Approval",
    "Ask",
    "CallLimits",
    "Code",
    "DefinitionError",
    "Deny",
    "Media",
    "Model",
    "ModelRetry",
    "Named",
    "NotAuthorised",
    "Order",
    "Pending",
    "PolicyRequest",
    "Principal",
    "Rail",
    "RailLimits",
    "ResultRules",
    "Run",
    "RunBusy",
    "RunContext",
    "RunLimits",
    "RunNotFound",
    "RunStopped",
    "SyncRail",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolResult",
    "Toolset",
    "Usage",
    "combined",
    "filtered",
    "keyed",
    "once",
    "prefixed",
    "renamed",
    "tool",
    "tool_from_model",
    "tool_from_schema",
    "verified",
]

_HOMES = {
    "toolrail.agent": (
        "Agent",
        "AgentResult",
    ),
    "toolrail.codes": ("Code",),
    "toolrail.context": ("RunContext",),
    "toolrail.decisions": (
        "Allow",
        "Approval",
        "Ask",
        "Deny",
        "Pending",
        "PolicyRequest",
        "Principal",
    ),
    "toolrail.effects": (
        "keyed",
        "once",
        "verified",
    ),
    "toolrail.errors": (
        "DefinitionError",
        "ModelRetry",
        "NotAuthorised",
        "RunBusy",
        "RunNotFound",
        "RunStopped",
        "ToolError",
    ),
    "toolrail.limits": (
        "CallLimits",
        "RailLimits",
        "RunLimits",
    ),
    "toolrail.messages": (
        "Media",
        "ToolCall",
        "ToolResult",
        "Usage",
    ),
    "toolrail.model": ("Model", "Named"),
    "toolrail.rail": ("Rail",),
    "toolrail.run": ("Run",),
    "toolrail.sync": ("SyncRail",),
    "toolrail.definition": (
        "Access",
        "Order",
        "ResultRules",
        "Tool",
        "tool",
        "tool_from_model",
        "tool_from_schema",
    ),
    "toolrail.toolset": (
        "Toolset",
        "combined",
        "filtered",
        "prefixed",
        "renamed",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module 'toolrail' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
