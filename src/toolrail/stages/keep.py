"""keep: a long result is stored whole under a handle that its run alone can read; what cannot be is not promised."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

from toolrail.context import KeptResult
from toolrail.definition import Tool
from toolrail.errors import ToolError
from toolrail.messages import ToolResult, Trust
from toolrail.ports import STORE_SECONDS, log
from toolrail.run import Job, Run
from toolrail.store import KeepResult, Op, ReadResult, ResultRow, SaveRun, ask

KEPT = "kept"
"""Flag of a result whose whole can be read on by the handle in its preview."""
_PREFIX = "res_"
_HANDLE = re.compile(rf"{_PREFIX}[0-9a-f]{{32}}")
_SHOWN = re.compile(rf',"handle":"({_HANDLE.pattern})"')
"""In a preview it stands in front of all content, so the first one found is ours."""
_NOTE = '{"note":'
_DECODER = json.JSONDecoder()
ELSEWHERE = "The rest is not at hand here."


def reader_of(run: Run[Any]) -> str:
    """Name of the tool that reads kept results in this run, or nothing. The offer is fixed: it is looked for once."""
    if run.reader is None:
        run.reader = next((tool.name for tool in run.offered.values() if tool.result.reads_kept), "")
    return run.reader


def result_row(job: Job, content: str, trust: Trust) -> ResultRow:
    """A whole result, for this run and principal only, under a new handle that cannot be guessed."""
    run, clock = job.run, job.ports.clock
    handle = _PREFIX + clock.secret()
    return ResultRow(run.state.tenant, handle, run.id, job.key, run.principal.id, trust, content, clock.wall())


def keeping_ops(job: Job) -> tuple[Op, ...]:
    """What keeps the call's result. A run that the store does not know yet comes along, so that it can be found."""
    if job.keeping is None:
        return ()
    keep = KeepResult(job.keeping.row)
    return (keep,) if job.run.stored else (keep, SaveRun(job.run.row()))


def not_kept(job: Job, result: ToolResult) -> ToolResult:
    """The result with a preview that offers no handle, as nothing stands behind it."""
    if job.keeping is None:
        return result
    return _unlinked(result, job.keeping.lost)


async def kept(job: Job, result: ToolResult) -> ToolResult:
    """Stores the whole before its handle is shown. A store that cannot costs the handle, and at most its 5 s."""
    task = job.ports.own(job.ports.store.apply(*keeping_ops(job)))
    while True:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await asyncio.shield(task)
            return result
        except asyncio.CancelledError as interrupt:
            job.interrupt = interrupt
            if task.cancelled():
                return not_kept(job, result)
        except Exception:
            log.exception("The store could not keep the whole result of %s (%s).", job.call.name, job.key)
            return not_kept(job, result)


async def replayed_here(job: Job, result: ToolResult) -> ToolResult:
    """A result of an earlier effect, without its handle where that belongs to another run or principal."""
    try:
        handle = _SHOWN.search(result.content)
        if handle and await _row(job, handle[1]) is not None:
            return result
    except asyncio.CancelledError as interrupt:
        job.interrupt = interrupt
    except Exception:
        log.exception("A kept result of %s could not be looked up.", job.call.name)
    return _unlinked(result, ELSEWHERE)


def _unlinked(result: ToolResult, rest: str) -> ToolResult:
    """The result with a preview that has no handle and no advice to use one. All else stands as it was written."""
    text = result.content
    if text.startswith(_NOTE):
        note, end = _DECODER.raw_decode(text, len(_NOTE))
        said = f"{note.partition('Read on: ')[0]}{rest}"
        text = _NOTE + json.dumps(said, ensure_ascii=False) + text[end:]
    flags = tuple(flag for flag in result.flags if flag != KEPT)
    return replace(result, content=_SHOWN.sub("", text, count=1), flags=(*flags, "not_kept"))


async def read_kept(job: Job, tool: Tool[Any], handle: str) -> KeptResult | None:
    """A kept result, if it belongs to this run and principal; what belongs to others looks like nothing at all.

    Raises:
        ToolError: the store cannot be asked now.
    """
    try:
        row = await _row(job, handle)
    except Exception as error:
        raise ToolError("Kept results cannot be read at the moment.", retryable=True) from error
    if row is None:
        return None
    return KeptResult(row.content, row.trust, job.run.cap_of(tool), tool.name)


async def _row(job: Job, handle: Any) -> ResultRow | None:
    if not isinstance(handle, str) or _HANDLE.fullmatch(handle) is None:
        return None
    async with asyncio.timeout(STORE_SECONDS):
        row = await ask(job.ports.store, ReadResult(job.run.state.tenant, handle))
    mine = row is not None and row.run == job.run.id and row.principal == job.run.principal.id
    return row if mine else None
