"""find: the tool of that name among those offered to this principal. Never a near one in its place."""

from __future__ import annotations

from typing import Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.messages import ToolResult
from toolrail.run import Job
from toolrail.stages.waiting import refused_by_circuit

MAX_LISTED = 12


def find(job: Job) -> Tool[Any] | ToolResult:
    """The tool, or UNKNOWN_TOOL with the near names. A tool hidden from this principal looks like a missing one."""
    if job.truncated:
        return job.ports.refuse(job, Code.TRUNCATED)
    tool = job.run.offered.get(job.call.name)
    if tool is None and job.call.name in job.run.shut:
        tool = job.run.shut[job.call.name]
        refused = _still_shut(job, tool)
        if refused is not None:
            return refused
    if tool is None:
        hidden = job.call.name in job.run.hidden
        values = {"near": _near(job.call.name[:200], list(job.run.offered)), "tool": job.call.name[:200]}
        recorded = Code.NOT_AUTHORISED if hidden else None
        return job.ports.refuse(job, Code.UNKNOWN_TOOL, values=values, recorded=recorded)
    job.tool = tool
    if job.resumed is not None and job.resumed.row.digest != tool.digest:
        return job.ports.refuse(job, Code.TOOL_CHANGED)
    return tool


def _still_shut(job: Job, tool: Tool[Any]) -> ToolResult | None:
    """It was not offered, as its circuit was open. A model that knows of it may call it once that has passed."""
    job.tool = tool
    seconds = job.ports.board.refuses(tool.dependency or tool.name, job.run.now())
    return None if seconds is None else refused_by_circuit(job, seconds)


def _near(name: str, names: list[str]) -> str:
    import difflib  # only for a name that is not there

    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(repr(one) for one in close)}?"
    if not names:
        return " There are no tools."
    shown = ", ".join(names[:MAX_LISTED])
    return f" The tools are: {shown}{', ...' if len(names) > MAX_LISTED else ''}."
