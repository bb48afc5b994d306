"""encode: what the handler ended with becomes the call's result. It never fails: the effect has already taken place."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.effects import FAILURES, Later, Meaning
from toolrail.encoding import Encoded, Passage, encode_flat, encode_slices, encode_value, is_wide, note_of
from toolrail.errors import NotAuthorised, ToolError
from toolrail.interrupts import from_signal
from toolrail.messages import Media, ToolResult, success
from toolrail.ports import log
from toolrail.previews.slices import Slices, at_once, with_pauses
from toolrail.run import Job, Keeping
from toolrail.stages.keep import reader_of, result_row
from toolrail.stages.outcome import Failure, Success
from toolrail.wording import FAILED_FOR_NOW, FAILED_ONCE, MAY_HAVE_HAPPENED, refusal, text_for


def encode(job: Job, tool: Tool[Any], outcome: Success | Failure) -> ToolResult:
    """The result of a handler that ran, whether it returned or failed. Of a long one a preview; the rest is lost."""
    result = encoded(job, tool, outcome, keep=False)
    return result if isinstance(result, ToolResult) else at_once(result)


def encoded(
    job: Job, tool: Tool[Any], outcome: Success | Failure, *, keep: bool = True
) -> ToolResult | Slices[ToolResult]:
    """`encode`, where a large value is work still to be done in slices: see `finished`. With `keep` the whole of a long
    result stands at `job.keeping`, for `settle`, if the run offers a tool that reads on."""
    if isinstance(outcome, Failure):
        return _failed(job, tool, outcome)
    if type(outcome.value) is Later:
        job.token = outcome.value.token
        return job.ports.refuse(job, Code.WAITING, started=True)
    try:
        text = encode_flat(outcome.value)
        if text is None and is_wide(outcome.value):
            return _careful(job, tool, outcome.value, _in_slices(job, tool, outcome.value, keep))
        return _succeeded(job, tool, outcome.value, text or encode_value(outcome.value), keep)
    except BaseException as error:  # a hostile __str__, say; the effect took place all the same
        return _unencodable(job, tool, outcome.value, error)


async def finished(job: Job, work: Slices[ToolResult]) -> ToolResult:
    """Does the work, with pauses for others. A cancellation waits for it: the handler has run."""
    try:
        next(work)
    except StopIteration as stop:  # most long results are one slice
        return stop.value
    task = job.ports.own(with_pauses(work))
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as interrupt:
            job.interrupt = interrupt
            if task.cancelled():
                return at_once(work)


def _careful(job: Job, tool: Tool[Any], value: Any, work: Slices[ToolResult]) -> Slices[ToolResult]:
    try:
        return (yield from work)
    except GeneratorExit:
        raise
    except BaseException as error:
        return _unencodable(job, tool, value, error)


def _unencodable(job: Job, tool: Tool[Any], value: Any, error: BaseException) -> ToolResult:
    if from_signal(error):
        raise error
    log.error("A result of %s could not be encoded.", tool.name, exc_info=error)
    return _result(job, tool, note_of(value), ("unencodable",))


def _in_slices(job: Job, tool: Tool[Any], value: Any, keep: bool) -> Slices[ToolResult]:
    result = _succeeded(job, tool, value, (yield from encode_slices(value)), keep)
    return result if isinstance(result, ToolResult) else (yield from result)


def _succeeded(job: Job, tool: Tool[Any], value: Any, encoded: Encoded, keep: bool) -> ToolResult | Slices[ToolResult]:
    if tool.result.reads_kept and isinstance(value, Passage):
        return replace(_result(job, tool, value.text, ()), trust=value.trust)
    flags = encoded.flags
    if tool.result.output is not None and not _matches(tool.result.output, value):
        flags = (*flags, "output_mismatch")
    text = encoded.text if job.ports.redact is None else job.ports.redact(encoded.text)
    cap = job.run.cap_of(tool)
    # no character has more than four bytes
    if len(text) * 4 > cap and (len(text) > cap or (not text.isascii() and len(text.encode()) > cap)):
        whole = replace(encoded, text=text, flags=flags)
        return _careful(job, tool, value, _shortened(job, tool, whole, cap, keep))
    return _result(job, tool, text, flags, encoded.media)


def _shortened(job: Job, tool: Tool[Any], whole: Encoded, cap: int, keep: bool) -> Slices[ToolResult]:
    """A preview of a result that is over the cap."""
    from toolrail.previews.windows import ASK_LESS, LEFT_OUT, NOT_KEPT, View, preview_of  # most results are short

    size = len(whole.text.encode())
    whole_here = "preview" not in job.flags  # of an isolated tool's result the rest may be lost already
    reader = reader_of(job.run) if keep and whole_here and not tool.result.reads_kept else ""
    advice = "" if tool.effect.writes else ASK_LESS  # never to do an effect again
    view = View(cap, rest=LEFT_OUT + advice, head={"truncated": True, "bytes": size})
    flags = (*whole.flags, "preview")
    if not reader:
        return _result(job, tool, (yield from preview_of(whole.text, view)), flags, whole.media)
    row = result_row(job, whole.text, tool.result.trust)
    call = f'{reader}(handle="{row.handle}"'
    view = replace(view, head={**view.head, "handle": row.handle}, call=call)
    result = _result(job, tool, (yield from preview_of(whole.text, view)), (*flags, "kept"), whole.media)
    job.keeping = Keeping(row, NOT_KEPT + advice)
    return result


def _result(job: Job, tool: Tool[Any], text: str, flags: tuple[str, ...], media: tuple[Media, ...] = ()) -> ToolResult:
    flags = job.flags + flags if flags else job.flags
    return success(job.call, text, trust=tool.result.trust, flags=flags, media=media)


def _failed(job: Job, tool: Tool[Any], failure: Failure) -> ToolResult:
    meaning = FAILURES[failure.kind][tool.effect.kind if failure.began else "read"]
    job.frees_key = meaning.frees_key
    if failure.kind == "unexpected" and failure.error is not None:
        job.reference = job.ports.clock.new_id("err")[-12:]
        log.error("Unexpected error in %s (reference %s)", tool.name, job.reference, exc_info=failure.error)
    elif failure.error is not None and (failure.kind == "transient" or failure.error.__cause__ is not None):
        log.warning("%s failed (%s)", tool.name, failure.kind, exc_info=failure.error)
    if failure.kind == "statement" and isinstance(failure.error, ToolError):
        return _stated(job, failure.error, may_pass=failure.may_pass)
    code = meaning.code
    values = {
        "text": (FAILED_ONCE if job.attempts == 1 else FAILED_FOR_NOW).format(tool=tool.name, attempts=job.attempts),
        "seconds": tool.limits.timeout,
        "reference": job.reference or "",
    }
    return _worded(job, meaning, text_for(code, job.ports.wording, {"tool": tool.name, **values}))


def _stated(job: Job, error: ToolError, *, may_pass: bool) -> ToolResult:
    """A tool's own words go to the model as they are."""
    denied = isinstance(error, NotAuthorised)
    if denied and error.like is None:
        return job.ports.refuse(job, Code.NOT_AUTHORISED, text=str(error), started=True)
    code = Code.MAX_RETRIES if may_pass else Code.TOOL_ERROR
    recorded = Code.NOT_AUTHORISED if denied else None
    return job.ports.refuse(job, code, text=str(error), recorded=recorded, started=True)


def _worded(job: Job, meaning: Meaning, text: str) -> ToolResult:
    extra = {"reference": job.reference} if job.reference else None
    said = text + MAY_HAVE_HAPPENED if meaning.may_have_happened and meaning.status != "unknown" else text
    return ToolResult(
        job.call.id,
        job.call.name,
        meaning.status,
        refusal(said, meaning.code, extra),
        code=meaning.code,
        trust="trusted",
        flags=(*job.flags, "may_have_happened") if meaning.may_have_happened else job.flags,
        started=True,
    )


def _matches(output: Any, value: Any) -> bool:
    from pydantic import TypeAdapter  # loaded only for tools that declare an output

    try:
        TypeAdapter(output).validate_python(value)
    except Exception:
        return False
    return True
