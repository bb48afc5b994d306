"""ground: arguments declared grounded must occur in the conversation. The port decides; by default none are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.messages import ToolResult
from toolrail.run import Job


def ground(job: Job, tool: Tool[Any], arguments: Mapping[str, Any]) -> ToolResult | None:
    """UNGROUNDED when the port finds an invented value."""
    grounder = job.ports.grounder
    invented = grounder(job, tool, arguments) if grounder is not None else None
    if invented is None:
        return None
    return job.ports.refuse(job, Code.UNGROUNDED, values={"argument": invented[0], "value": invented[1]})
