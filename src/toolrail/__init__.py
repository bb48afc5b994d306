"""toolrail: the last hop between a model's tool call and your systems."""

from typing import TYPE_CHECKING, Any

from toolrail.codes import Code
from toolrail.context import RunContext
from toolrail.decisions import Allow, Approval, Ask, Deny, Pending, PolicyRequest, Principal
from toolrail.effects import keyed, once, verified
from toolrail.errors import (
    DefinitionError,
    ModelRetry,
    NotAuthorised,
    RunBusy,
    RunNotFound,
    RunStopped,
    ToolError,
    TurnConflict,
)
from toolrail.limits import CallLimits, RailLimits, RunLimits
from toolrail.messages import Media, ToolCall, ToolResult, Usage
from toolrail.rail import Rail
from toolrail.run import Run
from toolrail.tool import Access, Order, ResultRules, Tool, tool, tool_from_model, tool_from_schema
from toolrail.toolset import Toolset, combined, filtered, prefixed, renamed

if TYPE_CHECKING:
    from toolrail.agent import Agent, AgentResult
    from toolrail.sync import SyncRail

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
    "ModelRetry",
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
    "TurnConflict",
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


def __getattr__(name: str) -> Any:
    """What is loaded when it is asked for: those who bring their own loop do not pay for ours."""
    if name in ("Agent", "AgentResult"):
        from toolrail import agent

        return getattr(agent, name)
    if name == "SyncRail":
        from toolrail.sync import SyncRail

        return SyncRail
    raise AttributeError(f"module 'toolrail' has no attribute {name!r}")
