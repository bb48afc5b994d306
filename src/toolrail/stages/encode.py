"""encode: what the handler ended with becomes the call's result. It never fails: the effect has already taken place."""

from __future__ import annotations

from typing import Any

from toolrail.codes import Code
from toolrail.definition import Tool
from toolrail.effects import FAILURES, Meaning
from toolrail.encoding import encode_value, note_of, preview
from toolrail.errors import NotAuthorised, ToolError
from toolrail.interrupts import from_signal
from toolrail.messages import Media, ToolResult
from toolrail.ports import log
from toolrail.run import Job
from toolrail.stages.outcome import Failure, Success
from toolrail.wording import FAILED_FOR_NOW, MAY_HAVE_HAPPENED, refusal, text_for


def encode(job: Job, tool: Tool[Any], outcome: Success | Failure) -> ToolResult:
    """The result of a handler that ran, whether it returned or failed."""
    if isinstance(outcome, Failure):
        return _failed(job, tool, outcome)
    try:
        return _succeeded(job, tool, outcome.value)
    except BaseException as error:  # a hostile __str__, say; the effect took place all the same
        if from_signal(error):
            raise
        log.exception("A result of %s could not be encoded.", tool.name)
        return _result(job, tool, note_of(outcome.value), ("unencodable",))


def _succeeded(job: Job, tool: Tool[Any], value: Any) -> ToolResult:
    encoded = encode_value(value)
    flags = encoded.flags
    if tool.result.output is not None and not _matches(tool.result.output, value):
        flags = (*flags, "output_mismatch")
    text = encoded.text if job.ports.redact is None else job.ports.redact(encoded.text)
    cap = tool.result.max_bytes or job.ports.limits.result_bytes
    if len(text) * 4 > cap:  # no character has more than four bytes
        text, cut = preview(text, cap)
        flags = (*flags, *cut)
    return _result(job, tool, text, flags, encoded.media)


def _result(job: Job, tool: Tool[Any], text: str, flags: tuple[str, ...], media: tuple[Media, ...] = ()) -> ToolResult:
    return ToolResult(
        job.call.id,
        job.call.name,
        "ok",
        text,
        None,
        tool.result.trust,
        job.flags + flags if flags else job.flags,
        started=True,
        media=media,
    )


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
        "text": FAILED_FOR_NOW.format(tool=tool.name, attempts=job.attempts),
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
